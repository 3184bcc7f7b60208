// Partitions: who has which, and how one goes from a member to the next.

extension Topic {
    /// Leaves it to the group's next turn who is served and who shares which partition.
    ///
    /// However many join and leave until then, it is found out once.
    mutating func regroup(_ group: Int) {
        groupTable[group].isUnassigned = true
        markDirty(group)
    }

    mutating func settleMembers(of group: Int) {
        guard groupTable[group].isUnassigned else { return }
        groupTable[group].isUnassigned = false
        switch groupTable[group].rules.dispatcher {
        case .exclusive: elect(group)
        case .partition: share(group)
        case .broadcast, .demand, .fair, .independent: return
        }
    }

    /// Gives a member the partitions that it claims, beside others that claim them too.
    mutating func enterClaims(of index: UInt32, in group: Int) {
        guard let claims = consumerLinks[Int(index)].special[0].claims else { return }
        groupTable[group].claimers += 1
        for claim in claims {
            let lane = Int(claim)
            guard !consumerLinks[Int(index)].special[0].lanes.contains(lane) else { continue }
            let before = groupTable[group].lanes.owners(of: lane)
            if let sharer = groupTable[group].lanes.sharer(of: lane) {
                consumerLinks[Int(sharer)].special[0].lanes.remove(lane)
                standByWithoutLanes(sharer)
            }
            groupTable[group].lanes.claim(lane, by: index)
            consumerLinks[Int(index)].special[0].lanes.insert(lane)
            pass(lane, of: group, from: before)
        }
        standByWithoutLanes(index)
    }

    /// Takes from a member that leaves what it has.
    mutating func giveUpLanes(of index: UInt32, in group: Int) {
        if consumerLinks[Int(index)].special[0].claims != nil { groupTable[group].claimers -= 1 }
        for lane in consumerLinks[Int(index)].special[0].lanes {
            groupTable[group].lanes.take(lane, from: index)
        }
        consumerLinks[Int(index)].special[0].lanes.removeAll()
        guard groupTable[group].members.isEmpty else { return }
        laneSlots -= UInt64(groupTable[group].lanes.slotCount)
        groupTable[group].lanes.forgetOwners()
        laneSlots += UInt64(groupTable[group].lanes.slotCount)
    }

    /// Shares the partitions that nobody claims evenly among the members that claim none, with as
    /// few moves as that takes: a member keeps those that it has, up to its share.
    private mutating func share(_ group: Int) {
        var sharing = groupTable[group].members
        if groupTable[group].claimers > 0 {
            sharing = sharing.filter { consumerLinks[Int($0)].special[0].claims == nil }
        }
        guard !sharing.isEmpty else { return }
        work += (sharing.count + groupTable[group].lanes.count) / 4
        var free = LaneSet()
        for lane in groupTable[group].lanes.indices
        where groupTable[group].lanes.sharer(of: lane) == nil
            && !groupTable[group].lanes.isClaimed(lane)
        {
            free.insert(lane)
        }
        var losers: [Int: UInt32] = [:]
        let short = quotas(sharing, group, &free, &losers)
        var next = 0
        for (member, missing) in short {
            for _ in 0..<missing {
                guard let lane = free.next(from: next) else { break }
                next = lane + 1
                groupTable[group].lanes.share(lane, with: member)
                consumerLinks[Int(member)].special[0].lanes.insert(lane)
                pass(lane, of: group, from: losers[lane].map { [$0] } ?? [])
            }
            standByWithoutLanes(member)
        }
        for loser in Set(losers.values).sorted() { standByWithoutLanes(loser) }
    }

    /// Takes from members what they have beyond their share; returns those that lack some of it.
    private mutating func quotas(
        _ sharing: [UInt32],
        _ group: Int,
        _ free: inout LaneSet,
        _ losers: inout [Int: UInt32]
    ) -> [(member: UInt32, missing: Int)] {
        let count = groupTable[group].lanes.count
        let shared = count - groupTable[group].lanes.claimed
        let (quota, extra) = shared.quotientAndRemainder(dividingBy: sharing.count)
        // Who has more already is who gets one more, so that fewer have to move.
        var order: [UInt64] = []
        order.reserveCapacity(sharing.count)
        for (place, member) in sharing.enumerated() {
            let had = consumerLinks[Int(member)].special[0].lanes.count
            order.append(UInt64(count - had) << 32 | UInt64(place))
        }
        order.sort()
        var short: [(member: UInt32, missing: Int)] = []
        for (rank, entry) in order.enumerated() {
            let member = sharing[Int(entry & 0xFFFF_FFFF)]
            let had = count - Int(entry >> 32)
            let most = quota + (rank < extra ? 1 : 0)
            if had < most { short.append((member, most - had)) }
            for _ in min(had, most)..<had {
                guard let lane = consumerLinks[Int(member)].special[0].lanes.last else { break }
                consumerLinks[Int(member)].special[0].lanes.remove(lane)
                groupTable[group].lanes.take(lane, from: member)
                free.insert(lane)
                losers[lane] = member
            }
        }
        return short
    }

