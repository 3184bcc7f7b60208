import SluiceCore
import SluiceWire

/// A stretch of a topic of which some events will never come on this subscription.
public struct EventGap: Hashable, Sendable {
    /// Why the events never come.
    public struct Reason: Hashable, Sendable, CustomStringConvertible {
        /// The name of the reason.
        public let description: String

        /// They were on the wire when the connection broke.
        public static let cut = Self(description: "cut")
        /// The full topic dropped them.
        public static let dropped = Self(description: "dropped")
        /// Somebody purged the topic.
        public static let purged = Self(description: "purged")
        /// The consumer's lag policy dropped them.
        public static let lagged = Self(description: "lagged")
    }

    /// The offsets of the stretch.
    public let offsets: Range<UInt64>
    /// How many events of the stretch are missing; the rest went to other members of the group.
    public let count: UInt64
    /// Why they never come.
    public let reason: Reason
}

/// A word of a producer between the events of a topic; it spends no demand.
public struct EventMark: Hashable, Sendable {
    /// What it says.
    public enum Kind: Hashable, Sendable {
        /// A text of at most 1,024 bytes.
        case marker(String)
        /// A producer has nothing more to send.
        case end
    }

    /// What it says.
    public let kind: Kind
    /// All events before this offset came before it, and all others come behind it.
    ///
    /// After a cut, of this connection or its producer's, it may come a second time; so it may to
    /// a member that takes over a partition with events from before it.
    public let offset: UInt64
}

/// Events that came together: views into shared buffers, in the order of delivery.
///
/// Iterating allocates nothing for an event.
public struct EventBatch: Sendable {
    let runs: [Run]
    /// How many events the batch holds; 0 for a batch of gaps and marks alone.
    public let count: Int
    /// Stretches announced before the first event of this batch.
    public let gaps: [EventGap]
    /// Words of producers that came before the first event of this batch.
    public let marks: [EventMark]

    init(runs: [Run], gaps: [EventGap] = [], marks: [EventMark] = []) {
        self.runs = runs
        self.gaps = gaps
        self.marks = marks
        count = runs.reduce(0) { $0 + Int($1.count) }
    }

    /// Whether it has neither events nor anything to tell.
    var saysNothing: Bool { runs.isEmpty && gaps.isEmpty && marks.isEmpty }
}

extension EventBatch: Collection {
    /// Where an event lies in the batch.
    public struct Index: Comparable, Sendable {
        var run: Int
        /// The number of the event in its run.
        var event: Int
        /// Where its record begins in the run's slab.
        var position: Int

        /// Whether `left` comes first.
        public static func < (left: Self, right: Self) -> Bool {
            (left.run, left.event) < (right.run, right.event)
        }
    }

    /// Whether there are no events; there may be gaps and marks.
    public var isEmpty: Bool { count == 0 }

    /// Where the first event lies.
    public var startIndex: Index {
        Index(run: 0, event: 0, position: runs.first.map { Int($0.start) } ?? 0)
    }

    /// The place after the last event.
    public var endIndex: Index { Index(run: runs.count, event: 0, position: 0) }

    /// The place of the event after the one at `index`.
    public func index(after index: Index) -> Index {
        let run = runs[index.run]
        guard index.event + 1 < Int(run.count) else {
            let next = index.run + 1
            return Index(
                run: next,
                event: 0,
                position: next < runs.count ? Int(runs[next].start) : 0
            )
        }
        return Index(
            run: index.run,
            event: index.event + 1,
            position: run.endOfRecord(at: index.position)
        )
    }

    /// The event at `index`.
    public subscript(index: Index) -> Event {
        let run = runs[index.run]
        return Event(in: run, at: index.position, index: index.event)
    }

    /// Walks the events once, faster than by indices.
    public struct Iterator: IteratorProtocol {
        private let runs: [Run]
        private var nextRun = 0
        private var run: Run?
        private var event = 0
        private var position = 0

        init(_ runs: [Run]) { self.runs = runs }

        /// The next event, or nil after the last.
        public mutating func next() -> Event? {
            if event == run.map({ Int($0.count) }) ?? 0 {
                guard nextRun < runs.count else { return nil }
                run = runs[nextRun]
                position = Int(runs[nextRun].start)
                event = 0
                nextRun += 1
            }
            guard let run else { return nil }
            defer {
                position = run.endOfRecord(at: position)
                event += 1
            }
            return Event(in: run, at: position, index: event)
        }
    }

    /// Makes an iterator over the events.
    public func makeIterator() -> Iterator { Iterator(runs) }

    /// Bytes of the events' records: 4 each, and keys, headers and payloads.
    public var byteCount: Int { runs.reduce(0) { $0 + $1.byteCount } }

    /// Calls `body` with the offset and the payload of each event; the fastest way through.
    ///
    /// The bytes are lent for the length of a call: nothing is copied, allocated or counted.
    public func forEachPayload(
        _ body: (_ offset: UInt64, _ payload: RawSpan) throws -> Void
    ) rethrows {
        for run in runs { try run.forEachPayload(body) }
    }
}
