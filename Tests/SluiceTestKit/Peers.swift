package import DequeModule
package import SluiceCore

/// A consumer's end of a link, with what is on its way in both directions.
package struct FakeSink {
    package enum Frame {
        case events(sequence: UInt64, bytes: UInt64, offsets: [Range<UInt64>])
        /// With the account of the broker when it was sent.
        case status(StatusKind, Ledger)
        case gap(Gap, nextSequence: UInt64)
        case mark(Int, nextSequence: UInt64)
        /// A PING behind what was given up to a sequence.
        case proof(UInt64)
    }

    package let id: LinkID
    package let opening: ConsumerOpening
    package let taste: Taste
    package let tracksBytes: Bool
    /// The group that it is in, by its number in the topic.
    package var group = 0
    /// From which offset on it must be given, or told the loss of, all that is its own.
    package var from: UInt64 = 0
    /// The first offset of each lane that may still come.
    package var next: [UInt64] = [0]
    /// The partitions that it has.
    package var lanes: [Int] = []
    package var bucket: HandBucket?
    /// What was on its wire when that was cut, and what it was told of that since.
    package var lost: [Range<UInt64>] = []
    package var toldLost: [Gap] = []
    /// What the broker knew of its asks when its wire was cut, and what was left of them.
    package var askedAtCut: UInt64 = 0
    package var creditAtCut: UInt64 = 0
    /// Gaps that it has had, and those on its wire when that was cut, which have to come again.
    package var gaps: UInt64 = 0
    package var lostGaps = Deque<Gap>()
    /// Marks by number that it must be told, and those that it was.
    package var awaited: Set<Int> = []
    package var heard: Set<Int> = []
    /// The offset behind all events that it was given, and of the last mark that it was told.
    package var givenTo: UInt64 = 0
    package var heardTo: UInt64 = 0
    package var reads: Bool
    package var ledger: Ledger
    package var isAttached = true
    /// Towards the sink, and towards the broker.
    package var inbox = Deque<Frame>()
    package var outbox = Deque<Ask>()
    /// Bytes that the broker wrote and the kernel has not taken.
    package var unwritten = 0

    /// Whether it was not seen to be told all that a cut took from its wire.
    var lacksNews: Bool { !lost.isEmpty || !toldLost.isEmpty || !lostGaps.isEmpty }
}

/// A producer's end of a link, with what is on its way in both directions.
package struct FakeSource {
    package enum Kind: CaseIterable {
        case announcing
        case unknown
        case idle
        /// It announces without end and sends nothing.
        case silent
    }

    package enum Frame {
        case events(sequence: UInt64, sizes: [Int])
        case report(ProducerReport)
    }

    package let id: LinkID
    package var kind: Kind
    package var ledger = Ledger()
    package var isAttached = true
    /// Sizes of the records that wait here.
    package var waiting = Deque<Int>()
    package var inbox = Deque<Ask>()
    package var outbox = Deque<Frame>()
    /// What it was told of its events since the topic was last at rest, and what it has to be told.
    package var answers: [Answer] = []
    package var expected: [Answer] = []

    /// What its STATUS says now.
    package func report(isDrained: Bool = false) -> ProducerReport {
        let next = kind == .silent ? 0 : waiting.first ?? 0
        let isShort = ledger.credit > 0 && next > Int(clamping: ledger.byteCredit ?? 0)
        return ProducerReport(
            isDrained: isDrained,
            asked: ledger.asked,
            forfeited: ledger.forfeited,
            forfeitedBytes: ledger.forfeitedBytes,
            available: kind == .unknown ? Backlog.unknownOnWire : beyondCredit,
            needBytes: isShort ? UInt32(next) : 0
        )
    }

    private var beyondCredit: UInt64 {
        guard kind != .silent else { return 1 << 63 }
        let count = UInt64(waiting.count)
        return count - min(count, ledger.credit)
    }

    /// Sends what credit covers, at most `limit` records; says so if the next needs more bytes.
    package mutating func send(upTo limit: Int) {
        guard kind != .silent else { return }
        var sizes: [Int] = []
        var bytes = 0
        while sizes.count < limit, let next = waiting.first,
            UInt64(sizes.count) < ledger.credit,
            UInt64(bytes + next) <= ledger.byteCredit ?? 0
        {
            waiting.removeFirst()
            sizes.append(next)
            bytes += next
        }
        if sizes.isEmpty {
            if ledger.credit > 0, !waiting.isEmpty { outbox.append(.report(report())) }
            return
        }
        outbox.append(.events(sequence: ledger.delivered + 1, sizes: sizes))
        ledger.deliver(events: UInt64(sizes.count), bytes: UInt64(bytes))
    }
}
