import SluiceCore
import SluiceTestKit
import Testing

/// Situations that random worlds found, each small.
@Suite("What is left behind")
struct LeftBehindTests {
    @Test("by a broadcast's last picker is for all that stay")
    func pickerLeaves() {
        var harness = TopicHarness()
        func broadcast(_ opening: inout ConsumerOpening) { opening.wish.dispatcher = .broadcast }
        let picker = harness.consumer("b") {
            broadcast(&$0)
            $0.member.sampleOneIn = 2
        }
        let one = harness.consumer("b", asks: 10, broadcast)
        let two = harness.consumer("b", asks: 10, broadcast)
        harness.emit(4)
        #expect(harness.given == [:])
        harness.apply(.close(picker))
        #expect(harness.given == [one: [0, 1, 2, 3], two: [0, 1, 2, 3]])
        #expect(harness.broken() == [])
    }

    @Test("by the active member's filter waits for none that stands by")
    func standby() {
        var harness = TopicHarness()
        let active = harness.consumer("x", asks: 10) {
            $0.wish.dispatcher = .exclusive
            $0.member.sampleOneIn = 2
        }
        _ = harness.consumer("x", asks: 10)
        harness.emit(3)
        #expect(harness.given == [active: [0, 2]])
        #expect(harness.topic.buffered == 0)
        #expect(harness.broken() == [])
    }

    @Test("by one who waits for a batch is what its filter refuses")
    func batch() {
        var harness = TopicHarness()
        let one = harness.consumer("g", asks: 10) {
            $0.member.batch = BatchRule(eventsMax: 5, waitMilliseconds: 1_000)
            $0.member.sampleOneIn = 100
        }
        harness.emit(1)
        harness.pass(milliseconds: 1_000)
        harness.emit(20)
        #expect(harness.given == [one: [0]])
        #expect(harness.topic.buffered == 0)
        #expect(harness.broken() == [])
    }

    @Test("by one that lacks bytes for an event is for the next in order, among those that pick")
    func nextInOrder() throws {
        var harness = TopicHarness()
        let filter = try Filter(.exists(.key))
        let short = harness.consumer("g", asks: 10, bytes: 12) { $0.member.filter = filter }
        let next = harness.consumer("g", asks: 5)
        harness.emit(keys: ["a key of some bytes"])
        #expect(harness.given == [next: [0]])
        #expect(harness.topic.consumer(short)?.needBytes ?? 0 > 12)
        #expect(harness.broken() == [])
    }

    @Test("by a lag policy is told as one loss with what a purge took before it")
    func lossBeforeLoss() {
        var harness = TopicHarness()
        let one = harness.lagging(.dropNewest, events: 2)
        harness.emit(5)
        harness.apply(.purge)
        #expect(harness.gaps(one) == [Gap(from: 0, to: 5, count: 5, reason: .purged)])
        #expect(harness.broken() == [])
    }

    @Test("by a lag policy is told as one loss with what a full topic dropped before it")
    func lossOfFullTopic() {
        var harness = TopicHarness {
            $0.onFull = .dropOldest
            $0.capacity = 3
        }
        let one = harness.lagging(.dropNewest, events: 2)
        harness.emit(5)
        #expect(harness.gaps(one) == [Gap(from: 0, to: 5, count: 5, reason: .dropped)])
        #expect(harness.broken() == [])
    }

    @Test("by a lag policy that drops more than at first is told from where it begins")
    func earlierLoss() {
        var harness = TopicHarness { $0.bufferBytes = 1_000 }
        let one = harness.lagging(.dropNewest, events: 4)
        harness.emit(6)
        // It is lost with those behind which it comes, and crowds out two of those that waited.
        harness.emit(1, bytes: 5_000)
        harness.ask(one, 10)
        #expect(harness.given == [one: [0, 1]])
        #expect(harness.gaps(one) == [Gap(from: 2, to: 7, count: 5, reason: .lagged)])
        #expect(harness.broken() == [])
    }

