// Consumers and their groups: who may get how much, and what a cut or a purge does to them.

import DequeModule

extension Topic {
    /// The group of that name, made if it is new; nil if the topic has no place for one more.
    mutating func groupIndex(_ opening: ConsumerOpening) -> Int? {
        if let index = groupIndex(named: opening.group) { return index }
        let free = groupTable.firstIndex(where: \.isRemoved)
        guard free != nil || groupTable.count < Limits.groupsPerTopicMax else { return nil }
        var cursor = tail
        switch opening.start {
        case nil: if hadGroup { log.seek(&cursor, to: max(cursor.offset, untouched)) }
        case .new: cursor = log.end
        case .first: break
        case .offset(let offset): log.seek(&cursor, to: min(offset, log.head))
        case .time(let time): log.seek(&cursor, to: log.offset(atOrAfter: time))
        }
        hadGroup = true
        let group = Group(name: opening.group, cursor: cursor)
        guard let free else {
            groupTable.append(group)
            return groupTable.count - 1
        }
        groupTable[free] = group
        return free
    }

    func groupIndex(named name: String) -> Int? {
        groupTable.firstIndex { !$0.isRemoved && $0.name == name }
    }

    /// Makes a link a member of a group.
    mutating func join(_ index: UInt32, _ group: Int) {
        groupTable[group].members.append(index)
        // Alone, the other needed no place in the order.
        if groupTable[group].members.count == 2 { rebuildOrder(group) }
    }

    /// What the link could be given at once; the number that orders the dispatcher.
    package func deliverable(_ link: ConsumerLink) -> UInt64 {
        isPaused ? 0 : link.deliverable(meanRecordBytes: meanRecordBytes)
    }

    /// Brings a member's place in its group's order up to date.
    ///
    /// An ask puts it behind its equals even if its number stays what it was.
    mutating func refresh(_ index: UInt32, requeue: Bool) {
        let place = Int(index)
        guard kinds[place] == .consumer else { return }
        let number = currentDeliverable(place)
        guard requeue || number != consumerLinks[place].deliverable else { return }
        setDeliverable(number, of: index)
        markDirty(consumerLinks[place].group)
        grantsAreDue = true
    }

    /// What the consumer at a place of the table could be given at once.
    func currentDeliverable(_ place: Int) -> UInt64 {
        isPaused ? 0 : consumerLinks[place].deliverable(meanRecordBytes: meanRecordBytes)
    }

    /// Gives a member its number and its ticket.
    mutating func setDeliverable(_ number: UInt64, of index: UInt32) {
        let place = Int(index)
        let group = consumerLinks[place].group
        groupTable[group].deliverable -= consumerLinks[place].deliverable
        groupTable[group].deliverable += number
        consumerLinks[place].deliverable = number
        consumerLinks[place].ticket = groupTable[group].enqueue(index, credit: number)
    }

    mutating func refreshAllMembers() {
        for group in groupTable where !group.isRemoved {
            for member in group.members { refresh(member, requeue: false) }
        }
        grantsAreDue = true
    }

    mutating func markDirty(_ index: Int) {
        guard !groupTable[index].isDirty, !groupTable[index].isRemoved else { return }
        groupTable[index].isDirty = true
        dirtyGroups.append(index)
    }

    /// The connection is gone and may come back: nothing is deliverable, no grant stays out.
    mutating func detach(_ id: LinkID) {
        _ = withConsumer(id.index) { link in
            link.isAttached = false
            link.drainsUntil = nil
        }
        refresh(id.index, requeue: false)
        detachProducer(id.index)
    }

    mutating func attachConsumer(
        _ id: LinkID,
        _ point: ResumePoint,
        eventBytesMax: Int,
        into effects: inout Effects
    ) {
        var gaps: [Gap] = []
        var lost: UInt64 = 0
        let head = log.head
        do {
            let known: Void? = try withConsumer(id.index) { link throws(LedgerError) in
                lost = link.ledger.delivered - min(link.ledger.delivered, point.position)
                try link.ledger.rewind(
                    received: point.position,
                    receivedBytes: point.positionBytes,
                    asked: point.asked,
                    askedBytes: point.askedBytes
                )
                if point.stoppedTo > link.ledger.stoppedTo {
                    link.ledger.stop(upTo: point.stoppedTo)
                }
                if point.drainedTo > 0, link.ledger.credit(upTo: point.drainedTo) > 0 {
                    link.ledger.drain(upTo: point.drainedTo)
                    link.drainsUntil = head
                }
                link.forget(upTo: point.position)
                gaps = link.unreceived.map {
                    Gap(from: $0.offset, to: $0.offset + $0.span, count: $0.count, reason: .cut)
                }
                link.unreceived = []
                link.isAttached = true
                link.eventBytesMax = eventBytesMax
                link.room = link.window - gaps.count * Limits.gapWindowBytes
                link.needBytes = 0
            }
            guard known != nil else { return }
        } catch {
            fail(id, error, into: &effects)
            return
        }
        counters.cut += lost
        effects.list.append(.opened(id, resumed: true))
        for gap in gaps { effects.list.append(.gap(id, gap)) }
        if consumer(id)?.drainsUntil != nil { draining.append(id) }
        refresh(id.index, requeue: true)
    }

    /// Throws away what waits; every group goes on with the next event that comes.
    mutating func purge() {
        for index in groupTable.indices where !groupTable[index].isRemoved {
            let from = groupTable[index].cursor.offset
            let lost = log.head - from
            guard lost > 0 else { continue }
            let gap = Gap(from: from, to: log.head, count: lost, reason: .purged)
            groupTable[index].discarded += lost
            groupTable[index].cursor = log.end
            remember(gap, for: groupTable[index].members)
        }
        counters.discarded += log.head - tail.offset
        tail = log.end
        untouched = log.head
        log.trim(before: log.head)
        isUnsettled = true
        grantsAreDue = true
    }

    mutating func removeGroup(_ name: String, into effects: inout Effects) {
        guard let index = groupIndex(named: name) else { return }
        for member in groupTable[index].members {
            let id = id(member)
            close(id)
            effects.list.append(.close(id, .groupRemoved, "group \(name)"))
        }
        untouched = max(untouched, groupTable[index].cursor.offset)
        groupTable[index] = Group(name: "", cursor: log.end)
        groupTable[index].isRemoved = true
        dirtyGroups.removeAll { $0 == index }
        isUnsettled = true
        grantsAreDue = true
    }

    /// Leaves a loss to be announced to each member of the group that lost it.
    mutating func remember(_ gap: Gap, for members: [UInt32]) {
        for member in members {
            let hadGap = withConsumer(member) { link in
                guard let known = link.gap else {
                    link.gap = gap
                    return false
                }
                // One stretch that covers both: exact in count, as a gap may be.
                link.gap?.to = gap.to
                link.gap?.count = known.count + gap.count
                link.gap?.reason = gap.reason
                return true
            }
            if hadGap == false { gapped.append(id(member)) }
        }
    }
}
