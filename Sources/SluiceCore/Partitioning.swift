// Partitions: who has which, and how one goes from a member to the next.

extension Topic {
    /// Shares the partitions of a group among its members: to those that claim them, and the rest
    /// evenly to those that claim none, with as few moves as that takes.
    mutating func assign(_ group: Int) {
        guard groupTable[group].rules.dispatcher == .partition else { return }
        let count = groupTable[group].lanes.count
        var owners = [[UInt32]](repeating: [], count: count)
        var sharing: [UInt32] = []
        for member in groupTable[group].members {
            guard let claims = consumerLinks[Int(member)].special[0].claims else {
                sharing.append(member)
                continue
            }
            for claim in claims { owners[Int(claim)].append(member) }
        }
        share(owners.indices.filter { owners[$0].isEmpty }, among: sharing, group, &owners)
        for member in groupTable[group].members { consumerLinks[Int(member)].special[0].lanes = [] }
        for lane in owners.indices {
            for owner in owners[lane] { consumerLinks[Int(owner)].special[0].lanes.append(lane) }
            pass(lane, of: group, to: owners[lane])
        }
        for member in groupTable[group].members {
            consumerLinks[Int(member)].isStandby =
                consumerLinks[Int(member)].special[0].lanes.isEmpty
            refresh(member, requeue: false)
        }
        markDirty(group)
    }

    /// Deals lanes out evenly; a member keeps those that it has, up to its share.
    private func share(
        _ lanes: [Int],
        among sharing: [UInt32],
        _ group: Int,
        _ owners: inout [[UInt32]]
    ) {
        guard !sharing.isEmpty else { return }
        func had(_ member: UInt32) -> [Int] {
            lanes.filter { groupTable[group].lanes[$0].owners.contains(member) }
        }
        // Who has more already is who gets one more, so that fewer have to move.
        let order = sharing.enumerated().sorted {
            let (left, right) = (had($0.element).count, had($1.element).count)
            return left != right ? left > right : $0.offset < $1.offset
        }
        var free = Set(lanes)
        var short: [(member: UInt32, lanes: Int)] = []
        for (place, entry) in order.enumerated() {
            let extra = place < lanes.count % sharing.count ? 1 : 0
            let quota = lanes.count / sharing.count + extra
            let kept = had(entry.element).prefix(quota)
            for lane in kept {
                owners[lane] = [entry.element]
                free.remove(lane)
            }
            if kept.count < quota { short.append((entry.element, quota - kept.count)) }
        }
        var rest = free.sorted()[...]
        for (member, missing) in short {
            for lane in rest.prefix(missing) { owners[lane] = [member] }
            rest = rest.dropFirst(missing)
        }
    }

    /// Gives a lane to its next owners, who wait until the last has received what it was given.
    private mutating func pass(
        _ lane: Int,
        of group: Int,
        to owners: [UInt32]
    ) {
        let before = groupTable[group].lanes[lane].owners
        guard before != owners else { return }
        groupTable[group].lanes[lane].owners = owners
        if groupTable[group].nextMark < marks.next,
            let offset = groupTable[group].lanes[lane].firstOffset
        {
            rewindMarks(of: owners.filter { !before.contains($0) }, to: offset, group)
        }
        guard let last = groupTable[group].lanes[lane].last,
            !owners.contains(last.link.index), !hasReceived(last.link, last.sequence)
        else {
            // Who has the lane again need not wait for itself.
            groupTable[group].lanes[lane].handOver = nil
            return
        }
        let until = clock.advanced(milliseconds: options.recallMilliseconds)
        groupTable[group].lanes[lane].handOver = Lane.HandOver(
            from: last.link,
            sequence: last.sequence,
            until: until
        )
        wake(at: until)
    }

    private func hasReceived(_ id: LinkID, _ sequence: UInt64) -> Bool {
        guard isCurrent(id), kinds[Int(id.index)] == .consumer else { return true }
        return consumerLinks[Int(id.index)].received >= sequence
    }

    /// Lets the next owners of lanes begin whose last owner has received everything, is gone, or
    /// was waited for long enough.
    mutating func settleHandOvers(of group: Int, at now: Instant) {
        for lane in groupTable[group].lanes.indices {
            guard let handOver = groupTable[group].lanes[lane].handOver else { continue }
            if handOver.until <= now || hasReceived(handOver.from, handOver.sequence) {
                groupTable[group].lanes[lane].handOver = nil
            } else {
                wake(at: handOver.until)
            }
        }
    }

    /// The lanes that a member is given events of.
    func lanes(of index: UInt32) -> [Int] {
        let group = consumerLinks[Int(index)].group
        guard groupTable[group].rules.dispatcher == .partition else {
            return Array(groupTable[group].lanes.indices)
        }
        return consumerLinks[Int(index)].special[0].lanes
    }

    /// The partitions that a consumer has, by number.
    package func lanes(ofConsumer id: LinkID) -> [Int] {
        guard isCurrent(id), kinds[Int(id.index)] == .consumer else { return [] }
        return consumerLinks[Int(id.index)].special.first?.lanes ?? []
    }
}
