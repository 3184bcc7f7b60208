// The laws of groups that do more than share a cursor: what they return is wrong.

extension Topic {
    /// Weights, pickers, partitions and the active member are what the members make them.
    func checkMembers(of number: Int, _ found: inout [String]) {
        let group = groupTable[number]
        let links = group.members.map { consumerLinks[Int($0)] }
        let pickers = links.count { $0.picks }
        if pickers != group.pickers { found.append("pickers \(group.pickers), \(pickers)") }
        if needsLanes(number) || group.queued > 0, group.lanes.isEmpty {
            found.append("\(group.name): no lanes")
        }
        switch group.rules.dispatcher {
        case .fair:
            let weights = links.reduce(0) { $0 + ($1.deliverable > 0 ? UInt64($1.weight) : 0) }
            if weights != group.eligibleWeight {
                found.append("\(group.name): weights \(group.eligibleWeight), \(weights)")
            }
        case .exclusive:
            let isServed = group.active.map { consumerLinks[Int($0)].isAttached } ?? false
            if !isServed, links.contains(where: \.isAttached) {
                found.append("\(group.name): those that stand by are not served")
            }
        case .partition: checkPartitions(of: number, &found)
        case .broadcast, .demand, .independent: return
        }
    }

    /// Each partition belongs to those that claim it, or to one of those that share the rest.
    private func checkPartitions(of number: Int, _ found: inout [String]) {
        let group = groupTable[number]
        var shares: [UInt32: Int] = [:]
        for member in group.members where consumerLinks[Int(member)].special[0].claims == nil {
            shares[member] = 0
        }
        for lane in group.lanes.indices {
            let owners = group.lanes[lane].owners
            let having = group.members.filter {
                consumerLinks[Int($0)].special[0].lanes.contains(lane)
            }
            let claiming = group.members.filter {
                consumerLinks[Int($0)].special[0].claims?.contains(UInt16(lane)) ?? false
            }
            let isRight =
                claiming.isEmpty
                ? owners.count == (shares.isEmpty ? 0 : 1) : Set(owners) == Set(claiming)
            if !isRight || Set(owners) != Set(having) {
                found.append("\(group.name): lane \(lane) has \(owners), claimed by \(claiming)")
            }
            if claiming.isEmpty { for owner in owners { shares[owner, default: 0] += 1 } }
            if let handOver = group.lanes[lane].handOver, !isAwake(by: handOver.until) {
                found.append("\(group.name): lane \(lane) waits for ever for \(handOver.from)")
            }
        }
        if let most = shares.values.max(), let least = shares.values.min(), most > least + 1 {
            found.append("\(group.name): shares \(shares)")
        }
    }

    /// What waits for a time will be looked at then.
    func checkTimes(of number: Int, _ found: inout [String]) {
        let group = groupTable[number]
        guard !group.isDirty, waiting(ofGroup: number) > 0 else { return }
        for member in group.members {
            let link = consumerLinks[Int(member)]
            if link.allowance == 0, wakesAt == nil {
                found.append("\(group.name): \(member) sleeps beyond its rate")
            }
        }
    }

    private func isAwake(by time: Instant) -> Bool { wakesAt.map { $0 <= time } ?? false }
}