    @Test("by a broadcast whose windows are not all empty comes when the last of them is")
    func windows() {
        var harness = TopicHarness()
        func broadcast(_ opening: inout ConsumerOpening) { opening.wish.dispatcher = .broadcast }
        let wide = harness.consumer("b", asks: 10, broadcast)
        let narrow = harness.consumer("b", asks: 10, broadcast)
        harness.apply(.window(wide, bytes: 1 << 20))
        harness.emit(1, bytes: 10)
        harness.emit(1, bytes: 100_000)
        harness.apply(.wrote(narrow, bytes: 10))
        #expect(harness.given == [wide: [0], narrow: [0]])
        harness.apply(.wrote(wide, bytes: 10))
        #expect(harness.given == [wide: [0, 1], narrow: [0, 1]])
        #expect(harness.broken() == [])
    }

    @Test("when an event is dropped that a consumer lacked bytes for is not the one behind it")
    func behindLoss() {
        var harness = TopicHarness()
        let one = harness.lagging(.dropOldest, events: 1) {
            $0.events = 10
            $0.bytes = 20
        }
        harness.emit(1, bytes: 50)
        #expect(harness.given == [:])
        harness.emit(1, bytes: 10)
        #expect(harness.gaps(one) == [Gap(from: 0, to: 1, count: 1, reason: .lagged)])
        #expect(harness.given == [one: [1]])
        #expect(harness.broken() == [])
    }

    @Test("in one partition does not stay there because the event of another lacks bytes")
    func otherPartition() {
        var harness = TopicHarness(ahead: 10)
        let one = harness.consumer { opening in
            opening.wish.dispatcher = .partition
            opening.wish.partitions = 3
        }
        harness.apply(.window(one, bytes: 4_096))
        // Without keys each goes to the partition of its offset.
        harness.emit(1, bytes: 80_000)
        harness.emit(2, bytes: 30)
        harness.ask(one, 10, bytes: 4_000)
        #expect(harness.given == [one: [1]], "of events so large no more than one is said to fit")
        harness.apply(.wrote(one, bytes: 30))
        #expect(harness.given == [one: [1, 2]])
        #expect(harness.broken() == [])
    }

    @Test("by a member that came and went is not waited for by the one that had its partitions")
    func partitionComesBack() {
        var harness = TopicHarness()
        func partitioned(_ opening: inout ConsumerOpening) {
            opening.wish.dispatcher = .partition
            opening.wish.partitions = 4
        }
        let keys = (0..<40).map { "k\($0)" }
        let one = harness.consumer("p", asks: 1_000, partitioned)
        harness.emit(keys: keys)
        let other = harness.consumer("p", partitioned)
        harness.apply(.close(other))
        harness.emit(keys: keys)
        #expect(harness.given[one]?.count == 80)
        #expect(harness.broken() == [])
    }

    @Test("to a producer by one that takes nearly all is granted, where every group may lose")
    func littleIsLeft() {
        var harness = TopicHarness(ahead: 1_000)
        let consumer = harness.lagging(.dropOldest, events: 1_000)
        harness.ask(consumer, 10)
        let silent = harness.producer(.events(1 << 63))
        #expect(harness.credit(silent) > 1_000)
        harness.ask(consumer, 20)
        let late = harness.producer(.events(20))
        #expect(harness.credit(late) > 0)
        #expect(harness.broken() == [])
    }
}

extension TopicHarness {
    /// Opens an independent consumer that may lag so far, and asks for nothing yet.
    fileprivate mutating func lagging(
        _ policy: LagPolicy,
        events: UInt32,
        _ change: (inout ConsumerOpening) -> Void = { _ in }
    ) -> LinkID {
        consumer { opening in
            opening.wish.dispatcher = .independent
            opening.wish.lag = LagLimit(policy, events: events)
            change(&opening)
        }
    }
}
