// Dispatching: events go to the member that could take the most, until nobody can or none waits.

extension Topic {
    /// Moves events and demand as far as one step may; true if more is left to do.
    package mutating func advance(at now: Instant, into effects: inout Effects) -> Bool {
        clock = now
        work = 0
        isOutOfWork = false
        let limit = effects.list.count + Limits.effectsPerStepMax
        wakeUp(at: now, into: &effects)
        horizon = log.head
        lacksMemory = false
        if !answers.isEmpty { giveAnswers(limit: limit, into: &effects) }
        // First, so that a loss is told before what came after it.
        announce(limit: limit, into: &effects)
        while effects.list.count < limit, work < Limits.workPerStepMax,
            let index = dirtyGroups.first
        {
            dispatch(index, at: now, limit: limit, into: &effects)
            guard effects.list.count < limit, !isOutOfWork else { break }
            noteHold(ofGroup: index, at: now)
            dirtyGroups.removeFirst()
            groupTable[index].isDirty = false
        }
        if !unproven.isEmpty { askForProofs(into: &effects) }
        endLinks(into: &effects)
        announce(limit: limit, into: &effects)
        if marksAreLoose { trimMarks() }
        finishDrains()
        if !owedStatuses.isEmpty { tellStatuses(into: &effects) }
        if isUnsettled {
            let isAtRest = dirtyGroups.isEmpty
            let isBounded = isAtRest && enforceCapacity()
            let isKept = settleMemory()
            isUnsettled = !isBounded || !isKept
        }
        if missedRoom != nil { routeOn() }
        if grantsAreDue, effects.list.count < limit { grant(at: now, limit: limit, into: &effects) }
        if !grantsAreDue { noteHoldOfProducers(at: now) }
        let isCut = effects.list.count >= limit && !gapped.isEmpty
        return !dirtyGroups.isEmpty || grantsAreDue || isCut || !answers.isEmpty
            || expiriesAreLeft || isUnsettled
    }

    private mutating func dispatch(
        _ group: Int,
        at now: Instant,
        limit: Int,
        into effects: inout Effects
    ) {
        work += 1
        guard !groupTable[group].isRemoved else { return }
        settleMembers(of: group)
        if !groupTable[group].lanes.isEmpty {
            dispatchLanes(group, at: now, limit: limit, into: &effects)
        } else if groupTable[group].nextMark < marks.next {
            dispatchMarked(group, at: now, limit: limit, into: &effects)
        } else {
            handOut(group, at: now, limit: limit, into: &effects)
        }
        losePatience(with: group, at: now)
    }

    /// Hands out what the members of a group without lanes can take, up to the horizon.
    mutating func handOut(
        _ group: Int,
        at now: Instant,
        limit: Int,
        into effects: inout Effects
    ) {
        guard !groupTable[group].isLockstep else {
            broadcast(group, at: now, limit: limit, into: &effects)
            settleCredit(group)
            return
        }
        if groupTable[group].orderIsStale { rebuildOrder(group) }
        while effects.list.count < limit, groupTable[group].cursor.offset < horizon {
            if groupTable[group].blockedAt != groupTable[group].cursor.offset {
                releaseBlocked(of: group)
            }
            guard let next = nextMember(of: group) else { return }
            deliver(to: next, of: group, at: now, into: &effects)
        }
    }

    /// The member that could take the most; nil if nobody can take anything.
    private mutating func nextMember(of group: Int) -> UInt32? {
        if groupTable[group].members.count == 1 {
            let only = groupTable[group].members[0]
            return consumerLinks[Int(only)].deliverable > 0 ? only : nil
        }
        while let top = groupTable[group].top {
            let place = Int(top.link)
            if kinds[place] == .consumer, consumerLinks[place].ticket == top.ticket,
                consumerLinks[place].group == group
            {
                return top.link
            }
            groupTable[group].dropTop()
        }
        return nil
    }

    /// Lets members go on that were held by an event too large for their bytes, now that another
    /// member took it or it was dropped.
    mutating func releaseBlocked(of group: Int) {
        groupTable[group].blockedAt = groupTable[group].cursor.offset
        guard !groupTable[group].blocked.isEmpty,
            let need = log.nextRecordBytes(at: groupTable[group].cursor)
        else { return }
        var blocked: [UInt32] = []
        for index in groupTable[group].blocked {
            let place = Int(index)
            guard kinds[place] == .consumer, consumerLinks[place].group == group,
                consumerLinks[place].needBytes > 0
            else { continue }
            guard let bytes = consumerLinks[place].ledger.byteCredit, bytes >= need else {
                blocked.append(index)
                continue
            }
            consumerLinks[place].needBytes = 0
            setDeliverable(currentDeliverable(place), of: index)
        }
        groupTable[group].blocked = blocked
    }

