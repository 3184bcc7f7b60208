// Dispatching: events go to the member that could take the most, until nobody can or none waits.

extension Topic {
    /// Moves events and demand as far as one step may; true if more is left to do.
    package mutating func advance(at now: Instant, into effects: inout Effects) -> Bool {
        // First, so that a loss is told before what came after it.
        announceGaps(into: &effects)
        let limit = effects.list.count + Limits.effectsPerStepMax
        while effects.list.count < limit, let index = dirtyGroups.first {
            dispatch(index, at: now, limit: limit, into: &effects)
            guard effects.list.count < limit else { break }
            dirtyGroups.removeFirst()
            groups[index]?.isDirty = false
        }
        closeOutgrown(into: &effects)
        finishDrains(into: &effects)
        if dirtyGroups.isEmpty { enforceCapacity() }
        settleMemory()
        if grantsAreDue, effects.list.count < limit { grant(at: now, limit: limit, into: &effects) }
        return !dirtyGroups.isEmpty || grantsAreDue
    }

    private mutating func dispatch(
        _ index: Int,
        at now: Instant,
        limit: Int,
        into effects: inout Effects
    ) {
        guard var group = groups[index] else { return }
        groups[index] = nil
        defer { groups[index] = group }
        if group.orderIsStale { rebuildOrder(&group) }
        while effects.list.count < limit, group.cursor.offset < log.head {
            if group.blockedAt != group.cursor.offset { releaseBlocked(of: &group, at: index) }
            let next = group.next { link, ticket in
                guard case .consumer(let consumer) = slots[Int(link)] else { return false }
                return consumer.ticket == ticket && consumer.group == index
            }
            guard let next else { return }
            deliver(to: next, of: &group, at: now, into: &effects)
        }
    }

    /// Lets members go on that were held by an event too large for their bytes, now that another
    /// member took it or it was dropped.
    private mutating func releaseBlocked(of group: inout Group, at number: Int) {
        group.blockedAt = group.cursor.offset
        guard !group.blocked.isEmpty, let need = log.nextRecordBytes(at: group.cursor) else {
            return
        }
        var blocked: [UInt32] = []
        for index in group.blocked {
            guard case .consumer(var link) = slots[Int(index)], link.group == number,
                link.needBytes > 0
            else { continue }
            guard let bytes = link.ledger.byteCredit, bytes >= need else {
                blocked.append(index)
                continue
            }
            link.needBytes = 0
            place(&link, index, deliverable(link), in: &group)
            slots[Int(index)] = .consumer(link)
        }
        group.blocked = blocked
    }

    private mutating func deliver(
        to index: UInt32,
        of group: inout Group,
        at now: Instant,
        into effects: inout Effects
    ) {
        guard case .consumer(var link) = slots[Int(index)] else { return }
        // While the slot held a second reference, each delivery would copy the link's stretches.
        slots[Int(index)] = .free
        defer { slots[Int(index)] = .consumer(link) }
        let waiting = log.head - group.cursor.offset
        var events = min(link.ledger.credit, waiting)
        if let until = link.drainsUntil {
            let due = link.ledger.credit(upTo: link.ledger.drainedTo)
            events = min(events, due, until - min(until, group.cursor.offset))
        }
        let byteCredit = Int(clamping: link.ledger.byteCredit ?? UInt64(Int.max))
        let offset = group.cursor.offset
        let firstRun = effects.runs.count
        let taken = log.take(
            from: &group.cursor,
            events: events,
            bytes: min(byteCredit, link.eventBytesMax),
            window: min(link.room, link.deliveryBytesMax),
            windowIsEmpty: link.room >= link.window,
            into: &effects.runs
        )
        guard taken.events > 0 else {
            if let need = log.nextRecordBytes(at: group.cursor), events > 0 {
                if need > link.eventBytesMax {
                    outgrown.append(id(index))
                } else if need > byteCredit {
                    link.needBytes = UInt32(clamping: need)
                    if !group.blocked.contains(index) { group.blocked.append(index) }
                    effects.list.append(.status(id(index), .blocked))
                }
            }
            place(&link, index, 0, in: &group)
            return
        }
        let delivery = Delivery(
            firstSequence: link.ledger.delivered + 1,
            events: taken.events,
            bytes: UInt64(taken.bytes),
            runs: firstRun..<effects.runs.count
        )
        link.ledger.deliver(events: taken.events, bytes: UInt64(taken.bytes))
        link.remember(sequence: delivery.firstSequence, offset: offset, count: taken.events)
        link.room -= taken.bytes
        link.movedAt = now
        deliveredAt = now
        counters.delivered += taken.events
        group.delivered += taken.events
        place(&link, index, deliverable(link), in: &group)
        effects.list.append(.deliver(id(index), delivery))
        grantsAreDue = true
    }

