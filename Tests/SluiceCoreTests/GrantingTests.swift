import SluiceCore
import SluiceTestKit
import Testing

@Suite("Granting")
struct GrantingTests {
    @Test("gives the producers together what consumers asked, evenly", arguments: [1, 2, 3, 7])
    func exact(_ count: Int) {
        var harness = TopicHarness()
        let producers = (0..<count).map { _ in harness.producer(.events(100)) }
        #expect(producers.allSatisfy { harness.credit($0) == 0 })
        let consumer = harness.consumer(asks: 7)
        let credits = producers.map { harness.credit($0) }
        #expect(credits.reduce(0, +) == 7)
        #expect((credits.max() ?? 0) - (credits.min() ?? 0) <= 1)
        for producer in producers { harness.publish(producer, Int(harness.credit(producer))) }
        #expect(harness.given[consumer] == Array(0..<7))
        #expect(harness.topic.granted == 0)
    }

    @Test("follows the slowest of several groups")
    func groups() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(100))
        _ = harness.consumer("fast", asks: 50)
        #expect(harness.credit(producer) == 50)
        harness.publish(producer, 50)
        let slow = harness.consumer("slow", asks: 5, start: .new)
        let fast = harness.consumer("fast", asks: 30)
        #expect(harness.credit(producer) == 5)
        harness.ask(slow, 10)
        #expect(harness.credit(producer) == 15)
        #expect(harness.topic.overGranted() == [])
        harness.publish(producer, 15)
        #expect(harness.given[fast]?.count == 15)
    }

    @Test("gives an idle producer its floor only out of what is kept ahead")
    func floor() {
        var strict = TopicHarness(ahead: 0)
        let idle = strict.producer(.events(0))
        _ = strict.consumer(asks: 10)
        #expect(strict.credit(idle) == 0)
        var buffered = TopicHarness(ahead: 100)
        let other = buffered.producer(.unknown)
        #expect(buffered.credit(other) == Limits.idleGrantEvents)
    }

    @Test("serves producers that announced before those that cannot say")
    func announcedFirst() {
        var harness = TopicHarness()
        let willing = harness.producer(.unknown)
        let announcing = harness.producer(.events(6))
        _ = harness.consumer(asks: 10)
        #expect(harness.credit(announcing) == 6)
        #expect(harness.credit(willing) == 4)
    }

    @Test("takes an announcement as what waits beyond the credit that was seen")
    func announcementCoversCredit() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(10))
        _ = harness.consumer(asks: 4)
        harness.report(producer, available: 10)
        #expect(harness.topic.producer(producer)?.backlog == .events(10))
        #expect(harness.topic.violations() == [])
    }

    @Test(
        "finds one announcer among twenty within two round trips",
        arguments: [0, 10] as [UInt64]
    )
    func oneOfTwenty(_ ahead: UInt64) {
        var harness = TopicHarness(ahead: ahead)
        let producers = (0..<20).map { _ in harness.producer(.unknown) }
        _ = harness.consumer(asks: 10)
        #expect(harness.topic.granted > 0)
        _ = harness.look()
        let announcer = producers[19]
        harness.report(announcer, available: 10)
        for id in harness.recalled() { harness.report(id, available: 0, isDrained: true) }
        #expect(harness.credit(announcer) == 10)
        #expect(harness.topic.violations() == [])
        #expect(harness.topic.overGranted() == [])
    }

    @Test("takes back what an announced backlog does not use while others wait")
    func announcedAndUnused() {
        var harness = TopicHarness()
        let silent = harness.producer(.events(1 << 63))
        _ = harness.consumer(asks: 10)
        #expect(harness.credit(silent) == 10)
        harness.pass(milliseconds: 1_000)
        let busy = harness.producer(.events(100))
        harness.pass(milliseconds: 3_999)
        #expect(harness.recalled() == [])
        #expect(harness.credit(busy) == 0)
        harness.pass(milliseconds: 1_000)
        #expect(harness.recalled() == [silent])
        harness.report(silent, available: 1 << 63, isDrained: true)
        #expect(harness.credit(busy) == 10)
        // It comes last now, and is given little at a time.
        harness.publish(busy, 10)
        _ = harness.consumer(asks: 10)
        #expect(harness.credit(silent) <= Limits.idleGrantEvents)
        #expect(harness.credit(busy) >= 6)
        #expect(harness.topic.violations() + harness.topic.overGranted() == [])
    }

    @Test("does not let an idle producer of an unknown backlog hold up a busy one")
    func unknownAndIdle() {
        var harness = TopicHarness()
        let idle = harness.producer(.unknown)
        let consumer = harness.consumer(asks: 1)
        #expect(harness.credit(idle) == 1)
        let busy = harness.producer(.unknown)
        var sent = 0
        for _ in 0..<300 {
            harness.pass(milliseconds: 100)
            for id in harness.recalled() where id == idle {
                harness.report(idle, available: Backlog.unknownOnWire, isDrained: true)
            }
            _ = harness.look()
            guard harness.credit(busy) > 0 else { continue }
            harness.publish(busy, 1)
            harness.ask(consumer, 1)
            sent += 1
        }
        // In half a minute: all but the first half second, and a fifth of one at times.
        #expect(sent > 240)
        #expect(harness.topic.violations() == [])
    }

    @Test("levels what producers hold, so that one who takes and never sends gets its part alone")
    func level() {
        var harness = TopicHarness()
        let silent = harness.producer(.events(1 << 63))
        let busy = harness.producer(.events(1 << 62))
        let consumer = harness.consumer(asks: 100)
        for _ in 0..<50 {
            harness.publish(busy, 10)
            harness.ask(consumer, 10)
        }
        #expect(harness.credit(silent) == 50)
        #expect(harness.credit(busy) == 50)
    }

    @Test("closes a producer that does not answer a recall in time")
    func recallTimeout() {
        var harness = TopicHarness()
        let holder = harness.producer(.unknown)
        _ = harness.consumer(asks: 10)
        let announcer = harness.producer(.events(10))
        #expect(harness.credit(announcer) == 0)
        harness.now = harness.now.advanced(milliseconds: 19_999)
        harness.expireRecalls()
        #expect(harness.topic.producer(holder) != nil)
        harness.now = harness.now.advanced(milliseconds: 1)
        harness.expireRecalls()
        #expect(harness.topic.producer(holder) == nil)
        #expect(harness.credit(announcer) == 10)
    }

    @Test("waits for the answer to a recall as long as the client may take, and no longer")
    func recallPatience() {
        var harness = TopicHarness()
        let holder = harness.producer(.unknown)
        harness.apply(.answersWithin(holder, milliseconds: 2_000))
        _ = harness.consumer(asks: 10)
        _ = harness.producer(.events(10))
        harness.now = harness.now.advanced(milliseconds: 1_999)
        harness.expireRecalls()
        #expect(harness.topic.producer(holder) != nil)
        harness.now = harness.now.advanced(milliseconds: 1)
        harness.expireRecalls()
        #expect(harness.code(holder) == .recallTimeout)
    }

    @Test("closes a producer that sends more than it was granted")
    func overrun() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(10))
        _ = harness.consumer(asks: 2)
        harness.publish(producer, 3)
        #expect(harness.code(producer) == .creditOverrun)
        #expect(harness.topic.granted == 0)
        #expect(harness.topic.log.head == 0)
    }

    @Test("asks nothing upstream for a consumer that does not read")
    func stalled() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(1_000_000))
        let consumer = harness.consumer()
        harness.apply(.window(consumer, bytes: 0))
        harness.ask(consumer, 1_000)
        #expect(harness.credit(producer) == 0)
        harness.apply(.window(consumer, bytes: 65_536))
        #expect(harness.credit(producer) == 1_000)
    }

    @Test("grants the bytes that the next event needs, whatever its legal size")
    func largeEvent() {
        var harness = TopicHarness(ahead: 0) { $0.bufferBytes = 1_000 }
        let producer = harness.producer(.events(1))
        let consumer = harness.consumer(asks: 1)
        #expect(harness.credit(producer) == 1)
        harness.report(producer, available: 1, needs: UInt32(Limits.eventBytesMax))
        #expect(harness.ledgers[producer]?.byteCredit ?? 0 >= UInt64(Limits.eventBytesMax))
        harness.publish(producer, 1, bytes: Limits.eventBytesMax)
        #expect(harness.givenBytes[consumer] == Limits.eventBytesMax)
    }

    @Test("guesses no event larger than one may be")
    func likelyLargest() {
        var harness = TopicHarness(ahead: 0) { $0.bufferBytes = 1_000 }
        let producer = harness.producer(.events(2))
        _ = harness.consumer(asks: 1)
        harness.report(producer, available: 1, needs: 1_000_000)
        harness.publish(producer, 1, bytes: 1_000_000)
        _ = harness.consumer(asks: 1)
        #expect(harness.credit(producer) == 1)
        #expect(harness.ledgers[producer]?.byteCredit == UInt64(Limits.eventBytesMax))
        #expect(harness.topic.overGrantedBytes() == [])
    }

    @Test("lets producers of large events take turns instead of holding each other up")
    func largeEvents() {
        var harness = TopicHarness(ahead: 1_000)
        _ = harness.consumer(asks: 5_000)
        let producers = (0..<5).map { _ in harness.producer(.events(1)) }
        for producer in producers { harness.report(producer, available: 1, needs: 1_048_000) }
        #expect(harness.topic.violations() == [])
        #expect(harness.topic.overGrantedBytes() == [])
        let ready = producers.filter { harness.ledgers[$0]?.byteCredit ?? 0 >= 1_048_000 }
        #expect(!ready.isEmpty)
        for producer in ready { harness.publish(producer, 1, bytes: 1_048_000) }
        let served = producers.filter { harness.ledgers[$0]?.byteCredit ?? 0 >= 1_048_000 }
        #expect(!served.isEmpty)
    }

    @Test("takes back what a producer holds beyond the one event that lacks bytes")
    func needOfOne() {
        var harness = TopicHarness()
        let holder = harness.producer(.unknown)
        _ = harness.consumer(asks: 100)
        harness.report(holder, available: 0, needs: 200_000)
        #expect(harness.credit(holder) == 100)
        let announcer = harness.producer(.events(20))
        #expect(harness.credit(holder) == 0)
        harness.report(holder, available: 0, isDrained: true)
        #expect(harness.credit(announcer) == 20)
        #expect(harness.topic.violations() == [])
    }

    @Test("leaves a producer that lacks bytes what it announced, though others wait")
    func needOfMany() {
        var harness = TopicHarness()
        let holder = harness.producer(.events(10))
        _ = harness.consumer(asks: 10)
        _ = harness.producer(.events(20))
        harness.report(holder, available: 0, needs: 20_000)
        #expect(harness.credit(holder) == 10)
        harness.publish(holder, 1, bytes: 20_000)
        #expect(harness.credit(holder) == 9)
        #expect(harness.topic.violations() == [])
    }

    @Test("grants the bytes of all its events to a producer that was granted too few for them")
    func wrongGuess() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(100))
        _ = harness.consumer(asks: 100)
        harness.publish(producer, 11, bytes: 9_000)
        harness.report(producer, available: 0, needs: 9_000)
        #expect(harness.credit(producer) == 89)
        #expect(harness.ledgers[producer]?.byteCredit ?? 0 >= 89 * 9_000)
        #expect(harness.topic.overGrantedBytes() == [])
    }

    @Test("grants all that lack bytes those of their next event before any gets more")
    func needsFirst() {
        var harness = TopicHarness()
        let holder = harness.producer(.events(2_800))
        let needy = (0..<4).map { _ in harness.producer(.events(100)) }
        _ = harness.consumer(asks: 3_200)
        for producer in needy { harness.report(producer, available: 0, needs: 1_048_000) }
        // Nothing is free for them until the holder's bytes came.
        #expect(needy.allSatisfy { harness.ledgers[$0]?.byteCredit ?? 0 < 1_048_000 })
        harness.publish(holder, 2_800, bytes: 1_024)
        #expect(needy.allSatisfy { harness.ledgers[$0]?.byteCredit ?? 0 >= 1_048_000 })
        #expect(harness.topic.overGrantedBytes() == [])
    }

    @Test("keeps what comes back for one that lacks bytes, and gives no floors of it")
    func floorsWait() {
        var harness = TopicHarness(ahead: 1_000)
        let holder = harness.producer(.events(50))
        // The floors are taken to need as many bytes an event as this one.
        harness.emit(1, bytes: 60_000)
        for _ in 0..<13 { _ = harness.producer(.events(0)) }
        // Takes what was too little for one more round of floors.
        _ = harness.producer(.events(100))
        harness.report(holder, available: 0, needs: 700_000)
        #expect(harness.ledgers[holder]?.byteCredit ?? 0 < 700_000)
        for id in harness.recalled() { harness.report(id, available: 0, isDrained: true) }
        #expect(harness.ledgers[holder]?.byteCredit ?? 0 >= 700_000)
        #expect(harness.topic.violations() == [])
    }

    @Test("keeps what comes back for the first that lacks bytes, whatever others announced")
    func announcersWait() {
        var harness = TopicHarness()
        let producers = (0..<40).map { _ in harness.producer(.events(100)) }
        _ = harness.consumer(asks: 4_000)
        #expect(producers.allSatisfy { harness.credit($0) == 100 })
        for producer in producers { harness.report(producer, available: 0, needs: 1_048_000) }
        for id in harness.recalled() { harness.report(id, available: 100, isDrained: true) }
        #expect(harness.ledgers[producers[0]]?.byteCredit ?? 0 >= 1_048_000)
        #expect(harness.topic.violations() == [])
    }

    @Test("refills what is kept ahead when that is worth a frame, in bytes too")
    func refills() {
        var harness = TopicHarness(ahead: 10_000)
        harness.emit(1, bytes: 16_384)
        let producer = harness.producer(.events(1_000_000))
        let granted = harness.credit(producer)
        harness.publish(producer, 10, bytes: 16_384)
        #expect(harness.credit(producer) == granted - 10)
        let more = Int(granted) / 3
        harness.publish(producer, more, bytes: 16_384)
        #expect(harness.credit(producer) > granted - 10 - UInt64(more))
    }

    @Test("takes back all grants when the topic winds up")
    func wind() {
        var harness = TopicHarness()
        let producer = harness.producer(.events(10))
        _ = harness.consumer(asks: 10)
        harness.apply(.wind)
        #expect(harness.credit(producer) == 0)
        harness.report(producer, available: 10, isDrained: true)
        #expect(harness.topic.granted == 0)
    }

    @Test("voids what a detached producer held, and serves it when it is back")
    func detachedProducer() {
        var harness = TopicHarness()
        let first = harness.producer(.events(10))
        _ = harness.consumer(asks: 10)
        let second = harness.producer(.events(10))
        harness.apply(.detach(first))
        #expect(harness.credit(second) == 10)
        #expect(harness.topic.granted == 10)
        let point = ResumePoint(asked: 10)
        harness.apply(.attachProducer(first, point, .events(10)))
        #expect(harness.topic.violations() == [])
        harness.apply(.close(second))
        #expect(harness.topic.granted == 10)
        #expect(harness.topic.producer(first)?.ledger.credit == 10)
    }

    @Test("grants no more bytes than the largest event has, whatever a producer says it needs")
    func needBeyondReason() {
        var harness = TopicHarness(ahead: 0)
        let producer = harness.producer(.events(100))
        _ = harness.consumer(asks: 100)
        harness.report(producer, available: 0, needs: .max)
        let largest = UInt64(Limits.eventBytesMax)
        #expect(harness.ledgers[producer]?.byteCredit ?? 0 <= Limits.grantWindowBytes + largest)
        #expect(harness.topic.overGrantedBytes() == [])
    }

    @Test("keeps the turn of a producer that announces more while it waits")
    func turnOfAReporter() {
        var harness = TopicHarness(ahead: 0)
        let reporter = harness.producer(.events(100))
        let silent = harness.producer(.events(100))
        let consumer = harness.consumer()
        for _ in 0..<10 {
            harness.report(reporter, available: 100)
            harness.ask(consumer, 1)
        }
        #expect(harness.credit(reporter) == 5)
        #expect(harness.credit(silent) == 5)
    }

    @Test("sends a producer one DEMAND a step, however its share comes together")
    func joined() {
        var harness = TopicHarness(ahead: 0)
        let large = harness.producer(.events(100))
        let small = harness.producer(.events(1))
        _ = harness.look()
        _ = harness.consumer(asks: 10)
        let asked = harness.look().compactMap { effect -> LinkID? in
            if case .ask(let id, _) = effect { id } else { nil }
        }
        #expect(asked == [large, small])
        #expect(harness.credit(large) == 9)
        #expect(harness.credit(small) == 1)
    }
}

extension TopicHarness {
    /// Those who were sent a STOP since the last look.
    fileprivate mutating func recalled() -> [LinkID] {
        look().compactMap { effect in
            guard case .ask(let id, let ask) = effect, ask.flags.contains(.stop) else { return nil }
            return id
        }
    }
}
