import FoundationEssentials
import Testing

/// A scenario of the recorded GenStage traces: its steps, and what each step showed outside.
struct Scenario: Sendable, CustomTestStringConvertible {
    struct Step: Sendable {
        var words: [String]
        var outcome: Outcome
    }

    var name: String
    var title: String
    var steps: [Step]

    var testDescription: String { "\(name) \(title)" }

    /// All demand scenarios of bare dispatchers and of whole stages that map onto a topic.
    static let all: [Scenario] = load().filter { scenario in
        guard let words = scenario.steps.first?.words, words.count > 2 else { return false }
        return words[2] == "demand" && (words[1] == "disp" || words[1] == "stage")
    }

    /// Those with markers, which come with a later issue.
    static let notRun: Set<String> = ["D12", "S16", "S21"]

    private static func load() -> [Scenario] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent()
        let file = folder.appending(path: "../Fixtures/genstage/traces.txt")
        guard let text = try? String(contentsOf: file, encoding: .utf8) else { return [] }
        var scenarios: [Scenario] = []
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            guard let first = words.first else { continue }
            if first == "scenario", words.count > 1 {
                let title = words.dropFirst(2).joined(separator: " ")
                scenarios.append(Scenario(name: words[1], title: title, steps: []))
            } else if first == ">", !scenarios.isEmpty {
                let step = Step(words: Array(words.dropFirst()), outcome: Outcome())
                scenarios[scenarios.count - 1].steps.append(step)
            } else if let last = scenarios.indices.last,
                let step = scenarios[last].steps.indices.last
            {
                scenarios[last].steps[step].outcome.read(words)
            }
        }
        return scenarios
    }
}

/// What one step showed: the same for GenStage and for Sluice.
struct Outcome: Equatable, Sendable {
    var demand = 0
    var deliveries: [String: [Int]] = [:]
    var leftover: [Int] = []
    var discarded = 0
    var cancelled: [String] = []
    var buffered: Int?

    /// A line of GenStage's trace.
    mutating func read(_ words: [String]) {
        let rest = words.dropFirst().compactMap { Int($0) }
        switch words[0] {
        case "=" where words[1] == "demand": demand += rest.last ?? 0
        case "=" where words[1] == "leftover": leftover += rest
        case "^": demand += rest.last ?? 0
        case "!": deliveries[words[1], default: []] += rest
        case "x": cancelled.append(words[1])
        case "-": discarded += rest.last ?? 0
        case "@": buffered = rest.last
        default: return
        }
    }
}
