// Memory: what a topic holds and what its grants may still bring, as the budget of the whole broker
// counts it. Sums that are kept by each change: to ask for them costs a few additions a step.

extension Topic {
    /// What the topic takes now.
    // Mutating, so that the topic is not copied to be asked.
    package var memoryUse: MemoryUse {
        mutating get {
            MemoryUse(
                held: heldNow,
                reserved: reservedNow,
                isShort: lacksMemory,
                holdsUnused: idleHolders > 0
            )
        }
    }

    /// What a topic takes of the broker's memory.
    package struct MemoryUse: Sendable {
        /// Bytes that its structure and its events take.
        package var held: UInt64
        /// Bytes that what is granted may take once it has come.
        package var reserved: UInt64
        /// Whether it would have granted more with more memory.
        package var isShort: Bool
        /// Whether producers hold grants that they have announced no use for.
        package var holdsUnused: Bool
    }

    @inline(__always)
    var heldNow: UInt64 {
        log.retainedBytes + log.overheadBytes + laneBytes + marks.bytes + specialBytes
            + linkEntries * Limits.memoryLinkEntryBytes
            + UInt64(kinds.count) * Limits.memoryLinkBytes
            + UInt64(groupTable.count) * Limits.memoryGroupBytes
            + laneCount * Limits.memoryPartitionBytes + laneSlots * Limits.memoryLaneBytes
            + Limits.memoryTopicBytes
    }

    // Each event granted is a record in each copy, an entry beside it, and may be the first in its
    // lane.
    @inline(__always)
    var reservedNow: UInt64 {
        let lanes = min(laneCount - laneSlots, UInt64(lanedGroups) * granted)
        return copies * (grantedBytes + granted * Limits.memoryEntryBytes)
            + lanes * Limits.memoryLaneBytes
    }

    /// Bytes that one event more may take in each of its copies beside its record.
    @inline(__always)
    private var entryBytes: UInt64 {
        Limits.memoryEntryBytes + (laneCount > laneSlots ? Limits.memoryLaneBytes : 0)
    }

    /// Bytes that the topic may still take.
    @inline(__always)
    var freeMemory: UInt64 {
        guard memoryLimit < .max else { return .max }
        return memoryLimit - min(memoryLimit, heldNow + reservedNow)
    }

    /// Whether the topic may take so many bytes more in each of its copies.
    @inline(__always)
    func hasMemory(for bytes: UInt64) -> Bool {
        guard memoryLimit < .max else { return true }
        return (bytes + entryBytes) * copies <= freeMemory
    }

    /// Events that memory lets be granted to a producer that holds `credit` events and `held`
    /// bytes, of which `counted` are counted as granted.
    @inline(__always)
    func affordableEvents(
        credit: UInt64,
        held: UInt64,
        counted: UInt64,
        each bytes: UInt64
    ) -> UInt64 {
        guard memoryLimit < .max else { return .max }
        let free = freeMemory / copies
        // Bytes left over from earlier grants count again with the first event.
        let entries = (free - min(free, held - counted)) / entryBytes
        let room = free + counted - min(free + counted, credit * bytes)
        return min(entries, room / (bytes + entryBytes))
    }

    /// Grants again, after memory was short and some came back; a topic that drops the oldest when
    /// it is full makes some itself.
    package mutating func retryGrants() {
        grantsAreDue = true
        if options.onFull == .dropOldest {
            dropsForMemory = true
            isUnsettled = true
        }
        if missedRoom != nil { missedRoom = 0 }
    }

    /// Recalls what producers hold and have announced no use for, as others need the memory.
    package mutating func recallUnused(at now: Instant, into effects: inout Effects) {
        recallIdle(all: false, at: now, into: &effects)
    }

    /// Counts what a consumer's link keeps until its client has said that it received it.
    @inline(__always)
    mutating func recount(_ place: Int) {
        let entries = UInt32(clamping: consumerLinks[place].entries)
        guard entries != consumerLinks[place].countedEntries else { return }
        linkEntries -= UInt64(consumerLinks[place].countedEntries)
        linkEntries += UInt64(entries)
        consumerLinks[place].countedEntries = entries
    }

    /// Counts what a consumer's link has beyond its account, for one that opens or goes.
    mutating func countSpecial(_ place: Int, isGone: Bool = false) {
        let bytes = consumerLinks[place].special.reduce(UInt64(0)) { $0 + $1.memoryBytes }
        if isGone { specialBytes -= bytes } else { specialBytes += bytes }
    }
}

extension ConsumerLink {
    /// Deliveries, gaps and words that are not known to be received.
    @inline(__always)
    var entries: Int { unreceived.count + gaps.count + untoldGaps.count + words.count }
}

extension Special {
    /// Bytes that it takes, of which only its partitions change later: those count with the group.
    var memoryBytes: UInt64 {
        UInt64(MemoryLayout<Special>.stride) + UInt64(filter?.encoded.count ?? 0)
            + UInt64(claims?.count ?? 0) * 16
    }
}

extension Topic {
    /// Whether nothing was ever said on the topic, and nobody has a link or a named group on it:
    /// without it nothing would be lost.
    // Mutating, so that the topic is not copied to be asked.
    package var isUntouched: Bool {
        mutating get {
            guard producers + consumers == 0, log.head == 0, marks.next == 0, !isPaused else {
                return false
            }
            for index in groupTable.indices
            where !groupTable[index].isRemoved && !groupTable[index].name.isEmpty {
                return false
            }
            return true
        }
    }
}

// MARK: - Laws

extension Topic {
    /// What the sums of memory must be, counted anew.
    func checkMemory(_ found: inout [String]) {
        var entries: UInt64 = 0
        var special: UInt64 = 0
        for place in kinds.indices where kinds[place] == .consumer {
            entries += UInt64(consumerLinks[place].entries)
            special += consumerLinks[place].special.reduce(0) { $0 + $1.memoryBytes }
        }
        if entries != linkEntries { found.append("entries \(linkEntries), counted \(entries)") }
        if special != specialBytes { found.append("special \(specialBytes), counted \(special)") }
        let lanes = groupTable.reduce(UInt64(0)) { $0 + UInt64($1.lanes.count) }
        if lanes != laneCount { found.append("lanes \(laneCount), counted \(lanes)") }
        let slots = groupTable.reduce(UInt64(0)) { $0 + UInt64($1.lanes.slotCount) }
        if slots != laneSlots { found.append("lane slots \(laneSlots), counted \(slots)") }
    }

    /// The rule of issuing for the whole broker's memory, for a step that granted some.
    package func overReserved() -> [String] {
        guard heldNow + reservedNow > memoryLimit else { return [] }
        return ["memory \(heldNow) + \(reservedNow) > \(memoryLimit)"]
    }
}
