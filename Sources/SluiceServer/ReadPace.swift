import DequeModule

/// How much a connection reads at once, by what it brought before.
///
/// If very many had much to be read, one with little would wait for a read of each of them. So at
/// first a connection reads little; one that has more pours, and has its turn after the others.
package struct ReadPace {
    /// Whether its client has much to be read.
    package private(set) var isPouring = false
    private var turnBytes = 0

    package init() {}

    /// What a connection reads at once that does not pour, before its HELLO and after it.
    package static let firstBytes = 4_096
    package static let lightBytes = 16_384
    /// What one that pours brings in its turn, if it is to be one still.
    package static let pouredBytesMin = 4_096

    package func room(isGreeted: Bool) -> Int {
        if isPouring { return .max }
        return isGreeted ? Self.lightBytes : Self.firstBytes
    }

    /// Its turn to read begins.
    package mutating func begin() { turnBytes = 0 }

    /// A read brought so many bytes, and there may be more.
    package mutating func bring(_ count: Int, isFull: Bool) {
        // A turn has a few reads of a slab each.
        turnBytes += count
        if isFull { isPouring = true }
    }

    /// Its turn is over.
    package mutating func end() { if turnBytes < Self.pouredBytesMin { isPouring = false } }
}

/// One that waits for its turn to read.
package protocol PouringReader: AnyObject {
    /// Its turn is in a later turn of the loop, which does not have to tell of it until then.
    func waitUnwatched()
}

/// Those that have much to be read, in their order.
package struct PouringReaders<Reader: PouringReader> {
    private var waiting = Deque<Reader>()
    /// So many of the first were told that they wait.
    private var unwatched = 0

    package init() {}

    package var isEmpty: Bool { waiting.isEmpty }

    package mutating func add(_ reader: Reader) { waiting.append(reader) }

    package mutating func next() -> Reader? {
        unwatched = max(0, unwatched - 1)
        return waiting.popFirst()
    }

    /// Tells those that are left that they wait, each of them once.
    package mutating func unwatchRest() {
        while unwatched < waiting.count {
            waiting[unwatched].waitUnwatched()
            unwatched += 1
        }
    }
}
