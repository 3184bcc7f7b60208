// Lanes: groups whose events do not wait in the log alone, but sorted for those that may have them.

import DequeModule

extension Topic {
    /// Whether the members of a group need its events sorted into lanes.
    func needsLanes(_ group: Int) -> Bool {
        let rules = groupTable[group].rules
        return rules.dispatcher == .partition || !rules.holds || groupTable[group].pickers > 0
    }

    /// Gives a group the lanes that its rules and members need, or takes them away when they are
    /// empty and nobody needs them any more.
    mutating func setLanes(of group: Int) {
        if needsLanes(group) {
            guard groupTable[group].lanes.isEmpty else { return }
            let count = max(1, Int(groupTable[group].rules.partitions))
            groupTable[group].lanes = Lanes(count: count)
            lanedGroups += 1
            laneCount += UInt64(count)
        } else if !groupTable[group].lanes.isEmpty, groupTable[group].queued == 0 {
            laneCount -= UInt64(groupTable[group].lanes.count)
            laneSlots -= UInt64(groupTable[group].lanes.slotCount)
            groupTable[group].lanes = Lanes(count: 0)
            endLackOfRoom(of: group)
            lanedGroups -= 1
            rebuildOrder(group)
        }
    }

    /// Hands out what the members of a group with lanes can take.
    mutating func dispatchLanes(
        _ group: Int,
        at now: Instant,
        limit: Int,
        into effects: inout Effects
    ) {
        // A loop: how often something is lost and something else can go by that, clients decide.
        while handOutLanes(group, at: now, limit: limit, into: &effects) {}
        setLanes(of: group)
        if groupTable[group].isLockstep { settleCredit(group) }
    }

    /// Hands out what can go now; true if something was lost by that which held the rest.
    private mutating func handOutLanes(
        _ group: Int,
        at now: Instant,
        limit: Int,
        into effects: inout Effects
    ) -> Bool {
        var shortfall = retryBlocked(of: group)
        settleHandOvers(of: group, at: now)
        var hasMoved = true
        while hasMoved, effects.list.count < limit, !isOutOfWork {
            hasMoved = route(group)
            if serveLanes(of: group, at: now, limit: limit, &shortfall, into: &effects) {
                hasMoved = true
            }
            if groupTable[group].nextMark < marks.next {
                hasMoved = tellInLanes(group, limit: limit, into: &effects) || hasMoved
            }
            // Served in turn only if a step does not suffice; else always in the same order.
            if effects.list.count < limit, !isOutOfWork { groupTable[group].firstLane = 0 }
        }
        sayBlocked(shortfall, of: group)
        guard !groupTable[group].rules.holds else { return false }
        let first = groupTable[group].firstWaiting
        enforceLag(of: group)
        let isHeld = !groupTable[group].blocked.isEmpty || groupTable[group].nextMark < marks.next
        guard isHeld, groupTable[group].firstWaiting > first else { return false }
        // What a member lacked bytes for is gone, and what was said behind it: the next event may
        // be for it, behind the loss.
        announce(limit: limit, into: &effects)
        return true
    }

    /// Members that lacked bytes may try again; returns what each was told that it needs.
    private mutating func retryBlocked(of group: Int) -> [UInt32: Shortfall] {
        var told: [UInt32: Shortfall] = [:]
        let blocked = groupTable[group].blocked
        groupTable[group].blocked = []
        for member in blocked where consumerLinks[Int(member)].group == group {
            guard kinds[Int(member)] == .consumer, consumerLinks[Int(member)].needBytes > 0 else {
                continue
            }
            told[member] = Shortfall(told: consumerLinks[Int(member)].needBytes)
            consumerLinks[Int(member)].needBytes = 0
            setDeliverable(currentDeliverable(Int(member)), of: member)
        }
        return told
    }

    /// The bytes that a member lacks for its next event.
    struct Shortfall {
        /// What it knows already.
        var told: UInt32 = 0
        var needs: UInt32 = 0
    }

    private mutating func sayBlocked(
        _ shortfall: [UInt32: Shortfall],
        of group: Int
    ) {
        for (member, found) in shortfall.sorted(by: { $0.key < $1.key }) where found.needs > 0 {
            consumerLinks[Int(member)].needBytes = found.needs
            groupTable[group].blocked.append(member)
            setDeliverable(0, of: member)
            if found.needs != found.told {
                owedStatuses.append((id(member), .blocked))
            }
        }
    }

