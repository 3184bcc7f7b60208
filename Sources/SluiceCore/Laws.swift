// The laws of the core as functions that can be asked after every step: what they return is wrong.

extension Topic {
    /// All laws that must hold after any command and any step.
    package func violations() -> [String] {
        var found = violations { _ in true }
        checkLanes(&found)
        if log.recountedBytes != log.retainedBytes {
            found.append("bytes \(log.retainedBytes), counted \(log.recountedBytes)")
        }
        if log.recountedOverhead != log.overheadBytes {
            found.append("overhead \(log.overheadBytes), counted \(log.recountedOverhead)")
        }
        return found
    }

    /// The laws of all links and of those groups that a step may have touched.
    package func violations(touched: (Int) -> Bool) -> [String] {
        var found: [String] = []
        checkLinks(&found)
        checkQueues(&found)
        for number in groupTable.indices where !groupTable[number].isRemoved && touched(number) {
            checkGroup(number, &found)
        }
        if !log.holds(tail) { found.append("lost tail \(tail)") }
        checkCounts(&found)
        return found
    }

    /// How many groups there are, and how many of them have lanes, is what was counted.
    private func checkCounts(_ found: inout [String]) {
        var counts = (live: 0, laned: 0)
        for number in groupTable.indices where !groupTable[number].isRemoved {
            counts.live += 1
            counts.laned += groupTable[number].lanes.isEmpty ? 0 : 1
        }
        if counts != (liveGroups, lanedGroups) {
            found.append("groups \(liveGroups), with lanes \(lanedGroups), counted \(counts)")
        }
        var numbers: [Name: Int] = [:]
        for number in groupTable.indices
        where !groupTable[number].isRemoved && groupTable[number].rules.dispatcher != .independent {
            numbers[groupTable[number].name] = number
        }
        if numbers != groupNumbers { found.append("numbers of groups \(groupNumbers)") }
    }

