import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

@Suite struct ServerTests {
    @Test("Who says nothing for five seconds is told IDLE and closed")
    func helloTimeout() async throws {
        try await withServer { address in
            let client = try RawClient(address)
            try client.send([0, 0, 22, 1, 0])
            let said = try client.hearTheEnd()
            #expect(said.map { $0.fields["code"] } == ["IDLE"])
        }
    }

    @Test("Silence is broken by PING, ends with IDLE, and the session can be resumed")
    func keepalive() async throws {
        try await withServer { address in
            let client = try RawClient(address)
            let token = try client.greet("keepalive=1")
            try client.say("OPEN 1 sink topic=t")
            for _ in 0..<3 {
                let ping = try client.hear("PING") { $0.type == "PING" && $0.flags.isEmpty }
                try client.say("PING \(ping.fields["opaque"] ?? "") PONG")
            }
            let said = try client.hearTheEnd()
            #expect(said.last?.fields["code"] == "IDLE")
            #expect(said.contains { $0.type == "PING" })
            let again = try RawClient(address)
            try again.say("HELLO versions=1..1 keepalive=1 name=raw session=\(token)")
            #expect(try again.hear("WELCOME").flags == ["RESUMED"])
        }
    }

    @Test("A settlement comes by itself, and before the answer to a PING behind the events")
    func settlement() async throws {
        try await withServer { address in
            let client = try RawClient(address)
            try client.greet()
            try client.say("OPEN 1 source topic=t available=2")
            try client.hear("DEMAND", 1)
            try client.say("EVENTS 1 seq=1 [a]")
            #expect(try client.hear("SETTLE", 1).verdicts.map(\.sequence) == [1])
            try client.say("EVENTS 1 seq=2 [b]")
            try client.say("PING 7")
            let answer = try client.hear("SETTLE or PING") { ["SETTLE", "PING"].contains($0.type) }
            #expect(answer.type == "SETTLE" && answer.verdicts.map(\.sequence) == [2])
            try client.hear("PING")
        }
    }

    @Test("An event has the time at which it came, however long nothing had happened before")
    func time() async throws {
        try await withServer { address in
            let producer = try RawClient(address)
            try producer.greet()
            try producer.say("OPEN 1 source topic=t available=2")
            try producer.hear("DEMAND", 1)
            try producer.say("EVENTS 1 seq=1 [old]")
            try producer.hear("SETTLE", 1)
            let now = UInt64(Date().timeIntervalSince1970 * 1_000_000)
            try producer.say("EVENTS 1 seq=2 [new]")
            try producer.hear("SETTLE", 1)
            let consumer = try RawClient(address)
            try consumer.greet()
            try consumer.say("OPEN 1 sink topic=t start=time:\(now) demand=1")
            #expect(try consumer.hear("EVENTS", 1).events.map(\.payload) == ["new"])
        }
    }

    @Test("One connection too many is told BUSY, and there is room again when one has gone")
    func connectionLimit() async throws {
        try await withServer {
            $0.connectionsMax = 1
        } _: { address in
            let first = try RawClient(address)
            try first.greet()
            let second = try RawClient(address)
            let said = try second.hearTheEnd()
            #expect(said.map { $0.fields["code"] } == ["BUSY"])
            #expect((1_000..<2_000).contains(said.first?["retry"] ?? 0))
            try first.say("CLOSE 0 NORMAL")
            #expect(try first.hearTheEnd().isEmpty)
            first.cut()
            try RawClient(address).greet()
        }
    }

    @Test("The reason of a close arrives even if the client had sent much more")
    func lastWords() async throws {
        try await withServer { address in
            for _ in 0..<20 {
                let client = try RawClient(address)
                try client.greet()
                let bad = try #require(Sentence(parsing: "DEMAND 9 n=1 total=1")).encoded()
                try client.send(bad + [UInt8](repeating: 0, count: 400_000))
                let said = try client.hearTheEnd()
                #expect(said.map { $0.fields["code"] } == ["BAD_LINK"])
            }
        }
    }

