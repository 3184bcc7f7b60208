/// When a consumer asks again: GenStage's rule of `max_demand` and `min_demand`, as a value.
///
/// It asks for `max` at first. When what is asked and not yet processed has fallen to `min`, it
/// asks for the difference to `max`. A batch is at most `max − min` events, so that the next
/// ones are on their way while it is processed.
// outstanding ≤ max, or what one event alone needs
package struct DemandWindow: Hashable, Sendable {
    package let max: UInt64
    package let min: UInt64
    /// Asked for and not yet processed.
    package private(set) var outstanding: UInt64 = 0
    /// What the next event needs beyond the credit, and that credit; 0 if it was not told.
    private var missing: UInt64 = 0
    private var credit: UInt64 = 0

    package init(max: UInt64, min: UInt64) {
        precondition(min < max, "min demand is below max demand")
        self.max = max
        self.min = min
    }

    /// Events of the largest batch.
    package var batchMax: UInt64 { max - min }

    /// The first demand.
    package mutating func open() -> UInt64 {
        defer { outstanding = max }
        missing = 0
        return max - outstanding
    }

    /// The demand of a window that opens anew, because what was outstanding will not come.
    package mutating func reopen() -> UInt64 {
        outstanding = 0
        return open()
    }

    /// The demand to send when `count` more events are done; 0 while enough is outstanding.
    package mutating func processed(_ count: UInt64) -> UInt64 {
        outstanding -= Swift.min(count, outstanding)
        guard outstanding <= min else { return askForMissing() }
        return open()
    }

    /// The demand to send when the next event needs so much, and `credit` is open; 0 while what
    /// came before it is still to be processed.
    ///
    /// It is not asked for beside the window, or a slow consumer would be sent everything, event by
    /// event: only once the window has room for it, or if it alone is larger than the window.
    package mutating func lacks(_ need: UInt64, credit: UInt64) -> UInt64 {
        missing = need - Swift.min(need, credit)
        self.credit = credit
        return askForMissing()
    }

    private mutating func askForMissing() -> UInt64 {
        let hasRoom = missing <= max - Swift.min(max, outstanding)
        // All that came is processed once no more is outstanding than was open.
        guard missing > 0, hasRoom || outstanding <= credit else { return 0 }
        defer { missing = 0 }
        outstanding += missing
        return missing
    }
}

extension DemandWindow {
    /// A batch of what came at once, and the demand to send when it is done.
    package struct Batch: Hashable, Sendable {
        package var events: UInt64
        package var ask: UInt64
    }

    /// Splits what came at once into batches that are done in turn.
    ///
    /// What was never asked for is in them too, and is not asked for again.
    package mutating func split(_ count: UInt64) -> [Batch] {
        var batches: [Batch] = []
        var known = outstanding
        var rest = count
        while rest > 0 {
            let events = Swift.min(rest, batchMax)
            let asked = Swift.min(events, known)
            known -= asked
            batches.append(Batch(events: events, ask: processed(asked)))
            rest -= events
        }
        return batches
    }
}
