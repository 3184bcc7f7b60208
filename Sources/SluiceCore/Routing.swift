// Routing: events go from the log into the lanes of a group, as far as there is memory for both.

extension Topic {
    /// Moves events from the log into the lanes, as many as are looked at and have room; true if
    /// there were some.
    mutating func route(_ group: Int) -> Bool {
        let before = groupTable[group].cursor.offset
        let isSorted = groupTable[group].rules.dispatcher == .partition
        endLackOfRoom(of: group)
        var runs: [Run] = []
        while groupTable[group].cursor.offset < log.head {
            guard work < Limits.workPerStepMax else {
                isOutOfWork = true
                break
            }
            var share = routable(group)
            guard share.events > 0 else { break }
            if isSorted { share.events = min(share.events, Self.sortedAtOnceMax) }
            runs.removeAll(keepingCapacity: true)
            let taken = log.take(
                from: &groupTable[group].cursor,
                events: share.events,
                bytes: share.bytes,
                window: .max,
                windowIsEmpty: true,
                into: &runs
            )
            guard taken.events > 0 else { break }
            work += isSorted ? Int(taken.events) * Self.workPerSorted : runs.count
            for run in runs {
                if isSorted { sort(run, group) } else { append(run, to: 0, of: group) }
            }
            if share.isMoved { settleTail() }
        }
        return groupTable[group].cursor.offset > before
    }

    /// What an event costs that is put into the lane of its key.
    private static let workPerSorted = 3
    /// Events that are sorted before it is looked whether that was enough for a step.
    private static let sortedAtOnceMax: UInt64 = 2_048

    /// What may go into the lanes of a group next.
    private struct Routable {
        var events: UInt64
        var bytes = Int.max
        /// Whether nobody else needs it in the log.
        var isMoved = false
    }

    private mutating func routable(_ group: Int) -> Routable {
        // Of what may be lost, the lag policy leaves no more than there is room for.
        guard groupTable[group].rules.holds else { return Routable(events: .max) }
        var events = UInt64.max
        if groupTable[group].rules.dispatcher != .partition {
            let queued = groupTable[group].queued
            events = Limits.lookAheadEventsMax - min(Limits.lookAheadEventsMax, queued)
        }
        let room = laneRoom
        let waiting = log.head - groupTable[group].cursor.offset
        guard events > 0, log.retainedBytes + waiting * Limits.laneItemBytes > room else {
            return Routable(events: events)
        }
        let own = leftToItself(group)
        if own > 0, room >= Limits.laneItemBytes {
            return Routable(events: min(events, own, room / Limits.laneItemBytes), isMoved: true)
        }
        guard let need = log.nextRecordBytes(at: groupTable[group].cursor) else {
            return Routable(events: 0)
        }
        // One half for the records, the other for what they cost beside.
        let most = room / (2 * Limits.laneItemBytes)
        if room / 2 >= UInt64(need), most > 0 {
            return Routable(events: min(events, most), bytes: Int(room / 2))
        }
        if UInt64(need) + Limits.laneItemBytes <= room {
            return Routable(events: 1, bytes: need)
        }
        guard groupTable[group].queued == 0 else {
            groupTable[group].lacksRoom = true
            if !hasMemory(for: UInt64(need)) { lacksMemory = true }
            missedRoom = min(missedRoom ?? .max, room)
            return Routable(events: 0)
        }
        // However much the others keep, there is something to be taken.
        return Routable(
            events: min(events, Limits.lookAheadEventsMax),
            bytes: max(need, Limits.writeWindowBytes)
        )
    }

    /// Bytes that lanes may still keep under law L3, beside what is granted.
    ///
    /// What all have passed of the log's first run goes with the rest of that, at most a frame.
    @inline(__always)
    var laneRoom: UInt64 {
        let most = options.bufferBytes + Limits.grantWindowBytes + UInt64(tail.position)
        return min(most - min(most, retainedBytes + grantedMemory), freeMemory)
    }

    /// Whether more is kept than law L3 lets be granted.
    @inline(__always)
    var isOverfull: Bool { retainedBytes > options.bufferBytes + Limits.grantWindowBytes }

    /// Events from a group's cursor on that no other group needs in the log.
    private mutating func leftToItself(_ group: Int) -> UInt64 {
        var next = log.head
        work += groupTable.count / 16
        for index in groupTable.indices where index != group && !groupTable[index].isRemoved {
            next = min(next, groupTable[index].cursor.offset)
        }
        return next - min(next, groupTable[group].cursor.offset)
    }

    mutating func endLackOfRoom(of group: Int) {
        guard groupTable[group].lacksRoom else { return }
        groupTable[group].lacksRoom = false
        grantsAreDue = true
    }

    /// Whether a group has to have room for what is here before more is granted.
    mutating func awaitsRoom() -> Bool {
        guard missedRoom != nil else { return false }
        for index in groupTable.indices where groupTable[index].lacksRoom {
            if groupTable[index].cursor.offset < log.head { return true }
        }
        missedRoom = nil
        return false
    }

    /// Lets groups go on that had no room for what comes next, if there is more of it now.
    mutating func routeOn() {
        guard let missed = missedRoom else { return }
        guard laneRoom > missed else {
            // Who waits for memory says so at the end of each step, or nobody would call it again.
            if freeMemory <= missed, awaitsRoom() { lacksMemory = true }
            return
        }
        missedRoom = nil
        for group in groupTable.indices where groupTable[group].lacksRoom { markDirty(group) }
    }

    private mutating func append(_ run: Run, to lane: Int, of group: Int) {
        isUnsettled = true
        guard groupTable[group].lanes.lost(of: lane) == nil else {
            // Until the consumer has had what waits, what comes is lost with what was.
            let count = UInt64(run.count)
            let gap = Gap(from: run.offset, to: run.endOffset, count: count, reason: .lagged)
            withLane(lane, of: group) { $0.noteLoss(gap) }
            discard(count, of: group)
            return
        }
        withLane(lane, of: group) { $0.append(run) }
        groupTable[group].lanes.markFresh(lane)
    }

    mutating func discard(_ events: UInt64, of group: Int) {
        groupTable[group].discarded += events
        counters.discarded += events
        grantsAreDue = true
    }

    /// Gives the records of a run to the lanes of their keys.
    private mutating func sort(_ run: Run, _ group: Int) {
        let partitions = groupTable[group].rules.partitions
        var piece = run
        piece.end = piece.start
        piece.count = 0
        var lane = 0
        var next = run
        while next.count > 0 {
            guard let record = next.first else { return }
            let found = record.slab.withBytes { bytes in
                KeyHash.partition(
                    of: bytes.extracting(record.bytes),
                    at: record.offset,
                    among: partitions
                )
            }
            if piece.count > 0, Int(found) != lane {
                append(piece, to: lane, of: group)
                piece = record
            } else if piece.count == 0 {
                piece = record
            } else {
                piece.extend(by: record)
            }
            lane = Int(found)
            next = next.rest(after: record)
        }
        if piece.count > 0 { append(piece, to: lane, of: group) }
    }

    /// Counts events that no member of a group is to have.
    mutating func refuse(_ events: UInt64, of group: Int) {
        guard events > 0 else { return }
        groupTable[group].refused += events
        counters.refused += events
        isUnsettled = true
        grantsAreDue = true
    }
}