    /// Changes a lane and keeps the sums over the lanes.
    mutating func withLane<Result>(
        _ lane: Int,
        of group: Int,
        _ body: (inout Lane) -> Result
    ) -> Result {
        let waiting = groupTable[group].lanes.waiting(in: lane)
        let bytes = groupTable[group].lanes.bytes(of: lane)
        let slots = groupTable[group].lanes.slotCount
        let result = groupTable[group].lanes.change(lane, body)
        laneSlots -= UInt64(slots)
        laneSlots += UInt64(groupTable[group].lanes.slotCount)
        groupTable[group].queued -= waiting
        groupTable[group].queued += groupTable[group].lanes.waiting(in: lane)
        laneBytes -= bytes
        laneBytes += groupTable[group].lanes.bytes(of: lane)
        return result
    }

    /// Changes each lane of a group in which something waits.
    mutating func eachBusyLane(of group: Int, _ body: (inout Lane) -> Void) {
        var next = 0
        while let lane = groupTable[group].lanes.busy.next(from: next) {
            next = lane + 1
            withLane(lane, of: group, body)
        }
    }
}

// MARK: - Serving

extension Topic {
    /// Hands out what the members can take of all lanes; true if something moved.
    private mutating func serveLanes(
        of group: Int,
        at now: Instant,
        limit: Int,
        _ shortfall: inout [UInt32: Shortfall],
        into effects: inout Effects
    ) -> Bool {
        var hasMoved = false
        let first = groupTable[group].firstLane
        // From the first on, and round to it.
        for round in 0..<2 {
            let end = round == 0 ? groupTable[group].lanes.count : first
            var next = round == 0 ? first : 0
            while effects.list.count < limit,
                let lane = groupTable[group].lanes.busy.next(from: next), lane < end
            {
                guard work < Limits.workPerStepMax else {
                    isOutOfWork = true
                    return hasMoved
                }
                work += 1
                next = lane + 1
                guard mayServe(lane, of: group) else { continue }
                groupTable[group].firstLane = next % groupTable[group].lanes.count
                let served = serve(
                    lane,
                    of: group,
                    at: now,
                    limit: limit,
                    &shortfall,
                    into: &effects
                )
                hasMoved = hasMoved || served
            }
        }
        return hasMoved
    }

    /// Whether the owners of a partition could take something; without partitions it is seen later.
    // Mutating, so that the topic is not copied to be asked.
    private mutating func mayServe(_ lane: Int, of group: Int) -> Bool {
        guard groupTable[group].rules.dispatcher == .partition else { return true }
        if let owner = groupTable[group].lanes.sharer(of: lane) {
            return consumerLinks[Int(owner)].deliverable > 0
        }
        for owner in groupTable[group].lanes.claimants(of: lane)
        where consumerLinks[Int(owner)].deliverable > 0 {
            return true
        }
        return false
    }

    /// Hands out what the members can take of a lane; true if something moved.
    private mutating func serve(
        _ lane: Int,
        of group: Int,
        at now: Instant,
        limit: Int,
        _ shortfall: inout [UInt32: Shortfall],
        into effects: inout Effects
    ) -> Bool {
        guard groupTable[group].lanes.waiting(in: lane) > 0,
            groupTable[group].lanes.handOver(of: lane) == nil
        else {
            tellLoss(of: lane, group)
            return false
        }
        defer { tellLoss(of: lane, group) }
        // A broadcast's last picker may have left while events wait here: they are for all still.
        if groupTable[group].pickers > 0 || groupTable[group].isLockstep {
            return pick(
                from: lane,
                of: group,
                at: now,
                limit: limit,
                &shortfall,
                into: &effects
            )
        }
        var hasMoved = false
        var passed: Set<UInt32> = []
        while effects.list.count < limit, groupTable[group].lanes.waiting(in: lane) > 0,
            let next = nextMember(of: lane, group, except: passed)
        {
            if deliver(from: lane, to: next, of: group, at: now, &shortfall, into: &effects) {
                hasMoved = true
            } else {
                passed.insert(next)
            }
        }
        return hasMoved
    }

