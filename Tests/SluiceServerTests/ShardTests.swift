import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import Testing

@Suite struct ShardTests {
    private static let shards = 3

    /// A topic for each shard.
    private static let topics = (0..<shards).map { shard in
        let place = Place(index: 0, of: shards, census: Census())
        return (0...).lazy.map { "t\($0)" }.first { place.home(of: Name($0)) == shard } ?? ""
    }

    @Test("A client that says all at once is served wherever its first topic is", arguments: topics)
    func pipelined(_ topic: String) async throws {
        try await withServer {
            $0.shards = Self.shards
        } _: { address in
            let client = try RawClient(address)
            let lines = [
                "HELLO versions=1..1 keepalive=10 name=all", "PING 1",
                "OPEN 1 sink topic=\(topic) demand=3", "OPEN 2 source topic=\(topic) available=2",
                "PING 2",
            ]
            let bytes = try lines.flatMap { try #require(Sentence(parsing: $0)).encoded() }
            let middle = bytes.count - 40
            try client.send(Array(bytes[..<(middle - 11)]))
            try client.send(Array(bytes[(middle - 11)..<middle]))
            try client.send(Array(bytes[middle...]))
            try client.hear("OPENED", 1)
            try client.hear("DEMAND", 2)
            try client.say("EVENTS 2 seq=1 [a b]")
            let events = try client.hear("EVENTS", 1)
            #expect(events.events.map(\.payload) == ["a", "b"])
        }
    }

    @Test("One connection uses topics of every shard, and each event comes once, in order")
    func everywhere() async throws {
        try await withServer {
            $0.shards = Self.shards
        } _: { address in
            let client = try RawClient(address)
            try client.greet()
            for (index, topic) in Self.topics.enumerated() {
                try client.say("OPEN \(2 * index + 1) sink topic=\(topic) demand=1000")
                try client.say("OPEN \(2 * index + 2) source topic=\(topic) available=1000")
                try client.hear("DEMAND", UInt32(2 * index + 2))
            }
            for batch in 0..<10 {
                for index in Self.topics.indices {
                    let payloads = (1...100).map { "\(index).\(batch * 100 + $0)" }
                    let text = payloads.joined(separator: " ")
                    try client.say("EVENTS \(2 * index + 2) seq=\(batch * 100 + 1) [\(text)]")
                }
            }
            var came: [[String]] = Array(repeating: [], count: Self.shards)
            while !came.allSatisfy({ $0.count >= 1_000 }) {
                let frame = try client.hear("all events") { $0.type == "EVENTS" }
                came[Int(frame.link) / 2] += frame.events.compactMap(\.payload)
            }
            for index in Self.topics.indices {
                #expect(came[index] == (1...1_000).map { "\(index).\($0)" })
            }
        }
    }

    @Test("A session is found on the shard where it lives, and taken over there", arguments: topics)
    func resume(_ topic: String) async throws {
        try await withServer {
            $0.shards = Self.shards
        } _: { address in
            let client = try RawClient(address)
            let token = try client.greet()
            for (index, other) in ([topic] + Self.topics).enumerated() {
                try client.say("OPEN \(index + 1) sink topic=\(other) group=g demand=7")
                try client.hear("OPENED", UInt32(index + 1))
            }
            for _ in 0..<2 {
                let again = try RawClient(address)
                try again.say("HELLO versions=1..1 keepalive=10 name=raw session=\(token)")
                #expect(try again.hear("WELCOME").flags == ["RESUMED"])
                for (index, other) in ([topic] + Self.topics).enumerated() {
                    try again.say("OPEN \(index + 1) sink topic=\(other) group=g resume asked=7")
                    #expect(try again.hear("OPENED", UInt32(index + 1))["asked"] == 7)
                }
                again.cut()
            }
            let stranger = try RawClient(address)
            let nobody = String(repeating: "ab", count: 16)
            try stranger.say("HELLO versions=1..1 keepalive=10 name=raw session=\(nobody)")
            #expect(try stranger.hear("WELCOME").flags == [])
            try stranger.sync()
        }
    }

    @Test("A stop delivers what was asked of topics on other shards, and then ends")
    func deliveringStop() async throws {
        let (server, address) = try await startServer {
            $0.shards = Self.shards
            $0.drainSeconds = 3_600
        }
        try await blocking {
            let client = try RawClient(address)
            try client.greet()
            // 2 MB on each shard: more than the kernel holds for a client that does not read.
            let payload = String(repeating: "p", count: 1_000)
            let events = Array(repeating: payload, count: 100).joined(separator: " ")
            for (index, topic) in Self.topics.enumerated() {
                let (source, sink) = (UInt32(2 * index + 1), UInt32(2 * index + 2))
                try client.say("OPEN \(source) source topic=\(topic) available=2000")
                try client.hear("DEMAND", source)
                for batch in 0..<20 {
                    try client.say("EVENTS \(source) seq=\(batch * 100 + 1) [\(events)]")
                }
                try client.say("CLOSE \(source) NORMAL")
                try client.hear("CLOSE", source)
                try client.say("OPEN \(sink) sink topic=\(topic)")
                try client.hear("OPENED", sink)
            }
            let witness = try RawClient(address)
            try witness.greet()
            let asked = try Self.topics.indices.flatMap {
                let demand = Sentence(parsing: "DEMAND \(2 * $0 + 2) n=2000 total=2000")
                return try #require(demand).encoded()
            }
            // They come in one read; nothing is read here, not even the answer to a PING.
            try client.send(asked)
            var link: UInt32 = 1
            while try witness.serverDocument(link).contains("\"eventsOut\":0,") { link += 1 }
            server.stop()
            // Many times as long as a stop takes for which there is nothing to wait.
            for round in 0..<500 { try witness.sync(UInt64(round)) }
            let said = try client.hearTheEnd()
            for index in Self.topics.indices {
                let last = said.last { $0.link == 2 * index + 2 && $0.type == "EVENTS" }
                #expect(last?.events.last?.sequence == 2_000, "of shard \(index)")
            }
            #expect(said.last?.type == "CLOSE" && said.last?.link == 0)
        }
        await server.waitUntilStopped()
    }

    @Test("A stop of idle shards waits for nothing")
    func idleStop() async throws {
        let (server, address) = try await startServer {
            $0.shards = Self.shards
            $0.drainSeconds = 3_600
        }
        do {
            try await blocking {
                let clients = try Self.topics.map { topic in
                    let client = try RawClient(address)
                    try client.greet()
                    try client.say("OPEN 1 sink topic=\(topic) demand=1")
                    try client.hear("OPENED", 1)
                    return client
                }
                server.stop()
                for client in clients {
                    try client.hear("the last words") { $0.type == "CLOSE" && $0.flags.isEmpty }
                }
            }
        } catch {
            server.stop()
            throw error
        }
        await server.waitUntilStopped()
    }

    @Test("A stop waits on every shard for what a producer still holds on one")
    func patientStop() async throws {
        let (server, address) = try await startServer {
            $0.shards = Self.shards
            $0.drainSeconds = 3_600
        }
        try await blocking {
            let producer = try RawClient(address)
            try producer.greet()
            try producer.say("OPEN 1 sink topic=\(Self.topics[0])")
            try producer.say("OPEN 2 source topic=\(Self.topics[1]) available=3")
            try producer.hear("DEMAND", 2)
            let consumer = try RawClient(address)
            try consumer.greet()
            try consumer.say("OPEN 1 sink topic=\(Self.topics[2])")
            try consumer.say("OPEN 2 sink topic=\(Self.topics[1]) demand=10")
            try consumer.hear("OPENED", 2)
            server.stop()
            try producer.hear("DEMAND", 2)
            // Many times as long as a stop takes for which there is nothing to wait.
            for round in 0..<500 {
                try producer.sync(UInt64(round))
                try consumer.sync(UInt64(round))
            }
            try producer.say("EVENTS 2 seq=1 [a b c]")
            #expect(try consumer.hear("EVENTS", 2).events.map(\.payload) == ["a", "b", "c"])
            for client in [producer, consumer] {
                try client.hear("the last words") { $0.type == "CLOSE" && $0.flags.isEmpty }
            }
        }
        await server.waitUntilStopped()
    }

    @Test("A stop while clients come, move and talk ends all the same")
    func hurriedStop() async throws {
        let (server, address) = try await startServer {
            $0.shards = Self.shards
            $0.drainSeconds = 1
        }
        try await blocking {
            var clients: [RawClient] = []
            for round in 0..<60 {
                guard let client = try? RawClient(address) else { continue }
                clients.append(client)
                let topic = Self.topics[round % Self.shards]
                try? client.say("HELLO versions=1..1 keepalive=10 name=raw")
                try? client.say("OPEN 1 sink topic=\(topic) demand=5")
                try? client.say("OPEN 2 source topic=\(Self.topics[0])")
                if round == 30 { server.stop() }
            }
        }
        await server.waitUntilStopped()
    }
}
