import SluiceCore
import SluiceTestKit
import Testing

@Suite("The alarm of a topic")
struct AlarmTests {
    private static func alarm(_ harness: TopicHarness) -> String? {
        harness.topic.alarm.map { "\($0.reason) of \($0.group)" }
    }

    @Test("comes at four fifths of what the topic holds, and names the slowest group")
    func events() {
        var harness = TopicHarness(ahead: 100) { $0.capacity = 100 }
        let slow = harness.consumer("slow")
        let fast = harness.consumer("fast", asks: 50)
        #expect(harness.topic.alarm == nil)
        harness.emit(79)
        #expect(harness.topic.alarm == nil)
        harness.emit(1)
        #expect(Self.alarm(harness) == "events of slow")
        harness.ask(slow, 60)
        #expect(harness.topic.alarm == nil)
        harness.emit(50)
        #expect(Self.alarm(harness) == "events of fast")
        harness.ask(fast, 100)
        harness.ask(slow, 100)
        #expect(harness.topic.alarm == nil)
    }

    @Test("comes for a group without members when producers may be no further ahead")
    func left() {
        var harness = TopicHarness(ahead: 10) { $0.capacity = 1_000 }
        let consumer = harness.consumer("g", asks: 1)
        let producer = harness.producer(.events(1_000))
        harness.publish(producer, Int(harness.credit(producer)))
        #expect(harness.topic.waiting(ofGroup: 0) == 10 && harness.credit(producer) == 0)
        #expect(harness.topic.alarm == nil)
        harness.apply(.close(consumer))
        #expect(Self.alarm(harness) == "events of g")
    }

    @Test("comes also at four fifths of its bytes")
    func bytes() {
        var harness = TopicHarness(ahead: 1_000) { options in
            options.capacity = 1_000
            options.bufferBytes = 1_000_000
        }
        _ = harness.consumer("g")
        harness.emit(7, bytes: 100_000)
        #expect(harness.topic.alarm == nil)
        harness.emit(1, bytes: 100_000)
        #expect(Self.alarm(harness) == "bytes of g")
    }

    @Test("comes for no group that producers do not wait for")
    func free() {
        var harness = TopicHarness(ahead: 10) { $0.capacity = 10 }
        _ = harness.consumer { opening in
            opening.wish.dispatcher = .independent
            opening.wish.lag = LagLimit(.dropOldest, events: 10)
        }
        harness.emit(10)
        #expect(harness.topic.alarm == nil)
        var dropping = TopicHarness(ahead: 10) { options in
            options.capacity = 10
            options.onFull = .dropOldest
        }
        _ = dropping.consumer("g")
        dropping.emit(10)
        #expect(dropping.topic.alarm == nil)
    }
}
