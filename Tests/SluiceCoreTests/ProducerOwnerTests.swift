import SluiceCore
import SluiceTestKit
import Testing

/// One who takes grants over many links and sends nothing, beside one who sends.
@Suite("Owners of producers")
struct ProducerOwnerTests {
    private static let good: UInt64 = 1
    private static let greedy: UInt64 = 2

    @Test("hold at most half of what may be out while another sends, over however many links")
    func half() {
        var harness = TopicHarness()
        let sender = harness.producer(.events(1 << 40), owner: Self.good)
        let consumer = harness.consumer(asks: 100)
        harness.publish(sender, 10)
        harness.ask(consumer, 10)
        let takers = (0..<500).map { _ in harness.producer(.events(5), owner: Self.greedy) }
        for _ in 0..<200 {
            let count = min(20, harness.credit(sender))
            guard count > 0 else { continue }
            harness.publish(sender, Int(count))
            harness.ask(consumer, UInt32(count))
        }
        let taken = takers.reduce(0) { $0 + harness.credit($1) }
        #expect(taken > 0 && taken <= 50)
        #expect(harness.credit(sender) >= 50)
        #expect(harness.broken() + harness.topic.overGranted() == [])
    }

    @Test("are served, whatever they hold, once no other has sent for a second")
    func rest() {
        var harness = TopicHarness()
        let sender = harness.producer(.events(4), owner: Self.good)
        _ = harness.consumer(asks: 100)
        harness.publish(sender, 4)
        let takers = (0..<500).map { _ in harness.producer(.events(5), owner: Self.greedy) }
        #expect(takers.reduce(0) { $0 + harness.credit($1) } == 48)
        harness.pass(milliseconds: 999)
        #expect(takers.reduce(0) { $0 + harness.credit($1) } == 48)
        harness.pass(milliseconds: 1)
        #expect(takers.reduce(0) { $0 + harness.credit($1) } == 96)
        #expect(harness.broken() == [])
    }

    @Test("leave others bytes too, when their next events need more than there are")
    func bytes() {
        var harness = TopicHarness()
        let sender = harness.producer(.events(1 << 40), owner: Self.good)
        let consumer = harness.consumer(asks: 1_000)
        harness.publish(sender, 10)
        let takers = (0..<100).map { _ in harness.producer(.events(1), owner: Self.greedy) }
        for _ in 0..<50 {
            for taker in takers where harness.credit(taker) > 0 {
                harness.report(taker, available: 0, needs: 1_000_000)
            }
            guard harness.credit(sender) >= 10 else { continue }
            harness.publish(sender, 10)
            harness.ask(consumer, 10)
        }
        let taken = takers.reduce(0) { $0 + (harness.ledgers[$1]?.byteCredit ?? 0) }
        #expect(taken > 1_000_000 && taken <= Limits.grantWindowBytes / 2)
        #expect(harness.credit(sender) >= 10)
        #expect(harness.broken() + harness.topic.overGrantedBytes() == [])
    }
}
