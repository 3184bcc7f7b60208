// A topic that drops the oldest events when it is full.

/// A drop that goes on over several steps, group by group.
struct Dropping: Sendable {
    /// What lies before this offset is dropped.
    let before: UInt64
    /// The group that is next.
    var group = 0
    /// The most events that a group lost.
    var lost: UInt64 = 0
    /// The oldest offset that is left in a lane of the groups that had their turn.
    var oldestLeft = UInt64.max
}

extension Topic {
    /// What it costs to look at a lane, and as much again to drop events from it.
    private static let workPerLane = 4
    /// With lanes as many events in so many are dropped at once, and one at least: whichever they
    /// are, all lanes are looked at.
    private static let droppedAtOnce: UInt64 = 64

    /// Drops the oldest events beyond the topic's capacity, if that is its policy; false if some of
    /// that is left for the next step.
    mutating func enforceCapacity() -> Bool {
        counters.peakBuffered = max(counters.peakBuffered, buffered)
        guard options.onFull == .dropOldest else {
            dropping = nil
            return true
        }
        if dropsForMemory {
            dropsForMemory = false
            bytesToDropTo = retainedBytes - min(retainedBytes, UInt64(Limits.writeWindowBytes))
        }
        if dropping == nil { dropping = Dropping(before: firstOfCapacity) }
        while let drop = dropping {
            guard goOn(with: drop) else { return false }
        }
        return true
    }

    /// Goes on with a drop, and begins the next if that was not enough; false if a step may do no
    /// more.
    private mutating func goOn(with drop: Dropping) -> Bool {
        var drop = drop
        let first = drop.group
        while drop.group < groupTable.count {
            // One has its turn in any case, so that the drop comes to its end.
            guard drop.group == first || work < Limits.workPerStepMax else {
                dropping = drop
                return false
            }
            if !groupTable[drop.group].isRemoved { self.drop(&drop) }
            drop.group += 1
        }
        if tail.offset < drop.before, !hasGroup {
            drop.lost = drop.before - tail.offset
            log.seek(&tail, to: drop.before)
        }
        counters.discarded += drop.lost
        settleTail()
        let most = min(options.bufferBytes, bytesToDropTo ?? .max)
        if drop.before < firstOfCapacity {
            // More came while it went on.
            dropping = Dropping(before: firstOfCapacity)
        } else if retainedBytes > most, let next = nextToDrop(after: drop) {
            dropping = Dropping(before: next)
        } else {
            dropping = nil
            bytesToDropTo = nil
        }
        return true
    }

    /// The first offset of as many events as the topic may hold.
    private var firstOfCapacity: UInt64 { log.head - min(log.head, options.capacity) }

    /// The offset before which events are dropped next, of those that the topic holds in its log or
    /// in lanes.
    private func nextToDrop(after drop: Dropping) -> UInt64? {
        if log.firstOffset < log.head {
            var cursor = log.start
            log.seekRun(&cursor)
            return cursor.offset
        }
        guard drop.oldestLeft < log.head else { return nil }
        return drop.oldestLeft + max(1, (log.head - drop.oldestLeft) / Self.droppedAtOnce)
    }

    /// Drops what a group still has to see before the offset.
    private mutating func drop(_ drop: inout Dropping) {
        let index = drop.group
        let offset = drop.before
        let lanesWork = groupTable[index].lanes.busy.count * Self.workPerLane
        work += 1 + lanesWork
        var oldest = groupTable[index].lanes.firstOffset ?? .max
        let from = min(groupTable[index].cursor.offset, oldest)
        defer { drop.oldestLeft = min(drop.oldestLeft, oldest) }
        guard from < offset else { return }
        oldest = .max
        var count: UInt64 = 0
        work += lanesWork
        eachBusyLane(of: index) { lane in
            count += lane.drop(before: offset)
            oldest = min(oldest, lane.firstOffset ?? .max)
        }
        if groupTable[index].cursor.offset < offset {
            count += offset - groupTable[index].cursor.offset
            log.seek(&groupTable[index].cursor, to: offset)
        }
        groupTable[index].discarded += count
        markDirty(index)
        drop.lost = max(drop.lost, count)
        var gap = Gap(from: from, to: offset, count: count, reason: .dropped)
        joinLoss(&gap, of: index)
        remember(gap, for: groupTable[index].members)
    }
}