    /// The members that may have the events of a lane; those that stand by have no say in it.
    func owners(of lane: Int, _ group: Int) -> [UInt32] {
        switch groupTable[group].rules.dispatcher {
        case .partition: groupTable[group].lanes.owners(of: lane)
        case .exclusive: groupTable[group].active.map { [$0] } ?? []
        case .broadcast, .demand, .fair, .independent: groupTable[group].members
        }
    }

    private func nextMember(
        of lane: Int,
        _ group: Int,
        except passed: Set<UInt32>
    ) -> UInt32? {
        var best: Group.Turn?
        for member in owners(of: lane, group) where !passed.contains(member) {
            guard let turn = turn(of: member) else { continue }
            if best.map({ $0 < turn }) ?? true { best = turn }
        }
        return best?.link
    }

    /// The member's place in the order; nil if it can take nothing.
    func turn(of member: UInt32) -> Group.Turn? {
        let place = Int(member)
        guard consumerLinks[place].deliverable > 0 else { return nil }
        return Group.Turn(
            priority: consumerLinks[place].priority,
            rank: rank(place),
            ticket: consumerLinks[place].ticket,
            link: member
        )
    }

    /// Gives a member the next events of a lane; false if it cannot take them.
    private mutating func deliver(
        from lane: Int,
        to index: UInt32,
        of group: Int,
        at now: Instant,
        _ shortfall: inout [UInt32: Shortfall],
        into effects: inout Effects
    ) -> Bool {
        let link = consumerLinks[Int(index)]
        var due = dueEvents(of: link, in: lane)
        if groupTable[group].nextMark < marks.next {
            let end = horizon(of: index)
            due = min(due, groupTable[group].lanes.waiting(in: lane, before: end))
        }
        let events = min(due, turnEvents(Int(index), of: group))
        guard events > 0 else { return false }
        let firstRun = effects.runs.count
        let taken = withLane(lane, of: group) { lane in
            lane.take(
                events: events,
                bytes: min(link.ledger.bytesAllowed, link.eventBytesMax),
                window: min(link.room, link.deliveryBytesMax),
                windowIsEmpty: link.room >= link.window,
                into: &effects.runs
            )
        }
        guard taken.events > 0 else {
            if let need = groupTable[group].lanes.firstRecordBytes(of: lane) {
                setAside(index, need: need, &shortfall)
            }
            return false
        }
        groupTable[group].delivered += taken.events
        hand(
            taken.events,
            UInt64(taken.bytes),
            runs: firstRun..<effects.runs.count,
            of: lane,
            to: index,
            at: now,
            into: &effects
        )
        return true
    }

    /// Events of a lane that the consumer's credit and its drain let pass.
    func dueEvents(of link: ConsumerLink, in lane: Int) -> UInt64 {
        let waiting = groupTable[link.group].lanes.waiting(in: lane)
        let events = min(link.ledger.credit, waiting, link.allowance)
        guard let until = link.drainsUntil else { return events }
        let due = link.ledger.credit(upTo: link.ledger.drainedTo)
        return min(events, due, groupTable[link.group].lanes.waiting(in: lane, before: until))
    }

    /// Books events of a lane, whose runs are among the effects already.
    mutating func hand(
        _ events: UInt64,
        _ bytes: UInt64,
        runs: Range<Int>,
        of lane: Int,
        to index: UInt32,
        at now: Instant,
        into effects: inout Effects
    ) {
        let place = Int(index)
        let group = consumerLinks[place].group
        let sequence = consumerLinks[place].ledger.delivered + 1
        var next = sequence
        for run in effects.runs[runs] {
            consumerLinks[place].remember(
                sequence: next,
                offset: run.offset,
                count: UInt64(run.count)
            )
            next += UInt64(run.count)
        }
        let delivery = Delivery(
            firstSequence: sequence,
            events: events,
            bytes: bytes,
            runs: runs
        )
        count(events, for: place, of: group)
        book(delivery, to: index, at: now, into: &effects)
        guard groupTable[group].rules.dispatcher == .partition else { return }
        noteLast(Lane.Last(link: id(index), sequence: sequence + events - 1), of: lane, group)
    }

    /// A member cannot be given the next event: why, unless more room would help.
    mutating func setAside(
        _ index: UInt32,
        need: Int,
        _ shortfall: inout [UInt32: Shortfall]
    ) {
        guard lacksBytes(index, for: need) else {
            setDeliverable(0, of: index)
            return
        }
        let known = shortfall[index]?.needs ?? 0
        let needs = UInt32(clamping: need)
        shortfall[index, default: Shortfall()].needs = known == 0 ? needs : min(known, needs)
    }

