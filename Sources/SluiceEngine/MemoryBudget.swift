import SluiceCore
import Synchronization

/// The memory that the engines of a broker share; each leases pieces of it and gives back what it
/// does not use.
///
/// What is counted is at most four fifths of what the process may take: the rest is for what is not
/// counted one by one. Grants stop a sixteenth earlier than opens, so that consumers can still come
/// for what waits.
// leased ≥ Σ of what the engines use
package final class MemoryBudget: Sendable {
    /// Bytes that the process may take; nil without a limit.
    package let limit: Int?
    /// Bytes that may be counted, and up to which grants are made.
    let most: Int
    let grantsMost: Int
    /// What an engine leases at a time.
    let piece: Int
    private let leased = Atomic<Int>(0)

    /// The budget of a process that may take `limit` bytes, of which the rest of the process takes
    /// `base`.
    package init(limit: Int, base: Int, engines: Int) {
        self.limit = limit
        most = max(0, limit / 5 * 4 - base)
        grantsMost = most / 16 * 15
        // Half of it has room for all that a topic may be granted at once, in events of the size
        // that is likely, unless that would be much of all there is.
        let share = most / max(1, engines)
        let window = Int(Limits.grantWindowBytes)
        let heads = Limits.batchEventsMax * Int(Limits.memoryEntryBytes)
        let whole = 2 * (window + heads + Limits.receiveSlabBytes)
        piece = max(4_096, min(whole, share / 8))
    }

    private init() {
        limit = nil
        most = .max
        grantsMost = .max
        piece = .max
    }

    package static let unlimited = MemoryBudget()

    var isLimited: Bool { limit != nil }

    /// Bytes that engines have leased, nearly all of which they use.
    var used: Int { leased.load(ordering: .relaxed) }

    /// Takes up to `bytes`, as long as no more than `most` are leased; returns how many it got.
    func lease(_ bytes: Int, upTo most: Int) -> Int {
        var current = used
        while true {
            let taken = min(bytes, most - current)
            guard taken > 0 else { return 0 }
            let (isDone, now) = leased.weakCompareExchange(
                expected: current,
                desired: current + taken,
                ordering: .relaxed
            )
            if isDone { return taken }
            current = now
        }
    }

    /// Counts what is there already, however much that is.
    func force(_ bytes: Int) { leased.add(bytes, ordering: .relaxed) }

    func giveBack(_ bytes: Int) { leased.subtract(bytes, ordering: .relaxed) }
}

/// The pieces of the broker's memory that an engine has leased.
struct MemoryLease {
    let budget: MemoryBudget
    /// Leased and not used.
    private var spare = 0

    init(_ budget: MemoryBudget) { self.budget = budget }

    /// Counts what came to be used, or came free if negative.
    @inline(__always)
    mutating func book(_ bytes: Int) {
        guard budget.isLimited else { return }
        spare -= bytes
        if spare < 0 || spare > 2 * budget.piece { balance() }
    }

    private mutating func balance() {
        if spare < 0 {
            spare += budget.lease(budget.piece - spare, upTo: budget.most)
            guard spare < 0 else { return }
            budget.force(-spare)
            spare = 0
        } else if spare > 2 * budget.piece {
            budget.giveBack(spare - budget.piece)
            spare = budget.piece
        }
    }

    /// Bytes that may be granted now.
    @inline(__always)
    mutating func roomForGrants() -> Int {
        if spare < budget.piece / 2 { spare += budget.lease(budget.piece, upTo: budget.grantsMost) }
        return max(0, spare - max(0, budget.used - budget.grantsMost))
    }

    /// Whether so many bytes may be taken by what a client opens.
    ///
    /// Of what is for operators, who come to see why nothing goes on, a little more is taken.
    mutating func hasRoom(for bytes: Int, ofSystem isSystem: Bool) -> Bool {
        guard budget.isLimited, spare < bytes else { return true }
        let most = isSystem ? budget.most + budget.most / 16 : budget.most
        spare += budget.lease(max(bytes - spare, budget.piece), upTo: most)
        return spare >= bytes
    }

    /// Whether less than a quarter is left.
    var isTight: Bool { budget.isLimited && budget.used > budget.most / 4 * 3 }
}
