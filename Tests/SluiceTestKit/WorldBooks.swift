import DequeModule
import SluiceCore

// What a world holds against the laws of order, of loss and of rates as it sees events go by.

extension World {
    /// L5, and that nobody is given what is not for it.
    mutating func checkDelivery(_ id: LinkID, _ delivery: Delivery, _ index: Int) {
        let group = sinks[index].group
        if let batch = sinks[index].opening.member.batch, delivery.events > batch.eventsMax {
            violations.append("a batch of \(delivery.events), \(batch)")
        }
        if sinks[index].bucket?.take(delivery.events, at: now) == false {
            violations.append("\(delivery.events) events beyond a rate")
        }
        if let active = books[group]?.active, active != id.index {
            violations.append("\(id) is served beside the active member \(active)")
        }
        var lanes: Set<Int> = []
        for run in effects.runs[delivery.runs] {
            for offset in run.offset..<run.endOffset {
                guard let lane = checkEvent(offset, index) else { return }
                lanes.insert(lane)
            }
        }
        guard books[group]?.rules.dispatcher == .partition else { return }
        let sequence = delivery.firstSequence + delivery.events - 1
        for lane in lanes {
            if !sinks[index].lanes.contains(lane) {
                violations.append("\(id) is given events of lane \(lane), which is not its own")
            }
            checkHandOver(of: lane, group, to: id)
            books[group]?.last[lane] = GroupBook.LastOwner(id: id, sequence: sequence)
        }
    }

    /// One event for one consumer; returns its lane, nil if something is wrong.
    private mutating func checkEvent(_ offset: UInt64, _ index: Int) -> Int? {
        let sink = sinks[index]
        let shape = shape(at: offset)
        guard let book = books[sink.group], let lane = book.lane(of: shape, at: offset) else {
            violations.append("offset \(offset) of no lane was given")
            return nil
        }
        let name = "\(book.rules.dispatcher) \(sink.opening.group)"
        if !sink.taste.accepts(shape, at: offset) {
            violations.append("\(name): offset \(offset) is not to the taste of its consumer")
        }
        let isShared = book.rules.dispatcher != .broadcast
        let next = isShared && !book.hasChoosers ? book.next[lane] : sink.next[lane]
        guard offset >= max(next, book.start) else {
            violations.append("L5 \(name), lane \(lane): offset \(offset) after \(next)")
            return nil
        }
        // One that stood by has no say in what the active member refused.
        let isWatched =
            book.rules.dispatcher != .partition
            && !(book.rules.dispatcher == .exclusive && book.hasChoosers)
        if isWatched {
            for passed in max(sink.from, next)..<max(offset, sink.from, next)
            where !(isShared && book.isGiven(passed)) && !book.isLost(passed)
                && sink.taste.accepts(self.shape(at: passed), at: passed)
            {
                violations.append("L5 \(name): \(passed) is left out before \(offset)")
                return nil
            }
        }
        checkMarks(offset, index)
        let isNew = books[sink.group]?.give(offset) ?? false
        if !isNew, isShared { violations.append("L4 \(name): \(offset) is given twice") }
        books[sink.group]?.next[lane] = max(book.next[lane], offset + 1)
        sinks[index].next[lane] = offset + 1
        return lane
    }

    /// A lane goes on only when its last owner has received what it was given, or is given up.
    private mutating func checkHandOver(of lane: Int, _ group: Int, to id: LinkID) {
        guard let last = books[group]?.last[lane], last.id != id, let lostAt = last.lostAt,
            let link = topic.consumer(last.id), link.received < last.sequence,
            now.milliseconds(since: lostAt) < topic.options.recallMilliseconds
        else { return }
        violations.append("lane \(lane) went on to \(id) before \(last.id) had received all of it")
    }

