import Foundation
import Glibc
import Testing

extension SystemTests {
    /// What the README shows is what happens.
    @Suite("The README and the articles")
    struct ReadmeTests {
        @Test(
            "the first five minutes go as they are told",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func firstMinutes(shards: Int) throws {
            let blocks = try Document("README.md").blocks("sh", in: "The first five minutes")
            try #require(blocks.count == 4)
            #expect(blocks[0].suffix(1) == ["sluice serve"])
            let broker = try Broker(shards: shards)

            try #require(blocks[1].map(Self.verb) == ["ping", "topic create", "pub"])
            for line in blocks[1].dropLast() { try succeeds(line, broker) }
            let publisher = try broker.startShell(try #require(blocks[1].last))

            try #require(blocks[2].map(Self.verb) == ["why", "demand", "producer ls", "demand"])
            try eventually("the producer is there") { try broker.topic("orders").producers == 1 }
            try eventually("the producer has told what waits") {
                try broker.shell("sluice producer ls").text.contains(#""available":10"#)
            }
            let why = try succeeds(blocks[2][0], broker)
            #expect(why.text.contains("no-demand"))
            let seven = try succeeds(blocks[2][1], broker)
            #expect(seven.lines == (1...7).map { "\($0)" })
            let account = try succeeds(blocks[2][2], broker)
            #expect(
                account.text.contains(#""asked":7,"#) && account.text.contains(#""delivered":7,"#)
            )
            let three = try succeeds(blocks[2][3], broker)
            #expect(three.lines == ["8", "9", "10"])
            #expect(publisher.wait().code == 0)
        }

        @Test("what is used every day works as it is told", .timeLimit(.minutes(2)))
        func everyDay() throws {
            let blocks = try Document("README.md").blocks("sh", in: "The first five minutes")
            let broker = try Broker()
            for line in try #require(blocks.last) {
                switch line {
                case let line where line.hasPrefix("sluice sub greetings --max-demand"):
                    // It follows until it is stopped.
                    let following = try broker.startShell("exec \(line)")
                    try eventually("the event came") { !following.output.isEmpty }
                    following.signal(SIGINT)
                    #expect(following.wait().code == 130, "\(line): \(following.errors)")
                case let line where line.contains("--idle-timeout 10s"):
                    let short = line.replacingOccurrences(of: "10s", with: "200ms")
                    #expect(try broker.shell(short).code == 8, "\(line)")
                case let line where line.hasPrefix("sluice bench"):
                    try succeeds("\(line) --events 2000 --no-progress", broker)
                case let line where line.contains("--exit-at-end"):
                    try succeeds(line, broker)
                case let line where line.hasPrefix("sluice sub"):
                    // A group that is new begins with what nobody was delivered yet.
                    let reading = try broker.startShell(line)
                    try eventually("it read one event and ended") {
                        try broker.run("pub", "greetings", "more")
                        return !reading.process.isRunning
                    }
                    #expect(reading.wait().lines.count == 1, "\(line)")
                default:
                    try succeeds(line, broker)
                }
            }
        }

        @Test(
            "the samples in Swift are those that compile",
            arguments: [
                ("README.md", ["README producer", "README consumer", "embedded"]),
                (
                    "Sources/Sluice/Sluice.docc/GettingStarted.md",
                    ["GettingStarted producer", "GettingStarted consumer"]
                ),
                ("Sources/SluiceEmbedded/SluiceEmbedded.docc/SluiceEmbedded.md", ["embedded"]),
                (
                    "Sources/Sluice/Sluice.docc/Stages.md",
                    [
                        "Stages pipeline", "Stages consumer", "Stages resubscribe", "Stages stream",
                        "Stages batches",
                    ]
                ),
            ]
        )
        func samples(path: String, names: [String]) throws {
            let shown = try Document(path).blocks("swift").map { lines in
                lines.filter { !$0.hasPrefix("import ") }
            }
            #expect(try shown == names.map { try Document.sample($0) })
        }

        /// The words of a line that say what it does.
        private static func verb(_ line: String) -> String {
            let words = (line.split(separator: "|").last ?? "").split(separator: " ").dropFirst()
            let isNested = ["topic", "producer", "conn"].contains(words.first)
            return words.prefix(isNested ? 2 : 1).joined(separator: " ")
        }

        @discardableResult
        private func succeeds(_ line: String, _ broker: Broker) throws -> Outcome {
            let outcome = try broker.shell(line)
            #expect(outcome.code == 0, "\(line): \(outcome.errors)")
            return outcome
        }
    }
}

/// A text in Markdown, by its lines.
private struct Document {
    let lines: [String]

    init(_ path: String) throws {
        let text = try String(contentsOf: Place.root.appending(path: path), encoding: .utf8)
        lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { String($0) }
    }

    /// The blocks of code of one language below a heading, without empty lines and shell comments.
    func blocks(_ language: String, in heading: String? = nil) -> [[String]] {
        var blocks: [[String]] = []
        var isBelow = heading == nil
        var isInside = false
        for line in lines {
            if line.hasPrefix("## "), let heading { isBelow = line == "## \(heading)" }
            if line.hasPrefix("```") {
                isInside = !isInside && isBelow && line == "```\(language)"
                if isInside { blocks.append([]) }
            } else if isInside {
                let code = language == "sh" ? Self.withoutComment(line) : line
                if !code.isEmpty { blocks[blocks.count - 1].append(code) }
            }
        }
        return blocks
    }

    private static func withoutComment(_ line: String) -> String {
        guard let comment = line.range(of: "  #") else { return line }
        return line[..<comment.lowerBound].trimmingCharacters(in: .whitespaces)
    }

    /// The lines between the markers of a sample, not indented and without empty ones.
    static func sample(_ name: String) throws -> [String] {
        let all = try Self("Tests/SystemTests/ReadmeSamples.swift").lines
        let start = try #require(all.firstIndex(of: "    // sample: \(name)"))
        return all[(start + 1)...].prefix { $0 != "    // end" }
            .filter { !$0.isEmpty }.map { String($0.dropFirst(4)) }
    }
}
