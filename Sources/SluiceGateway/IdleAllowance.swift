import SluiceCore

/// How many frames that ask for work and bring nothing a client may still send.
///
/// Each second gives a few. What brings something earns more, because a client may ping for each
/// answer that it reads, to learn how fast its road is.
struct IdleAllowance {
    private var left = Limits.http2IdleFramesPerSecond
    /// Monotonic nanoseconds at which this second began.
    private var second: UInt64 = 0
    private var hasEarned = false

    /// Whether the client has brought something, and far more of that than of nothing.
    var isEarned: Bool { hasEarned && left >= Limits.http2IdleFramesPerSecond }

    mutating func refresh(at now: UInt64) {
        guard now - min(now, second) >= 1_000_000_000 else { return }
        second = now
        left = max(left, Limits.http2IdleFramesPerSecond)
    }

    mutating func earn() {
        hasEarned = true
        left = min(left + Limits.http2IdleFramesPerUseful, Limits.http2IdleFramesMax)
    }

    /// Takes one; false if there is none left.
    mutating func spend() -> Bool {
        left -= 1
        return left >= 0
    }
}
