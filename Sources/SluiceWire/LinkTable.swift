import SluiceCore

/// The links of one session, as its connection knows them: eight bytes a link.
///
/// It outlives the connection when the session is kept for a resume.
// entries are sorted by id, each id ≤ lastID; an id ≤ lastID without an entry is closed
package struct LinkTable: Sendable {
    enum State: UInt8 {
        /// OPEN came and is not answered yet. Next: open, or gone.
        case opening
        /// Next: closing when we send CLOSE, gone when CLOSE comes, detached with the connection.
        case open
        /// We sent CLOSE and theirs has not come. Next: gone.
        case closing
        /// Its connection is lost. Next: opening by OPEN with resume, or gone.
        case detached
    }

    struct Entry: LinkRecord {
        let id: UInt32
        /// The role of the client.
        let role: Role
        var state: State
    }

    private var entries: [Entry] = []
    private var lastID: UInt32 = 0

    package init() {}

    package var count: Int { entries.count }
    package var isEmpty: Bool { entries.isEmpty }

    /// Every link that is not closed, in rising order.
    package var ids: [UInt32] { entries.map(\.id) }

    /// Forgets a link that ended while no connection had it.
    package mutating func end(_ id: UInt32) {
        if let index = entries.index(of: id) { entries.remove(at: index) }
    }

    subscript(id: UInt32) -> Entry? {
        entries.index(of: id).map { entries[$0] }
    }

    /// Whether an OPEN with this id ever came, or one with a higher id, which closes it for good.
    func hasSeen(_ id: UInt32) -> Bool { id <= lastID }

    mutating func see(_ id: UInt32) { lastID = max(lastID, id) }

    mutating func add(_ id: UInt32, role: Role) {
        precondition(id > lastID, "ids only rise")
        lastID = id
        entries.append(Entry(id: id, role: role, state: .opening))
    }

    mutating func set(_ id: UInt32, to state: State) {
        if let index = entries.index(of: id) { entries[index].state = state }
    }

    /// What stays when the connection is lost: a CLOSE on its way has ended its link.
    mutating func detach() {
        entries.removeAll { $0.state == .closing }
        for index in entries.indices { entries[index].state = .detached }
    }
}

/// What is kept of a link, in an array sorted by its id.
@usableFromInline
package protocol LinkRecord {
    var id: UInt32 { get }
}

extension Array where Element: LinkRecord {
    @inlinable
    package func index(of id: UInt32) -> Int? {
        // Most clients count their links from 1 and close none.
        let likely = Int(id) - 1
        if likely >= 0, likely < count, self[likely].id == id { return likely }
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low].id == id ? low : nil
    }
}
