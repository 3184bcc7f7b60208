import Foundation
import Testing

extension SystemTests {
    @Suite("Clients that vanish")
    struct VanishTests {
        @Test(
            "streams whose client is gone without a word end, one that takes nothing does not",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func vanish(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards, ["--keepalive", "1s"])
            let large = String(repeating: String(repeating: "p", count: 9_999) + "\n", count: 400)
            try broker.run("topic", "create", "full")
            #expect(try broker.run("pub", "full", input: large).code == 0)
            let script = Place.root.appending(path: "Tests/Http/vanish.py").path
            let clients = Process()
            clients.executableURL = URL(filePath: "/usr/bin/python3")
            clients.arguments = [script, try #require(broker.http)]
            let (orders, answers) = (Pipe(), Pipe())
            clients.standardInput = orders
            clients.standardOutput = answers
            try clients.run()
            defer { clients.terminate() }
            /// A line; what there is of one when they end.
            func answer() -> String {
                var line = Data()
                while line.last != UInt8(ascii: "\n") {
                    let more = answers.fileHandleForReading.availableData
                    guard !more.isEmpty else { break }
                    line += more
                }
                return String(decoding: line, as: UTF8.self)
            }
            #expect(answer() == "7\n")
            #expect(try broker.run("consumer", "ls").lines.count == 7)
            orders.fileHandleForWriting.write(Data("vanish\n".utf8))
            #expect(answer() == "gone\n")
            // On one topic the broker has something to say to them, on the other nothing.
            try broker.run("pub", "busy", "x", "y", "z")
            try eventually("the gone ones are detached") {
                try broker.run("consumer", "ls").lines.count == 1
            }
            #expect(try broker.run("consumer", "ls", "full").lines.count == 1)
        }
    }
}
