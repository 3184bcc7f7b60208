import SluiceCore
import SluiceTestKit
import Testing

@Suite("What became of demand")
struct TurnoverTests {
    @Test("counts what was asked, delivered and forfeited, also by members that are gone")
    func sums() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(100))
        let first = harness.consumer("g", asks: 7)
        harness.publish(producer, 3)
        harness.apply(.close(first))
        let second = harness.consumer("g", asks: 5)
        harness.publish(producer, 2)
        let sum = harness.topic.turnover(ofGroup: 0)
        #expect(sum.asked == 12)
        #expect(sum.delivered == 5)
        #expect(sum.forfeited == 4)
        #expect(sum.credit == 3)
        #expect(harness.topic.consumer(second)?.ledger.credit == 3)
        #expect(harness.broken() == [])
    }

    @Test("keeps as delivered what was lost with a connection")
    func cut() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(100))
        let consumer = harness.consumer("g", asks: 10)
        harness.publish(producer, 6)
        harness.apply(.detach(consumer))
        harness.apply(
            .attachConsumer(
                consumer,
                ResumePoint(
                    position: 4,
                    positionBytes: 0,
                    asked: 10,
                    askedBytes: 0,
                    stoppedTo: 0,
                    drainedTo: 0
                ),
                eventBytesMax: Limits.eventBytesMax
            )
        )
        let sum = harness.topic.turnover(ofGroup: 0)
        #expect((sum.asked, sum.delivered, sum.forfeited, sum.credit) == (10, 6, 0, 4))
        #expect(harness.broken() == [])
    }

    @Test("counts what producers were asked for, also those that are gone")
    func producers() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(100))
        _ = harness.consumer("g", asks: 10)
        harness.publish(producer, 4)
        harness.apply(.close(producer))
        _ = harness.producer(.events(100))
        let sum = harness.topic.turnoverOfProducers
        #expect((sum.asked, sum.delivered, sum.forfeited, sum.credit) == (16, 4, 6, 6))
        #expect(sum.credit == harness.topic.granted)
    }

    @Test("keeps what independent consumers counted")
    func independent() {
        var harness = TopicHarness { $0.group.dispatcher = .independent }
        let producer = harness.producer(.events(100))
        let consumer = harness.consumer(asks: 3)
        harness.publish(producer, 3)
        harness.apply(.close(consumer))
        #expect(harness.topic.endedGroups.turnover.asked == 3)
        #expect(harness.topic.endedGroups.turnover.delivered == 3)
    }

    @Test("times events that wait, by what holds them, up to now")
    func held() {
        var harness = TopicHarness(ahead: 10)
        let producer = harness.producer(.events(100))
        let consumer = harness.consumer("g", asks: 1)
        harness.now = harness.now.advanced(milliseconds: 5)
        harness.publish(producer, 3)
        harness.now = harness.now.advanced(milliseconds: 20)
        #expect(times(harness) == [.noDemand: 20_000_000])
        harness.apply(.window(consumer, bytes: 0))
        harness.ask(consumer, 10)
        harness.now = harness.now.advanced(milliseconds: 7)
        #expect(times(harness) == [.noDemand: 20_000_000, .window: 7_000_000])
        harness.apply(.window(consumer, bytes: 65_536))
        harness.now = harness.now.advanced(milliseconds: 100)
        #expect(times(harness) == [.noDemand: 20_000_000, .window: 7_000_000])
        #expect(harness.given[consumer] == [0, 1, 2])
    }

    private func times(_ harness: TopicHarness) -> [BlockedBy: UInt64]? {
        harness.topic.group(0)?.holds.nanoseconds(at: harness.now)
    }

    @Test("times producers that have events and no credit")
    func starved() {
        var harness = TopicHarness()
        _ = harness.producer(.events(100))
        harness.now = harness.now.advanced(milliseconds: 30)
        let consumer = harness.consumer("g", asks: 5)
        let time = { harness.topic.producerHolds.nanoseconds(at: harness.now) }
        #expect(time() == [.noDemand: 30_000_000])
        harness.now = harness.now.advanced(milliseconds: 30)
        #expect(time() == [.noDemand: 30_000_000])
        #expect(harness.topic.consumer(consumer)?.ledger.credit == 5)
    }
}