    private mutating func deliver(
        to index: UInt32,
        of group: Int,
        at now: Instant,
        into effects: inout Effects
    ) {
        let place = Int(index)
        let offset = groupTable[group].cursor.offset
        let sequence = consumerLinks[place].ledger.delivered + 1
        let events = min(dueEvents(place, from: offset), turnEvents(place, of: group))
        let room = consumerLinks[place].room
        let firstRun = effects.runs.count
        let taken = log.take(
            from: &groupTable[group].cursor,
            events: events,
            bytes: min(
                consumerLinks[place].ledger.bytesAllowed,
                consumerLinks[place].eventBytesMax
            ),
            window: min(room, consumerLinks[place].deliveryBytesMax),
            windowIsEmpty: room >= consumerLinks[place].window,
            into: &effects.runs
        )
        guard taken.events > 0 else {
            if events > 0, let need = log.nextRecordBytes(at: groupTable[group].cursor) {
                holdBack(index, of: group, need: need)
            }
            setDeliverable(0, of: index)
            return
        }
        let delivery = Delivery(
            firstSequence: sequence,
            events: taken.events,
            bytes: UInt64(taken.bytes),
            runs: firstRun..<effects.runs.count
        )
        groupTable[group].delivered += taken.events
        count(taken.events, for: place, of: group)
        consumerLinks[place].remember(sequence: sequence, offset: offset, count: taken.events)
        book(delivery, to: index, at: now, into: &effects)
    }

    /// Books a delivery that was taken from the topic.
    mutating func book(
        _ delivery: Delivery,
        to index: UInt32,
        at now: Instant,
        into effects: inout Effects
    ) {
        let place = Int(index)
        recount(place)
        consumerLinks[place].ledger.deliver(events: delivery.events, bytes: delivery.bytes)
        consumerLinks[place].room -= Int(delivery.bytes)
        consumerLinks[place].movedAt = now
        deliveredAt = now
        if !consumerLinks[place].special.isEmpty { spend(delivery.events, of: index, at: now) }
        isUnsettled = true
        counters.delivered += delivery.events
        setDeliverable(currentDeliverable(place), of: index)
        effects.list.append(.deliver(id(index), delivery))
        grantsAreDue = true
    }

    /// Events that a member may be given before others of its group have their turn.
    @inline(__always)
    func turnEvents(_ place: Int, of group: Int) -> UInt64 {
        guard groupTable[group].rules.dispatcher == .fair,
            groupTable[group].deliverable > consumerLinks[place].deliverable
        else { return .max }
        return UInt64(consumerLinks[place].weight) * Limits.fairTurnEvents
    }

    /// Counts what a member was given against its weight.
    mutating func count(_ events: UInt64, for place: Int, of group: Int) {
        guard groupTable[group].rules.dispatcher == .fair else { return }
        // No more than a link's credit; the sums last for 2⁴⁸ events and end there, all alike.
        let time = events * Self.virtualSecond
        groupTable[group].virtualTime = groupTable[group].virtualTime.addingSaturated(
            time / max(1, groupTable[group].eligibleWeight)
        )
        consumerLinks[place].virtualTime = consumerLinks[place].virtualTime.addingSaturated(
            time / UInt64(max(1, consumerLinks[place].weight))
        )
    }

    /// What an event adds to the virtual time of a member of weight 1.
    private static let virtualSecond: UInt64 = 65_536

    /// Events from `offset` on that the consumer's credit and its drain let pass.
    @inline(__always)
    func dueEvents(_ place: Int, from offset: UInt64) -> UInt64 {
        let events = min(
            consumerLinks[place].ledger.credit,
            horizon - offset,
            consumerLinks[place].allowance
        )
        guard let until = consumerLinks[place].drainsUntil else { return events }
        let drainedTo = consumerLinks[place].ledger.drainedTo
        let due = consumerLinks[place].ledger.credit(upTo: drainedTo)
        return min(events, due, until - min(until, offset))
    }

    /// Says why a member could not be given the next event, if more room does not help.
    mutating func holdBack(
        _ index: UInt32,
        of group: Int,
        need: Int
    ) {
        guard lacksBytes(index, for: need) else { return }
        consumerLinks[Int(index)].needBytes = UInt32(clamping: need)
        if !groupTable[group].blocked.contains(index) { groupTable[group].blocked.append(index) }
        owedStatuses.append((id(index), .blocked))
    }

