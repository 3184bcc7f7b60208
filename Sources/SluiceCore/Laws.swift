// The laws of the core as functions that can be asked after every step: what they return is wrong.

extension Topic {
    /// All laws that must hold after any command and any step.
    package func violations(countsBytes: Bool = true) -> [String] {
        var found: [String] = []
        checkLinks(&found)
        checkGroups(&found)
        checkQueues(&found)
        if countsBytes {
            checkLanes(&found)
            if log.recountedBytes != log.retainedBytes {
                found.append("bytes \(log.retainedBytes), counted \(log.recountedBytes)")
            }
        }
        return found
    }

    /// L2: every account balances, and the sums over producers are what their links say.
    private func checkLinks(_ found: inout [String]) {
        var granted: UInt64 = 0
        var bytes: UInt64 = 0
        var holders = 0
        var recalls = 0
        var floorless = 0
        var count = (producers: 0, consumers: 0)
        for (place, kind) in kinds.enumerated() {
            switch kind {
            case .free: continue
            case .consumer:
                let link = consumerLinks[place]
                count.consumers += 1
                if !link.ledger.balances { found.append("L2 \(link.ledger)") }
            case .producer:
                let link = producerLinks[place]
                count.producers += 1
                if !link.ledger.balances { found.append("L2 \(link.ledger)") }
                granted += link.ledger.credit
                bytes += link.grantedBytes
                holders += link.isIdleHolder ? 1 : 0
                recalls += link.recalledAt == nil ? 0 : 1
                floorless += link.isFloorless ? 1 : 0
                if link.announcedCredit > link.ledger.credit {
                    found.append("announced credit \(link.announcedCredit) of \(link.ledger)")
                }
            }
        }
        if granted != self.granted { found.append("granted \(self.granted), sum \(granted)") }
        if bytes != grantedBytes { found.append("granted bytes \(grantedBytes), sum \(bytes)") }
        if holders != idleHolders { found.append("idle holders \(idleHolders), \(holders)") }
        if recalls != self.recalls { found.append("recalls \(self.recalls), \(recalls)") }
        if floorless != self.floorless {
            found.append("without a floor \(self.floorless), \(floorless)")
        }
        if count != (producers, consumers) { found.append("links \(count)") }
    }

    /// L4: what a group was to see was delivered, discarded or waits; its sum of credit is right.
    private func checkGroups(_ found: inout [String]) {
        for (number, group) in groups.enumerated() {
            guard let group else { continue }
            let disposed = group.disposed - group.base
            if group.cursor.offset - group.start != disposed + group.queued {
                found.append("L4 \(group.name): \(group.cursor), \(disposed), \(group.queued)")
            }
            if group.isDirty != dirtyGroups.contains(number) {
                found.append("\(group.name): dirty \(group.isDirty)")
            }
            checkMembers(of: number, &found)
            checkTimes(of: number, &found)
            if !log.holds(group.cursor) { found.append("lost cursor \(group.cursor)") }
            var sum: UInt64 = 0
            for member in group.members {
                let link = consumerLinks[Int(member)]
                guard kinds[Int(member)] == .consumer, link.group == number else {
                    found.append("\(member) is no member of \(group.name)")
                    continue
                }
                sum += link.deliverable
                if group.active != nil, group.active != member, !link.isStandby {
                    found.append("\(group.name): \(member) is served beside the active member")
                }
            }
            if group.isLockstep { sum = leastDeliverable(of: number) }
            if sum != credit(ofGroup: number) {
                found.append("deliverable \(group.deliverable), \(sum)")
            }
        }
        if !log.holds(tail) { found.append("lost tail \(tail)") }
    }

    /// What lanes count is what they hold.
    private func checkLanes(_ found: inout [String]) {
        var bytes: UInt64 = 0
        for case let group? in groups {
            var queued: UInt64 = 0
            for lane in group.lanes {
                queued += lane.recountedWaiting
                bytes += lane.recountedBytes
            }
            if queued != group.queued {
                found.append("\(group.name): queued \(group.queued), counted \(queued)")
            }
        }
        if bytes != laneBytes { found.append("lane bytes \(laneBytes), counted \(bytes)") }
    }

