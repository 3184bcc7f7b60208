// The laws of groups that do more than share a cursor: what they return is wrong.

extension Topic {
    /// Weights, pickers, partitions and the active member are what the members make them.
    func checkMembers(of number: Int, _ found: inout [String]) {
        let members = groupTable[number].members
        func name() -> Name { groupTable[number].name }
        let pickers = members.count { consumerLinks[Int($0)].picks }
        let parts = members.reduce(0) { $0 + consumerLinks[Int($1)].filterParts }
        if parts != groupTable[number].filterParts {
            found.append("filter parts \(groupTable[number].filterParts), \(parts)")
        }
        if pickers != groupTable[number].pickers {
            found.append("pickers \(groupTable[number].pickers), \(pickers)")
        }
        if groupTable[number].lanes.isEmpty, needsLanes(number) || groupTable[number].queued > 0 {
            found.append("\(name()): no lanes")
        }
        switch groupTable[number].rules.dispatcher {
        case .fair:
            var weights: UInt64 = 0
            for member in members where consumerLinks[Int(member)].deliverable > 0 {
                weights += UInt64(consumerLinks[Int(member)].weight)
            }
            if weights != groupTable[number].eligibleWeight {
                found.append("\(name()): weights \(groupTable[number].eligibleWeight), \(weights)")
            }
        case .exclusive:
            let active = groupTable[number].active
            guard !groupTable[number].isUnassigned else { return }
            let isServed = active.map { consumerLinks[Int($0)].isAttached } ?? false
            if !isServed, members.contains(where: { consumerLinks[Int($0)].isAttached }) {
                found.append("\(name()): those that stand by are not served")
            }
        case .partition: checkPartitions(of: number, &found)
        case .broadcast, .demand, .independent: return
        }
    }

    /// L2 over all members that a group ever had: what was asked of it was delivered, forfeited or
    /// is credit; and time is counted just while events wait.
    func checkTurnover(ofGroup number: Int, _ found: inout [String]) {
        let turnover = turnover(ofGroup: number)
        func name() -> Name { groupTable[number].name }
        var credit: UInt64 = 0
        var credited = 0
        for member in groupTable[number].members {
            credit += consumerLinks[Int(member)].ledger.credit
            credited += consumerLinks[Int(member)].ledger.credit > 0 ? 1 : 0
        }
        let delivered = groupTable[number].delivered
        let isRight =
            groupTable[number].isLockstep
            ? turnover.delivered >= delivered
            : turnover.delivered == delivered
        if turnover.credit != credit || !isRight {
            found.append("L2 \(name()): \(turnover), delivered \(delivered), credit \(credit)")
        }
        if credited != groupTable[number].credited {
            found.append("\(name()): \(groupTable[number].credited) credited, \(credited)")
        }
        let isHeld = groupTable[number].holds.reason != .nothing
        if !groupTable[number].isDirty, isHeld != (waiting(ofGroup: number) > 0) {
            found.append("\(name()): held by \(groupTable[number].holds.reason)")
        }
    }

    /// Each partition belongs to those that claim it, or to one of those that share the rest.
    private func checkPartitions(of number: Int, _ found: inout [String]) {
        guard !groupTable[number].isUnassigned else { return }
        let members = groupTable[number].members
        func name() -> Name { groupTable[number].name }
        let isShared = members.contains { consumerLinks[Int($0)].special[0].claims == nil }
        for lane in groupTable[number].lanes.indices {
            let owners = groupTable[number].lanes.owners(of: lane)
            var (having, claiming) = (0, 0)
            var isRight = true
            for member in members {
                let isOwner = owners.contains(member)
                let isClaiming =
                    consumerLinks[Int(member)].special[0].claims?.contains(UInt16(lane)) ?? false
                if isOwner { having += 1 }
                if isClaiming { claiming += 1 }
                let has = consumerLinks[Int(member)].special[0].lanes.contains(lane)
                if has != isOwner || isClaiming && !isOwner { isRight = false }
            }
            let count = claiming > 0 ? claiming : isShared ? 1 : 0
            if !isRight || having != count || owners.count != count {
                found.append("\(name()): lane \(lane) has \(owners), claimed by \(claiming)")
            }
            if let handOver = groupTable[number].lanes.handOver(of: lane),
                !isAwake(by: handOver.until)
            {
                found.append("\(name()): lane \(lane) waits for ever for \(handOver.from)")
            }
        }
        var (most, least) = (0, Int.max)
        for member in members where consumerLinks[Int(member)].special[0].claims == nil {
            let share = consumerLinks[Int(member)].special[0].lanes.count
            most = max(most, share)
            least = min(least, share)
        }
        if isShared, most > least + 1 {
            found.append("\(name()): shares of \(least) to \(most) lanes")
        }
    }

    /// Those of a group's members that must be served before others if anyone is now; nil where it
    /// depends on what fits.
    package func firstInOrder(ofGroup number: Int) -> [UInt32]? {
        let isFair = groupTable[number].rules.dispatcher == .fair
        guard isFair || groupTable[number].rules.dispatcher == .demand,
            groupTable[number].members.count > 1, groupTable[number].lanes.isEmpty,
            groupTable[number].blocked.isEmpty, gapped.isEmpty
        else { return nil }
        var best: (priority: UInt8, number: UInt64) = (0, 0)
        var first: [UInt32] = []
        for member in groupTable[number].members {
            let place = Int(member)
            guard consumerLinks[place].deliverable > 0 else { continue }
            let given = consumerLinks[place].virtualTime
            let own = (
                consumerLinks[place].priority,
                isFair ? UInt64.max - given : consumerLinks[place].deliverable
            )
            if own > best || first.isEmpty { (best, first) = (own, []) }
            if own == best { first.append(member) }
        }
        let isCertain = first.allSatisfy { member in
            let place = Int(member)
            return consumerLinks[place].room >= consumerLinks[place].window
                && !consumerLinks[place].ledger.tracksBytes
                && consumerLinks[place].drainsUntil == nil
        }
        return isCertain ? first : nil
    }

    /// Nobody lags further than the group's policy allows, or is waited for beyond its patience.
    func checkPatience(of number: Int, _ found: inout [String]) {
        guard !groupTable[number].isDirty else { return }
        let rules = groupTable[number].rules
        if !rules.holds, groupTable[number].queued > UInt64(rules.lag.events) {
            found.append("\(groupTable[number].queued) events wait, \(rules.lag) at most")
        }
        let patience = UInt64(rules.patienceMilliseconds)
        guard patience > 0 else { return }
        for member in groupTable[number].members {
            guard let since = consumerLinks[Int(member)].special[0].awaitedSince,
                clock.milliseconds(since: since) > patience
            else { continue }
            found.append("\(groupTable[number].name): \(member) is waited for since \(since)")
        }
    }

    /// What waits for a time will be looked at then.
    func checkTimes(of number: Int, _ found: inout [String]) {
        guard wakesAt == nil, !groupTable[number].isDirty, waiting(ofGroup: number) > 0
        else { return }
        for member in groupTable[number].members where consumerLinks[Int(member)].allowance == 0 {
            found.append("\(groupTable[number].name): \(member) sleeps beyond its rate")
        }
    }

    private func isAwake(by time: Instant) -> Bool { wakesAt.map { $0 <= time } ?? false }
}
