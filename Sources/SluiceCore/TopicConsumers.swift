// Consumers and their groups: who may get how much, and what a cut or a purge does to them.

import DequeModule

extension Topic {
    /// The group of that name, made if it is new; nil if the topic has no place for one more.
    mutating func groupIndex(_ opening: ConsumerOpening) -> Int? {
        if let index = groups.firstIndex(where: { $0?.name == opening.group }) { return index }
        let free = groups.firstIndex { $0 == nil }
        guard free != nil || groups.count < Limits.groupsPerTopicMax else { return nil }
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
            groups.append(group)
            return groups.count - 1
        }
        groups[free] = group
        return free
    }

    /// What the link could be given at once; the number that orders the dispatcher.
    package func deliverable(_ link: ConsumerLink) -> UInt64 {
        guard link.isAttached, !isPaused, link.room > 0, link.needBytes == 0 else { return 0 }
        var events = link.ledger.credit
        if link.drainsUntil != nil {
            events = link.ledger.credit(upTo: link.ledger.drainedTo)
        }
        guard meanRecordBytes > 0 else { return events }
        if let bytes = link.ledger.byteCredit {
            events = min(events, bytes > 0 ? max(1, bytes / meanRecordBytes) : 0)
        }
        let room = UInt64(link.room) / meanRecordBytes
        return min(events, link.room >= link.window ? max(1, room) : room)
    }

    /// Brings a member's place in its group's order up to date.
    ///
    /// An ask puts it behind its equals even if its number stays what it was.
    mutating func refresh(_ index: UInt32, requeue: Bool) {
        guard case .consumer(var link) = slots[Int(index)], var group = groups[link.group] else {
            return
        }
        let number = deliverable(link)
        guard requeue || number != link.deliverable else { return }
        groups[link.group] = nil
        place(&link, index, number, in: &group)
        groups[link.group] = group
        slots[Int(index)] = .consumer(link)
        markDirty(link.group)
        grantsAreDue = true
    }

    /// Gives a member its number and its ticket.
    func place(
        _ link: inout ConsumerLink,
        _ index: UInt32,
        _ number: UInt64,
        in group: inout Group
    ) {
        group.deliverable = group.deliverable - link.deliverable + number
        link.deliverable = number
        link.ticket = group.enqueue(index, credit: number)
    }

    mutating func refreshAllMembers() {
        for case let group? in groups {
            for member in group.members { refresh(member, requeue: false) }
        }
        grantsAreDue = true
    }

    mutating func markDirty(_ index: Int) {
        guard groups[index]?.isDirty == false else { return }
        groups[index]?.isDirty = true
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
        for index in groups.indices {
            guard var group = groups[index] else { continue }
            let lost = log.head - group.cursor.offset
            guard lost > 0 else { continue }
            let gap = Gap(
                from: group.cursor.offset,
                to: log.head,
                count: lost,
                reason: .purged
            )
            group.discarded += lost
            group.cursor = log.end
            groups[index] = group
            remember(gap, for: group)
        }
        counters.discarded += log.head - tail.offset
        tail = log.end
        untouched = log.head
        log.trim(before: log.head)
        grantsAreDue = true
    }

    mutating func removeGroup(_ name: String, into effects: inout Effects) {
        guard let index = groups.firstIndex(where: { $0?.name == name }),
            let group = groups[index]
        else { return }
        for member in group.members {
            let id = id(member)
            close(id)
            effects.list.append(.close(id, .groupRemoved, "group \(name)"))
        }
        untouched = max(untouched, group.cursor.offset)
        groups[index] = nil
        dirtyGroups.removeAll { $0 == index }
        grantsAreDue = true
    }

    /// Leaves a loss to be announced to each member of the group that lost it.
    mutating func remember(_ gap: Gap, for group: Group) {
        for member in group.members {
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
