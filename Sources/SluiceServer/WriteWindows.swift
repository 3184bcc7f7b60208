import SluiceCore

/// Decides when the write windows of a connection's links are wide.
///
/// A large write costs less than several small ones, and what the kernel takes does not wait. While
/// the queues of the loop hold too much, windows are tight, and those of a connection whose kernel
/// takes all at once are as wide as others are narrow: who reads does not pay for who does not.
// wideLinks > 0 ⇒ when asked last, the kernel had room for the wide windows of so many links
package struct WriteWindows {
    /// Bytes that are written from one question for the kernel's room to the next.
    private static let measuredBytes = 1_048_576
    private static let firstMeasuredBytes = Limits.writeWindowBytes / 2

    /// Links that have a wide window, because the kernel had room for all of them at once.
    private var wideLinks = 0
    /// Bytes written since the kernel was asked for its room.
    private var unmeasured = measuredBytes - firstMeasuredBytes

    package init() {}

    /// Takes what a flush came to; the bytes of each link's window from now on if they change.
    package mutating func update(
        after outcome: OutQueue.Outcome,
        isTight: Bool,
        links: @autoclosure () -> Int,
        room: () -> Int
    ) -> Int? {
        let wideBytes = isTight ? Limits.writeWindowBytes : Limits.writeBurstBytes
        var wide = wideLinks
        unmeasured += outcome.byteCount
        if outcome.isBlocked {
            wide = 0
        } else if unmeasured >= Self.measuredBytes || isTight && outcome.byteCount > 0 {
            unmeasured = 0
            let links = links()
            wide = room() >= 2 * wideBytes * links ? links : 0
        }
        guard wide != wideLinks else { return nil }
        wideLinks = wide
        if wide > 0 { return wideBytes }
        return isTight ? Limits.writeWindowBytesTight : Limits.writeWindowBytes
    }

    /// All windows were set anew, by somebody else.
    package mutating func forget() {
        wideLinks = 0
        unmeasured = Self.measuredBytes - Self.firstMeasuredBytes
    }
}
