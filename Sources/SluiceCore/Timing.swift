import DequeModule

// Time: what a member waits for that no event and no ask brings.

extension Topic {
    /// Asks for a step at that time.
    mutating func wake(at time: Instant) {
        guard let known = wakesAt, known <= time else {
            wakesAt = time
            return
        }
    }

    /// Whether a group may have something to wait for that only time or an ask brings.
    @inline(__always)
    func awaitsTime(_ group: Int) -> Bool {
        groupTable[group].isTimed || groupTable[group].pickers > 0
    }

    /// Asks for a step when a rate lets more pass; one a little later lets several pass at once.
    mutating func wakeSoon(after nanoseconds: UInt64, at now: Instant) {
        let least = now.advanced(milliseconds: Limits.rateWaitMilliseconds)
        wake(at: max(least, now.advanced(nanoseconds: nanoseconds)))
    }

    /// Looks again at what waited for the time.
    mutating func wakeUp(at now: Instant, into effects: inout Effects) {
        guard let time = wakesAt, time <= now else { return }
        wakesAt = nil
        expireGroups(at: now, into: &effects)
        for group in groupTable.indices where !groupTable[group].isRemoved {
            for member in groupTable[group].members
            where !consumerLinks[Int(member)].special.isEmpty {
                allow(member, at: now)
                refresh(member, requeue: false)
            }
            if awaitsTime(group) { markDirty(group) }
        }
        if bucket != nil || producers > 0 { grantsAreDue = true }
    }

    /// Brings what a member's rate lets pass up to date.
    mutating func allow(_ index: UInt32, at now: Instant) {
        let place = Int(index)
        guard !consumerLinks[place].special.isEmpty,
            let events = consumerLinks[place].special[0].bucket?.available(at: now)
        else { return }
        consumerLinks[place].allowance = events
        guard events == 0,
            let next = consumerLinks[place].special[0].bucket?.nextAvailable(at: now)
        else { return }
        wakeSoon(after: next.nanoseconds - min(next.nanoseconds, now.nanoseconds), at: now)
    }

    /// Counts what a member was given against its rate and its batch.
    mutating func spend(_ events: UInt64, of index: UInt32, at now: Instant) {
        let place = Int(index)
        consumerLinks[place].special[0].bucket?.take(events, at: now)
        allow(index, at: now)
        let left = consumerLinks[place].special[0].batchLeft
        consumerLinks[place].special[0].batchLeft = left - min(left, events)
        consumerLinks[place].special[0].batchDueAt = nil
        consumerLinks[place].special[0].awaitedSince = nil
    }

    /// Whether a member of a lane takes what waits now, or waits itself until a batch is full.
    mutating func isReady(_ index: UInt32, _ lane: Int, at now: Instant) -> Bool {
        let place = Int(index)
        guard let special = consumerLinks[place].special.first, let batch = special.batch else {
            return true
        }
        guard special.batchLeft == 0 else { return true }
        let link = consumerLinks[place]
        let group = groupTable[link.group]
        // Behind the lane of a group without partitions more may wait in the log.
        let isWhole = group.rules.dispatcher != .partition
        let behind = isWhole && !special.selects ? log.head - group.cursor.offset : 0
        let need = min(UInt64(batch.eventsMax), max(1, link.ledger.credit))
        // What is behind a mark in one partition may have to wait for another.
        let end = isWhole ? .max : horizon(of: index)
        let picked = picked(by: index, lane, before: end, atMost: need)
        let found = behind + picked.events
        guard found > 0 else { return false }
        let isFull = found >= need || special.selects && picked.isCut
        if isFull || link.drainsUntil != nil || special.batchDueAt.map({ $0 <= now }) ?? false {
            consumerLinks[place].special[0].batchLeft = need
            return true
        }
        let due = special.batchDueAt ?? now.advanced(milliseconds: UInt64(batch.waitMilliseconds))
        consumerLinks[place].special[0].batchDueAt = due
        wake(at: due)
        return false
    }

    /// Whether a member lets events wait that it could take.
    func isResting(_ index: UInt32) -> Bool {
        consumerLinks[Int(index)].special.first.map { $0.batch != nil && $0.batchLeft == 0 }
            ?? false
    }

    /// Events of a lane before an offset that a member would take, counted up to a number; and
    /// whether there may be more of them than were looked at.
    private mutating func picked(
        by index: UInt32,
        _ lane: Int,
        before end: UInt64,
        atMost limit: UInt64
    ) -> (events: UInt64, isCut: Bool) {
        let group = consumerLinks[Int(index)].group
        guard consumerLinks[Int(index)].special.first?.selects == true else {
            let waiting = groupTable[group].lanes.waiting(in: lane, before: end)
            return (min(limit, waiting), false)
        }
        var judging = Judging()
        // Each of the members that wait for a batch looks for itself.
        let costMax = Self.judgedAtOnceMax / max(1, groupTable[group].pickers)
        var count: UInt64 = 0
        var seen: UInt64 = 0
        var isCut = false
        for item in groupTable[group].lanes[lane].items where !isCut && count < limit {
            var rest = item.run
            while rest.count > 0, rest.offset < end, count < limit, let record = rest.first {
                guard seen < Limits.lookAheadEventsMax, judging.cost <= costMax else {
                    isCut = true
                    break
                }
                record.slab.withBytes { judging.begin($0.extracting(record.bytes)) }
                if accepts(index, record, &judging) { count += 1 }
                seen += 1
                rest = rest.rest(after: record)
            }
        }
        work += judging.cost / Self.judgedPerWork
        return (count, isCut || seen >= Limits.lookAheadEventsMax)
    }
}

// MARK: - Patience

extension Topic {
    /// Lets members of a broadcast go for whom the others waited too long.
    mutating func losePatience(with group: Int, at now: Instant) {
        let patience = UInt64(groupTable[group].rules.patienceMilliseconds)
        guard patience > 0 else { return }
        let isWaiting = waiting(ofGroup: group) > 0
        for member in groupTable[group].members {
            let place = Int(member)
            guard isWaiting, consumerLinks[place].ledger.credit == 0 else {
                consumerLinks[place].special[0].awaitedSince = nil
                continue
            }
            let since = consumerLinks[place].special[0].awaitedSince ?? now
            consumerLinks[place].special[0].awaitedSince = since
            let until = since.advanced(milliseconds: patience)
            if until <= now {
                end(member, .lagged, "the others waited \(patience) ms for an ask")
            } else {
                wake(at: until)
            }
        }
    }
}
