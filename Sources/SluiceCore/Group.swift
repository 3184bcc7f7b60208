import HeapModule

/// What the first consumer of a group, or its topic, has laid down for all members.
package struct GroupRules: Hashable, Sendable {
    package var dispatcher = DispatcherKind.demand
    /// 0 unless the dispatcher is `partition`.
    package var partitions: UInt16 = 0
    package var lag = LagLimit.block
    package var isEphemeral = false
    /// 0 for ever.
    package var patienceMilliseconds: UInt32 = 0

    /// Whether producers wait for the group.
    package var holds: Bool { lag.policy == .block }
}

/// Consumers that share one cursor on a topic.
package struct Group: Sendable {
    /// Empty for the topic's default group and for those of independent consumers.
    package let name: Name
    package let rules: GroupRules
    // Stored: to ask a group in the table for what it computes would copy all of it.
    /// Whether each event goes to every member.
    let isLockstep: Bool
    /// Whether its rules, or its members beside, have something to wait for that time brings.
    let isTimed: Bool
    /// The first offset that the group was to see.
    package internal(set) var start: UInt64
    /// What was counted before the group was moved to `start`.
    var base: UInt64 = 0
    package internal(set) var cursor: Cursor
    /// Events that were handed out; a broadcast counts each once.
    package internal(set) var delivered: UInt64 = 0
    package internal(set) var discarded: UInt64 = 0
    /// Events that no member was to have.
    package internal(set) var refused: UInt64 = 0
    /// The accounts of members that are gone.
    var ended = Turnover()
    /// Delivered, and lost with a connection: what the accounts of its members have as forfeited.
    var cut: UInt64 = 0
    /// Members with credit.
    var credited = 0
    /// How long its events have waited.
    package internal(set) var holds = HoldTimes()
    /// Its events that do not wait in the log, sorted for those that may have them.
    package internal(set) var lanes = Lanes(count: 0)
    /// Events in the lanes.
    package internal(set) var queued: UInt64 = 0
    /// Whether there was no room in them for what comes next in the log.
    var lacksRoom = false
    /// The lane that is served first in the next step.
    var firstLane = 0
    /// Members that do not take every event as it comes.
    var pickers = 0
    /// Conditions of their filters, all together.
    var filterParts = 0
    /// Members that claim partitions.
    var claimers = 0
    /// Since when it has no member; nil while it has some.
    package internal(set) var aloneSince: Instant?
    /// Whether a request made it: it stays until it is removed.
    package internal(set) var isKept = false
    /// Whether members came or went since it was last found out who is served.
    var isUnassigned = false
    package internal(set) var members: [UInt32] = []
    /// What its members could take at once: the sum of their deliverable credit, the least of it
    /// for a broadcast (law L3).
    package internal(set) var deliverable: UInt64 = 0
    /// Whether `deliverable` has to be looked up anew.
    var isCreditStale = false
    /// The one that is served, if only one is.
    package internal(set) var active: UInt32?
    /// What was handed out so far, divided by the weights of those that could take it.
    var virtualTime: UInt64 = 0
    /// The weights of the members that could take something now.
    var eligibleWeight: UInt64 = 0
    /// Members whose credit in bytes is too small for the next event.
    var blocked: [UInt32] = []
    /// The offset for which those were last looked at.
    var blockedAt: UInt64 = 0
    /// The number of the first of the topic's marks that it has not reached.
    var nextMark: UInt64 = 0
    /// Whether it stands among the topic's dirty groups.
    var isDirty = false
    /// Whether its place in the table is free.
    package internal(set) var isRemoved = false
    private var order = Heap<Turn>()
    private var nextTicket: UInt64 = 1

    init(name: Name, rules: GroupRules, cursor: Cursor) {
        self.name = name
        self.rules = rules
        isLockstep = rules.dispatcher == .broadcast
        isTimed = rules.patienceMilliseconds > 0 || rules.dispatcher == .partition
        self.start = cursor.offset
        self.cursor = cursor
    }

    /// Events that it is done with, one way or the other.
    var disposed: UInt64 { delivered + discarded + refused }

    /// Whether nothing waits for it that comes before an offset.
    package func isIdle(at head: UInt64) -> Bool { cursor.offset == head && queued == 0 }

    /// The first offset that waits for it, or the next one.
    package var firstWaiting: UInt64 {
        min(cursor.offset, lanes.firstOffset ?? .max)
    }

    /// A member's place in the order: by priority, then by rank, equals in the order they came.
    struct Turn: Comparable, Sendable {
        var priority: UInt8
        var rank: UInt64
        var ticket: UInt64
        var link: UInt32

        static func < (left: Self, right: Self) -> Bool {
            if left.priority != right.priority { return left.priority < right.priority }
            return left.rank != right.rank ? left.rank < right.rank : left.ticket > right.ticket
        }
    }

    /// Puts a member behind all of its rank; returns the ticket that is valid now.
    ///
    /// The only member needs no order, nor do those of a broadcast or of lanes.
    mutating func enqueue(
        _ link: UInt32,
        rank: UInt64,
        priority: UInt8,
        isEligible: Bool
    ) -> UInt64 {
        let ticket = nextTicket
        nextTicket += 1
        guard isEligible, members.count > 1, !isLockstep, lanes.isEmpty else { return ticket }
        order.insert(Turn(priority: priority, rank: rank, ticket: ticket, link: link))
        return ticket
    }

    /// Whether stale entries outnumber the members so far that the order should be built anew.
    var orderIsStale: Bool { order.count > 4 * members.count + 64 }

    mutating func clearOrder() { order = Heap() }

    /// The entry that is served next, which may be stale.
    var top: Turn? { order.max }

    mutating func dropTop() { order.removeMax() }
}
