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

    /// What everybody was told: events in their order, verdicts, and how links and connections end.
    private struct Story: Equatable {
        var payloads: [String?] = []
        var settled: [UInt64] = []
        var codes: [String] = []
        var pongs: [UInt64?] = []
        var isEnded = false
    }

    /// The story of frames that come in as many reads as there are chunks.
    private func story(of chunks: [[UInt8]]) throws -> Story {
        let gathering = GatheringTests()
        let consumer = try gathering.greeted("OPEN 1 sink topic=t demand=10000")
        let producer = try gathering.greeted("OPEN 1 source topic=t available=10000")
        try producer.say("OPEN 2 source topic=t available=10000")
        for chunk in chunks where !producer.isEnded { producer.send(chunk) }
        producer.run()
        consumer.run()
        let said = producer.take()
        var story = Story()
        story.payloads = consumer.take().flatMap(\.events).map(\.payload)
        story.settled = said.flatMap(\.verdicts).map(\.sequence).sorted()
        story.codes = said.compactMap { $0.fields["code"] }
        story.pongs = said.filter { $0.flags == ["PONG"] }.map { $0["opaque"] }
        story.isEnded = producer.isEnded
        return story
    }

    /// Frames as a producer sends them that has few events at a time, and the odd other one.
    private func frames(using random: inout SeededGenerator) throws -> [[UInt8]] {
        var next: [UInt64] = [0, 1, 1]
        var frames: [[UInt8]] = []
        for number in 1...Int.random(in: 1...300, using: &random) {
            let link = Int.random(in: 0..<20, using: &random) == 0 ? 2 : 1
            let events = (1...Int.random(in: 1...3, using: &random)).map { "\(number).\($0)" }
            let line =
                switch Int.random(in: 0..<60, using: &random) {
                case 0: "PING \(number)"
                case 1: "EVENTS \(link) seq=\(next[link]) [\(events.joined(separator: "] ["))]"
                case 2: "EVENTS \(link) seq=\(next[link] + 1) [x]"
                default: "EVENTS \(link) seq=\(next[link]) [\(events.joined(separator: " "))]"
                }
            let sentence = try #require(Sentence(parsing: line), "\(line)")
            next[link] += UInt64(sentence.events.count)
            frames.append(try sentence.encoded())
            guard Int.random(in: 0..<80, using: &random) == 0 else { continue }
            let place = Int.random(in: 0..<frames[number - 1].count, using: &random)
            frames[number - 1][place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        }
        return frames
    }

    @Test("Whatever comes in one read is taken as if each frame had come alone")
    func together() throws {
        var random = SeededGenerator.replayable("together")
        var ended = 0
        for round in 1...200 {
            let frames = try frames(using: &random)
            let alone = try story(of: frames)
            let together = try story(of: [frames.flatMap(\.self)])
            #expect(together == alone, "round \(round)")
            if !alone.codes.isEmpty { ended += 1 }
        }
        #expect(ended > 20 && ended < 200, "both kinds of story are told")
    }
}
