import SluiceCore
import SluiceTestKit
import Testing

@Suite struct PaceTests {
    private func at(microseconds: UInt64) -> Instant {
        Instant(nanoseconds: 5_000_000_000 + microseconds * 1_000)
    }

    @Test("What went on by 1,000 in a millisecond covers 5,000 in five, and no more")
    func covers() {
        var pace = Pace()
        #expect(!pace.covers(1, inMilliseconds: 5), "nothing was seen to move")
        pace.note(10_000, at: at(microseconds: 0))
        pace.note(11_000, at: at(microseconds: 1_000))
        #expect(pace.covers(5_000, inMilliseconds: 5))
        #expect(!pace.covers(5_001, inMilliseconds: 5))
        #expect(!pace.covers(.max, inMilliseconds: 5))
    }

    @Test("A stretch is half a millisecond at least, and only the last counts")
    func stretches() {
        var pace = Pace()
        pace.note(0, at: at(microseconds: 0))
        pace.note(1_000, at: at(microseconds: 1_000))
        pace.note(9_000, at: at(microseconds: 1_499))
        #expect(!pace.covers(5_001, inMilliseconds: 5), "a lump is no pace")
        pace.note(9_000, at: at(microseconds: 2_000))
        #expect(pace.covers(40_000, inMilliseconds: 5))
        pace.note(9_000, at: at(microseconds: 3_000))
        #expect(!pace.covers(1, inMilliseconds: 5), "it stands")
    }

    @Test("Who goes back stands")
    func back() {
        var pace = Pace()
        pace.note(.max, at: at(microseconds: 0))
        pace.note(0, at: at(microseconds: 1_000))
        #expect(!pace.covers(1, inMilliseconds: 5))
        pace.note(.max, at: at(microseconds: 2_000))
        #expect(pace.covers(.max, inMilliseconds: 5))
    }
}

@Suite struct LeastWaitingTests {
    @Test("Events wait for the group with the fewest; for none where there is no group")
    func groups() {
        var harness = TopicHarness()
        harness.emit(10)
        #expect(harness.topic.leastWaiting == 0, "nobody is there to wait for")
        let first = harness.consumer("a")
        #expect(harness.topic.leastWaiting == 10)
        _ = harness.consumer("b", asks: 4)
        #expect(harness.topic.leastWaiting == 6)
        harness.ask(first, 7)
        #expect(harness.topic.leastWaiting == 3)
    }

    @Test("Behind events that wait in lanes, what comes may be given away at once")
    func lanes() {
        var harness = TopicHarness()
        harness.emit(10)
        _ = harness.consumer("p") { $0.wish.dispatcher = .partition }
        #expect(harness.topic.leastWaiting == 0)
    }
}
