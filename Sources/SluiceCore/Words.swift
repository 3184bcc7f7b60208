/// Which end of the link the opener is.
package enum Role: UInt8, Sendable {
    /// The opener consumes.
    case sink = 0
    /// The opener produces.
    case source = 1
}

/// How a group hands events to its members.
package enum DispatcherKind: UInt8, Sendable, CaseIterable {
    /// To the member with the most credit.
    case demand = 0
    /// To all members, in lockstep.
    case broadcast = 1
    /// To the members that own the partition of the event's key.
    case partition = 2
    /// To one active member; the others stand by.
    case exclusive = 3
    /// To the one member: each consumer has a group of its own.
    case independent = 4
    /// To members with credit, in proportion to their weights.
    case fair = 5

    /// The word for it in documents.
    package var word: String { Self.words[Int(rawValue)] }

    // Made once: to look a case's name up takes longer than the rest of a topic's document.
    private static let words = allCases.map { "\($0)" }
}

/// Where a new group begins.
package enum Start: Hashable, Sendable {
    /// Only what comes after.
    case new
    /// The oldest event that is still held.
    case first
    case offset(UInt64)
    /// The first event taken at or after this, in microseconds since 1970 (UTC).
    case time(UInt64)

    /// As people and requests write it: `first`, `new` or an offset in digits, of which one above
    /// all that there are is the last.
    package init?(_ text: String) {
        switch text {
        case "first": self = .first
        case "new": self = .new
        default:
            // The number alone would also be read from "+5".
            guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else {
                return nil
            }
            self = .offset(UInt64(text) ?? .max)
        }
    }
}

/// Why events of a stretch never come.
package enum GapReason: UInt8, Sendable {
    /// They were on the wire when the connection broke.
    case cut = 1
    /// The full topic dropped them.
    case dropped = 2
    /// Somebody purged the topic.
    case purged = 3
    /// The consumer's lag policy dropped them.
    case lagged = 4
}

/// A stretch of offsets of which `count` events will never come on this link.
package struct Gap: Hashable, Sendable {
    package var from: UInt64
    /// The offset after the last.
    package var to: UInt64
    package var count: UInt64
    package var reason: GapReason

    package init(from: UInt64, to: UInt64, count: UInt64, reason: GapReason) {
        self.from = from
        self.to = to
        self.count = count
        self.reason = reason
    }

    /// Makes the gap cover another one too, which may lie anywhere: exact in count.
    // Counts are of deliveries and of events that were held: their sum is far from the end.
    mutating func cover(_ other: Gap) {
        from = min(from, other.from)
        to = max(to, other.to)
        count += other.count
    }

    /// What one announcement can say of it: never more events than its stretch has offsets.
    ///
    /// More were lost only where a group was sought back and the same events were lost again: the
    /// rest is told by further gaps of the same stretch.
    var tellable: Gap { Gap(from: from, to: to, count: min(count, to - from), reason: reason) }
}
