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
        // Taken out of its place, so that what it counts is changed where it is.
        guard var book = books[group] else { return }
        books[group] = nil
        defer { books[group] = book }
        var lanes: UInt64 = 0
        for place in delivery.runs {
            for offset in effects.runs[place].offset..<effects.runs[place].endOffset {
                guard let lane = checkEvent(offset, index, &book) else { return }
                lanes |= 1 << UInt64(lane)
            }
        }
        guard book.rules.dispatcher == .partition else { return }
        let sequence = delivery.firstSequence + delivery.events - 1
        for lane in book.last.indices where lanes & 1 << UInt64(lane) != 0 {
            if !sinks[index].lanes.contains(lane) {
                violations.append("\(id) is given events of lane \(lane), which is not its own")
            }
            checkHandOver(of: lane, book.last[lane], to: id)
            book.last[lane] = GroupBook.LastOwner(id: id, sequence: sequence)
        }
    }

    /// One event for one consumer; returns its lane, nil if something is wrong.
    private mutating func checkEvent(
        _ offset: UInt64,
        _ index: Int,
        _ book: inout GroupBook
    ) -> Int? {
        let shape = shape(at: offset)
        let lane = book.lane(of: shape, at: offset)
        let taste = sinks[index].taste
        if !taste.accepts(shape, at: offset) {
            violations.append("\(name(book, index)): \(offset) is not to its consumer's taste")
        }
        let isShared = book.rules.dispatcher != .broadcast
        let next = isShared && !book.hasChoosers ? book.next[lane] : sinks[index].next[lane]
        guard offset >= max(next, book.start) else {
            violations.append("L5 \(name(book, index)), lane \(lane): \(offset) after \(next)")
            return nil
        }
        // One that stood by has no say in what the active member refused.
        let isWatched =
            book.rules.dispatcher != .partition
            && !(book.rules.dispatcher == .exclusive && book.hasChoosers)
        let from = max(sinks[index].from, next)
        if isWatched, from < offset {
            for passed in from..<offset
            where !(isShared && book.isGiven(passed)) && !book.isLost(passed)
                && taste.accepts(self.shape(at: passed), at: passed)
            {
                violations.append("L5 \(name(book, index)): \(passed) is left out at \(offset)")
                return nil
            }
        }
        checkMarks(offset, index, book.rules.dispatcher)
        let isNew = book.give(offset)
        if !isNew, isShared { violations.append("L4 \(name(book, index)): \(offset) twice") }
        book.next[lane] = max(book.next[lane], offset + 1)
        sinks[index].next[lane] = offset + 1
        return lane
    }

    private func name(_ book: GroupBook, _ index: Int) -> String {
        book.name(sinks[index].opening.group)
    }

    /// The first that a step served of each group is one whose turn it was.
    mutating func checkOrder(_ orders: [Int: [UInt32]]) {
        guard !orders.isEmpty else { return }
        var orders = orders
        for case .deliver(let id, _) in effects.list {
            guard let index = sink(id) else { continue }
            let group = sinks[index].group
            guard let first = orders.removeValue(forKey: group) else { continue }
            if !first.contains(id.index) {
                violations.append("\(id) is served before \(first) of group \(group)")
            }
        }
    }

    /// A lane goes on only when its last owner has received what it was given, or is given up.
    private mutating func checkHandOver(
        of lane: Int,
        _ last: GroupBook.LastOwner?,
        to id: LinkID
    ) {
        guard let last, last.id != id, let lostAt = last.lostAt,
            let link = topic.consumer(last.id), link.received < last.sequence,
            now.milliseconds(since: lostAt) < topic.options.recallMilliseconds
        else { return }
        violations.append("lane \(lane) went on to \(id) before \(last.id) had received all of it")
    }

    /// A loss is told exactly, and was allowed to happen.
    mutating func checkGap(_ gap: Gap, _ index: Int) {
        if gap.from >= gap.to || !(1...gap.to - gap.from).contains(gap.count) {
            violations.append("malformed: \(gap)")
        }
        guard gap.reason != .cut else {
            sinks[index].toldLost.append(gap)
            if !sinks[index].isAttached { violations.append("L7: a gap for nobody") }
            return
        }
        if sinks[index].lostGaps.first == gap {
            sinks[index].lostGaps.removeFirst()
            return
        }
        let group = sinks[index].group
        guard var book = books[group] else { return }
        books[group] = nil
        defer { books[group] = book }
        guard gap.from < gap.to, gap.count > 0, gap.from >= book.start, gap.to <= topic.log.head
        else {
            violations.append("\(name(book, index)): \(gap)")
            return
        }
        let isMine = book.rules.dispatcher == .broadcast
        var open: UInt64 = 0
        for offset in gap.from..<gap.to {
            if isMine ? offset < sinks[index].next[0] : book.isGiven(offset) { continue }
            open += 1
            book.lose(offset)
        }
        let isExact = !book.hasChoosers && book.rules.dispatcher != .partition
        if isExact ? gap.count != open : gap.count > open {
            violations.append("\(name(book, index)): \(gap), of which \(open) were not given")
        }
        let mayLose =
            switch gap.reason {
            case .lagged: !book.rules.holds
            case .dropped: policies.contains(.dropOldest)
            case .purged: book.wasPurged
            case .cut: false
            }
        if !mayLose { violations.append("\(name(book, index)) may not lose: \(gap)") }
    }

    /// At rest, who has come back and has room was told exactly what a cut took from its wire.
    mutating func checkCuts() {
        for index in sinks.indices where sinks[index].isAttached && sinks[index].lacksNews {
            guard let room = topic.consumer(sinks[index].id)?.room, room > 0 else { continue }
            checkCut(index)
        }
    }

    /// What was cut off on the wire of a link that came back is told exactly, before all else.
    mutating func checkCut(_ index: Int) {
        guard sinks[index].lacksNews else { return }
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
        for number in books.indices where touched.contains(number) && books[number] != nil {
            books[number]?.active = topic.groupTable[number].active
            guard books[number]?.rules.dispatcher == .partition else { continue }
            for index in sinks.indices where sinks[index].group == number {
                sinks[index].lanes = topic.lanes(ofConsumer: sinks[index].id)
            }
            for lane in books[number]?.last.indices ?? 0..<0 {
                guard let last = books[number]?.last[lane] else { continue }
                let isOwner = topic.lanes(ofConsumer: last.id).contains(lane)
                books[number]?.last[lane]?.lostAt = isOwner ? nil : last.lostAt ?? now
            }
        }
    }

    /// L4 from outside: what a group counts is what its members were given, and no event is
    /// discarded or refused without a reason.
    mutating func checkBook(of number: Int) {
        guard !topic.groupTable[number].isRemoved, number < books.count,
            let rules = books[number]?.rules, let delivered = books[number]?.delivered
        else { return }
        func name() -> String { "\(rules.dispatcher) \(topic.groupTable[number].name)" }
        let counted = topic.groupTable[number].delivered
        if counted != delivered {
            violations.append("L4 \(name()): \(counted), seen \(delivered)")
        }
        let discarded = topic.groupTable[number].discarded
        if discarded > 0, rules.holds, !policies.contains(.dropOldest),
            books[number]?.wasPurged == false
        {
            violations.append("L4 \(name()): \(discarded) discarded")
        }
        let refused = topic.groupTable[number].refused
        if refused > 0, books[number]?.hasChoosers == false {
            violations.append("L4 \(name()): \(refused) refused")
        }
    }

    mutating func checkRate() {
        if rate?.holds(topic.granted, at: now) == false {
            violations.append("\(topic.granted) granted beyond the topic's rate")
        }
    }
}
