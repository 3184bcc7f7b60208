import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

@Suite("An engine is drained")
struct DrainedTests {
    private let bench = Bench()

    @Test("that holds no topic, or one that nobody uses")
    func empty() throws {
        #expect(bench.engine.isDrained)
        #expect(try bench.request(#"{"op":"create-topic","topic":"t"}"#) == nil)
        #expect(bench.engine.isDrained)
    }

    @Test("once a producer has sent all that it was granted, and not before")
    func sentAll() throws {
        let strict = Bench.strict()
        let (_, reading) = strict.connect()
        strict.openSink(reading, 1, "t", demand: 3)
        let (writer, writing) = strict.connect()
        strict.openSource(writing, 1, "t", available: 3)
        #expect(writer.take().contains(.ask(1, events: 3, flags: 0)))
        #expect(!strict.engine.isDrained)
        try strict.publish(writing, 1, first: 1, ["a", "b"])
        #expect(!strict.engine.isDrained)
        try strict.publish(writing, 1, first: 3, ["c"])
        #expect(strict.engine.isDrained)
    }

    @Test("once a producer has given back what it was granted")
    func givenBack() {
        let (_, session) = bench.connect()
        bench.openSource(session, 1, "t", available: 5)
        bench.engine.wind()
        bench.run()
        #expect(!bench.engine.isDrained)
        bench.giveBack(session, 1, 5)
        #expect(bench.engine.isDrained)
    }

    @Test("once a producer that was granted something is gone, for good or not")
    func producerGone() {
        let (_, closing) = bench.connect()
        bench.openSource(closing, 1, "t", available: 5)
        let (_, losing) = bench.connect()
        bench.openSource(losing, 1, "u", available: 5)
        bench.engine.close(closing, 1)
        #expect(!bench.engine.isDrained)
        bench.engine.disconnect(losing, links: LinkTable())
        #expect(bench.engine.isDrained)
    }

    @Test("if events wait that nobody has asked for")
    func notAsked() throws {
        let (_, reading) = bench.connect()
        bench.openSink(reading, 1, "t", group: "g")
        try bench.publish(to: "t", ["a", "b"])
        #expect(bench.engine.isDrained)
    }

    @Test("once a consumer has what it asked for, and not before")
    func asked() throws {
        let (reader, reading) = bench.connect()
        bench.openSink(reading, 1, "t")
        try bench.publish(to: "t", ["a", "b", "c"])
        _ = reader.take()
        bench.engine.demand(reading, 1, Ask(events: 2, total: 2))
        #expect(!bench.engine.isDrained)
        bench.run()
        #expect(reader.take() == [.events(1, first: 1, ["a", "b"])])
        #expect(bench.engine.isDrained)
    }

    @Test("once every group of every topic has what it asked for")
    func everyGroup() throws {
        let (_, reading) = bench.connect()
        bench.openSink(reading, 1, "other", demand: 1)
        bench.openSink(reading, 2, "t", group: "g", demand: 1)
        bench.openSink(reading, 3, "t", group: "h")
        try bench.publish(to: "t", ["a"])
        #expect(bench.engine.isDrained)
        bench.engine.demand(reading, 3, Ask(events: 1, total: 1))
        #expect(!bench.engine.isDrained)
        bench.run()
        #expect(bench.engine.isDrained)
    }

    @Test("if a consumer asked for more than there is")
    func askedForMore() throws {
        let (reader, reading) = bench.connect()
        bench.openSink(reading, 1, "t", demand: 1_000)
        try bench.publish(to: "t", ["a"])
        #expect(reader.take().last == .events(1, first: 1, ["a"]))
        #expect(bench.engine.isDrained)
    }

    @Test("as long as the write window is full: what waits there is its connection's to tell")
    func fullWindow() throws {
        let (reader, reading) = bench.connect()
        bench.openSink(reading, 1, "t", demand: 1_000)
        let text = String(repeating: "x", count: 1_000)
        try bench.publish(to: "t", Array(repeating: text, count: 100))
        let written = try #require(reader.unwritten.first)
        #expect(written.bytes <= Limits.writeWindowBytes)
        #expect(bench.engine.isDrained)
        bench.engine.wrote(reading, 1, bytes: written.bytes)
        #expect(!bench.engine.isDrained)
        bench.run()
        #expect(bench.engine.isDrained)
    }

    @Test("if a consumer's bytes are too few for the event that waits")
    func tooFewBytes() throws {
        let (reader, reading) = bench.connect()
        bench.openSink(reading, 1, "t", demand: 5, bytes: 10)
        try bench.publish(to: "t", [String(repeating: "x", count: 100)])
        #expect(reader.take().last == .status(1, .bytes))
        #expect(bench.engine.isDrained)
    }

    @Test("if what its consumers asked for waits in a topic that is paused")
    func paused() throws {
        let (_, reading) = bench.connect()
        bench.openSink(reading, 1, "t")
        try bench.publish(to: "t", ["a"])
        bench.engine.demand(reading, 1, Ask(events: 1, total: 1))
        #expect(!bench.engine.isDrained)
        #expect(try bench.request(#"{"op":"pause-topic","topic":"t"}"#) == nil)
        #expect(bench.engine.isDrained)
    }

    @Test("once consumers that asked for something are gone, for good or not")
    func consumersGone() throws {
        let (_, closing) = bench.connect()
        bench.openSink(closing, 1, "t", group: "g")
        let (_, losing) = bench.connect()
        bench.openSink(losing, 1, "t", group: "h")
        try bench.publish(to: "t", ["a"])
        bench.engine.demand(closing, 1, Ask(events: 1, total: 1))
        bench.engine.demand(losing, 1, Ask(events: 1, total: 1))
        bench.engine.close(closing, 1)
        #expect(!bench.engine.isDrained)
        bench.engine.disconnect(losing, links: LinkTable())
        #expect(bench.engine.isDrained)
    }

    @Test("and its messages are counted, so that those on their way show")
    func postCounts() throws {
        let house = EngineHouse()
        func missing() -> UInt64 {
            let counts = house.engines.map(\.postCounts)
            return counts.reduce(0) { $0 + $1.sent } - counts.reduce(0) { $0 + $1.received }
        }
        let (_, session) = house.connect(at: 0)
        house.engines[0].open(session, 1, Open(role: .sink, topic: house.topic(on: 1)))
        #expect(missing() == 1, "from when it is said")
        house.turn(0)
        #expect(missing() == 1)
        house.deliver(from: 0, to: 1)
        #expect(missing() == 1, "the answer")
        house.settle()
        #expect(missing() == 0)
        #expect(house.engines.allSatisfy { $0.postCounts.sent == 1 })
    }
}
