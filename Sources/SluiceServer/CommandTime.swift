import SluiceCore
import SluiceNet

/// The time that what clients say, beside events, may take in a turn of a loop.
///
/// A connection that has used its slice goes on at the turn's end, behind those that were read
/// meanwhile: however dear its commands are, and however many of them came at once, others wait for
/// a slice of it.
struct CommandTime {
    private var used: UInt64 = 0

    /// What one connection may use now.
    var slice: Slice {
        let left = Limits.commandTurnMicroseconds * 1_000
        return Slice(most: min(Limits.commandSliceMicroseconds * 1_000, left - min(left, used)))
    }

    var isUsedUp: Bool { used >= Limits.commandTurnMicroseconds * 1_000 }

    mutating func spend(_ slice: Slice) { used += slice.used }

    mutating func begin() { used = 0 }

    struct Slice: Sendable {
        static let endless = Slice(most: .max)

        let most: UInt64
        private var commands = 0
        private var began: UInt64?
        private(set) var used: UInt64 = 0

        fileprivate init(most: UInt64) { self.most = most }

        /// Counts a command; true if no other may follow now.
        @inline(__always)
        mutating func isUsedUp() -> Bool {
            commands += 1
            guard commands % Self.commandsBetweenLooks == 0 else { return false }
            return look()
        }

        private mutating func look() -> Bool {
            let now = monotonicNanoseconds()
            guard let began else {
                began = now
                return most == 0
            }
            used = now - min(now, began)
            return used >= most
        }

        /// So few that the dearest take no longer than a slice, and the clock costs little.
        private static let commandsBetweenLooks = 8
    }
}