    /// A loss is told exactly, and was allowed to happen.
    mutating func checkGap(_ gap: Gap, _ index: Int) {
        guard gap.reason != .cut else {
            sinks[index].toldLost.append(gap)
            return
        }
        if sinks[index].lostGaps.first == gap {
            sinks[index].lostGaps.removeFirst()
            return
        }
        let sink = sinks[index]
        guard let book = books[sink.group] else { return }
        let name = "\(book.rules.dispatcher) \(sink.opening.group)"
        guard gap.from < gap.to, gap.count > 0, gap.from >= book.start, gap.to <= topic.log.head
        else {
            violations.append("\(name): \(gap)")
            return
        }
        let isMine = book.rules.dispatcher == .broadcast
        var open: UInt64 = 0
        for offset in gap.from..<gap.to {
            if isMine ? offset < sink.next[0] : book.isGiven(offset) { continue }
            open += 1
            books[sink.group]?.lose(offset)
        }
        let isExact = !book.hasChoosers && book.rules.dispatcher != .partition
        if isExact ? gap.count != open : gap.count > open {
            violations.append("\(name): \(gap), of which \(open) were not given")
        }
        let mayLose =
            switch gap.reason {
            case .lagged: !book.rules.holds
            case .dropped: topic.options.onFull == .dropOldest
            case .purged: book.wasPurged
            case .cut: false
            }
        if !mayLose { violations.append("\(name) may not lose: \(gap)") }
    }

    /// What was cut off on the wire is told exactly when the link comes back.
    mutating func checkCut(_ index: Int) {
        let sink = sinks[index]
        let lost = sink.lost.reduce(0) { $0 + UInt64($1.count) }
        let told = sink.toldLost.reduce(0) { $0 + $1.count }
        let isCovered = sink.lost.allSatisfy { range in
            sink.toldLost.contains { $0.from <= range.lowerBound && range.upperBound <= $0.to }
                || range.allSatisfy { offset in
                    sink.toldLost.contains { $0.from <= offset && offset < $0.to }
                }
        }
        if lost != told || !isCovered {
            violations.append("lost were \(sink.lost), told \(sink.toldLost)")
        }
        if !sink.lostGaps.isEmpty { violations.append("not told again: \(sink.lostGaps)") }
        sinks[index].lostGaps = Deque()
        sinks[index].lost = []
        sinks[index].toldLost = []
    }

    /// Notes who has which part of its group, before a step may change it.
    mutating func noteOwners() {
        for (number, group) in topic.groups.enumerated() {
            guard let group, number < books.count else { continue }
            books[number]?.active = group.active
        }
        for index in sinks.indices where books[sinks[index].group]?.rules.dispatcher == .partition {
            sinks[index].lanes = Set(topic.lanes(ofConsumer: sinks[index].id))
        }
        for number in books.indices {
            guard let book = books[number], book.rules.dispatcher == .partition else { continue }
            for lane in book.last.indices {
                guard let last = book.last[lane] else { continue }
                let isOwner = topic.lanes(ofConsumer: last.id).contains(lane)
                let lostAt = isOwner ? nil : last.lostAt ?? now
                books[number]?.last[lane]?.lostAt = lostAt
            }
        }
    }

    /// L4 from outside: what a group counts is what its members were given, and no event is
    /// discarded or refused without a reason.
    mutating func checkBooks() {
        for (number, group) in topic.groups.enumerated() {
            guard let group, let book = books[number] else { continue }
            let name = "\(group.rules.dispatcher) \(group.name)"
            if group.delivered != book.delivered {
                violations.append("L4 \(name): \(group.delivered), seen \(book.delivered)")
            }
            let mayDiscard =
                book.wasPurged || !book.rules.holds || topic.options.onFull == .dropOldest
            if group.discarded > 0, !mayDiscard {
                violations.append("L4 \(name): \(group.discarded) discarded")
            }
            let isSorted = book.rules.dispatcher == .partition
            if group.refused > 0, !isSorted, !book.hasChoosers {
                violations.append("L4 \(name): \(group.refused) refused")
            }
        }
        if rate?.holds(topic.granted, at: now) == false {
            violations.append("\(topic.granted) granted beyond the topic's rate")
        }
    }
}