    private mutating func rebuildOrder(_ group: inout Group) {
        group.clearOrder()
        var turns: [(ticket: UInt64, link: UInt32)] = []
        for member in group.members {
            guard case .consumer(let link) = slots[Int(member)], link.deliverable > 0 else {
                continue
            }
            turns.append((link.ticket, member))
        }
        turns.sort { $0.ticket < $1.ticket }
        for turn in turns {
            _ = withConsumer(turn.link) { link in
                link.ticket = group.enqueue(turn.link, credit: link.deliverable)
            }
        }
    }

    /// Ends the links of consumers that can never take the event they are owed.
    private mutating func closeOutgrown(into effects: inout Effects) {
        for id in outgrown where isCurrent(id) {
            close(id)
            let text = "the next event does not fit into the consumer's max_frame"
            effects.list.append(.close(id, .eventTooLarge, text))
        }
        outgrown.removeAll()
    }

    /// Ends the drains for which nothing more can come.
    private mutating func finishDrains(into effects: inout Effects) {
        guard !draining.isEmpty else { return }
        var unfinished: [LinkID] = []
        for id in draining {
            guard let link = consumer(id), let until = link.drainsUntil,
                let group = groups[link.group]
            else { continue }
            let due = link.ledger.credit(upTo: link.ledger.drainedTo)
            guard due == 0 || group.cursor.offset >= until || isPaused || link.needBytes > 0 else {
                unfinished.append(id)
                continue
            }
            _ = withConsumer(id.index) { link in
                link.ledger.forfeit(upTo: link.ledger.drainedTo)
                link.drainsUntil = nil
                link.needBytes = 0
            }
            effects.list.append(.status(id, .drained))
            refresh(id.index, requeue: true)
        }
        draining = unfinished
    }

    /// Drops the oldest events beyond the topic's capacity, if that is its policy.
    private mutating func enforceCapacity() {
        counters.peakBuffered = max(counters.peakBuffered, buffered)
        guard options.onFull == .dropOldest else { return }
        let keepFrom = log.head - min(log.head, options.capacity)
        dropOldest(before: keepFrom)
        while log.retainedBytes > options.bufferBytes, log.firstOffset < log.head {
            var cursor = log.start
            log.seekRun(&cursor)
            dropOldest(before: cursor.offset)
        }
    }

    private mutating func dropOldest(before offset: UInt64) {
        var lost: UInt64 = 0
        for index in groups.indices {
            guard var group = groups[index], group.cursor.offset < offset else { continue }
            let from = group.cursor.offset
            log.seek(&group.cursor, to: offset)
            group.discarded += offset - from
            groups[index] = group
            markDirty(index)
            lost = max(lost, offset - from)
            remember(
                Gap(from: from, to: offset, count: offset - from, reason: .dropped),
                for: group
            )
        }
        if tail.offset < offset, groups.allSatisfy({ $0 == nil }) {
            lost = offset - tail.offset
            log.seek(&tail, to: offset)
        }
        counters.discarded += lost
        settleTail()
    }

    /// Tells members of their losses, where a write is possible.
    private mutating func announceGaps(into effects: inout Effects) {
        guard !gapped.isEmpty else { return }
        var waiting: [LinkID] = []
        for id in gapped {
            guard let link = consumer(id), let gap = link.gap else { continue }
            guard link.isAttached, link.room > 0 else {
                waiting.append(id)
                continue
            }
            _ = withConsumer(id.index) { link in
                link.gap = nil
                link.room -= Limits.gapWindowBytes
            }
            effects.list.append(.gap(id, gap))
        }
        gapped = waiting
    }

    /// Frees what nobody needs and moves the rest out of slabs that it would pin for little.
    private mutating func settleMemory() {
        settleTail()
        counters.peakRetainedBytes = max(counters.peakRetainedBytes, log.retainedBytes)
        guard log.hasFresh else { return }
        var cursors = [tail]
        for case let group? in groups { cursors.append(group.cursor) }
        if log.compact(&cursors) {
            tail = cursors[0]
            var next = 1
            for index in groups.indices where groups[index] != nil {
                groups[index]?.cursor = cursors[next]
                next += 1
            }
        }
        counters.peakRetainedBytes = max(counters.peakRetainedBytes, log.retainedBytes)
    }

    private mutating func settleTail() {
        var oldest: Cursor?
        for case let group? in groups {
            untouched = max(untouched, group.cursor.offset)
            if oldest.map({ group.cursor.offset < $0.offset }) ?? true { oldest = group.cursor }
        }
        if let oldest, oldest.offset > tail.offset { tail = oldest }
        log.trim(before: tail.offset)
    }
}
