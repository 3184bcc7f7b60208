import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

@Suite struct LateReadingTests {
    private let bench = Bench()
    private let consumer: Session
    private let producer: Session
    private let peer: Listener

    /// A topic in which as many events wait as it takes, and a group that was given 1,000 in the
    /// last millisecond.
    init() throws {
        (peer, consumer) = bench.connect("consumer")
        (_, producer) = bench.connect("producer")
        bench.openSink(consumer, 1, "t")
        bench.openSource(producer, 1, "t", available: 10_000)
        // What nothing is known of is granted in parts.
        let many = Limits.lateReadHighEvents
        try publish(many, after: 0)
        try publish(1_000, after: many)
        bench.pass(milliseconds: 1)
        _ = bench.engine.mayReadLate(producer)
        ask(1_000)
        bench.pass(milliseconds: 1)
    }

    private func publish(_ count: UInt64, after sent: UInt64) throws {
        let payloads = Array(repeating: "x", count: Int(count))
        try bench.publish(producer, 1, first: sent + 1, payloads)
    }

    /// The consumer asks, and its socket takes what it is given.
    private func ask(_ events: UInt64) {
        let total = given + events
        bench.engine.demand(consumer, 1, Ask(events: UInt32(events), total: total))
        bench.run()
        while !peer.unwritten.isEmpty {
            let written = peer.unwritten.removeFirst()
            bench.engine.wrote(consumer, written.link, bytes: written.bytes)
            bench.run()
        }
    }

    /// Events that the consumer was given.
    private var given: UInt64 {
        peer.words.reduce(0) { count, word in
            guard case .events(_, _, let payloads) = word else { return count }
            return count + UInt64(payloads.count)
        }
    }

    @Test("A producer is read late while its topic has enough at its pace, and until it has little")
    func late() {
        #expect(bench.engine.mayReadLate(producer))
        #expect(!bench.engine.isReadingDue(of: producer))
        ask(Limits.lateReadHighEvents - Limits.lateReadLowEvents)
        #expect(!bench.engine.isReadingDue(of: producer))
        ask(1)
        #expect(bench.engine.isReadingDue(of: producer))
    }

    @Test("Not with one event less than enough")
    func few() {
        ask(1)
        #expect(!bench.engine.mayReadLate(producer))
    }

    @Test("Not where nobody will need it soon")
    func slow() {
        #expect(bench.engine.mayReadLate(producer))
        bench.pass(milliseconds: 1)
        #expect(!bench.engine.mayReadLate(producer), "nothing was given away since")
    }

    @Test("Not a consumer, and nobody who has another link or none")
    func links() throws {
        #expect(!bench.engine.mayReadLate(consumer))
        let (_, other) = bench.connect("other")
        #expect(!bench.engine.mayReadLate(other))
        bench.openSink(producer, 2, "other")
        #expect(!bench.engine.mayReadLate(producer))
        #expect(bench.engine.isReadingDue(of: producer))
        bench.engine.close(producer, 2)
        #expect(bench.engine.mayReadLate(producer))
        bench.engine.close(producer, 1)
        #expect(!bench.engine.mayReadLate(producer))
        #expect(bench.engine.isReadingDue(of: producer))
    }

    @Test("Not while a group would be given what comes")
    func groups() {
        let (_, fresh) = bench.connect("fresh")
        var open = Open(role: .sink, topic: "t")
        open.group = "new"
        open.start = .new
        bench.engine.open(fresh, 1, open)
        bench.run()
        #expect(!bench.engine.mayReadLate(producer))
        #expect(bench.engine.isReadingDue(of: producer))
    }
}
