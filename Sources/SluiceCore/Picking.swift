// Picking: members that do not take every event as it comes, by filter, sample or batch.

import DequeModule

/// What a member has beyond its account; few have it.
struct Special: Sendable {
    /// The partitions that it wants; nil for an even share of what nobody claims.
    var claims: [UInt16]?
    /// The partitions that it has.
    var lanes = LaneSet()
    var filter: Filter?
    var sampleOneIn: UInt32 = 1
    var batch: BatchRule?
    /// Events of a batch that was begun and not all handed out.
    var batchLeft: UInt64 = 0
    /// When a batch is handed out even if it is not full.
    var batchDueAt: Instant?
    var bucket: TokenBucket?
    /// Since when a broadcast waits for it to ask.
    var awaitedSince: Instant?

    /// Whether its events have to be looked at one by one, or counted before they go out.
    var picks: Bool { filter != nil || sampleOneIn > 1 || batch != nil }

    /// Whether it takes only some events.
    var selects: Bool { filter != nil || sampleOneIn > 1 }
}

extension Topic {
    /// Conditions that cost as much as one event that is sorted.
    static let judgedPerWork = 4
    /// Conditions after which a look ahead ends, so that it is no longer than a step.
    static let judgedAtOnceMax = Limits.workPerStepMax * judgedPerWork

    /// What a member may still be given in a pass over a lane, and what it was.
    private struct Share {
        var member: UInt32
        var events: UInt64
        var bytes: Int
        var window: Int
        var windowIsEmpty: Bool
        var runs: [Run] = []
        var taken: UInt64 = 0
        var takenBytes = 0
        /// The offset of its next mark, and whether nothing before that is left for it.
        var horizon = UInt64.max
        var hasReached = false

        /// Whether it could take the event at an offset, as far as credit and marks go.
        mutating func mayTake(_ offset: UInt64) -> Bool {
            guard taken < events else { return false }
            guard offset >= horizon else { return true }
            hasReached = true
            return false
        }

        /// Whether a record fits, if credit in events is left.
        func fits(_ need: Int) -> Bool {
            let isFirst = taken == 0 && windowIsEmpty
            return need <= bytes - takenBytes && (isFirst || need <= window - takenBytes)
                && runs.count < EventLog.runsPerTakeMax
        }

        mutating func add(_ record: Run) {
            taken += 1
            takenBytes += record.byteCount
            if let last = runs.last, last.isContinued(by: record) {
                runs[runs.count - 1].extend(by: record)
            } else {
                runs.append(record)
            }
        }
    }

    /// What becomes of an event that is looked at.
    private enum Verdict {
        case handed
        case refused
        case passedOver
        /// Nothing behind it may be handed out before it.
        case stops
    }

    /// Hands events of a lane to members that look at each; true if something moved.
    mutating func pick(
        from lane: Int,
        of group: Int,
        at now: Instant,
        limit: Int,
        _ shortfall: inout [UInt32: Shortfall],
        into effects: inout Effects
    ) -> Bool {
        let owners = owners(of: lane, group)
        let resting = owners.filter { isResting($0) }
        var shares = shares(of: owners, lane, group, at: now)
        // Lanes before this one may have what fits into a batch that began here.
        let hasBegun = resting.contains { !isResting($0) }
        // One that waits for a batch still says what it will never have.
        guard !shares.isEmpty || owners.contains(where: { turn(of: $0) != nil }) else {
            return false
        }
        var places: [UInt32: Int] = [:]
        if groupTable[group].isLockstep {
            for (place, share) in shares.enumerated() { places[share.member] = place }
        }
        var kept = Deque<Lane.Item>()
        var refused: UInt64 = 0
        var seen: UInt64 = 0
        var isStopped = false
        var judging = Judging()
        while !isStopped, seen < Limits.lookAheadEventsMax, judging.cost < Self.judgedAtOnceMax,
            let item = withLane(lane, of: group, { $0.popFirst() })
        {
            var rest = item.run
            while rest.count > 0, judging.cost < Self.judgedAtOnceMax, let record = rest.first {
                record.slab.withBytes { judging.begin($0.extracting(record.bytes)) }
                judging.note(members: owners.count)
                let verdict =
                    groupTable[group].isLockstep
                    ? judgeForAll(record, &judging, owners, &shares, places, &shortfall)
                    : judge(record, &judging, owners, &shares, &shortfall)
                if verdict == .stops {
                    isStopped = true
                    break
                }
                seen += 1
                if verdict == .refused { refused += 1 }
                if verdict == .passedOver {
                    kept.append(Lane.Item(run: record, isKept: item.isKept))
                }
                rest = rest.rest(after: record)
            }
            if rest.count > 0 {
                let left = Lane.Item(run: rest, isKept: item.isKept)
                withLane(lane, of: group) { $0.prepend(left) }
            }
        }
        work += judging.cost / Self.judgedPerWork
        let isSeen = groupTable[group].lanes.waiting(in: lane) == 0
        while let item = kept.popLast() { withLane(lane, of: group) { $0.putBack(item) } }
        refuse(refused, of: group)
        var moved = hand(shares, of: lane, group, at: now, into: &effects)
        if groupTable[group].nextMark < marks.next {
            let told = tellReached(shares, group, isSeen: isSeen, limit: limit, into: &effects)
            moved = moved || told
        }
        return refused > 0 || moved || hasBegun
    }

