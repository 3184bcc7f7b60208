// Arithmetic that ends at the bounds of its type, for numbers that a peer, a flag, a file or a
// clock brought.

extension FixedWidthInteger where Self: UnsignedInteger {
    /// The sum, or the greatest number if that is less.
    @inline(__always)
    package func addingSaturated(_ other: Self) -> Self {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? .max : sum
    }

    /// The product, or the greatest number if that is less.
    @inline(__always)
    package func multipliedSaturated(by other: Self) -> Self {
        let (product, isOver) = multipliedReportingOverflow(by: other)
        return isOver ? .max : product
    }
}

extension Duration {
    /// A length in seconds from any number: nothing for one below 0 or none at all, and never more
    /// than `timeSecondsMax`.
    package init(boundedSeconds seconds: Double) {
        // The first is what NaN becomes.
        self = seconds > 0 ? .seconds(min(seconds, Double(Limits.timeSecondsMax))) : .zero
    }

    /// The length in nanoseconds, from 0 to `timeSecondsMax`: far from overflowing in a sum.
    package var boundedNanoseconds: UInt64 {
        let (seconds, attoseconds) = max(.zero, min(self, .seconds(Limits.timeSecondsMax)))
            .components
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }
}
