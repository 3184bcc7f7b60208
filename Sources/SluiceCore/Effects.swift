/// Names a link inside its topic; a slot that is used again gets a new generation.
package struct LinkID: Hashable, Sendable {
    package let index: UInt32
    package let generation: UInt32

    package init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }
}

/// One batch for one consumer: what an EVENTS frame will carry.
package struct Delivery: Hashable, Sendable {
    package var firstSequence: UInt64
    package var events: UInt64
    package var bytes: UInt64
    /// Where its runs lie in `Effects.runs`.
    package var runs: Range<Int>
}

/// Which STATUS a source owes.
package enum StatusKind: Hashable, Sendable {
    case drained
    case echo
    /// The next event needs more bytes than were asked for.
    case blocked
}

/// What the world has to do after a step.
package enum Effect: Hashable, Sendable {
    case opened(LinkID, resumed: Bool)
    case deliver(LinkID, Delivery)
    case gap(LinkID, Gap, nextSequence: UInt64)
    case mark(LinkID, Mark, offset: UInt64, nextSequence: UInt64)
    case ask(LinkID, Ask)
    /// Events were taken; `offset` is the first one's.
    case accept(LinkID, from: UInt64, count: UInt32, offset: UInt64)
    /// Events that the topic does not take, and why.
    case reject(LinkID, from: UInt64, count: UInt32, CloseCode)
    case status(LinkID, StatusKind)
    /// A group that nobody came back to is gone, and with it what waited for it alone.
    case expired(group: Name, waiting: UInt64)
    /// Somebody waits until a consumer has received what it was given: find out when it has.
    case prove(LinkID)
    /// The link is gone from the topic; tell its owner.
    case close(LinkID, CloseCode, String)
}

/// The effects of one step, with the runs of its deliveries in one array.
package struct Effects: Sendable {
    package var list: [Effect] = []
    package var runs: [Run] = []

    package init() {}

    package mutating func removeAll() {
        if !list.isEmpty { list.removeAll(keepingCapacity: true) }
        if !runs.isEmpty { runs.removeAll(keepingCapacity: true) }
    }
}
