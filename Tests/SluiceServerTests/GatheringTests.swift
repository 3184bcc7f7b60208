import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

/// Frames of few events that arrive in one read are taken as one; nobody may see that.
@Suite struct GatheringTests {
    private let bench = PeerBench()

    private func greeted(_ opening: String) throws -> BenchClient {
        let client = bench.connect()
        try client.say("HELLO versions=1..1 keepalive=10 name=t")
        try client.say(opening)
        return client
    }

    private func bytes(_ lines: [String]) throws -> [UInt8] {
        try lines.flatMap { try #require(Sentence(parsing: $0), "\($0)").encoded() }
    }

    @Test("Single events in one read come out in order, byte for byte, in one frame")
    func order() throws {
        let consumer = try greeted("OPEN 1 sink topic=t demand=100")
        let producer = try greeted("OPEN 1 source topic=t available=100")
        let lines = (1...9).map { "EVENTS 1 seq=\($0) [\(String(repeating: "\($0)", count: $0))]" }
        producer.send(try bytes(lines))
        producer.run()
        consumer.run()
        let events = consumer.take().filter { $0.type == "EVENTS" }
        #expect(events.count == 1)
        let payloads = events.flatMap(\.events).map(\.payload)
        #expect(payloads == (1...9).map { String(repeating: "\($0)", count: $0) })
        let settled = producer.take().filter { $0.type == "SETTLE" }.flatMap(\.verdicts)
        #expect(settled.map(\.sequence) == Array(1...9))
    }

    @Test("The frame that overruns is refused alone; those before it are taken")
    func overrun() throws {
        let producer = bench.connect()
        try producer.say("HELLO versions=1..1 keepalive=10 name=t")
        let answer = try producer.say("OPEN 1 source topic=t available=3")
        let granted = try #require(answer.first { $0.type == "DEMAND" }?["n"])
        let lines = (1...granted + 1).map { "EVENTS 1 seq=\($0) [x]" }
        producer.send(try bytes(lines))
        producer.run()
        let said = producer.take()
        #expect(said.last?.type == "CLOSE")
        #expect(said.last?.fields["code"] == "CREDIT_OVERRUN")
        let settled = said.filter { $0.type == "SETTLE" }.flatMap(\.verdicts)
        #expect(settled.map(\.sequence) == Array(1...granted))
    }

    @Test("Frames of two links and other frames between them keep their places")
    func interleaved() throws {
        let consumer = try greeted("OPEN 1 sink topic=t demand=100")
        let producer = try greeted("OPEN 1 source topic=t available=100")
        try producer.say("OPEN 2 source topic=t available=100")
        producer.send(
            try bytes([
                "EVENTS 1 seq=1 [a]", "EVENTS 1 seq=2 [b]", "EVENTS 2 seq=1 [c]",
                "EVENTS 1 seq=3 [d]", "PING 7", "EVENTS 1 seq=4 [e f]", "EVENTS 2 seq=2 [g]",
            ])
        )
        producer.run()
        consumer.run()
        let payloads = consumer.take().flatMap(\.events).map(\.payload)
        #expect(payloads == ["a", "b", "c", "d", "e", "f", "g"])
    }

    @Test("Sequences at the end of their numbers are refused like any that do not follow on")
    func endOfNumbers() throws {
        let producer = try greeted("OPEN 1 source topic=t available=100")
        let last = "EVENTS 1 seq=\(UInt64.max) [x]"
        producer.send(try bytes([last, last, "EVENTS 1 seq=0 [y]"]))
        producer.run()
        let said = producer.take()
        #expect(said.last?.fields["code"] == "CREDIT_MISMATCH")
    }
}
