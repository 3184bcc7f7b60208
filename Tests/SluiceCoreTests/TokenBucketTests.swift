import SluiceCore
import SluiceTestKit
import Testing

@Suite("A token bucket")
struct TokenBucketTests {
    private let start = Instant(nanoseconds: 5_000_000_000)

    private func bucket(_ rate: UInt32, burst: UInt32) -> TokenBucket {
        TokenBucket(RateLimit(eventsPerSecond: rate, burst: burst), at: start)
    }

    @Test("begins with a burst, then lets its rate pass")
    func rate() {
        var bucket = bucket(1_000, burst: 10)
        #expect(bucket.available(at: start) == 10)
        bucket.take(10, at: start)
        #expect(bucket.available(at: start) == 0)
        #expect(bucket.available(at: start.advanced(milliseconds: 3)) == 3)
        #expect(bucket.available(at: start.advanced(milliseconds: 10_000)) == 10)
    }

    @Test("says exactly when the next event may pass")
    func next() {
        var bucket = bucket(3, burst: 1)
        #expect(bucket.nextAvailable(at: start) == nil)
        bucket.take(1, at: start)
        let next = bucket.nextAvailable(at: start)
        #expect(next == Instant(nanoseconds: start.nanoseconds + 333_333_334))
        guard let next else { return }
        var early = bucket
        #expect(early.available(at: Instant(nanoseconds: next.nanoseconds - 1)) == 0)
        // A look in between changes nothing.
        #expect(early.nextAvailable(at: Instant(nanoseconds: next.nanoseconds - 1)) == next)
        #expect(bucket.available(at: next) == 1)
    }

    @Test("does not drift, however often it is looked at")
    func drift() {
        var generator = SeededGenerator.replayable("A token bucket")
        for rate in [UInt32(1), 3, 7, 999, 1_000_003] {
            var bucket = bucket(rate, burst: 2 * rate)
            bucket.take(UInt64(2 * rate), at: start)
            var now = start
            var passed: UInt64 = 0
            for _ in 0..<2_000 {
                let step = UInt64.random(in: 1...900_000_000, using: &generator)
                now = Instant(nanoseconds: now.nanoseconds + step)
                let events = bucket.available(at: now)
                passed += events
                bucket.take(events, at: now)
            }
            let due = (now.nanoseconds - start.nanoseconds).multipliedFullWidth(by: UInt64(rate))
            #expect(passed == UInt64(1_000_000_000).dividingFullWidth(due).quotient)
        }
    }

    @Test("holds at its limits and when the clock stands or goes back")
    func limits() {
        var bucket = bucket(.max, burst: .max)
        #expect(bucket.available(at: start) == UInt64(UInt32.max))
        bucket.take(UInt64(UInt32.max), at: start)
        #expect(bucket.available(at: Instant(nanoseconds: 0)) == 0)
        #expect(bucket.available(at: Instant(nanoseconds: .max)) == UInt64(UInt32.max))
    }
}
