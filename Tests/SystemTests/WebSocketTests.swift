import Foundation
import Testing

extension SystemTests {
    @Suite(
        "WebSocket",
        .enabled(if: Place.peer("python") != nil, "make peers installs its other end")
    )
    struct WebSocketTests {
        private static func python(_ script: String, _ words: [String]) throws -> Running {
            let path = Place.root.appending(path: "Tests/Peers/\(script)").path
            let environment = ["PYTHONDONTWRITEBYTECODE": "1"]
            let python = try #require(Place.peer("python"))
            return try Running(python, [path] + words, environment: environment)
        }

        @Test(
            "the protocol goes through it, and what does not belong there is refused",
            .timeLimit(.minutes(1)),
            arguments: ["handshake", "faults", "bytewise", "silent", "conversation", "large"],
            Broker.shardCounts
        )
        func checks(check: String, shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let outcome = try Self.python(
                "websocket_checks.py",
                [try #require(broker.http), check]
            ).wait()
            #expect(outcome.code == 0, "\(outcome.text)\(outcome.errors)")
            #expect(broker.running.process.isRunning)
        }

        @Test(
            "every client works over it, wherever messages end",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func tunnel(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let tunnel = try Self.python("tunnel.py", ["ws://\(try #require(broker.http))/v1/ws"])
            try eventually("the tunnel listens") { !tunnel.output.isEmpty }
            let port = String(decoding: tunnel.output, as: UTF8.self)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let there = ["SLUICE_SERVER": "127.0.0.1:\(port)"]
            try broker.run("topic", "create", "t")
            let consumer = try broker.start(["sub", "t", "-n", "3000"], environment: there)
            try eventually("it consumes") { try broker.topic("t").consumers == 1 }
            let lines = (1...3_000).map { "\($0)\n" }.joined()
            let sent = try broker.run(
                "pub",
                "t",
                "--each",
                "line",
                input: lines,
                environment: there
            )
            #expect(sent.code == 0, "\(sent.errors)")
            #expect(consumer.wait().text == lines)
            let listed = try broker.run("conn", "ls", "-o", "jsonl", environment: there)
            #expect(listed.text.contains("\"peer\":\"127.0.0.1:"))
            tunnel.signal(SIGKILL)
            try eventually("nobody is left") { try broker.topic("t").consumers == 0 }
        }

        @Test("what a client does not take stays with the topic", .timeLimit(.minutes(1)))
        func stalled() throws {
            let broker = try Broker.withHTTP(shards: 1)
            let count = 30_000
            try broker.run("topic", "create", "stalled", "--buffer", "\(count)")
            let file = FileManager.default.temporaryDirectory
                .appending(path: "sluice-test-\(UUID().uuidString)").path
            defer { try? FileManager.default.removeItem(atPath: file) }
            let consumer = try Self.python(
                "websocket_checks.py",
                [try #require(broker.http), "stalled", "\(count)", file]
            )
            try eventually("it asks") { try broker.topic("stalled").consumers == 1 }
            let line = String(repeating: "x", count: 999) + "\n"
            let sent = try broker.run(
                "pub",
                "stalled",
                "--each",
                "line",
                input: String(repeating: line, count: count)
            )
            #expect(sent.code == 0, "\(sent.errors)")
            // Buffers of kernels and clients hold some of it, but nothing like 30 MB.
            #expect(try broker.topic("stalled").bufferedEvents > 10_000)
            #expect(FileManager.default.createFile(atPath: file, contents: nil))
            let outcome = consumer.wait()
            #expect(outcome.text == "all came\n", "\(outcome.errors)")
        }

        @Test("it is asked for as HTTP says, and by HTTP/1.1", .timeLimit(.minutes(1)))
        func plain() throws {
            let broker = try Broker.withHTTP(shards: 1)
            let plain = try broker.curl("/v1/ws")
            #expect(plain.status == 426)
            #expect(plain.header("upgrade") == "websocket")
            #expect(try broker.curl("/v1/ws", "--http2-prior-knowledge").status == 400)
            #expect(try broker.curl("/v1/ws", "-X", "POST").status == 405)
        }

        @Test("a broker that stops says so inside, and closes it", .timeLimit(.minutes(1)))
        func stopping() throws {
            let broker = try Broker.withHTTP(shards: 1)
            let tunnel = try Self.python("tunnel.py", ["ws://\(try #require(broker.http))/v1/ws"])
            try eventually("the tunnel listens") { !tunnel.output.isEmpty }
            let port = String(decoding: tunnel.output, as: UTF8.self)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let there = ["SLUICE_SERVER": "127.0.0.1:\(port)"]
            try broker.run("topic", "create", "t")
            let consumer = try broker.start(["sub", "t"], environment: there)
            try eventually("it consumes") { try broker.topic("t").consumers == 1 }
            broker.running.signal(SIGTERM)
            #expect(broker.running.wait().code == 0)
            #expect(consumer.wait().errors.contains("going away"))
        }
    }
}
