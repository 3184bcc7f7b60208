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
            let count = min(harness.credit(producer), fitting, 1_000)
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

    /// A topic whose buffer is full for a group that takes nothing, and the consumer of that.
    private static func full(_ change: (inout TopicOptions) -> Void = { _ in }) -> TopicHarness {
        var harness = TopicHarness(ahead: 1_000_000) { options in
            options.capacity = 1_000_000
            options.bufferBytes = 100_000
            change(&options)
        }
        _ = harness.consumer("slow")
        _ = Self.fill(&harness, bytes: 1_000)
        return harness
    }

    /// A consumer asks for all that waits for it, and reads it.
    private static func drain(_ consumer: LinkID, _ harness: inout TopicHarness) {
        var read = harness.givenBytes[consumer] ?? 0
        harness.apply(.window(consumer, bytes: Limits.writeWindowBytes))
        harness.ask(consumer, 100_000)
        while let given = harness.givenBytes[consumer], given > read {
            harness.apply(.wrote(consumer, bytes: given - read))
            read = given
            if harness.broken() != [] { return }
        }
    }

    @Test("is no more when sorted groups join that begin with what is held")
    func lateGroups() {
        var harness = Self.full()
        let head = harness.topic.log.head
        let before = harness.topic.retainedBytes
        let late = (0..<5).map { number in
            harness.consumer("late\(number)", start: .first) { opening in
                opening.wish.dispatcher = .partition
                opening.wish.partitions = 4
            }
        }
        // A window's worth for each, that it may begin with.
        let share = UInt64(Limits.writeWindowBytes * 2)
        #expect(harness.topic.retainedBytes <= max(before, Self.most) + 5 * share)
        #expect(harness.topic.holder(ofConsumer: late[0]) == .noDemand)
        for consumer in late {
            Self.drain(consumer, &harness)
            #expect(harness.given[consumer]?.count == Int(head))
            #expect(Set(harness.given[consumer] ?? []).count == Int(head))
            #expect(harness.topic.retainedBytes <= max(before, Self.most) + 5 * share)
        }
        #expect(harness.broken() == [])
    }

    @Test("is no more when one joins that may lose what it lags")
    func lateLagging() {
        for policy in [LagPolicy.dropOldest, .dropNewest] {
            var harness = Self.full()
            let before = harness.topic.retainedBytes
            for _ in 0..<5 {
                _ = harness.consumer(start: .first) { opening in
                    opening.wish.dispatcher = .independent
                    opening.wish.lag = LagLimit(policy, events: 1_000_000)
                }
            }
            #expect(harness.topic.retainedBytes <= max(before, Self.most) + 2_000)
            #expect(harness.broken() == [])
        }
    }

    @Test("lets a sorted group go on when the one that filled it does")
    func roomAgain() throws {
        var harness = Self.full()
        let slow = try #require(harness.topic.groups.first??.members.first)
        let late = (0..<3).map { number in
            harness.consumer("late\(number)", start: .first) { opening in
                opening.wish.dispatcher = .partition
                opening.wish.partitions = 4
                opening.member.claims = number == 0 ? [0] : nil
            }
        }
        // Three of its partitions are nobody's, so that what lies in them stays in its lanes.
        Self.drain(late[0], &harness)
        harness.ask(late[0], 100)
        #expect(harness.topic.holder(ofConsumer: late[0]) == .buffer)
        harness.ask(late[0], flags: .drain)
        #expect(harness.look().contains(.status(late[0], .drained)))
        Self.drain(harness.topic.id(slow), &harness)
        for consumer in late.dropFirst() { Self.drain(consumer, &harness) }
        Self.drain(late[0], &harness)
        let group = try #require(harness.topic.groups[1])
        #expect(group.cursor.offset == harness.topic.log.head)
        #expect(harness.broken() == [])
    }
}
