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
}