    @Test("A stop recalls grants, delivers what has credit, says GOING_AWAY and ends")
    func gracefulStop() async throws {
        let (server, address) = try await startServer { _ in }
        try await blocking {
            let client = try RawClient(address)
            try client.greet()
            try client.say("OPEN 1 source topic=t")
            try client.hear("DEMAND", 1)
            server.stop()
            let goodbye = try client.hear("CLOSE", 0)
            #expect(goodbye.flags == ["GRACEFUL"])
            #expect((1_000..<2_000).contains(goodbye["retry"] ?? 0))
            let stop = try client.hear("DEMAND", 1)
            #expect(stop.flags == ["STOP"])
            try client.say("EVENTS 1 seq=1 [a b c]")
            try client.say("OPEN 2 sink topic=t demand=1")
            #expect(try client.hear("CLOSE", 2).fields["code"] == "BUSY")
            // Whether it is refused or turned away: another shard may have the listener open yet.
            #expect(throws: (any Error).self) { try RawClient(address).greet() }
            let total = stop["total"] ?? 0
            let bytes = stop["bytes_total"] ?? 0
            try client.say(
                "STATUS 1 DRAINED asked=\(total) delivered=3 forfeited=\(total - 3) "
                    + "asked_bytes=\(bytes) delivered_bytes=15 forfeited_bytes=\(bytes - 15) "
                    + "stopped_to=\(total)"
            )
            let said = try client.hearTheEnd()
            #expect(said.last?.fields["code"] == "GOING_AWAY" && said.last?.flags == [])
        }
        await server.waitUntilStopped()
    }

    @Test("A stop delivers what was asked before it was asked to stop")
    func deliveringStop() async throws {
        let (server, address) = try await startServer { _ in }
        try await blocking {
            let client = try RawClient(address)
            try client.greet()
            try client.say("OPEN 1 sink topic=t demand=10000")
            try client.say("OPEN 2 source topic=t available=4000")
            let grant = try client.hear("DEMAND", 2)
            #expect(grant["n"] == 4_000)
            let payload = String(repeating: "p", count: 200)
            for batch in 0..<40 {
                let events = Array(repeating: payload, count: 100).joined(separator: " ")
                try client.say("EVENTS 2 seq=\(batch * 100 + 1) [\(events)]")
            }
            try client.say("CLOSE 2 NORMAL")
            var last: UInt64 = 0
            try client.hear("the answer of link 2") { sentence in
                last = max(last, sentence.events.last?.sequence ?? 0)
                return sentence.type == "CLOSE" && sentence.link == 2
            }
            server.stop()
            let said = try client.hearTheEnd()
            #expect(max(last, said.flatMap(\.events).last?.sequence ?? 0) == 4_000)
            #expect(said.last?.type == "CLOSE" && said.last?.link == 0)
        }
        await server.waitUntilStopped()
    }

    @Test("A client that still sends when the broker leaves gets all that it was sent")
    func sendingStop() async throws {
        let (server, address) = try await startServer { _ in }
        try await blocking {
            let client = try RawClient(address)
            try client.narrow()
            try client.greet()
            try client.say("OPEN 1 source topic=t available=300")
            try client.hear("DEMAND", 1)
            let payload = String(repeating: "p", count: 250)
            for batch in 0..<3 {
                let events = Array(repeating: payload, count: 100).joined(separator: " ")
                try client.say("EVENTS 1 seq=\(batch * 100 + 1) [\(events)]")
            }
            try client.say("CLOSE 1 NORMAL")
            try client.hear("CLOSE", 1)
            // Most of it waits in the kernel at the broker's end while PINGs go out.
            try client.say("OPEN 2 sink topic=t demand=300")
            try client.hear("OPENED", 2)
            server.stop()
            let said = try client.hearTheEnd(saying: "PING 7")
            #expect(said.flatMap(\.events).last?.sequence == 300)
            #expect(said.last?.type == "CLOSE" && said.last?.link == 0)
        }
        await server.waitUntilStopped()
    }

    @Test("A frame far above a receive slab is put together and passed on")
    func largeFrames() async throws {
        try await withServer { address in
            let client = try RawClient(address)
            try client.greet()
            try client.say("OPEN 1 source topic=t available=1")
            try client.say("OPEN 2 sink topic=t demand=1")
            let ask = try client.hear("DEMAND", 1)
            let payload = String(repeating: "0123456789", count: 90_000)
            try client.say(
                "STATUS 1 asked=1 asked_bytes=\(ask["bytes_total"] ?? 0) available=1 "
                    + "blocked_by=bytes need_bytes=900004"
            )
            try client.hear("DEMAND", 1)
            let frame = try #require(Sentence(parsing: "EVENTS 1 seq=1 [\(payload)]")).encoded()
            for start in stride(from: 0, to: frame.count, by: 100_000) {
                try client.send(Array(frame[start..<min(frame.count, start + 100_000)]))
            }
            let events = try client.hear("EVENTS", 2)
            #expect(events.events.first?.payload == payload)
            try client.sync()
        }
    }

