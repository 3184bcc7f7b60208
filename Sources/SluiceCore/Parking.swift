/// What of that which waits at a processor may be handled: GenStage's rule, as a value.
///
/// Events wait while nothing is asked of the processor. A word, which is what lies between events
/// and the end of their input, has only to stay behind the events before it.
package enum Parking: Hashable, Sendable, CaseIterable {
    /// No more is handled than is asked for, so that nothing made of it waits behind the processor.
    case asAsked
    /// As GenStage has it: messages are handled whole once anything is asked for, and what is too
    /// much waits behind the processor; a word that had to wait is a message like the others.
    case wholeMessages

    /// What stands first.
    package enum First: Hashable, Sendable, CaseIterable {
        case events
        case word
    }

    /// How many events may be handled now; nil while what stands first has to wait.
    package func allowance(for first: First, asked: UInt64) -> UInt64? {
        switch (self, first) {
        case (.asAsked, .word): 0
        case _ where asked == 0: nil
        case (.asAsked, .events): asked
        case (.wholeMessages, .word): 0
        case (.wholeMessages, .events): .max
        }
    }
}

/// Asks of an input what is asked of its processor and no more, as a value: manual demand.
// when it asks: asked − handled ≤ min(what is open, most), asked ≤ total
package struct PassedDemand: Hashable, Sendable {
    private let most: UInt64
    private let total: UInt64
    /// Asked for, without what was cut off.
    private var asked: UInt64 = 0
    package private(set) var handled: UInt64 = 0
    /// What of the current subscription's asks was cut off, as far as it is booked.
    private var forfeited: UInt64 = 0

    /// At most `most` events are asked for and not handled, and `total` are asked for in all.
    package init(most: UInt64, total: UInt64 = .max) {
        self.most = most
        self.total = total
    }

    /// Whether all that is ever wanted is handled.
    package var isDone: Bool { handled >= total }

    /// What to ask of the input, when so many events are open to the processor.
    package mutating func ask(open: UInt64) -> UInt64 {
        let wanted = min(open, most)
        let outstanding = asked - min(asked, handled)
        guard wanted > outstanding else { return 0 }
        let more = min(wanted - outstanding, total - min(total, asked))
        asked += more
        return more
    }

    package mutating func handled(_ events: UInt64) { handled += events }

    /// Takes over how much of the current subscription's asks was cut off, all together: it will
    /// not come, and may be asked for again.
    package mutating func book(forfeited now: UInt64) {
        asked -= min(asked, now - min(now, forfeited))
        forfeited = now
    }

    /// Another subscription takes the place of the one that was; what that owed will not come.
    package mutating func begin() {
        asked = min(asked, handled)
        forfeited = 0
    }
}

/// When a processor is at its end, as a value: when all that it reads is.
// isAtEnd ⇒ open = ∅ and awaited = 0
package struct InputEnds<ID: Hashable & Sendable>: Sendable {
    /// Those that are not at their end.
    private var open: Set<ID>
    /// Inputs that are gone and will come back.
    private var awaited = 0
    private var hasHeard = false
    /// Whether all are at their end, and nothing came since.
    package private(set) var isAtEnd = false

    package init(_ inputs: some Sequence<ID>) { open = Set(inputs) }

    /// An input has said its end; returns whether that makes it the processor's.
    package mutating func ended(_ input: ID) -> Bool {
        open.remove(input)
        hasHeard = true
        return becomesEnd()
    }

    /// Events have come, behind all that the input had said.
    package mutating func came(from input: ID) {
        open.insert(input)
        isAtEnd = false
    }

    /// An input is gone; returns whether the end of the others is the processor's now.
    package mutating func left(_ input: ID, returns: Bool) -> Bool {
        open.remove(input)
        if returns { awaited += 1 }
        return becomesEnd()
    }

    /// One that was gone is back.
    package mutating func returned(_ input: ID) {
        awaited -= 1
        open.insert(input)
    }

    private mutating func becomesEnd() -> Bool {
        guard open.isEmpty, awaited == 0, hasHeard, !isAtEnd else { return false }
        isAtEnd = true
        return true
    }
}