    /// L2: every account balances, and the sums over producers are what their links say.
    // Field by field, as a link that is taken out of its table is copied.
    private func checkLinks(_ found: inout [String]) {
        var granted: UInt64 = 0
        var bytes: UInt64 = 0
        var holders = 0
        var recalls = 0
        var floorless = 0
        var starved = 0
        var count = (producers: 0, consumers: 0)
        for place in kinds.indices {
            switch kinds[place] {
            case .free: continue
            case .consumer:
                count.consumers += 1
                let ledger = consumerLinks[place].ledger
                if !ledger.balances { found.append("L2 \(ledger)") }
            case .producer:
                count.producers += 1
                let ledger = producerLinks[place].ledger
                if !ledger.balances { found.append("L2 \(ledger)") }
                granted += ledger.credit
                bytes += producerLinks[place].grantedBytes
                holders += producerLinks[place].isIdleHolder ? 1 : 0
                recalls += producerLinks[place].recalledAt == nil ? 0 : 1
                floorless += producerLinks[place].isFloorless ? 1 : 0
                starved += producerLinks[place].isStarved ? 1 : 0
                let announced = producerLinks[place].announcedCredit
                if announced > ledger.credit {
                    found.append("announced credit \(announced) of \(ledger)")
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
        if starved != self.starved { found.append("starved \(self.starved), \(starved)") }
        if count != (producers, consumers) { found.append("links \(count)") }
        checkMemory(&found)
        checkOwners(&found)
    }

    /// L4: what a group was to see was delivered, discarded or waits; its sum of credit is right.
    private func checkGroup(_ number: Int, _ found: inout [String]) {
        func name() -> Name { groupTable[number].name }
        let offset = groupTable[number].cursor.offset
        let queued = groupTable[number].queued
        let disposed = groupTable[number].disposed - groupTable[number].base
        if offset - groupTable[number].start != disposed + queued {
            found.append("L4 \(name()): \(groupTable[number].cursor), \(disposed), \(queued)")
        }
        checkTurnover(ofGroup: number, &found)
        if groupTable[number].isDirty != dirtyGroups.contains(number) {
            found.append("\(name()): dirty \(groupTable[number].isDirty)")
        }
        checkMembers(of: number, &found)
        checkTimes(of: number, &found)
        checkPatience(of: number, &found)
        if !log.holds(groupTable[number].cursor) {
            found.append("lost cursor \(groupTable[number].cursor)")
        }
        var sum: UInt64 = 0
        let active = groupTable[number].active
        for member in groupTable[number].members {
            let place = Int(member)
            guard kinds[place] == .consumer, consumerLinks[place].group == number else {
                found.append("\(member) is no member of \(name())")
                continue
            }
            sum += consumerLinks[place].deliverable
            if let active, active != member, !consumerLinks[place].isStandby {
                found.append("\(name()): \(member) is served beside the active member")
            }
        }
        if groupTable[number].isLockstep { sum = leastDeliverable(of: number) }
        if sum != credit(ofGroup: number) {
            found.append("deliverable \(groupTable[number].deliverable), \(sum)")
        }
    }

    /// What lanes count is what they hold.
    private func checkLanes(_ found: inout [String]) {
        var bytes: UInt64 = 0
        for case let group? in groups {
            var queued: UInt64 = 0
            for number in group.lanes.indices {
                let lane = group.lanes[number]
                queued += lane.recountedWaiting
                bytes += lane.recountedBytes
                if (lane.waiting > 0) && !group.lanes.busy.contains(number) {
                    found.append("\(group.name): lane \(number) is not looked at")
                }
            }
            if queued != group.queued {
                found.append("\(group.name): queued \(group.queued), counted \(queued)")
            }
        }
        if bytes != laneBytes { found.append("lane bytes \(laneBytes), counted \(bytes)") }
    }

    /// Every attached producer stands in the one queue that its backlog belongs to, or is recalled.
    private func checkQueues(_ found: inout [String]) {
        let queued = announced.count + willing.count + idle.count + parked.count
        var expected = 0
        for index in kinds.indices where kinds[index] == .producer {
            guard producerLinks[index].isAttached, producerLinks[index].recalledAt == nil else {
                if producerLinks[index].queue != nil {
                    found.append("producer \(index) is away or recalled, and queued")
                }
                continue
            }
            expected += 1
            let isParked = producerLinks[index].queue == .parked
            let queue = isParked ? .parked : ProducerQueue(producerLinks[index].backlog)
            let isIn =
                producerLinks[index].queue == queue
                && producers(in: queue).contains(UInt32(index))
            if !isIn { found.append("producer \(index) stands in the wrong queue") }
        }
        if queued != expected { found.append("\(queued) producers queued of \(expected)") }
    }

    /// L3 in events, to be asked after a step that granted some.
    package func overGranted() -> [String] {
        var found: [String] = []
        let rolling = options.onFull == .block ? 0 : min(options.ahead, Limits.grantWindowEvents)
        for number in groupTable.indices
        where !groupTable[number].isRemoved && groupTable[number].rules.holds {
            let out = waiting(ofGroup: number) + granted
            let isLockstep = groupTable[number].isLockstep
            let credit =
                isLockstep ? leastDeliverable(of: number) : groupTable[number].deliverable
            let most = credit + options.ahead
            if out > most, granted > rolling {
                found.append("L3 \(groupTable[number].name): \(out) > \(most)")
            }
        }
        if !hasGroup, granted > rolling,
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
        // Where one alone holds grants, they may be the bytes of one event of any size.
        let isOne =
            grantedBytes <= UInt64(Limits.eventBytesMax)
            && producerLinks.count { $0.ledger.credit > 0 } == 1
        let most = options.bufferBytes + Limits.grantWindowBytes
        let isOver =
            retainedBytes + grantedMemory > most || grantedBytes > Limits.grantWindowBytes
        if isOver, !isOne {
            found.append("L3 bytes: \(retainedBytes) + \(grantedMemory) for \(copies) copies")
        }
        return found
    }

    /// L6, to be asked when `advance` has nothing more to do: events that a member could take.
    package func strandedEvents(touched: (Int) -> Bool = { _ in true }) -> [String] {
        var found: [String] = []
        guard !isPaused else { return found }
        for number in groupTable.indices where !groupTable[number].isRemoved && touched(number) {
            guard groupTable[number].lanes.isEmpty else {
                checkUnsorted(number, &found)
                for lane in groupTable[number].lanes.busy {
                    checkStranded(in: lane, number, &found)
                }
                continue
            }
            guard let need = log.nextRecordBytes(at: groupTable[number].cursor) else { continue }
            let able = groupTable[number].members.count { isAble(Int($0), need) }
            if groupTable[number].isLockstep, able < groupTable[number].members.count { continue }
            for member in groupTable[number].members where isUntold(Int(member), need) {
                found.append("\(member) lacks bytes of \(need) and was not told")
            }
            for member in groupTable[number].members where isAble(Int(member), need) {
                found.append(
                    "L6 \(groupTable[number].rules.dispatcher) \(groupTable[number].name): "
                        + "\(member) could take \(need) bytes"
                )
            }
        }
        return found
    }

    /// What waits in the log of a group with lanes has no room in them, or is not looked at yet.
    private func checkUnsorted(_ number: Int, _ found: inout [String]) {
        guard let need = log.nextRecordBytes(at: groupTable[number].cursor) else { return }
        let rules = groupTable[number].rules
        let queued = groupTable[number].queued
        if rules.holds, rules.dispatcher != .partition, queued >= Limits.lookAheadEventsMax {
            return
        }
        let lacksRoom = UInt64(need) + Limits.laneItemBytes > laneRoom && queued > 0
        guard !rules.holds || !lacksRoom || !groupTable[number].lacksRoom else { return }
        found.append("L6 \(groupTable[number].name): what waits could be sorted")
    }

    /// L6 within a lane: its first event, that nobody was passed over for.
    private func checkStranded(in lane: Int, _ number: Int, _ found: inout [String]) {
        guard groupTable[number].lanes.handOver(of: lane) == nil,
            let need = groupTable[number].lanes.firstRecordBytes(of: lane),
            let run = groupTable[number].lanes.firstRun(of: lane)
        else { return }
        let owners = owners(of: lane, number)
        // A broadcast waits for all members, also for those that refuse the event.
        let isLockstep = groupTable[number].isLockstep
        if isLockstep, !owners.allSatisfy({ isAble(Int($0), 1) }) { return }
        let members = owners.filter { accepts($0, recordAtStartOf: run) }
        let able = members.filter {
            isAble(Int($0), need) && !isResting($0) && run.offset < horizon(of: $0)
        }
        if isLockstep, able.count < members.count { return }
        for member in able {
            found.append(
                "L6 \(groupTable[number].rules.dispatcher) \(groupTable[number].name), "
                    + "lane \(lane): \(member) could take \(need) bytes"
            )
        }
    }

    /// Whether nothing but its credit in bytes keeps a member from an event, and it does not know.
    private func isUntold(_ place: Int, _ need: Int) -> Bool {
        guard let bytes = consumerLinks[place].ledger.byteCredit, bytes < need,
            consumerLinks[place].needBytes == 0, isAble(place, Int(bytes))
        else { return false }
        // A broadcast tells it when all others could take the event.
        return !groupTable[consumerLinks[place].group].isLockstep
    }

    /// Whether nothing keeps a member from taking an event of `need` bytes.
    private func isAble(_ place: Int, _ need: Int) -> Bool {
        guard consumerLinks[place].isAttached, !consumerLinks[place].isStandby,
            consumerLinks[place].ledger.credit > 0, consumerLinks[place].allowance > 0,
            consumerLinks[place].drainsUntil == nil
        else { return false }
        if let bytes = consumerLinks[place].ledger.byteCredit, bytes < need { return false }
        // An open window that is not full yet opens further when the kernel writes.
        return consumerLinks[place].room >= consumerLinks[place].window
    }
}

extension Ledger {
    /// Law L2 within one end.
    package var balances: Bool {
        delivered + forfeited <= asked
            && (!tracksBytes || deliveredBytes + forfeitedBytes <= askedBytes)
    }
}
