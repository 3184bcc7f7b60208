import SluiceCore
import SluiceTestKit
import Testing

@Suite("More deliveries under way than a link remembers one by one")
struct StretchTests {
    /// Brings a consumer back, and returns all that it is told of as lost.
    private static func resume(
        _ consumer: LinkID,
        at position: UInt64 = 0,
        asked: UInt64,
        gaps: UInt64 = 0,
        _ harness: inout TopicHarness
    ) -> [Gap] {
        harness.apply(.detach(consumer))
        _ = harness.look()
        harness.attach(consumer, received: position, asked: asked, gaps: gaps)
        return rest(of: consumer, &harness)
    }

    /// What a consumer is told of as lost, while it reads on.
    private static func rest(of consumer: LinkID, _ harness: inout TopicHarness) -> [Gap] {
        var told: [Gap] = []
        while true {
            let more = harness.gaps(consumer)
            _ = harness.look()
            guard !more.isEmpty else { return told }
            told += more
            let bytes = more.count * Limits.gapWindowBytes
            harness.apply(.wrote(consumer, bytes: bytes))
        }
    }

    /// What an announcement must keep to, by the specification.
    private static func isWellFormed(_ gap: Gap) -> Bool {
        gap.from < gap.to && (1...gap.to - gap.from).contains(gap.count)
    }

    private static func sum(_ gaps: some Sequence<Gap>) -> UInt64 {
        gaps.reduce(0) { $0 + $1.count }
    }

    /// A member of eight partitions that was given 10,000 events, and has received none so far.
    private static func partitioned(_ key: String = "a") -> (TopicHarness, LinkID) {
        var harness = TopicHarness(ahead: 100_000)
        let consumer = harness.consumer("g", asks: 10_000) { opening in
            opening.wish.dispatcher = .partition
            opening.wish.partitions = 8
        }
        for _ in 0..<10 {
            harness.emit(keys: (0..<1_000).map { "\(key)\($0)" })
            harness.apply(.wrote(consumer, bytes: 15_000))
        }
        return (harness, consumer)
    }

    // By the keys it differs which of the partitions begins first.
    @Test(
        "those of partitions, whose offsets rise and fall, are lost exactly in count",
        arguments: ["a", "b", "c"]
    )
    func partitions(key: String) {
        var (harness, consumer) = Self.partitioned(key)
        #expect(harness.given[consumer]?.count == 10_000)
        let told = Self.resume(consumer, asked: 10_000, &harness)
        #expect(told.count == Limits.cutRangesMax)
        #expect(told.allSatisfy(Self.isWellFormed))
        #expect(Self.sum(told) == 10_000)
        #expect(told.map(\.from).min() == 0 && told.map(\.to).max() == 10_000)
        #expect(harness.broken() == [])
    }

    @Test("what is received of those that were joined is not lost", arguments: [1, 2_500, 9_999])
    func received(position: UInt64) {
        var (harness, consumer) = Self.partitioned()
        let told = Self.resume(consumer, at: position, asked: 10_000, &harness)
        #expect(told.allSatisfy(Self.isWellFormed))
        #expect(Self.sum(told) == 10_000 - position)
    }

    /// A member of a group that was sought back so often that it was given 20 events each time.
    private static func sought(rounds: Int) -> (TopicHarness, LinkID) {
        var harness = TopicHarness(ahead: 100)
        _ = harness.consumer("slow")
        let consumer = harness.consumer("g", asks: UInt32(rounds * 20))
        harness.emit(20)
        for _ in 1..<rounds {
            harness.apply(.wrote(consumer, bytes: 200))
            harness.apply(.seek("g", .first))
        }
        return (harness, consumer)
    }

    @Test("those of a group that is sought to and fro are told by gaps that are well-formed")
    func seeks() {
        var (harness, consumer) = Self.sought(rounds: 5_000)
        #expect(harness.given[consumer]?.count == 100_000)
        let told = Self.resume(consumer, asked: 100_000, &harness)
        #expect(told.count == 5_000)
        #expect(told.allSatisfy { $0 == Gap(from: 0, to: 20, count: 20, reason: .cut) })
        #expect(harness.broken() == [])
    }

    @Test("and what was told of them is told once to one that counts")
    func counted() {
        var (harness, consumer) = Self.sought(rounds: 5_000)
        harness.apply(.detach(consumer))
        _ = harness.look()
        // The wire breaks again when a part of it is told.
        harness.attach(consumer, received: 0, asked: 100_000)
        let first = harness.gaps(consumer)
        #expect(first.count < 5_000)
        let heard = UInt64(first.count / 2)
        let told = Self.resume(consumer, asked: 100_000, gaps: heard, &harness)
        #expect(told.allSatisfy(Self.isWellFormed))
        #expect(Self.sum(told) == 100_000 - heard * 20)
        #expect(Self.resume(consumer, asked: 100_000, gaps: 5_000, &harness) == [])
    }

    @Test("whatever is sought, asked, received and cut: the sum is exact, each gap well-formed")
    func random() {
        var random = SeededGenerator.replayable("stretches")
        for _ in 0..<4 { Self.live(by: &random) }
    }

    private static func live(by random: inout SeededGenerator) {
        var harness = TopicHarness(ahead: 10_000)
        _ = harness.consumer("slow")
        let consumer = harness.consumer("g", asks: 1_000_000)
        harness.emit(Int.random(in: 1...40, using: &random))
        var position: UInt64 = 0
        var heard: UInt64 = 0
        for _ in 0..<3 {
            for _ in 0..<Int.random(in: 1...6_000, using: &random) {
                let head = harness.topic.log.head
                harness.apply(.seek("g", .offset(UInt64.random(in: 0...head, using: &random))))
                harness.apply(.wrote(consumer, bytes: 400))
            }
            let delivered = harness.topic.consumer(consumer)?.ledger.delivered ?? 0
            let arrived = UInt64.random(in: position...delivered, using: &random)
            let told = resume(consumer, at: arrived, asked: 1_000_000, gaps: heard, &harness)
            #expect(told.allSatisfy(isWellFormed))
            #expect(sum(told) == delivered - arrived)
            #expect(harness.broken() == [])
            heard += UInt64(told.count)
            position = arrived
        }
    }
}
