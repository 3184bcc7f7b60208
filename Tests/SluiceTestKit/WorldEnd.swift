import DequeModule
import SluiceCore

extension World {
    /// Ends the world's troubles: everyone is there, asks and reads; all that waits must flow.
    package mutating func end() {
        guard violations.isEmpty else { return }
        isEnding = true
        giveMemory()
        apply(.pause(false))
        addSink()
        adoptLanes()
        addSource()
        for index in sources.indices {
            if !sources[index].isAttached { attachSource(index) }
            // One that never sends must not hold up the others, to the end.
            guard sources[index].kind != .silent else { continue }
            let more = sizes(20)
            sources[index].waiting.append(contentsOf: more)
            // Among producers that say nothing, one may hold what the other could use.
            sources[index].kind = .announcing
            sources[index].outbox.append(.report(sources[index].report()))
        }
        // Where large events are usual, a small one may have a write window for itself: then one
        // flows in a round.
        for _ in 0..<3_000 + topic.buffered where violations.isEmpty {
            guard !isAtRest else { break }
            pump()
        }
        checkAll()
        guard violations.isEmpty else { return }
        checkEnd()
    }

    /// Lanes that nobody claims and nobody shares get an owner: their events are for somebody.
    private mutating func adoptLanes() {
        for case let group? in topic.groups
        where !group.members.isEmpty && group.rules.dispatcher == .partition {
            guard group.lanes.indices.contains(where: { group.lanes.owners(of: $0).isEmpty })
            else { continue }
            open(ConsumerOpening(group: group.name), Taste(), nil)
        }
    }

    private var isAtRest: Bool {
        // What is granted to one that never sends goes to and fro.
        for index in sources.indices where sources[index].kind != .silent {
            guard sources[index].waiting.isEmpty, sources[index].outbox.isEmpty,
                sources[index].inbox.isEmpty
            else { return false }
        }
        guard topic.buffered == 0 else { return false }
        for index in sinks.indices {
            guard sinks[index].inbox.isEmpty, sinks[index].outbox.isEmpty,
                sinks[index].awaited.isEmpty, !sinks[index].lacksNews
            else { return false }
        }
        return true
    }

    /// A round in which everyone does what there is to do.
    private mutating func pump() {
        steps += 1
        now = now.advanced(milliseconds: 1)
        // What waits for a time only needs it to come.
        if steps % 2 == 0, let time = topic.wakesAt { now = max(now, time) }
        if steps % 8 == 0 { now = now.advanced(milliseconds: 1_000) }
        // What waits for nobody may wait; the last of a broadcast may go for lack of patience.
        for number in topic.groupTable.indices
        where !topic.groupTable[number].isRemoved && topic.groupTable[number].members.isEmpty {
            removeGroup(topic.groupTable[number].name)
        }
        if sinks.isEmpty { addSink() }
        settle()
        for index in sources.indices {
            while index < sources.count, !sources[index].inbox.isEmpty { receiveAsk(index) }
            guard index < sources.count else { return }
            sources[index].send(upTo: 1_000)
            while index < sources.count, !sources[index].outbox.isEmpty {
                receivePublication(index)
            }
            settle()
        }
        for index in sinks.indices {
            // One that lags may be let go meanwhile.
            guard index < sinks.count else { return }
            if !sinks[index].isAttached { attachSink(index) }
            while !sinks[index].inbox.isEmpty { read(index) }
            let ledger = sinks[index].ledger
            let isShort = ledger.credit < 1_000 || (ledger.byteCredit ?? .max) < 1_100_000
            if isShort, !isAtRest { ask(index) }
            while let ask = sinks[index].outbox.popFirst() {
                apply(.ask(sinks[index].id, ask))
            }
            settle()
        }
    }

    private func describe() -> String {
        var text = "granted \(topic.granted), head \(topic.log.head), \(topic.options)"
        for case let group? in topic.groups {
            text +=
                "\n  group \(group.name), \(group.rules): at \(group.cursor.offset), "
                + "\(group.queued) queued, \(group.deliverable) deliverable"
        }
        for sink in sinks {
            guard let link = topic.consumer(sink.id) else { continue }
            text +=
                "\n  sink of \(sink.opening.group), \(sink.opening.member): "
                + "credit \(link.ledger.credit), "
                + "bytes \(String(describing: link.ledger.byteCredit)), room \(link.room)"
        }
        for source in sources {
            guard let link = topic.producer(source.id) else { continue }
            text +=
                "\n  source \(source.kind): \(source.waiting.count) wait, "
                + "credit \(link.ledger.credit), \(link.backlog)"
        }
        return text
    }

    private mutating func checkEnd() {
        for source in sources where !source.waiting.isEmpty {
            violations.append(
                "\(source.waiting.count) events wait for ever at a producer (\(source.kind)): "
                    + "\(source.ledger)"
            )
        }
        for sink in sinks where !sink.awaited.isEmpty {
            violations.append("\(sink.awaited.sorted()) are never told to \(sink.id)")
        }
        for sink in sinks where sink.lacksNews {
            violations.append("what \(sink.id) lost is never told: \(sink.lost), \(sink.lostGaps)")
        }
        if topic.buffered > 0 { violations.append("\(topic.buffered) events wait for ever") }
        guard violations.isEmpty else {
            violations.append(describe())
            return
        }
        for index in sinks.indices { compare(index) }
        // What those that never send let lapse may be under way to others, for ever.
        for source in sources where source.inbox.isEmpty {
            guard let ledger = topic.producer(source.id)?.ledger else { continue }
            if ledger.asked != source.ledger.asked || ledger.delivered != source.ledger.delivered
                || ledger.credit != source.ledger.credit
            {
                violations.append("L2: \(source.ledger) against \(ledger)")
            }
        }
    }
}
