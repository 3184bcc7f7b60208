import SluiceCore
import SluiceTestKit
import Testing

@Suite("A topic")
struct TopicTests {
    @Test("serves who asked for most, and equals in the order they asked")
    func order() {
        var harness = TopicHarness()
        let first = harness.consumer(asks: 3)
        let second = harness.consumer(asks: 3)
        let large = harness.consumer(asks: 5)
        harness.emit(5)
        #expect(harness.given[large] == [0, 1, 2, 3, 4])
        harness.emit(2)
        #expect(harness.given[first] == [5, 6])
        harness.emit(3)
        #expect(harness.given[second] == [7, 8, 9])
    }

    @Test("has a place for so many groups, refuses one more, and takes it once one is gone")
    func groupLimit() {
        var harness = TopicHarness()
        for number in 0..<Limits.groupsPerTopicMax { _ = harness.consumer("g\(number)") }
        _ = harness.look()
        let refused = harness.consumer("more")
        guard case .close(refused, .limit, _)? = harness.look().last else {
            Issue.record("one group too many was taken")
            return
        }
        #expect(harness.topic.consumers == Limits.groupsPerTopicMax)
        _ = harness.consumer("g0")
        harness.apply(.removeGroup("g1"))
        let taken = harness.consumer("more")
        #expect(harness.topic.consumer(taken) != nil)
    }

    @Test("answers a drain once what waits is delivered, and keeps later asks")
    func drain() {
        var harness = TopicHarness()
        let consumer = harness.consumer()
        harness.emit(3)
        harness.ask(consumer, 10, flags: .drain)
        let told = harness.look()
        #expect(told.last == .status(consumer, .drained))
        #expect(harness.given[consumer] == [0, 1, 2])
        #expect(harness.topic.consumer(consumer)?.ledger.forfeited == 7)
        harness.emit(1)
        #expect(harness.given[consumer] == [0, 1, 2])
        harness.ask(consumer, 1)
        #expect(harness.given[consumer] == [0, 1, 2, 3])
    }

    @Test("forfeits at a stop and delivers nothing for what was asked before")
    func stop() {
        var harness = TopicHarness()
        let consumer = harness.consumer(asks: 10)
        harness.ask(consumer, flags: .stop)
        let told = harness.look()
        #expect(told.contains(.status(consumer, .drained)))
        harness.emit(2)
        #expect(harness.given[consumer] == nil)
        harness.ask(consumer, 1)
        #expect(harness.given[consumer] == [0])
    }

    @Test("echoes")
    func echo() {
        var harness = TopicHarness()
        let consumer = harness.consumer(asks: 1)
        harness.ask(consumer, flags: .echo)
        let told = harness.look()
        #expect(told.last == .status(consumer, .echo))
    }

    @Test(
        "tells a consumer that the next event needs more bytes, and goes on when it asks",
        arguments: [10, 11, 15, 19]
    )
    func bytes(asked: UInt32) {
        var harness = TopicHarness()
        let consumer = harness.consumer(asks: 5, bytes: asked)
        harness.emit(2)
        #expect(harness.given[consumer] == [0])
        let told = harness.look()
        #expect(told.contains(.status(consumer, .blocked)))
        #expect(harness.topic.consumer(consumer)?.needBytes == 10)
        harness.ask(consumer, bytes: 20 - asked)
        #expect(harness.given[consumer] == [0, 1])
    }

    @Test("lets a member go on when another took the event that was too large for it")
    func bytesReleased() {
        var harness = TopicHarness()
        let small = harness.consumer(asks: 100, bytes: 50)
        harness.emit(1, bytes: 100)
        #expect(harness.topic.consumer(small)?.needBytes == 100)
        harness.emit(1, bytes: 20)
        let large = harness.consumer(asks: 1)
        #expect(harness.given[large] == [0])
        #expect(harness.given[small] == [1])
        #expect(harness.topic.strandedEvents() == [])
    }

    @Test("writes no more than a link's window, but one event of any size into an empty one")
    func window() {
        var harness = TopicHarness()
        let consumer = harness.consumer(asks: 100)
        harness.emit(10, bytes: 10_000)
        #expect(harness.given[consumer]?.count == 6)
        harness.apply(.wrote(consumer, bytes: 60_000))
        #expect(harness.given[consumer]?.count == 10)
        harness.apply(.wrote(consumer, bytes: 40_000))
        harness.emit(1, bytes: 200_000)
        #expect(harness.given[consumer]?.count == 11)
        #expect(harness.topic.consumer(consumer)?.room ?? 0 < 0)
    }