    /// A member without a partition waits for one.
    private mutating func standByWithoutLanes(_ index: UInt32) {
        consumerLinks[Int(index)].isStandby = consumerLinks[Int(index)].special[0].lanes.isEmpty
        refresh(index, requeue: false)
    }

    /// Lets the next owners of a lane wait until the last has received what it was given.
    private mutating func pass(_ lane: Int, of group: Int, from before: [UInt32]) {
        let owners = groupTable[group].lanes.owners(of: lane)
        if groupTable[group].nextMark < marks.next,
            let offset = groupTable[group].lanes.firstOffset(of: lane)
        {
            rewindMarks(of: owners.filter { !before.contains($0) }, to: offset, group)
        }
        guard let last = groupTable[group].lanes.last(of: lane) else { return }
        guard !owners.contains(last.link.index), !hasReceived(last) else {
            // Who has the lane again need not wait for itself.
            endHandOver(of: lane, group)
            return
        }
        guard groupTable[group].lanes.handOver(of: lane) == nil else { return }
        let place = Int(last.link.index)
        let patience = consumerLinks[place].answerMilliseconds ?? options.recallMilliseconds
        let until = clock.advanced(milliseconds: patience)
        if consumerLinks[place].provesTo < last.sequence {
            consumerLinks[place].provesTo = consumerLinks[place].ledger.delivered
            unproven.append(last.link)
        }
        withLane(lane, of: group) { $0.handOver = Lane.HandOver(from: last, until: until) }
        wake(at: until)
    }

    /// A consumer has shown what it has received: who waits for that goes on.
    mutating func noteReceived(_ id: LinkID, _ sequence: UInt64) {
        guard kinds[Int(id.index)] == .consumer else { return }
        let place = Int(id.index)
        let known = min(sequence, consumerLinks[place].ledger.delivered)
        guard known > consumerLinks[place].received else { return }
        consumerLinks[place].forget(upTo: known)
        recount(place)
        markDirty(consumerLinks[place].group)
    }

    /// Asks those for a proof of what they have received whom others wait for.
    mutating func askForProofs(into effects: inout Effects) {
        for id in unproven where isCurrent(id) && kinds[Int(id.index)] == .consumer {
            guard consumerLinks[Int(id.index)].isAttached else { continue }
            effects.list.append(.prove(id))
        }
        unproven = []
    }

    private mutating func endHandOver(of lane: Int, _ group: Int) {
        guard groupTable[group].lanes.handOver(of: lane) != nil else { return }
        withLane(lane, of: group) { $0.handOver = nil }
    }

    @inline(__always)
    private func hasReceived(_ last: Lane.Last) -> Bool {
        guard isCurrent(last.link), kinds[Int(last.link.index)] == .consumer else { return true }
        return consumerLinks[Int(last.link.index)].received >= last.sequence
    }

    /// Lets the next owners of lanes begin whose last owner has received everything, is gone, or
    /// was waited for long enough.
    mutating func settleHandOvers(of group: Int, at now: Instant) {
        var next = 0
        while let lane = groupTable[group].lanes.passing.next(from: next) {
            next = lane + 1
            guard let handOver = groupTable[group].lanes.handOver(of: lane) else { continue }
            if handOver.until <= now || hasReceived(handOver.from) {
                endHandOver(of: lane, group)
            } else {
                wake(at: handOver.until)
            }
        }
    }

    /// Notes who was given events of a lane last.
    mutating func noteLast(_ last: Lane.Last, of lane: Int, _ group: Int) {
        if groupTable[group].lanes.isFull { forgetReceived(of: group) }
        withLane(lane, of: group) { $0.last = last }
    }

    /// Forgets who was given events last where that one has received them.
    private mutating func forgetReceived(of group: Int) {
        for lane in groupTable[group].lanes.indices {
            guard let last = groupTable[group].lanes.last(of: lane), hasReceived(last),
                groupTable[group].lanes.handOver(of: lane) == nil
            else { continue }
            withLane(lane, of: group) { $0.last = nil }
        }
    }

    /// The first offset that waits in the lanes of a member; nil if nothing does.
    func firstWaiting(for index: UInt32) -> UInt64? {
        let group = consumerLinks[Int(index)].group
        guard groupTable[group].rules.dispatcher == .partition else {
            return groupTable[group].lanes.firstOffset
        }
        var first: UInt64?
        var next = 0
        while let lane = consumerLinks[Int(index)].special[0].lanes.next(from: next) {
            next = lane + 1
            guard let offset = groupTable[group].lanes.firstOffset(of: lane) else { continue }
            first = min(first ?? .max, offset)
        }
        return first
    }

    /// The partitions that a consumer has, by number.
    package func lanes(ofConsumer id: LinkID) -> [Int] {
        guard isCurrent(id), kinds[Int(id.index)] == .consumer else { return [] }
        return consumerLinks[Int(id.index)].special.first.map { Array($0.lanes) } ?? []
    }
}