    @Test("Frames that stand still give their memory to one that comes, and lose their connections")
    func assemblyBudget() async throws {
        try await withServer { address in
            let frame =
                [0x10, 0, 0, 99, 0x80, 0, 0, 0, 0] + [UInt8](repeating: 7, count: 1_048_576)
            let attackers = try (0..<20).map { _ in
                let client = try RawClient(address)
                try client.greet()
                try client.send(Array(frame[..<300_000]))
                return client
            }
            let client = try RawClient(address)
            try client.greet()
            try client.send(frame)
            try client.sync()
            let closed = try attackers[0].hearTheEnd()
            #expect(closed.last?.fields["code"] == "IDLE")
        }
    }

    @Test("A frame that comes in many small pieces beside many others arrives whole")
    func unfinishedFrames() async throws {
        try await withServer { address in
            let frame =
                [0, 0x75, 0x30, 99, 0x80, 0, 0, 0, 0] + [UInt8](repeating: 7, count: 30_000)
            let clients = try (0..<40).map { _ in
                let client = try RawClient(address)
                try client.greet()
                return client
            }
            for start in [0, 5, 12, 9_000, 30_000] {
                let ends = [0: 5, 5: 12, 12: 9_000, 9_000: 30_000, 30_000: frame.count]
                let end = try #require(ends[start])
                for client in clients { try client.send(Array(frame[start..<end])) }
            }
            for client in clients { try client.sync() }
        }
    }

    @Test("A unix socket serves as well, and its file goes with the broker")
    func unixSocket() async throws {
        let path = temporarySocketPath()
        try await withServer {
            $0.listen = ["unix:\(path)"]
        } _: { address in
            #expect(address == "unix:\(path)")
            let client = try RawClient(address)
            try client.greet()
            try client.say("OPEN 1 sink topic=t demand=1")
            try client.hear("OPENED", 1)
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test("A session goes on after a real cut, and a second connection takes it from the first")
    func resume() async throws {
        try await withServer { address in
            let client = try RawClient(address)
            let token = try client.greet()
            try client.say("OPEN 1 sink topic=t group=g demand=7")
            try client.hear("OPENED", 1)
            client.cut()
            let second = try RawClient(address)
            try second.say("HELLO versions=1..1 keepalive=10 name=raw session=\(token)")
            #expect(try second.hear("WELCOME").flags == ["RESUMED"])
            try second.say("OPEN 1 sink topic=t group=g resume asked=7")
            let opened = try second.hear("OPENED", 1)
            #expect(opened.flags == ["RESUMED"] && opened["asked"] == 7)
            let third = try RawClient(address)
            try third.say("HELLO versions=1..1 keepalive=10 name=raw session=\(token)")
            #expect(try third.hear("WELCOME").flags == ["RESUMED"])
            #expect(try second.hearTheEnd().last?.fields["code"] == "REPLACED")
            try third.say("OPEN 1 sink topic=t group=g resume asked=7")
            #expect(try third.hear("OPENED", 1)["asked"] == 7)
        }
    }

    @Test("Connections that come and go, politely or not, leave nothing behind")
    func churn() async throws {
        try await withServer {
            $0.engine.resumeWindowMilliseconds = 100
        } _: { address in
            let witness = try RawClient(address)
            try witness.greet()
            let before = try Self.descriptors()
            for round in 0..<300 {
                let client = try RawClient(address)
                switch round % 5 {
                case 0: client.cut()
                case 1: try client.send([0, 0, 22, 1, 0])
                case 2: try client.greet()
                case 3:
                    try client.greet()
                    try client.say("OPEN 1 sink topic=t demand=5")
                    try client.hear("OPENED", 1)
                default:
                    try client.greet()
                    try client.say("OPEN 1 source topic=t")
                    try client.say("CLOSE 0 NORMAL")
                    try client.hearTheEnd()
                }
            }
            var link: UInt32 = 0
            var document = ""
            let isClean = try Self.eventually {
                link += 1
                document = try witness.serverDocument(link)
                return document.contains("\"connections\":1,")
                    && document.contains("\"detachedSessions\":0,")
                    && document.contains("\"links\":0,")
            }
            #expect(isClean, "\(document)")
            // Other tests open descriptors of their own meanwhile, but not as many.
            #expect(try Self.eventually { try Self.descriptors() < before + 100 })
        }
    }

    private static func descriptors() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    }

    /// Asks again for ten seconds at most.
    private static func eventually(_ isSo: () throws -> Bool) rethrows -> Bool {
        let deadline = ContinuousClock.now + .seconds(10)
        while ContinuousClock.now < deadline {
            if try isSo() { return true }
        }
        return false
    }
}