    /// Joins a loss with the one behind what was lost last, if nothing is left between them.
    mutating func joinLoss(_ gap: inout Gap, of group: Int) {
        eachBusyLane(of: group) { lane in
            guard lane.waiting == 0, let lost = lane.lost else { return }
            lane.lost = nil
            gap.cover(lost)
        }
    }

    /// Leaves a loss to be told once everything before it was handed out.
    private mutating func tellLoss(of lane: Int, _ group: Int) {
        guard groupTable[group].lanes.waiting(in: lane) == 0,
            let gap = groupTable[group].lanes.lost(of: lane)
        else { return }
        withLane(lane, of: group) { $0.lost = nil }
        remember(gap, for: groupTable[group].members)
    }
}

// MARK: - Lag

extension Topic {
    /// Does what the lag policy of an independent consumer says, if too much waits for it.
    private mutating func enforceLag(of group: Int) {
        let lag = groupTable[group].rules.lag
        guard lag.policy != .block else { return }
        let isOver = retainedBytes > options.bufferBytes
        let waiting = groupTable[group].queued
        // A consumer that keeps up loses nothing, however full the others have made the buffer.
        let keep = isOver ? min(UInt64(lag.events), waiting / 2) : UInt64(lag.events)
        guard waiting > keep else { return }
        isUnsettled = true
        switch lag.policy {
        case .block: return
        case .dropOldest, .dropNewest:
            drop(from: group, keeping: keep)
            // One that begins far back has no more room than one that was there all along.
            while groupTable[group].queued > 0, isOverfull {
                drop(from: group, keeping: groupTable[group].queued / 2)
            }
        case .detach:
            let text = "\(waiting) events waited, more than \(lag.events)"
            for member in groupTable[group].members { end(member, .lagged, text) }
        }
    }

    private mutating func drop(from group: Int, keeping keep: UInt64) {
        guard groupTable[group].rules.lag.policy == .dropNewest else {
            dropLagging(group, keeping: keep)
            return
        }
        let lost = withLane(0, of: group) { $0.dropNewest(keeping: keep) }
        discard(lost, of: group)
    }

    /// Drops the oldest events that wait for an independent consumer.
    private mutating func dropLagging(_ group: Int, keeping keep: UInt64) {
        guard let from = groupTable[group].lanes.firstOffset(of: 0) else { return }
        let offset = log.head - min(log.head, keep)
        let lost = withLane(0, of: group) { $0.drop(before: offset) }
        guard lost > 0 else { return }
        discard(lost, of: group)
        let to = groupTable[group].lanes.firstOffset(of: 0) ?? log.head
        let gap = Gap(from: from, to: to, count: lost, reason: .lagged)
        remember(gap, for: groupTable[group].members)
    }

    /// Bytes that lanes move into memory of their own in one step that has done all else that it
    /// may; the rest is moved in the next.
    private static let keptBytesPerStepMin = 131_072
    /// What a lane costs, however little it moves: it is given memory.
    private static let keptBytesPerLane = 512
    /// Bytes that take as long to move as what else counts for one piece of work.
    private static let keptBytesPerWork = 32

    /// Moves what lanes got and could not hand out into memory of their own; false if there was
    /// more than a step may move.
    mutating func keepLanes() -> Bool {
        // A millisecond's worth at most, as the memory is new.
        let workLeft = Limits.workPerStepMax - min(Limits.workPerStepMax, work)
        var left = max(Self.keptBytesPerStepMin, workLeft * Self.keptBytesPerWork)
        for group in groupTable.indices {
            while let lane = groupTable[group].lanes.popFresh() {
                guard left > 0 else {
                    groupTable[group].lanes.markFresh(lane)
                    return false
                }
                let (kept, hasMore) = withLane(lane, of: group) { lane in
                    (lane.keep(atMost: left), lane.hasFresh)
                }
                if hasMore { groupTable[group].lanes.markFresh(lane) }
                let cost = kept + Self.keptBytesPerLane
                left -= cost
                work += cost / Self.keptBytesPerWork
            }
        }
        return true
    }
}
