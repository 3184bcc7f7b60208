import SluiceCore
import SluiceTestKit
import Testing

@Suite("The settings of a topic, changed")
struct TopicChangeTests {
    private static func change(
        _ harness: inout TopicHarness,
        _ body: (inout TopicChange) -> Void
    ) {
        var change = TopicChange(harness.topic.options)
        body(&change)
        harness.apply(.change(change))
    }

    @Test("less room loses nothing: no more is granted until what is held fits again")
    func shrink() {
        var harness = TopicHarness(ahead: 100) { $0.capacity = 100 }
        let consumer = harness.consumer()
        let producer = harness.producer(.events(1_000))
        #expect(harness.credit(producer) == 100)
        harness.publish(producer, 60)
        Self.change(&harness) { change in
            change.capacity = 10
            change.ahead = 10
            change.bufferBytes = 0
        }
        // What was granted before may still come, and is kept.
        harness.publish(producer, Int(harness.credit(producer)))
        let held = harness.topic.buffered
        #expect(held >= 100)
        #expect(harness.credit(producer) == 0)
        harness.ask(consumer, UInt32(held) - 10)
        #expect(harness.credit(producer) == 0)
        #expect(harness.topic.buffered == 10)
        Self.change(&harness) { $0.bufferBytes = 100_000 }
        harness.ask(consumer, 10)
        #expect(harness.credit(producer) == 10)
        #expect(harness.given[consumer] == Array(0..<held))
        #expect(harness.topic.counters.discarded == 0)
        #expect(harness.broken() == [])
    }

    @Test("more room is granted at once")
    func grow() {
        var harness = TopicHarness(ahead: 0) { $0.capacity = 0 }
        let producer = harness.producer(.events(1_000))
        #expect(harness.credit(producer) == 0)
        Self.change(&harness) { change in
            change.capacity = 50
            change.ahead = 20
        }
        #expect(harness.credit(producer) == 20)
        #expect(harness.topic.overGranted() == [])
    }

    @Test("a topic that drops the oldest from now on does so at once, and tells it")
    func policy() {
        var harness = TopicHarness(ahead: 100) { $0.capacity = 100 }
        let consumer = harness.consumer()
        let producer = harness.producer(.events(100))
        harness.publish(producer, 50)
        _ = harness.look()
        Self.change(&harness) { change in
            change.capacity = 20
            change.ahead = 20
            change.onFull = .dropOldest
        }
        #expect(harness.topic.buffered == 20)
        let told = harness.gaps(consumer).map { $0.from..<$0.to }
        #expect(told == [0..<30])
        #expect(harness.topic.counters.discarded == 30)
        harness.ask(consumer, 100)
        #expect(harness.given[consumer] == Array(30..<50))
        #expect(harness.broken() == [])
    }

    @Test("a rate comes, changes and goes, and a change lets pass no more than the slower of both")
    func rate() {
        var harness = TopicHarness(ahead: 1_000) { $0.capacity = 1_000 }
        let producer = harness.producer(.events(10_000))
        harness.publish(producer, Int(harness.credit(producer)))
        let consumer = harness.consumer()
        Self.change(&harness) { $0.rate = RateLimit(eventsPerSecond: 100, burst: 5) }
        harness.ask(consumer, 2_000)
        #expect(harness.credit(producer) == 5)
        harness.publish(producer, 5)
        Self.change(&harness) { $0.rate = RateLimit(eventsPerSecond: 10, burst: 50) }
        #expect(harness.credit(producer) == 0)
        Self.change(&harness) { $0.rate = nil }
        #expect(harness.credit(producer) > 1_000)
    }

    @Test("links beyond a limit stay, and none is added; what was too large is let in again")
    func limits() {
        var harness = TopicHarness(ahead: 100) { $0.limits.eventBytes = 10 }
        let first = harness.consumer("a", asks: 10)
        _ = harness.consumer("b")
        Self.change(&harness) { change in
            change.limits.consumers = 1
            change.limits.eventBytes = 20
        }
        #expect(harness.topic.consumers == 2)
        let third = harness.consumer("c")
        #expect(harness.code(third) == .limit)
        let producer = harness.producer(.events(5))
        harness.publish(producer, 1, bytes: 20)
        #expect(harness.given[first] == [0])
        #expect(harness.topic.counters.tooLarge == 0)
    }
}
