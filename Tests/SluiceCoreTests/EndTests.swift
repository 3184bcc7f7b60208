import SluiceCore
import SluiceTestKit
import Testing

@Suite("The end of a topic")
struct EndTests {
    /// A topic with two producers and a consumer.
    private static func pair() -> (TopicHarness, LinkID, LinkID, LinkID) {
        var harness = TopicHarness(ahead: 100)
        let one = harness.producer(.unknown)
        let other = harness.producer(.unknown)
        let consumer = harness.consumer(asks: 10)
        return (harness, one, other, consumer)
    }

    @Test("comes when the last producer has said it, and to who comes later")
    func lastSays() {
        var (harness, one, other, consumer) = Self.pair()
        harness.publish(one, 2)
        harness.apply(.mark(one, .end))
        #expect(harness.marks(consumer) == [])
        harness.apply(.close(one))
        harness.apply(.mark(other, .end))
        harness.apply(.close(other))
        #expect(harness.marks(consumer) == [2])
        let late = harness.consumer("late", asks: 10)
        #expect(harness.marks(late) == [2])
        let again = harness.producer(.unknown)
        harness.publish(again, 1)
        let last = harness.consumer("last", asks: 10, start: .new)
        #expect(harness.marks(last) == [])
    }

    @Test("comes when the last that has not said it leaves", arguments: [true, false])
    func lastLeaves(isThere: Bool) {
        var (harness, one, other, consumer) = Self.pair()
        harness.publish(one, 2)
        harness.apply(.mark(one, .end))
        if !isThere { harness.apply(.close(one)) }
        harness.publish(other, 1)
        #expect(harness.marks(consumer) == [])
        harness.apply(.detach(other))
        #expect(harness.marks(consumer) == [], "it may come back")
        harness.apply(.close(other))
        #expect(harness.marks(consumer) == [3])
    }

    @Test("is nobody's to say who leaves without a word")
    func nobodySays() {
        var (harness, one, other, consumer) = Self.pair()
        harness.publish(one, 2)
        harness.apply(.close(one))
        harness.apply(.close(other))
        #expect(harness.marks(consumer) == [])
    }

    @Test("is taken back by an event of the producer that said it")
    func takenBack() {
        var (harness, one, other, consumer) = Self.pair()
        harness.apply(.mark(one, .end))
        harness.publish(one, 1)
        harness.apply(.close(other))
        #expect(harness.marks(consumer) == [])
        harness.apply(.mark(one, .end))
        #expect(harness.marks(consumer) == [1])
    }

    @Test("counts each producer once, and each end for one end of the topic")
    func twice() {
        var (harness, one, other, consumer) = Self.pair()
        harness.apply(.mark(one, .end))
        harness.apply(.mark(one, .end))
        #expect(harness.marks(consumer) == [])
        harness.apply(.mark(other, .end))
        harness.apply(.mark(other, .end))
        #expect(harness.marks(consumer) == [0])
        let third = harness.producer(.unknown)
        harness.publish(third, 1)
        harness.apply(.close(third))
        #expect(harness.marks(consumer) == [0])
        let fourth = harness.producer(.unknown)
        harness.publish(fourth, 1)
        harness.apply(.mark(fourth, .end))
        #expect(harness.marks(consumer) == [0, 2])
        #expect(harness.broken() == [])
    }

    @Test("is told to each member that joins a group which has it behind it")
    func laterMember() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let first = harness.consumer("g", asks: 10)
        harness.publish(producer, 2)
        harness.apply(.mark(producer, .end))
        #expect(harness.stories[first] == ["0", "1", "end@2"])
        harness.apply(.mark(producer, .marker([65])))
        let later = harness.consumer("g")
        #expect(harness.stories[later] == ["end@2"])
        harness.publish(producer, 1)
        let last = harness.consumer("g")
        #expect(harness.marks(last) == [])
    }

    @Test("stays for a group that begins long after, behind what waits")
    func lateGroup() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        _ = harness.consumer("holds", start: .first)
        let quick = harness.consumer("quick", asks: 10)
        harness.publish(producer, 2)
        harness.apply(.mark(producer, .end))
        harness.apply(.close(producer))
        #expect(harness.marks(quick) == [2])
        let late = harness.consumer("late", asks: 10, start: .first)
        #expect(harness.stories[late] == ["0", "1", "end@2"])
        let new = harness.consumer("new", start: .new)
        #expect(harness.stories[new] == ["end@2"])
    }
}
