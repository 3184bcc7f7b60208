import FoundationEssentials

/// A file of `Protocol/conversations/`; the README there is its grammar.
package struct Conversation: CustomStringConvertible, Sendable {
    package enum Step: Sendable {
        /// The client says it; `isLegal` is whether our client could.
        case client(Sentence, isLegal: Bool)
        /// The client sends these bytes.
        case bytes([UInt8])
        case broker(Sentence)
        case clientCloses
        case brokerCloses
        /// The connection breaks; what follows is a new one.
        case cut
    }

    package struct Line: Sendable {
        package let number: Int
        package let step: Step
        /// Whether what is said gets lost in the cut that follows.
        package let isLost: Bool
    }

    package let name: String
    package let lines: [Line]

    package var description: String { name }

    package struct Malformed: Error, CustomStringConvertible {
        package let description: String
    }

    /// All files, in the order of their names; none, and tests fail, if they cannot be read.
    package static let all: [Conversation] = (try? load()) ?? []

    private static func load() throws -> [Conversation] {
        let folder =
            #filePath.split(separator: "/", omittingEmptySubsequences: false)
            .dropLast(3).joined(separator: "/") + "/Protocol/conversations"
        return try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasSuffix(".txt") }
            .sorted()
            .map { file in
                let text = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
                return try Conversation(name: file, text: text)
            }
    }

    package init(name: String, text: String) throws {
        self.name = name
        var lines: [Line] = []
        let texts = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in texts.enumerated() where !line.isEmpty && !line.hasPrefix("#") {
            guard let step = Self.step(String(line)) else {
                throw Malformed(description: "\(name):\(index + 1): \(line)")
            }
            let isLost = line.dropFirst().first == "~"
            lines.append(Line(number: index + 1, step: step, isLost: isLost))
        }
        self.lines = lines
    }

    private static func step(_ line: String) -> Step? {
        switch line {
        case "-- cut": return .cut
        case "C. close": return .clientCloses
        case "S. close": return .brokerCloses
        default: break
        }
        guard let colon = line.firstIndex(of: ":") else { return nil }
        let rest = line[line.index(after: colon)...]
        if line[..<colon] == "X" { return Hex.bytes(rest).map { .bytes($0) } }
        guard let sentence = Sentence(parsing: rest) else { return nil }
        switch line[..<colon] {
        case "C", "C~": return .client(sentence, isLegal: true)
        case "C!": return .client(sentence, isLegal: false)
        case "S", "S~": return .broker(sentence)
        default: return nil
        }
    }
}
