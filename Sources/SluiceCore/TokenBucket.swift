/// How many events a rate lets pass: so many per second, and a burst after a time of rest.
///
/// Counts billionths of an event, of which each nanosecond brings as many as the rate has events:
/// whole numbers, so nothing drifts.
package struct TokenBucket: Hashable, Sendable {
    package let limit: RateLimit
    /// Billionths of an event that may pass; at most a whole burst.
    private var level: UInt64
    private var refilled: Instant

    private static let event: UInt64 = 1_000_000_000

    /// Full: what was at rest before may begin with a burst.
    package init(_ limit: RateLimit, at now: Instant) {
        precondition(limit.eventsPerSecond > 0 && limit.burst > 0)
        self.limit = limit
        level = UInt64(limit.burst) * Self.event
        refilled = now
    }

    /// Another limit from now on: what the bucket before it held back is not let pass by that.
    package init(_ limit: RateLimit, following former: TokenBucket?, at now: Instant) {
        self.init(limit, at: now)
        guard var former else { return }
        level = min(level, former.available(at: now) * Self.event)
    }

    /// Events that may pass now.
    package mutating func available(at now: Instant) -> UInt64 {
        refill(at: now)
        return level / Self.event
    }

    /// Lets events pass, at most those that are available.
    package mutating func take(_ events: UInt64, at now: Instant) {
        precondition(events <= available(at: now), "no more passes than the rate allows")
        level -= events * Self.event
    }

    /// When the next event may pass; nil if one may now.
    package func nextAvailable(at now: Instant) -> Instant? {
        var copy = self
        guard copy.available(at: now) == 0 else { return nil }
        let rate = UInt64(limit.eventsPerSecond)
        let wait = (Self.event - copy.level + rate - 1) / rate
        return copy.refilled.advanced(nanoseconds: wait)
    }

    private mutating func refill(at now: Instant) {
        guard now > refilled else { return }
        let passed = now.nanoseconds - refilled.nanoseconds
        refilled = now
        let full = UInt64(limit.burst) * Self.event
        let (brought, isMore) = passed.multipliedReportingOverflow(
            by: UInt64(limit.eventsPerSecond)
        )
        level = isMore || brought >= full - level ? full : level + brought
    }
}
