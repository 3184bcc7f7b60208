/// A point on a clock that never goes back; the core is told the time and never asks for it.
package struct Instant: Hashable, Comparable, Sendable {
    package var nanoseconds: UInt64

    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    package static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The point `milliseconds` later, or the last there is.
    package func advanced(milliseconds: UInt64) -> Self {
        advanced(nanoseconds: milliseconds.multipliedSaturated(by: 1_000_000))
    }

    /// The point `nanoseconds` later, or the last there is.
    package func advanced(nanoseconds: UInt64) -> Self {
        Self(nanoseconds: self.nanoseconds.addingSaturated(nanoseconds))
    }

    /// Nanoseconds since `earlier`, 0 if that lies ahead.
    package func nanoseconds(since earlier: Self) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0
    }

    /// Milliseconds since `earlier`, 0 if that lies ahead.
    package func milliseconds(since earlier: Self) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? (nanoseconds - earlier.nanoseconds) / 1_000_000 : 0
    }
}
