import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

@Suite struct PeerTests {
    private let bench = PeerBench()

    private func greeted() throws -> BenchClient {
        let client = bench.connect()
        try client.say("HELLO versions=1..1 keepalive=10 name=t")
        return client
    }

    /// A consumer for whom events wait to be written, and who has asked for `demand`.
    private func stalled(_ events: Int, demand: Int, size: Int = 1) throws -> BenchClient {
        let consumer = try greeted()
        try consumer.say("OPEN 1 sink topic=t demand=\(demand)")
        let producer = try greeted()
        try producer.say("OPEN 1 source topic=t available=\(events)")
        let payload = String(repeating: "x", count: size)
        let payloads = Array(repeating: payload, count: events).joined(separator: " ")
        try producer.say("EVENTS 1 seq=1 [\(payloads)]")
        return consumer
    }

    private func remove(_ topic: String) throws {
        let op = try greeted()
        try op.say("OPEN 1 source topic=$sys/ctl available=1")
        try op.say("EVENTS 1 seq=1 [{\"op\":\"remove-topic\",\"topic\":\"\(topic)\"}]")
    }

    private static func types(_ sentences: [Sentence]) -> [String] {
        sentences.map { "\($0.type) \($0.link)" }
    }

    @Test("A link that ends in peace delivers first what its ledger counts as delivered")
    func closeKeepsPlace() throws {
        let consumer = try stalled(3, demand: 5)
        try remove("t")
        consumer.run()
        let said = consumer.take()
        #expect(Self.types(said) == ["EVENTS 1", "CLOSE 1"])
        #expect(said.last?.fields["code"] == "TOPIC_DELETED")
    }

    @Test("A CLOSE that crosses one that waits is answered by that one, once")
    func crossing() throws {
        let consumer = try stalled(3, demand: 5)
        try remove("t")
        let said = try consumer.say("CLOSE 1 NORMAL")
        #expect(said.count { $0.type == "CLOSE" } == 1)
        #expect(try consumer.say("CLOSE 1 NORMAL").isEmpty)
    }

    @Test("What was taken is settled before the link ends for what was not")
    func settleBeforeClose() throws {
        let producer = try greeted()
        try producer.say("OPEN 1 source topic=t available=2")
        let good = try #require(Sentence(parsing: "EVENTS 1 seq=1 [a b]")).encoded()
        let bad = try #require(Sentence(parsing: "EVENTS 1 seq=3 [c d e f g h]")).encoded()
        producer.send(good + bad)
        producer.run()
        let said = producer.take()
        #expect(Self.types(said) == ["SETTLE 1", "CLOSE 1"])
        #expect(said.last?.fields["code"] == "CREDIT_OVERRUN")
    }

    @Test("Nothing follows the CLOSE of a connection, whatever was waiting")
    func nothingAfterTheEnd() throws {
        let consumer = try stalled(3, demand: 5)
        let bad = try #require(Sentence(parsing: "DEMAND 7 n=1 total=1")).encoded()
        let ping = try #require(Sentence(parsing: "PING 1")).encoded()
        consumer.send(ping + bad + ping)
        consumer.run()
        #expect(Self.types(consumer.take()) == ["PING 0", "CLOSE 0"])
        #expect(consumer.isEnded && consumer.peer.out.eventBytes == 0)
    }

    @Test("A refused OPEN leaves no link that counts against the limit")
    func refusals() throws {
        let client = try greeted()
        for link in 1...Limits.linksPerConnectionMax + 5 {
            let said = try client.say("OPEN \(link) sink topic=t demand=1048577")
            #expect(said.first?.fields["code"] == "LIMIT")
            #expect(said.first?.fields["reason"]?.contains("links") == false)
        }
    }

    @Test("Tight windows hold for links old and new, and open again")
    func windows() throws {
        let consumer = try stalled(100, demand: 1_000, size: 1_000)
        #expect(consumer.peer.out.eventBytes > Limits.writeWindowBytes / 2)
        consumer.run()
        bench.engine.setWindows(bytes: Limits.writeWindowBytesTight)
        let other = try greeted()
        try other.say("OPEN 1 sink topic=t group=g start=first demand=1000")
        let producer = try greeted()
        try producer.say("OPEN 1 source topic=t available=100")
        let payload = String(repeating: "x", count: 1_000)
        let payloads = Array(repeating: payload, count: 100).joined(separator: " ")
        try producer.say("EVENTS 1 seq=1 [\(payloads)]")
        for client in [consumer, other] {
            #expect(client.peer.out.eventBytes > 0)
            #expect(client.peer.out.eventBytes <= Limits.writeWindowBytesTight)
        }
        bench.engine.setWindows(bytes: Limits.writeWindowBytes)
        for client in [consumer, other] {
            client.write()
            #expect(client.peer.out.eventBytes > Limits.writeWindowBytes / 2)
        }
        for _ in 0..<4 {
            consumer.run()
            other.run()
        }
        #expect(consumer.take().flatMap(\.events).count == 200)
        #expect(other.take().flatMap(\.events).last?.sequence == 100)
    }

    @Test("Nobody holds on to a client that has gone, nor to what it was sent")
    func lettingGo() throws {
        weak var peer: ClientPeer?
        do {
            let consumer = try stalled(3, demand: 5)
            try consumer.say("OPEN 2 sink topic=$sys/connections demand=1")
            try consumer.say("OPEN 3 source topic=$sys/ctl")
            peer = consumer.peer
            consumer.peer.lost()
        }
        #expect(peer == nil)
    }
}
