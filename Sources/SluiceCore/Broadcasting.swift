// Broadcast: each event goes to every member, so the one that can take the least sets the pace.

extension Topic {
    /// What all members of a group can take together.
    private struct Common {
        var events: UInt64
        var bytes = Int.max
        var window = Int.max
        var windowIsEmpty = true
    }

    /// Hands the next events to all members, as far as all can take them.
    mutating func broadcast(
        _ group: Int,
        at now: Instant,
        limit: Int,
        into effects: inout Effects
    ) {
        while effects.list.count < limit, groupTable[group].cursor.offset < horizon {
            let offset = groupTable[group].cursor.offset
            if groupTable[group].blockedAt != offset { releaseBlocked(of: group) }
            guard let common = common(of: group, from: offset), common.events > 0 else { return }
            let firstRun = effects.runs.count
            let taken = log.take(
                from: &groupTable[group].cursor,
                events: common.events,
                bytes: common.bytes,
                window: common.window,
                windowIsEmpty: common.windowIsEmpty,
                into: &effects.runs
            )
            guard taken.events > 0 else {
                holdBackAll(of: group)
                return
            }
            groupTable[group].delivered += taken.events
            for member in groupTable[group].members {
                let sequence = consumerLinks[Int(member)].ledger.delivered + 1
                let delivery = Delivery(
                    firstSequence: sequence,
                    events: taken.events,
                    bytes: UInt64(taken.bytes),
                    runs: firstRun..<effects.runs.count
                )
                consumerLinks[Int(member)].remember(
                    sequence: sequence,
                    offset: offset,
                    count: taken.events
                )
                book(delivery, to: member, at: now, into: &effects)
            }
        }
    }

    /// Nil if there is a member that can take nothing, or none at all.
    private func common(of group: Int, from offset: UInt64) -> Common? {
        guard !groupTable[group].members.isEmpty else { return nil }
        var common = Common(events: horizon - offset)
        for member in groupTable[group].members {
            let place = Int(member)
            guard consumerLinks[place].deliverable > 0 else { return nil }
            let room = consumerLinks[place].room
            common.events = min(common.events, dueEvents(place, from: offset))
            common.bytes = min(
                common.bytes,
                consumerLinks[place].ledger.bytesAllowed,
                consumerLinks[place].eventBytesMax
            )
            common.window = min(common.window, room, consumerLinks[place].deliveryBytesMax)
            common.windowIsEmpty = common.windowIsEmpty && room >= consumerLinks[place].window
        }
        return common
    }

    /// Sets those members aside that cannot be given the next event, until something changes.
    private mutating func holdBackAll(of group: Int) {
        guard let need = log.nextRecordBytes(at: groupTable[group].cursor) else { return }
        // A window that is too small for it lets it pass only when all are empty.
        let isTight = groupTable[group].members.contains {
            let link = consumerLinks[Int($0)]
            return min(link.room, link.deliveryBytesMax) < need
        }
        for member in groupTable[group].members {
            let link = consumerLinks[Int(member)]
            let isFull = isTight && link.room < link.window
            let isShort = link.ledger.byteCredit.map { need > $0 } ?? false
            guard isFull || isShort || need > link.eventBytesMax else { continue }
            holdBack(member, of: group, need: need)
            setDeliverable(0, of: member)
        }
    }
}
