import FoundationEssentials
import Testing

/// A scenario and what each of its steps showed.
struct Recording: Sendable, CustomTestStringConvertible {
    struct Step: Sendable, Equatable {
        var text: String
        var shown: [String] = []
    }

    var title: String
    var steps: [Step] = []

    var name: String { String(title.prefix { $0 != " " }) }
    var testDescription: String { title }

    /// The scenario as it is written, without what it showed.
    var scenario: String {
        (["scenario \(title)"] + steps.map(\.text)).joined(separator: "\n")
    }

    /// What the real GenStage did.
    static let all = read(text(of: "../Fixtures/genstage/traces.txt")).filter { !$0.steps.isEmpty }

    /// Reads a text of traces.
    ///
    /// Left out are the lines of GenStage's own: its state, and what it tells itself to ask again.
    static func read(_ text: String) -> [Recording] {
        var recordings: [Recording] = []
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            let rest = words.dropFirst().joined(separator: " ")
            guard let last = recordings.indices.last, words.first != "scenario" else {
                if words.first == "scenario" { recordings.append(Recording(title: rest)) }
                continue
            }
            switch words.first {
            case ">"?: recordings[last].steps.append(Step(text: rest))
            case "."?, "~"?, nil: continue
            default:
                let step = recordings[last].steps.indices.last ?? 0
                recordings[last].steps[step].shown.append(words.joined(separator: " "))
            }
        }
        return recordings
    }

    static func text(of path: String) -> String {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
        return (try? String(contentsOf: folder.appending(path: path), encoding: .utf8)) ?? ""
    }
}

/// Where Sluice differs from GenStage on purpose: a block of a decision page, both traces beside
/// each other.
struct Difference: Sendable {
    var recorded: Recording
    var expected: Recording

    static let all = ["006-differences-from-genstage", "010-more-differences-from-genstage"]
        .flatMap { read(Recording.text(of: "../../Protocol/decisions/\($0).md")) }

    /// Whether this is about the scenario of a recording and tells truly what that showed.
    func isTrue(of recording: Recording) -> Bool {
        recorded.steps.count == recording.steps.count
            && zip(recorded.steps, recording.steps).allSatisfy { Self.isTrue($0, of: $1) }
    }

    private static func isTrue(_ told: Recording.Step, of step: Recording.Step) -> Bool {
        told.text == step.text && told.shown.count == step.shown.count
            && zip(told.shown, step.shown).allSatisfy { isTrue($0, of: $1) }
    }

    /// A line that is too long for a page ends with `…`.
    static func isTrue(_ told: String, of line: String) -> Bool {
        told.hasSuffix("…") ? line.hasPrefix(told.dropLast()) : told == line
    }

    private static let heading = "GenStage 1.3.2 (recorded)"

    private static func read(_ page: String) -> [Difference] {
        page.split(separator: "```").compactMap { block in
            let lines = block.split(separator: "\n").map(Array.init)
            guard let first = lines.first, String(first).hasPrefix(heading),
                let column = first.indices.first(where: {
                    String(first[$0...].prefix(6)) == "Sluice"
                })
            else { return nil }
            let left = lines.dropFirst().map { String($0.prefix(column)) }
            let right = lines.dropFirst().map { line in
                let text = String(line.dropFirst(column))
                return text.hasSuffix("<") ? String(text.dropLast()) : text
            }
            func recording(_ lines: [String]) -> Recording? {
                Recording.read((["scenario page"] + lines).joined(separator: "\n")).first
            }
            guard let recorded = recording(left), let expected = recording(right) else {
                return nil
            }
            return Difference(recorded: recorded, expected: expected)
        }
    }
}
