import SluiceCore
import SluiceTestKit
import Testing

@Suite("The memory of a topic with several sorted groups")
struct LaneMemoryTests {
    private static let most: UInt64 = 100_000 + Limits.grantWindowBytes

    /// A topic that holds little, and so many groups by partition that nobody takes events from.
    private static func topic(groups: Int) -> TopicHarness {
        var harness = TopicHarness(ahead: 1_000_000) { options in
            options.capacity = 1_000_000
            options.bufferBytes = 100_000
        }
        for number in 0..<groups {
            _ = harness.consumer("g\(number)") { opening in
                opening.wish.dispatcher = .partition
                opening.wish.partitions = 4
            }
        }
        return harness
    }

    /// A producer sends all that it is granted, until nothing more is.
    private static func fill(_ harness: inout TopicHarness, bytes size: Int) -> UInt64 {
        let producer = harness.producer(.events(10_000_000))
        var sent: UInt64 = 0
        var peak: UInt64 = 0
        while true {
            let fitting = (harness.ledgers[producer]?.byteCredit ?? 0) / UInt64(size)
            let count = min(harness.credit(producer), fitting)
            guard count > 0 else { break }
            harness.publish(producer, Int(count), bytes: size)
            sent += count
            #expect(harness.topic.violations() == [])
            #expect(harness.topic.overGrantedBytes() == [])
            peak = max(peak, harness.topic.retainedBytes)
        }
        #expect(sent > 0)
        return peak
    }

    @Test(
        "is the buffer and one grant window, however many groups keep what came",
        arguments: [(1, 1_000), (4, 1_000), (4, 20), (20, 300)]
    )
    func bound(groups: Int, size: Int) {
        var harness = Self.topic(groups: groups)
        let peak = Self.fill(&harness, bytes: size)
        // One event may come that nothing is left for.
        let event = UInt64(groups) * (UInt64(size) + 1_024 + Limits.laneItemBytes)
        #expect(peak <= Self.most + event)
        #expect(peak > 100_000)
        #expect(harness.broken() == [])
    }

    @Test("is that too beside a group that keeps them in the log")
    func mixed() {
        var harness = Self.topic(groups: 3)
        _ = harness.consumer("log")
        let peak = Self.fill(&harness, bytes: 500)
        #expect(peak <= Self.most + 4 * (500 + 1_024 + Limits.laneItemBytes))
        #expect(harness.broken() == [])
    }

    @Test("consumers that lag and may lose events stop nobody, and keep no more than that")
    func lagging() {
        var harness = TopicHarness(ahead: 100) { $0.bufferBytes = 100_000 }
        for _ in 0..<50 {
            _ = harness.consumer { opening in
                opening.wish.dispatcher = .independent
                opening.wish.lag = LagLimit(.dropOldest, events: 1_000_000)
            }
        }
        let live = harness.consumer("live")
        let producer = harness.producer(.events(1_000_000))
        var peak: UInt64 = 0
        for round in 1...300 {
            harness.ask(live, 100)
            let fitting = (harness.ledgers[producer]?.byteCredit ?? 0) / 1_000
            let count = min(harness.credit(producer), fitting, 100)
            guard count > 0 else {
                Issue.record("nothing is granted in round \(round)")
                return
            }
            harness.publish(producer, Int(count), bytes: 1_000)
            harness.apply(.wrote(live, bytes: Int(count) * 1_000))
            #expect(harness.topic.overGrantedBytes() == [])
            peak = max(peak, harness.topic.retainedBytes)
        }
        #expect(peak <= Self.most + 51 * 2_100)
        #expect(harness.broken() == [])
    }
}