    /// Tells members their next mark before which nothing that waits is for them; true if there
    /// were some.
    private mutating func tellReached(
        _ shares: [Share],
        _ group: Int,
        isSeen: Bool,
        limit: Int,
        into effects: inout Effects
    ) -> Bool {
        // Those of partitions have other lanes, those of a broadcast go on together.
        guard groupTable[group].rules.dispatcher != .partition, !groupTable[group].isLockstep
        else { return false }
        let end = groupTable[group].cursor.offset
        var hasTold = false
        for index in shares.indices {
            // It could take more, but there is nothing.
            let hasSeenAll =
                isSeen && shares[index].taken < shares[index].events
                && shares[index].horizon <= end
            guard hasSeenAll || shares[index].hasReached else { continue }
            let told = tell(
                shares[index].member,
                upTo: shares[index].horizon,
                limit: limit,
                into: &effects
            )
            hasTold = hasTold || told
        }
        return hasTold
    }

    /// What each member that could take something may be given, in the order of the dispatcher.
    private mutating func shares(
        of owners: [UInt32],
        _ lane: Int,
        _ group: Int,
        at now: Instant
    ) -> [Share] {
        var turns: [Group.Turn] = []
        for member in owners {
            guard let turn = turn(of: member), isReady(member, lane, at: now) else { continue }
            turns.append(turn)
        }
        turns.sort(by: >)
        let isMarked = groupTable[group].nextMark < marks.next
        return turns.map { turn in
            let link = consumerLinks[Int(turn.link)]
            var events = dueEvents(of: link, in: lane)
            if turns.count > 1 { events = min(events, turnEvents(Int(turn.link), of: group)) }
            if let special = link.special.first, special.batch != nil {
                events = min(events, special.batchLeft)
            }
            return Share(
                member: turn.link,
                events: events,
                bytes: min(link.ledger.bytesAllowed, link.eventBytesMax),
                window: min(link.room, link.deliveryBytesMax),
                windowIsEmpty: link.room >= link.window,
                horizon: isMarked ? horizon(of: turn.link) : .max
            )
        }
    }

    /// Gives an event to the first member in order that accepts it.
    private mutating func judge(
        _ record: Run,
        _ judging: inout Judging,
        _ owners: [UInt32],
        _ shares: inout [Share],
        _ shortfall: inout [UInt32: Shortfall]
    ) -> Verdict {
        var hasCredit = false
        var isAwaited = false
        for index in shares.indices where shares[index].taken < shares[index].events {
            guard shares[index].mayTake(record.offset) else {
                // It has to be told a mark first.
                if accepts(shares[index].member, record, &judging) { isAwaited = true }
                hasCredit = true
                continue
            }
            guard accepts(shares[index].member, record, &judging) else {
                hasCredit = true
                continue
            }
            guard shares[index].fits(record.byteCount) else {
                // The next in order may have it; it goes past nobody who only has to wait.
                if shares[index].taken == 0 {
                    setAside(shares[index].member, need: record.byteCount, &shortfall)
                } else {
                    isAwaited = true
                }
                shares[index].events = shares[index].taken
                continue
            }
            shares[index].add(record)
            return .handed
        }
        guard !isAwaited else { return .stops }
        guard hasCredit || shares.isEmpty else { return .stops }
        guard owners.contains(where: { accepts($0, record, &judging) }) else {
            return .refused
        }
        return hasCredit ? .passedOver : .stops
    }

    /// Gives an event to all members that accept it, if all could take one: nobody runs ahead of a
    /// member that has no credit, not even with what that one refuses.
    private mutating func judgeForAll(
        _ record: Run,
        _ judging: inout Judging,
        _ owners: [UInt32],
        _ shares: inout [Share],
        _ places: [UInt32: Int],
        _ shortfall: inout [UInt32: Shortfall]
    ) -> Verdict {
        guard shares.allSatisfy({ $0.taken < $0.events && record.offset < $0.horizon }),
            shares.count == owners.count || owners.allSatisfy({ turn(of: $0) != nil })
        else { return .stops }
        let takers = owners.filter { accepts($0, record, &judging) }
        guard !takers.isEmpty else { return .refused }
        var indices: [Int] = []
        for taker in takers {
            guard let index = places[taker] else { return .stops }
            guard shares[index].fits(record.byteCount) else {
                if shares[index].taken == 0 {
                    setAside(taker, need: record.byteCount, &shortfall)
                }
                return .stops
            }
            indices.append(index)
        }
        for index in indices { shares[index].add(record) }
        groupTable[consumerLinks[Int(takers[0])].group].delivered += 1
        return .handed
    }

    /// Books what the members were given; true if that was something.
    private mutating func hand(
        _ shares: [Share],
        of lane: Int,
        _ group: Int,
        at now: Instant,
        into effects: inout Effects
    ) -> Bool {
        var hasMoved = false
        for share in shares where share.taken > 0 {
            hasMoved = true
            if !groupTable[group].isLockstep { groupTable[group].delivered += share.taken }
            let first = effects.runs.count
            effects.runs += share.runs
            hand(
                share.taken,
                UInt64(share.takenBytes),
                runs: first..<effects.runs.count,
                of: lane,
                to: share.member,
                at: now,
                into: &effects
            )
        }
        return hasMoved
    }

    /// Whether a member takes an event that is looked at.
    func accepts(_ member: UInt32, _ record: Run, _ judging: inout Judging) -> Bool {
        let place = Int(member)
        guard !consumerLinks[place].special.isEmpty else { return true }
        let oneIn = UInt64(consumerLinks[place].special[0].sampleOneIn)
        guard oneIn <= 1 || record.offset % oneIn == 0 else { return false }
        guard let filter = consumerLinks[place].special[0].filter else { return true }
        return record.slab.withBytes { judging.accepts(filter, $0.extracting(record.bytes)) }
    }

    /// Whether a member takes the event that a run begins with.
    func accepts(_ member: UInt32, recordAtStartOf run: Run) -> Bool {
        var judging = Judging()
        run.slab.withBytes { judging.begin($0.extracting(run.bytes)) }
        return accepts(member, run, &judging)
    }
}
