import SluiceCore

/// A connection that may be read late.
package protocol LateReader: AnyObject {
    /// Whether what it left unread is needed now, or nobody will read it any more.
    var isReadingDue: Bool { get }
    func readOn()
}

/// Whether one connection is read late: if it brought much, and once for each time that it did.
package struct Lateness {
    /// Bytes that came in the last turn of reading; none once what was left has to be read.
    private var broughtBytes = 0
    package private(set) var isLate = false

    package init() {}

    /// A turn of reading begins.
    package mutating func begin() { broughtBytes = 0 }

    package mutating func bring(_ bytes: Int) { broughtBytes += bytes }

    /// Whether it brought so much that it is worth reading late.
    package var isWorthwhile: Bool { broughtBytes >= Limits.lateReadBytesMin }

    /// What comes is left for later.
    package mutating func leave() { isLate = true }

    /// What was left is read next, whatever waits then.
    package mutating func end() {
        isLate = false
        broughtBytes = 0
    }
}

/// Connections that leave what came in their sockets for a moment, the longest first.
// none stays longer than lateReadMilliseconds if `release` is called at `deadline`
package struct LateReaders {
    private static let nanosecondsMax = UInt64(Limits.lateReadMilliseconds) * 1_000_000

    private var readers: [(reader: any LateReader, since: UInt64)] = []

    package init() {}

    package var isEmpty: Bool { readers.isEmpty }

    /// When the first has waited for as long as it may.
    package var deadline: UInt64? { readers.first.map { $0.since + Self.nanosecondsMax } }

    package mutating func add(_ reader: any LateReader, at now: UInt64) {
        readers.append((reader, now))
    }

    /// Lets those read on that have to, or have waited long enough.
    package mutating func release(at now: UInt64) {
        readers.removeAll { entry in
            let isOver = now >= entry.since + Self.nanosecondsMax
            guard isOver || entry.reader.isReadingDue else { return false }
            entry.reader.readOn()
            return true
        }
    }
}
