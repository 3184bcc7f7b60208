// Throwing away what a topic holds.

/// A purge that goes on over several steps, group by group; nothing is handed out meanwhile.
struct Purging: Sendable {
    /// What lies before this offset goes.
    let before: UInt64
    /// The group that is next.
    var group = 0
    /// The most events that a group lost.
    var lost: UInt64 = 0
}

extension Topic {
    /// What it costs to empty a lane.
    private static let workPerLane = 4

    /// Throws away what waits now, as far as one step may; every group goes on with the next event
    /// that comes.
    mutating func purge() {
        purging = Purging(before: log.head)
        // Who names no start begins behind it.
        untouched = log.head
        isUnsettled = true
        grantsAreDue = true
        work = 0
        _ = goOnPurging()
    }

    /// Goes on with a purge; false if some of it is left for the next step.
    mutating func goOnPurging() -> Bool {
        guard var purge = purging else { return true }
        let first = purge.group
        while purge.group < groupTable.count {
            // One has its turn in any case, so that the purge comes to its end.
            guard purge.group == first || work < Limits.workPerStepMax else {
                purging = purge
                return false
            }
            work += 1 + groupTable[purge.group].lanes.busy.count * Self.workPerLane
            throwAway(&purge, ofGroup: purge.group)
            purge.group += 1
        }
        // Of those that came or were moved meanwhile; as nothing is sorted, no lane has any of it.
        for index in groupTable.indices where groupTable[index].cursor.offset < purge.before {
            throwAway(&purge, ofGroup: index)
        }
        counters.discarded += max(purge.lost, purge.before - min(purge.before, tail.offset))
        if tail.offset < purge.before { log.seek(&tail, to: purge.before) }
        log.trim(before: tail.offset)
        purging = nil
        return true
    }

    /// Lets go of what a topic holds that is used no more, as far as one step may; false if some is
    /// left for the next.
    package mutating func dismantle() -> Bool {
        work = 0
        while !groupTable.isEmpty {
            guard work < Limits.workPerStepMax else { return false }
            work += 1 + groupTable[groupTable.count - 1].lanes.slotCount * Self.workPerLane
            groupTable.removeLast()
        }
        return true
    }

    private mutating func throwAway(_ purge: inout Purging, ofGroup index: Int) {
        guard !groupTable[index].isRemoved else { return }
        let offset = purge.before
        let from = groupTable[index].firstWaiting
        let unsorted = offset - min(offset, groupTable[index].cursor.offset)
        let lost = unsorted + groupTable[index].queued
        guard lost > 0 else { return }
        clearLanes(of: index)
        if unsorted > 0 { log.seek(&groupTable[index].cursor, to: offset) }
        groupTable[index].discarded += lost
        purge.lost = max(purge.lost, lost)
        markDirty(index)
        var gap = Gap(from: from, to: offset, count: lost, reason: .purged)
        joinLoss(&gap, of: index)
        remember(gap, for: groupTable[index].members)
    }
}
