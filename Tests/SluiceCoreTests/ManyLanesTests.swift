import SluiceCore
import SluiceTestKit
import Testing

/// Opens so many groups by partition, for tests that look at each step; only the last asks.
func openGroups(
    _ count: Int,
    partitions: UInt16 = 4,
    lastAsks: UInt32 = 0,
    of topic: inout Topic,
    at now: Instant
) {
    var effects = Effects()
    for number in 0..<count {
        let asks = number == count - 1 ? lastAsks : 0
        var opening = ConsumerOpening(group: "g\(number)", events: asks)
        opening.wish.dispatcher = .partition
        opening.wish.partitions = partitions
        topic.apply(.openConsumer(topic.nextLink(), opening), at: now, into: &effects)
    }
    while topic.advance(at: now, into: &effects) { continue }
}

@Suite("Very many partitions in which something waits")
struct ManyLanesTests {
    @Test("lose the oldest events over several turns")
    func manyDropped() {
        var options = TopicOptions()
        options.capacity = 1_024
        options.onFull = .dropOldest
        var topic = Topic(name: "t", options: options)
        var effects = Effects()
        let now = Instant(nanoseconds: 1)
        openGroups(60, partitions: 1_024, of: &topic, at: now)
        func rest(_ between: (inout Topic) -> Void) -> Int {
            var turns = 0
            while topic.advance(at: now, into: &effects) {
                #expect(topic.work < Limits.workPerStepMax + 10_000)
                between(&topic)
                turns += 1
            }
            return turns
        }
        for count: UInt64 in [1_024, 900, 5] {
            _ = topic.emit(TopicHarness.records(Int(count), bytes: 10), events: count, time: 1)
            var isFirst = true
            // More comes while some groups have lost what they have to lose.
            let turns = rest { topic in
                guard isFirst, topic.groups.contains(where: { $0?.discarded ?? 0 > 0 }) else {
                    return
                }
                isFirst = false
                _ = topic.emit(TopicHarness.records(7, bytes: 10), events: 7, time: 1)
            }
            #expect(turns > 1)
            let held = topic.groups.compactMap { $0?.firstWaiting }
            #expect(Set(held) == [topic.log.head - 1_024])
        }
        #expect(topic.groups.allSatisfy { $0?.queued == 1_024 })
        #expect(topic.counters.discarded == topic.log.head - 1_024)
        #expect(topic.violations() + topic.strandedEvents() == [])
    }

    @Test("are emptied over several turns by a purge, and when their topic goes")
    func manyPurged() {
        var topic = Topic(name: "t", options: TopicOptions())
        var effects = Effects()
        let now = Instant(nanoseconds: 1)
        func open(_ group: Name, _ start: Start?) {
            var opening = ConsumerOpening(group: group, start: start, events: 100)
            opening.wish.dispatcher = .partition
            opening.wish.partitions = 1_024
            topic.apply(.openConsumer(topic.nextLink(), opening), at: now, into: &effects)
        }
        openGroups(60, partitions: 1_024, of: &topic, at: now)
        func emit(_ count: UInt64) {
            _ = topic.emit(TopicHarness.records(Int(count), bytes: 10), events: count, time: 1)
        }
        emit(2_000)
        while topic.advance(at: now, into: &effects) { continue }
        #expect(topic.groups.allSatisfy { $0?.queued == 2_000 })
        effects = Effects()
        topic.apply(.purge, at: now, into: &effects)
        var turns = 0
        while topic.advance(at: now, into: &effects) {
            #expect(topic.work < Limits.workPerStepMax + 10_000)
            turns += 1
            guard turns == 2 else { continue }
            // Who comes while it goes on, and what, is not of it; nor does it get what goes.
            #expect(topic.groups.contains { $0?.queued == 0 })
            emit(7)
            open("late", .first)
            open("g59", nil)
        }
        #expect(turns > 4)
        var given: [UInt64] = []
        for case .deliver(_, let delivery) in effects.list {
            given += effects.runs[delivery.runs].map(\.offset)
        }
        #expect(!given.isEmpty && given.allSatisfy { $0 >= 2_000 }, "\(given)")
        #expect(topic.groups.allSatisfy { $0?.firstWaiting ?? 0 >= 2_000 })
        #expect(topic.counters.discarded == 2_000)
        emit(2_000)
        while topic.advance(at: now, into: &effects) { continue }
        var steps = 1
        var copy = topic
        while !copy.dismantle() {
            #expect(copy.work < Limits.workPerStepMax + 10_000)
            steps += 1
        }
        #expect(steps > 4 && copy.groupTable.isEmpty)
        #expect(topic.violations() + topic.strandedEvents() == [])
    }
}
