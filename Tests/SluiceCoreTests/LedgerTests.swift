import SluiceCore
import Testing

@Suite("A ledger")
struct LedgerTests {
    @Test("is equal at both ends after the same entries")
    func bothEnds() throws {
        var sink = Ledger()
        var source = Ledger()
        try source.apply(sink.ask(events: 10, bytes: 100))
        source.deliver(events: 3, bytes: 40)
        try sink.receive(firstSequence: 1, events: 3, bytes: 40)
        #expect(sink == source)
        #expect(sink.credit == 7)
        #expect(sink.byteCredit == 60)
        try source.apply(sink.ask(events: 2, flags: .stop))
        try sink.book(forfeited: source.forfeited, forfeitedBytes: source.forfeitedBytes)
        #expect(sink == source)
        #expect(sink.credit == 0)
        #expect(sink.byteCredit == 0)
        #expect(sink.stoppedTo == 12)
    }

    @Test("forfeits at a drain only what was asked up to it")
    func drain() throws {
        var sink = Ledger()
        var source = Ledger()
        try source.apply(sink.ask(events: 10, flags: .drain))
        try source.apply(sink.ask(events: 5))
        source.deliver(events: 4, bytes: 0)
        source.forfeit(upTo: source.drainedTo)
        #expect(source.forfeited == 6)
        #expect(source.credit == 5)
        #expect(source.credit(upTo: 10) == 0)
    }

    @Test(
        "refuses entries that do not add up, and has not changed",
        arguments: [
            Ask(events: 0, total: 5),
            Ask(events: 1, total: 7),
            Ask(events: 1, total: 6, bytes: 1, bytesTotal: 2),
            Ask(events: 1, total: 6, received: 1),
            Ask(events: UInt32.max, total: 5 + UInt64(UInt32.max)),
        ]
    )
    func refusals(_ ask: Ask) throws {
        var source = Ledger()
        try source.apply(Ask(events: 5, total: 5))
        let before = source
        #expect(throws: LedgerError.self) { try source.apply(ask) }
        #expect(source == before)
    }

    @Test("names each refusal by its code")
    func codes() {
        #expect(LedgerError.zeroDemand.code == .badDemand)
        #expect(LedgerError.mismatch(expected: 1, found: 2).code == .creditMismatch)
        #expect(LedgerError.aboveMaximum.code == .limit)
        #expect(LedgerError.overrun(credit: 1, sent: 2).code == .creditOverrun)
    }

    @Test("takes no bytes after a first demand without")
    func lateBytes() throws {
        var source = Ledger()
        try source.apply(Ask(events: 1, total: 1))
        #expect(throws: LedgerError.mismatch(expected: 0, found: 9)) {
            try source.apply(Ask(events: 1, total: 2, bytes: 9, bytesTotal: 9))
        }
    }

    @Test("refuses events out of sequence, beyond credit, or beyond bytes")
    func receipts() {
        var sink = Ledger()
        _ = sink.ask(events: 2, bytes: 10)
        #expect(throws: LedgerError.mismatch(expected: 1, found: 2)) {
            try sink.receive(firstSequence: 2, events: 1, bytes: 1)
        }
        #expect(throws: LedgerError.overrun(credit: 2, sent: 3)) {
            try sink.receive(firstSequence: 1, events: 3, bytes: 3)
        }
        #expect(throws: LedgerError.overrun(credit: 10, sent: 11)) {
            try sink.receive(firstSequence: 1, events: 1, bytes: 11)
        }
    }

    @Test("takes over no forfeit that falls or exceeds what is open")
    func forfeits() throws {
        var sink = Ledger()
        _ = sink.ask(events: 5)
        try sink.book(forfeited: 2, forfeitedBytes: 0)
        #expect(throws: LedgerError.self) { try sink.book(forfeited: 1, forfeitedBytes: 0) }
        #expect(throws: LedgerError.self) { try sink.book(forfeited: 6, forfeitedBytes: 0) }
        #expect(sink.credit == 3)
    }

    @Test("balances after a consumer came back")
    func rewind() throws {
        var sink = Ledger()
        var source = Ledger()
        try source.apply(sink.ask(events: 10, bytes: 100))
        source.deliver(events: 6, bytes: 60)
        try sink.receive(firstSequence: 1, events: 4, bytes: 40)
        _ = sink.ask(events: 3, bytes: 30)
        try source.rewind(received: 4, receivedBytes: 40, asked: 13, askedBytes: 130)
        sink.resumeAsSink(forfeited: source.forfeited, forfeitedBytes: source.forfeitedBytes)
        #expect(sink == source)
        #expect(source.credit == 7)
        #expect(source.balances)
        #expect(throws: LedgerError.self) {
            try source.rewind(received: 5, receivedBytes: 40, asked: 13, askedBytes: 130)
        }
        #expect(throws: LedgerError.self) {
            try source.rewind(received: 4, receivedBytes: 40, asked: 12, askedBytes: 130)
        }
    }

    @Test("balances after a producer came back")
    func resume() throws {
        var broker = Ledger()
        var producer = Ledger()
        try producer.apply(broker.ask(events: 10, bytes: 100))
        producer.deliver(events: 5, bytes: 50)
        try broker.receive(firstSequence: 1, events: 3, bytes: 30)
        broker.forfeitAsSink()
        try producer.resumeAsSource(
            asked: broker.asked,
            askedBytes: broker.askedBytes,
            received: broker.delivered,
            receivedBytes: broker.deliveredBytes
        )
        #expect(producer == broker)
        #expect(producer.credit == 0)
    }
}