    @Test("announces exactly what a cut swallowed, and forfeits its credit")
    func cut() {
        var harness = TopicHarness()
        let consumer = harness.consumer(asks: 10)
        harness.emit(4)
        harness.apply(.detach(consumer))
        harness.emit(2)
        #expect(harness.given[consumer]?.count == 4)
        let point = ResumePoint(
            position: 1,
            positionBytes: 10,
            asked: 10,
            askedBytes: 0,
            stoppedTo: 0,
            drainedTo: 0
        )
        _ = harness.look()
        harness.apply(.attachConsumer(consumer, point, eventBytesMax: Limits.eventBytesMax))
        let gap = Gap(from: 1, to: 4, count: 3, reason: .cut)
        let told = harness.look()
        #expect(
            told.prefix(2) == [
                .opened(consumer, resumed: true), .gap(consumer, gap, nextSequence: 2),
            ]
        )
        #expect(harness.given[consumer] == [0, 1, 2, 3, 4, 5])
        #expect(harness.topic.consumer(consumer)?.ledger.forfeited == 3)
        #expect(harness.topic.counters.cut == 3)
    }

    @Test("drops the oldest and tells the group that lost them, before what came later")
    func dropOldest() {
        var harness = TopicHarness { options in
            options.onFull = .dropOldest
            options.capacity = 3
        }
        let consumer = harness.consumer()
        harness.apply(.window(consumer, bytes: 0))
        harness.emit(5)
        harness.emit(2)
        harness.ask(consumer, 10)
        harness.apply(.window(consumer, bytes: 65_536))
        let gap = Gap(from: 0, to: 4, count: 4, reason: .dropped)
        let told = harness.look()
        #expect(told.contains(.gap(consumer, gap, nextSequence: 1)))
        #expect(harness.given[consumer] == [4, 5, 6])
        #expect(harness.topic.counters.discarded == 4)
        #expect(harness.topic.violations() == [])
    }

    @Test("refuses the newest and tells the producer which")
    func dropNewest() {
        var harness = TopicHarness(ahead: 10) { options in
            options.onFull = .dropNewest
            options.capacity = 3
        }
        let producer = harness.producer(.events(5))
        harness.publish(producer, 5)
        let told = harness.look()
        #expect(told.contains(.accept(producer, from: 1, count: 3, offset: 0)))
        #expect(told.contains(.reject(producer, from: 4, count: 2, .discarded)))
        let consumer = harness.consumer(asks: 10)
        #expect(harness.given[consumer] == [0, 1, 2])
    }

    @Test("purges what waits and goes on with what comes")
    func purge() {
        var harness = TopicHarness()
        let consumer = harness.consumer()
        harness.emit(3)
        harness.apply(.purge)
        let gap = Gap(from: 0, to: 3, count: 3, reason: .purged)
        let told = harness.look()
        #expect(told.contains(.gap(consumer, gap, nextSequence: 1)))
        harness.ask(consumer, 5)
        harness.emit(1)
        #expect(harness.given[consumer] == [3])
        #expect(harness.topic.log.retainedBytes == 0)
        #expect(harness.topic.violations() == [])
    }

    @Test("closes the members of a group that is removed")
    func removeGroup() {
        var harness = TopicHarness()
        let slow = harness.consumer("slow")
        let fast = harness.consumer("fast", asks: 10)
        harness.emit(3)
        #expect(harness.topic.buffered == 3)
        harness.apply(.removeGroup("slow"))
        #expect(harness.topic.consumer(slow) == nil)
        #expect(harness.topic.buffered == 0)
        #expect(harness.given[fast]?.count == 3)
    }

    @Test("starts a first group at the oldest event, a later one at what nobody saw")
    func defaultStart() {
        var harness = TopicHarness()
        harness.emit(3)
        let first = harness.consumer("a", asks: 2)
        #expect(harness.given[first] == [0, 1])
        let second = harness.consumer("b", asks: 10)
        #expect(harness.given[second] == [2])
    }

    @Test("starts a group where it was told to")
    func start() {
        var harness = TopicHarness()
        let keeper = harness.consumer("keeper")
        harness.emit(4)
        let new = harness.consumer("new", asks: 10, start: .new)
        let first = harness.consumer("first", asks: 10, start: .first)
        let offset = harness.consumer("offset", asks: 10, start: .offset(2))
        let beyond = harness.consumer("beyond", asks: 10, start: .offset(99))
        let time = harness.consumer("time", asks: 10, start: .time(1))
        #expect(harness.given[new] == nil)
        #expect(harness.given[first] == [0, 1, 2, 3])
        #expect(harness.given[offset] == [2, 3])
        #expect(harness.given[beyond] == nil)
        #expect(harness.given[time] == [0, 1, 2, 3])
        #expect(harness.given[keeper] == nil)
    }

    @Test("holds events and demand while it is paused")
    func pause() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(100))
        harness.apply(.pause(true))
        let consumer = harness.consumer(asks: 5)
        harness.emit(2)
        #expect(harness.given[consumer] == nil)
        #expect(harness.credit(producer) == 0)
        harness.apply(.pause(false))
        #expect(harness.given[consumer] == [0, 1])
        #expect(harness.credit(producer) == 3)
    }

    @Test("closes a link whose ask does not add up")
    func mismatch() {
        var harness = TopicHarness()
        let consumer = harness.consumer(asks: 5)
        harness.apply(.ask(consumer, Ask(events: 1, total: 7)))
        #expect(harness.topic.consumer(consumer) == nil)
        #expect(harness.code(consumer) == .creditMismatch)
        #expect(harness.topic.counters.ledgerErrors == 1)
    }

    @Test("makes no group for a consumer that asks too much")
    func refused() {
        var harness = TopicHarness()
        _ = harness.consumer("greedy", asks: UInt32(Limits.demandMax) + 1)
        #expect(harness.topic.groups.allSatisfy { $0 == nil })
        #expect(harness.topic.consumers == 0)
    }

    @Test("makes at most 256 deliveries in a step")
    func stepLimit() {
        var topic = Topic(name: "test")
        var effects = Effects()
        let now = Instant(nanoseconds: 1)
        for _ in 0..<300 {
            let opening = ConsumerOpening(events: 1)
            topic.apply(.openConsumer(topic.nextLink(), opening), at: now, into: &effects)
        }
        effects.removeAll()
        _ = topic.emit(TopicHarness.records(300, bytes: 10), events: 300, time: 1)
        let isUnfinished = topic.advance(at: now, into: &effects)
        #expect(isUnfinished)
        #expect(effects.list.count == Limits.effectsPerStepMax)
        while topic.advance(at: now, into: &effects) { continue }
        #expect(topic.counters.delivered == 300)
    }

    @Test("ends the link of a consumer that can never take the next event, and goes on with others")
    func outgrown() {
        var harness = TopicHarness()
        let small = harness.consumer(asks: 100, eventBytesMax: 1_000)
        let large = harness.consumer(asks: 10)
        harness.emit(2, bytes: 1_000)
        #expect(harness.given[small] == [0, 1])
        harness.emit(2, bytes: 1_001)
        #expect(harness.topic.consumer(small) == nil)
        #expect(harness.code(small) == .eventTooLarge)
        #expect(harness.given[large] == [2, 3])
        #expect(harness.topic.violations() == [])
    }

    @Test("holds a consumer that came back to what it can take now")
    func outgrownAfterResume() {
        var harness = TopicHarness()
        let consumer = harness.consumer(asks: 10)
        harness.apply(.detach(consumer))
        let point = ResumePoint(asked: 10)
        harness.apply(.attachConsumer(consumer, point, eventBytesMax: 1_000))
        harness.emit(1, bytes: 1_001)
        #expect(harness.given[consumer] == nil)
        #expect(harness.topic.consumer(consumer) == nil)
    }

    @Test("closes a link that begins to count bytes when it comes back")
    func bytesAfterResume() {
        var harness = TopicHarness()
        let consumer = harness.consumer(asks: 10)
        harness.emit(3)
        harness.apply(.detach(consumer))
        let point = ResumePoint(
            position: 3,
            positionBytes: 30,
            asked: 10,
            askedBytes: 5,
            stoppedTo: 0,
            drainedTo: 0
        )
        let largest = Limits.eventBytesMax
        harness.apply(.attachConsumer(consumer, point, eventBytesMax: largest))
        #expect(harness.topic.consumer(consumer) == nil)
        #expect(harness.topic.violations() == [])
    }

    @Test("tells of a loss before what came after it, also when both had to wait")
    func gapKeepsPlace() {
        var harness = TopicHarness { options in
            options.onFull = .dropOldest
            options.capacity = 3
        }
        let consumer = harness.consumer(asks: 10)
        harness.apply(.window(consumer, bytes: 0))
        harness.emit(5)
        _ = harness.look()
        harness.apply(.window(consumer, bytes: 65_536))
        let told = harness.look()
        let gap = Gap(from: 0, to: 2, count: 2, reason: .dropped)
        #expect(told.first == .gap(consumer, gap, nextSequence: 1))
        #expect(harness.given[consumer] == [2, 3, 4])
    }

    @Test("tells a member that was away of all losses, with what others took in between")
    func gapsAddUp() {
        var harness = TopicHarness { options in
            options.onFull = .dropOldest
            options.capacity = 3
        }
        let away = harness.consumer()
        let other = harness.consumer()
        harness.apply(.window(away, bytes: 0))
        harness.emit(5)
        harness.ask(other, 2)
        #expect(harness.given[other] == [2, 3])
        harness.emit(4)
        harness.apply(.purge)
        _ = harness.look()
        harness.apply(.window(away, bytes: 65_536))
        let gap = Gap(from: 0, to: 9, count: 7, reason: .purged)
        #expect(harness.look() == [.gap(away, gap, nextSequence: 1)])
    }
}
