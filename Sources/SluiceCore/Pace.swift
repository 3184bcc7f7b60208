/// How fast something goes on, measured from one look to the next.
package struct Pace: Sendable {
    /// Nanoseconds of a stretch that is measured, at least: what moves in less comes in lumps.
    package static let nanosecondsMin: UInt64 = 500_000

    private var place: UInt64 = 0
    private var since = Instant(nanoseconds: 0)
    /// How far it went in the last stretch, and how long that took.
    private var way: UInt64 = 0
    private var nanoseconds: UInt64 = 1

    package init() {}

    /// Tells that it has come to `place` by now.
    package mutating func note(_ place: UInt64, at now: Instant) {
        let passed = now.nanoseconds(since: since)
        guard passed >= Self.nanosecondsMin else { return }
        way = place - min(place, self.place)
        nanoseconds = passed
        self.place = place
        since = now
    }

    /// Whether it goes on by `way` within `milliseconds`, if it keeps the pace.
    package func covers(_ way: UInt64, inMilliseconds milliseconds: UInt64) -> Bool {
        let needed = way.multipliedFullWidth(by: nanoseconds)
        let given = self.way.multipliedFullWidth(by: milliseconds * 1_000_000)
        return (needed.high, needed.low) <= (given.high, given.low)
    }
}
