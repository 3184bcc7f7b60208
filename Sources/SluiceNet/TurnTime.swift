/// The time that what clients say may take in a turn of a loop.
///
/// A connection that has used its slice goes on in a later turn, behind those that were read
/// meanwhile: however dear its commands are, and however many of them came at once, others wait for
/// a slice of it.
package struct TurnTime {
    private let sliceMost: UInt64
    private let turnMost: UInt64
    private var used: UInt64 = 0

    package init(sliceMicroseconds: UInt64, turnMicroseconds: UInt64) {
        // Constants of minutes at most.
        sliceMost = sliceMicroseconds * 1_000
        turnMost = turnMicroseconds * 1_000
    }

    /// What one connection may use now.
    package var slice: Slice {
        Slice(most: min(sliceMost, turnMost - min(turnMost, used)))
    }

    package var isUsedUp: Bool { used >= turnMost }

    package mutating func spend(_ slice: Slice) { used += slice.used }

    package mutating func begin() { used = 0 }

    /// Sees to it that there is time for one slice at least.
    package mutating func leaveSlice() { used = min(used, turnMost - min(turnMost, sliceMost)) }

    package struct Slice: Sendable {
        package static let endless = Slice(most: .max)

        private let most: UInt64
        private var began: UInt64?
        fileprivate private(set) var used: UInt64 = 0

        fileprivate init(most: UInt64) { self.most = most }

        package mutating func begin() { began = monotonicNanoseconds() }

        /// Looks at the clock, and begins with the first look; true if nothing more may follow now.
        package mutating func isUsedUp() -> Bool {
            let now = monotonicNanoseconds()
            guard let began else {
                began = now
                return most == 0
            }
            used = now - min(now, began)
            return used >= most
        }
    }
}
