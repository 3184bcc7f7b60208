import SluiceCore
import SluiceTestKit
import Testing

private let hello = Mark.marker(Array("hello".utf8))

@Suite("A mark")
struct MarkTests {
    @Test("reaches each group behind all that came before it")
    func order() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let fast = harness.consumer("fast", asks: 10)
        let slow = harness.consumer("slow", asks: 1)
        harness.publish(producer, 3)
        harness.apply(.mark(producer, hello))
        #expect(harness.marks(fast) == [3])
        #expect(harness.marks(slow) == [])
        harness.ask(slow, 1)
        #expect(harness.marks(slow) == [])
        harness.ask(slow, 5)
        #expect(harness.marks(slow) == [3])
        #expect(harness.topic.waitingMarks == 0)
    }

    @Test("takes no demand, and is told to all members at once")
    func members() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer("g")
        let other = harness.consumer("g")
        harness.apply(.mark(producer, hello))
        #expect(harness.marks(one) == [0])
        #expect(harness.marks(other) == [0])
    }

    @Test("waits behind what waits in a partition")
    func partition() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let one = harness.consumer("g", asks: 0) { opening in
            opening.wish.dispatcher = .partition
            opening.wish.partitions = 2
        }
        harness.emit(keys: ["a", "b", "c"])
        harness.apply(.mark(producer, hello))
        #expect(harness.marks(one) == [])
        harness.ask(one, 3)
        #expect(harness.marks(one) == [3])
    }

    @Test("of the end comes when the last producer has said it, and to who comes later")
    func end() {
        var harness = TopicHarness(ahead: 100)
        let one = harness.producer(.unknown)
        let other = harness.producer(.unknown)
        let consumer = harness.consumer(asks: 10)
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

    @Test("said before anybody consumed is kept in its place")
    func early() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        harness.publish(producer, 2)
        harness.apply(.mark(producer, hello))
        harness.publish(producer, 2)
        let consumer = harness.consumer(asks: 10)
        #expect(harness.given[consumer]?.count == 4)
        #expect(harness.marks(consumer) == [2])
    }

    @Test("above the limit ends the link that says it")
    func limit() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        for _ in 0..<Limits.marksMax { harness.apply(.mark(producer, hello)) }
        #expect(harness.code(producer) == nil)
        harness.apply(.mark(producer, hello))
        #expect(harness.code(producer) == .limit)
    }
}
