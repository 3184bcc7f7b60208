import HeapModule

/// Consumers that share one cursor on a topic.
package struct Group: Sendable {
    /// Empty for the topic's default group.
    package let name: String
    /// The first offset that the group was to see.
    package let start: UInt64
    package internal(set) var cursor: Cursor
    package internal(set) var delivered: UInt64 = 0
    package internal(set) var discarded: UInt64 = 0
    package internal(set) var members: [UInt32] = []
    /// The sum of its members' deliverable credit (law L3).
    package internal(set) var deliverable: UInt64 = 0
    /// Members whose credit in bytes is too small for the next event.
    var blocked: [UInt32] = []
    /// The offset for which those were last looked at.
    var blockedAt: UInt64 = 0
    /// Whether it stands among the topic's dirty groups.
    var isDirty = false
    /// Whether its place in the table is free.
    var isRemoved = false
    private var order = Heap<Turn>()
    private var nextTicket: UInt64 = 1

    init(name: String, cursor: Cursor) {
        self.name = name
        self.start = cursor.offset
        self.cursor = cursor
    }

    /// A member's place in the order: most credit first, equals in the order they came.
    struct Turn: Comparable, Sendable {
        var credit: UInt64
        var ticket: UInt64
        var link: UInt32

        static func < (left: Self, right: Self) -> Bool {
            left.credit != right.credit ? left.credit < right.credit : left.ticket > right.ticket
        }
    }

    /// Puts a member behind all that have as much credit; returns the ticket that is valid now.
    ///
    /// The only member needs no order.
    mutating func enqueue(_ link: UInt32, credit: UInt64) -> UInt64 {
        let ticket = nextTicket
        nextTicket += 1
        guard credit > 0, members.count > 1 else { return ticket }
        order.insert(Turn(credit: credit, ticket: ticket, link: link))
        return ticket
    }

    /// Whether stale entries outnumber the members so far that the order should be built anew.
    var orderIsStale: Bool { order.count > 4 * members.count + 64 }

    mutating func clearOrder() { order = Heap() }

    /// The entry with the most credit, which may be stale.
    var top: Turn? { order.max }

    mutating func dropTop() { order.removeMax() }
}
