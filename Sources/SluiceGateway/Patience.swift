import SluiceCore

/// How long a client may leave lying what waits for it.
///
/// It is looked at now and then, and costs nothing between.
package struct Patience {
    /// When so much had moved; nil while nothing waits.
    private var mark: (time: UInt64, moved: Int)?

    package init() {}

    /// Whether too little has moved for too long: `moved` are all bytes that ever did.
    package mutating func isOver(isWaiting: Bool, moved: Int, at now: UInt64) -> Bool {
        guard isWaiting else {
            mark = nil
            return false
        }
        let seconds = Limits.httpStallSecondsMax
        guard let mark, moved - mark.moved < seconds * Limits.httpBodyBytesPerSecondMin else {
            self.mark = (now, moved)
            return false
        }
        return now - min(now, mark.time) >= UInt64(seconds) * 1_000_000_000
    }
}