    /// Whether a member that was not given an event needs more credit in bytes for it.
    ///
    /// If not, it waits for room; one that no event of that size can ever reach is ended.
    mutating func lacksBytes(_ index: UInt32, for need: Int) -> Bool {
        let place = Int(index)
        guard need <= consumerLinks[place].eventBytesMax else {
            end(index, .eventTooLarge, "the next event does not fit into the consumer's max_frame")
            return false
        }
        return consumerLinks[place].ledger.bytesAllowed < need
    }

    /// Leaves a link to be closed when all groups had their turn.
    mutating func end(_ index: UInt32, _ code: CloseCode, _ text: String) {
        let id = id(index)
        guard !ending.contains(where: { $0.id == id }) else { return }
        ending.append(Ending(id: id, code: code, text: text))
    }

    private mutating func endLinks(into effects: inout Effects) {
        guard !ending.isEmpty else { return }
        for end in ending where isCurrent(end.id) {
            close(end.id)
            effects.list.append(.close(end.id, end.code, end.text))
        }
        ending.removeAll()
    }

    /// Ends the drains for which nothing more can come.
    private mutating func finishDrains() {
        guard !draining.isEmpty else { return }
        var unfinished: [LinkID] = []
        for id in draining {
            guard let link = consumer(id), let until = link.drainsUntil else { continue }
            let due = link.ledger.credit(upTo: link.ledger.drainedTo)
            let isOver = due == 0 || isPaused || link.needBytes > 0 || hasPassed(until, id.index)
            guard isOver, link.untoldGaps.isEmpty else {
                unfinished.append(id)
                continue
            }
            _ = withConsumer(id.index) { link in
                link.ledger.forfeit(upTo: link.ledger.drainedTo)
                link.drainsUntil = nil
                link.needBytes = 0
            }
            owedStatuses.append((id, .drained))
            refresh(id.index, requeue: true)
        }
        draining = unfinished
    }

    /// Tells each STATUS that the step owes; nothing is handed out behind them in the step.
    private mutating func tellStatuses(into effects: inout Effects) {
        for (id, kind) in owedStatuses where isCurrent(id) {
            // An event that it lacked bytes for may have gone to another meanwhile.
            guard kind != .blocked || consumerLinks[Int(id.index)].needBytes > 0 else { continue }
            effects.list.append(.status(id, kind))
        }
        owedStatuses.removeAll(keepingCapacity: true)
    }

    /// Whether nothing before an offset is left that the member could be given.
    private func hasPassed(_ offset: UInt64, _ index: UInt32) -> Bool {
        let link = consumerLinks[Int(index)]
        let group = groupTable[link.group]
        guard !group.lanes.isEmpty else { return group.cursor.offset >= offset }
        guard !group.isDirty else { return false }
        // What those that pick leave waiting is not for this one, if it could have had it.
        if group.pickers > 0, link.isWritable { return true }
        // What there is no room for cannot be delivered now.
        guard group.cursor.offset >= offset || group.lacksRoom else { return false }
        return (firstWaiting(for: index) ?? .max) >= offset
    }

    /// Frees what nobody needs and moves the rest out of slabs that it would pin for little; false
    /// if some of it is left for the next step.
    private mutating func settleMemory() -> Bool {
        settleTail()
        counters.peakRetainedBytes = max(counters.peakRetainedBytes, retainedBytes)
        let isKept = laneBytes == 0 || keepLanes()
        guard log.hasFresh else { return isKept }
        if !log.keepFresh() {
            var cursors = [tail]
            for index in groupTable.indices { cursors.append(groupTable[index].cursor) }
            log.compact(&cursors)
            tail = cursors[0]
            for index in groupTable.indices { groupTable[index].cursor = cursors[index + 1] }
        }
        counters.peakRetainedBytes = max(counters.peakRetainedBytes, retainedBytes)
        return isKept
    }

    mutating func settleTail() {
        var oldest = UInt64.max
        var place = 0
        for index in groupTable.indices where !groupTable[index].isRemoved {
            let offset = groupTable[index].cursor.offset
            untouched = max(untouched, offset)
            guard offset < oldest else { continue }
            oldest = offset
            place = index
        }
        if oldest != .max, oldest > tail.offset { tail = groupTable[place].cursor }
        log.trim(before: tail.offset)
    }
}
