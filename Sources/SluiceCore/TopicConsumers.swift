// Consumers: what a cut, a purge or the end of their group does to them.

import DequeModule

extension Topic {
    /// The connection is gone and may come back: nothing is deliverable, no grant stays out.
    mutating func detach(_ id: LinkID) {
        _ = withConsumer(id.index) { link in
            link.isAttached = false
            link.drainsUntil = nil
        }
        refresh(id.index, requeue: false)
        if kinds[Int(id.index)] == .consumer { regroup(consumerLinks[Int(id.index)].group) }
        detachProducer(id.index)
    }

    mutating func attachConsumer(
        _ id: LinkID,
        _ point: ResumePoint,
        eventBytesMax: Int,
        into effects: inout Effects
    ) {
        var lost: UInt64 = 0
        let head = log.head
        do {
            let known: Void? = try withConsumer(id.index) { link throws(LedgerError) in
                guard point.gaps <= link.gapsTold else {
                    throw .mismatch(expected: link.gapsTold, found: point.gaps)
                }
                lost = link.ledger.delivered - min(link.ledger.delivered, point.position)
                try link.ledger.rewind(
                    received: point.position,
                    receivedBytes: point.positionBytes,
                    asked: point.asked,
                    askedBytes: point.askedBytes
                )
                if point.stoppedTo > link.ledger.stoppedTo {
                    link.ledger.stop(upTo: point.stoppedTo)
                }
                // One that was missed is answered, also if there is nothing left to forfeit.
                let isMissed = point.drainedTo > link.ledger.drainedTo
                if isMissed || link.ledger.credit(upTo: point.drainedTo) > 0 {
                    link.ledger.drain(upTo: point.drainedTo)
                    link.drainsUntil = head
                }
                link.forget(upTo: point.position)
                link.retell(after: point.gaps)
                link.isAttached = true
                link.eventBytesMax = eventBytesMax
                link.room = link.window
                link.needBytes = 0
                link.repeatWords()
                link.provesTo = 0
            }
            guard known != nil else { return }
        } catch {
            fail(id, error, into: &effects)
            return
        }
        recount(Int(id.index))
        counters.cut += lost
        groupTable[consumerLinks[Int(id.index)].group].cut += lost
        effects.list.append(.opened(id, resumed: true))
        awaitAnnouncement(id.index)
        if consumer(id)?.drainsUntil != nil { draining.append(id) }
        refresh(id.index, requeue: true)
        regroup(consumerLinks[Int(id.index)].group)
    }

    /// Throws away what waits; every group goes on with the next event that comes.
    mutating func purge() {
        for index in groupTable.indices where !groupTable[index].isRemoved {
            let from = groupTable[index].firstWaiting
            let lost = waiting(ofGroup: index)
            guard lost > 0 else { continue }
            clearLanes(of: index)
            var gap = Gap(from: from, to: log.head, count: lost, reason: .purged)
            joinLoss(&gap, of: index)
            groupTable[index].discarded += lost
            groupTable[index].cursor = log.end
            markDirty(index)
            remember(gap, for: groupTable[index].members)
        }
        counters.discarded += log.head - tail.offset
        tail = log.end
        untouched = log.head
        log.trim(before: log.head)
        isUnsettled = true
        grantsAreDue = true
    }

    private mutating func clearLanes(of index: Int) {
        eachBusyLane(of: index) { _ = $0.removeAll() }
    }

    /// Lets a group go on elsewhere within what is held; one with lanes only forwards.
    mutating func seek(_ name: Name, to start: Start) {
        guard let index = groupIndex(named: name) else { return }
        var cursor = log.start
        log.seek(&cursor, to: min(offset(of: start), log.head))
        if !groupTable[index].lanes.isEmpty {
            let first = groupTable[index].firstWaiting
            let offset = start == .first ? first : max(offset(of: start), first)
            eachBusyLane(of: index) { _ = $0.drop(before: offset) }
            if cursor.offset < groupTable[index].cursor.offset { cursor = groupTable[index].cursor }
        }
        groupTable[index].cursor = cursor
        groupTable[index].start = cursor.offset - groupTable[index].queued
        groupTable[index].base = groupTable[index].disposed
        groupTable[index].nextMark = firstMark(from: groupTable[index].firstWaiting, start)
        for member in groupTable[index].members {
            consumerLinks[Int(member)].nextMark = groupTable[index].nextMark
        }
        markDirty(index)
        isUnsettled = true
        grantsAreDue = true
    }

    /// Where a start lies now.
    func offset(of start: Start) -> UInt64 {
        switch start {
        case .new: log.head
        case .first: log.firstOffset
        case .offset(let offset): offset
        case .time(let time): log.offset(atOrAfter: time)
        }
    }

    mutating func removeGroup(_ name: Name, into effects: inout Effects) {
        guard let index = groupIndex(named: name) else { return }
        for member in groupTable[index].members {
            let id = id(member)
            close(id)
            effects.list.append(.close(id, .groupRemoved, "group \(name)"))
        }
        // The last member may have taken it along.
        if !groupTable[index].isRemoved { removeGroup(at: index) }
    }

    /// Frees a group's place; it has no members any more.
    mutating func removeGroup(at index: Int) {
        untouched = max(untouched, groupTable[index].cursor.offset)
        keepCounts(ofGroup: index)
        clearLanes(of: index)
        liveGroups -= 1
        if groupTable[index].rules.dispatcher != .independent {
            groupNumbers[groupTable[index].name] = nil
        }
        if !groupTable[index].lanes.isEmpty { lanedGroups -= 1 }
        laneCount -= UInt64(groupTable[index].lanes.count)
        laneSlots -= UInt64(groupTable[index].lanes.slotCount)
        groupTable[index] = Group(name: "", rules: GroupRules(), cursor: log.end)
        groupTable[index].isRemoved = true
        dirtyGroups.removeAll { $0 == index }
        isUnsettled = true
        grantsAreDue = true
    }

    /// Leaves a loss to be announced to each member of the group that lost it.
    mutating func remember(_ gap: Gap, for members: [UInt32]) {
        for member in members {
            _ = withConsumer(member) { link in
                var joined = gap
                if let known = link.gap { joined.cover(known) }
                link.gap = joined
            }
            awaitAnnouncement(member)
        }
    }
}