    /// Every attached producer stands in the one queue that its backlog belongs to.
    private func checkQueues(_ found: inout [String]) {
        let queued = announced.count + willing.count + idle.count
        var expected = 0
        for index in kinds.indices where kinds[index] == .producer {
            let link = producerLinks[index]
            if link.isAttached { expected += 1 }
            guard link.isAttached else {
                if link.queue != nil { found.append("producer \(index) is away and queued") }
                continue
            }
            let queue = ProducerQueue(link.backlog)
            let isIn = link.queue == queue && producers(in: queue).contains(UInt32(index))
            if !isIn { found.append("producer \(index) stands in the wrong queue") }
        }
        if queued != expected { found.append("\(queued) producers queued of \(expected)") }
    }

    /// L3 in events, to be asked after a step that granted some.
    package func overGranted() -> [String] {
        var found: [String] = []
        let rolling = options.onFull == .block ? 0 : min(options.ahead, Limits.grantWindowEvents)
        for (number, group) in groups.enumerated() {
            guard let group, group.rules.holds else { continue }
            let out = waiting(ofGroup: number) + granted
            let credit = group.isLockstep ? leastDeliverable(of: number) : group.deliverable
            let most = credit + options.ahead
            if out > most, granted > rolling { found.append("L3 \(group.name): \(out) > \(most)") }
        }
        if groups.allSatisfy({ $0 == nil }), granted > rolling,
            log.head + granted > tail.offset + options.ahead
        {
            found.append("L3 without a group: \(log.head) + \(granted)")
        }
        if granted > Limits.grantWindowEvents { found.append("L3 window: \(granted)") }
        return found
    }

    /// L3 in bytes, to be asked after a step that granted some.
    package func overGrantedBytes() -> [String] {
        var found: [String] = []
        let event = UInt64(Limits.eventBytesMax)
        let window = Limits.grantWindowBytes + event
        let isOver = retainedBytes + grantedBytes > options.bufferBytes + window
        if isOver || grantedBytes > window {
            found.append("L3 bytes: \(retainedBytes) + \(grantedBytes)")
        }
        return found
    }

    /// L6, to be asked when `advance` has nothing more to do: events that a member could take.
    package func strandedEvents() -> [String] {
        var found: [String] = []
        guard !isPaused else { return found }
        for (number, group) in groups.enumerated() {
            guard let group else { continue }
            guard group.lanes.isEmpty else {
                for lane in group.lanes.indices { found += stranded(in: lane, number, group) }
                continue
            }
            guard let need = log.nextRecordBytes(at: group.cursor) else { continue }
            let able = group.members.filter { isAble(consumerLinks[Int($0)], need) }
            if group.isLockstep, able.count < group.members.count { continue }
            for member in able {
                found.append(
                    "L6 \(group.rules.dispatcher) \(group.name): \(member) could take \(need) bytes"
                )
            }
        }
        return found
    }

    /// L6 within a lane: its first event, that nobody was passed over for.
    private func stranded(in lane: Int, _ number: Int, _ group: Group) -> [String] {
        guard group.lanes[lane].handOver == nil, let need = group.lanes[lane].firstRecordBytes,
            let run = group.lanes[lane].items.first?.run
        else { return [] }
        let owners = owners(of: lane, number)
        // A broadcast waits for all members, also for those that refuse the event.
        if group.isLockstep, !owners.allSatisfy({ isAble(consumerLinks[Int($0)], 1) }) { return [] }
        let members = owners.filter { accepts($0, recordAtStartOf: run) }
        let able = members.filter {
            let link = consumerLinks[Int($0)]
            return isAble(link, need) && !isResting($0) && run.offset < horizon(of: $0)
        }
        if group.isLockstep, able.count < members.count { return [] }
        return able.map {
            "L6 \(group.rules.dispatcher) \(group.name), lane \(lane): "
                + "\($0) could take \(need) bytes"
        }
    }

    /// Whether nothing keeps a member from taking an event of `need` bytes.
    private func isAble(_ link: ConsumerLink, _ need: Int) -> Bool {
        guard link.isAttached, !link.isStandby, link.ledger.credit > 0, link.allowance > 0,
            link.drainsUntil == nil
        else { return false }
        // An open window that is not full yet opens further when the kernel writes.
        return link.ledger.byteCredit.map { $0 >= need } ?? true && link.room >= link.window
    }
}

extension Ledger {
    /// Law L2 within one end.
    package var balances: Bool {
        delivered + forfeited <= asked
            && (!tracksBytes || deliveredBytes + forfeitedBytes <= askedBytes)
    }
}
