// What holds a link's flow, for those who ask.

extension Topic {
    /// What keeps events from a consumer.
    package func holder(ofConsumer id: LinkID) -> BlockedBy {
        guard let link = consumer(id) else { return .nothing }
        if isPaused { return .paused }
        if link.ledger.credit == 0 { return .noDemand }
        if link.needBytes > 0 || link.ledger.byteCredit == 0 { return .bytes }
        if !link.isWritable { return .window }
        let group = groupTable[link.group]
        if link.isStandby {
            return group.rules.dispatcher == .partition ? .partition : .standby
        }
        guard waiting(forConsumer: id) > 0 else { return .noEvents }
        if link.allowance == 0 { return .rate }
        if link.special.first?.batchDueAt != nil { return .batch }
        if group.isLockstep, leastDeliverable(of: link.group) == 0 { return .others }
        if group.lacksRoom { return .buffer }
        if isWaitingForLanes(id.index) { return .partition }
        // What it could take and was not given, it does not accept.
        return group.pickers > 0 && !group.isDirty ? .filter : .nothing
    }

    /// What keeps a producer from sending.
    package func holder(ofProducer id: LinkID) -> BlockedBy {
        guard let link = producer(id) else { return .nothing }
        if isPaused { return .paused }
        if link.ledger.credit > 0 { return link.backlog == .events(0) ? .noEvents : .nothing }
        var bucket = bucket
        if let events = bucket?.available(at: clock), events <= granted { return .rate }
        if lacksMemory { return .buffer }
        return buffered >= options.ahead && options.ahead > 0 ? .buffer : .noDemand
    }

    /// Events that wait for a member: those of its partitions, or of its group.
    package func waiting(forConsumer id: LinkID) -> UInt64 {
        guard let link = consumer(id) else { return 0 }
        let group = groupTable[link.group]
        guard group.rules.dispatcher == .partition else { return waiting(ofGroup: link.group) }
        return link.special[0].lanes.reduce(log.head - group.cursor.offset) {
            $0 + group.lanes.waiting(in: $1)
        }
    }

    /// Whether all that waits for a member is in partitions that another has still to hand over.
    private func isWaitingForLanes(_ index: UInt32) -> Bool {
        let link = consumerLinks[Int(index)]
        guard groupTable[link.group].rules.dispatcher == .partition else { return false }
        var isWaiting = false
        for lane in link.special[0].lanes where groupTable[link.group].lanes.waiting(in: lane) > 0 {
            guard groupTable[link.group].lanes.handOver(of: lane) != nil else { return false }
            isWaiting = true
        }
        return isWaiting
    }
}
