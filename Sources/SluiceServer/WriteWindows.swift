import SluiceCore
package import SluiceEngine

/// Decides when the write windows of a connection's links are wide.
///
/// A large write costs less than several small ones, and what the kernel takes does not wait. While
/// the queues of the loop hold too much, windows are tight, and those of a connection whose kernel
/// takes all at once are as wide as others are narrow: who reads does not pay for who does not.
// wideLinks > 0 ⇒ when asked last, the kernel had room for the wide windows of so many links;
// isRoomy ⇒ also for half of those of as many links from other shards
package struct WriteWindows {
    /// Bytes that are written from one question for the kernel's room to the next.
    private static let measuredBytes = 1_048_576

    /// Links that have a wide window, because the kernel had room for all of them at once.
    private var wideLinks = 0
    private var isRoomy = false
    /// Bytes written since the kernel was asked for its room.
    private var unmeasured = measuredBytes - Limits.writeWindowBytes / 2

    package init() {}

    /// Takes what a flush came to; how wide windows are from now on if that changes.
    package mutating func update(
        after outcome: OutQueue.Outcome,
        isTight: Bool,
        links: @autoclosure () -> Int,
        room: () -> Int
    ) -> WindowWidths? {
        let wideBytes = isTight ? Limits.writeWindowBytes : Limits.writeBurstBytes
        var (wide, roomy) = (wideLinks, isRoomy)
        unmeasured += outcome.byteCount
        if outcome.isBlocked {
            (wide, roomy) = (0, false)
        } else if unmeasured >= Self.measuredBytes || isTight && outcome.byteCount > 0 {
            unmeasured = 0
            let (links, room) = (links(), room())
            wide = room >= 2 * wideBytes * links ? links : 0
            // Once it is, down to half of that: each change is a message to another shard.
            let enough = Limits.crossingBurstBytes * links / (isRoomy ? 2 : 1)
            roomy = !isTight && wide > 0 && room >= enough
        }
        guard wide != wideLinks || roomy != isRoomy else { return nil }
        (wideLinks, isRoomy) = (wide, roomy)
        if roomy { return WindowWidths(wideBytes, crossing: Limits.crossingBurstBytes) }
        if wide > 0 { return WindowWidths(wideBytes) }
        return WindowWidths(Self.narrowBytes(isTight: isTight))
    }

    /// Bytes of the window of a link whose kernel has shown nothing yet.
    static func narrowBytes(isTight: Bool) -> Int {
        isTight ? Limits.writeWindowBytesTight : Limits.writeWindowBytes
    }
}
