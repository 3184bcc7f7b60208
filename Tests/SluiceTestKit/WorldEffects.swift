import DequeModule
import SluiceCore

extension World {
    /// Notes which groups a command is about, before it may end a link.
    mutating func touch(_ command: Command) {
        switch command {
        case .openConsumer, .mark, .pause, .change, .purge, .createGroup, .removeGroup, .seek,
            .wind:
            touched.addAll()
        case .ask(let id, _), .wrote(let id, _), .window(let id, _), .received(let id, _),
            .answersWithin(let id, _), .close(let id), .fail(let id, _), .detach(let id),
            .attachConsumer(let id, _, _):
            touch(id)
        // What comes from producers is seen by where the topic's head is then.
        case .openProducer, .publish, .report, .attachProducer: return
        }
    }

    private mutating func touch(_ id: LinkID) {
        if let index = sink(id) { touched.add(sinks[index].group) }
    }

    /// Puts the effects of a step on the wires and holds them against the laws of delivery.
    mutating func book() {
        for effect in effects.list {
            switch effect {
            case .deliver(let id, let delivery): bookDelivery(id, delivery)
            case .opened(let id, let resumed): if resumed { bookResume(id) }
            case .gap(let id, let gap, let next):
                guard let index = sink(id) else { continue }
                touched.add(sinks[index].group)
                checkGap(gap, index)
                sinks[index].inbox.append(.gap(gap, nextSequence: next))
                if sinks[index].unwritten >= Limits.writeWindowBytes {
                    violations.append("a gap beyond \(sinks[index].unwritten) bytes in a window")
                }
                sinks[index].unwritten += Limits.gapWindowBytes
            case .status(let id, let kind):
                guard let index = sink(id) else {
                    violations.append("L7: STATUS for nobody")
                    continue
                }
                touched.add(sinks[index].group)
                // Nil if the same step closed it afterwards.
                guard let ledger = topic.consumer(id)?.ledger else { continue }
                sinks[index].inbox.append(.status(kind, ledger))
            case .expired(let group, _):
                touched.addAll()
                checkExpired(group)
            case .prove(let id):
                guard let index = sink(id), let link = topic.consumer(id) else { continue }
                sinks[index].inbox.append(.proof(link.ledger.delivered))
            case .ask(let id, let ask):
                guard let index = source(id) else {
                    violations.append("L7: DEMAND for nobody")
                    continue
                }
                sources[index].inbox.append(ask)
            case .mark(let id, let mark, let offset, let next): bookMark(id, mark, offset, next)
            case .accept(let id, let from, let count, let offset):
                bookAnswer(Answer(from: from, count: UInt64(count), offset: offset), to: id)
            case .reject(let id, let from, let count, let code):
                bookAnswer(Answer(from: from, count: UInt64(count), code: code), to: id)
            case .close(let id, let code, let text): bookClose(id, code, text)
            }
        }
        if !effects.list.isEmpty { effects.removeAll() }
    }

    // By index: each that a closure is lent would be copied.
    func sink(_ id: LinkID) -> Int? {
        for index in sinks.indices where sinks[index].id == id { return index }
        return nil
    }

    func source(_ id: LinkID) -> Int? {
        for index in sources.indices where sources[index].id == id { return index }
        return nil
    }

    private mutating func bookClose(_ id: LinkID, _ code: CloseCode, _ text: String) {
        touch(id)
        let rules = sink(id).flatMap { books[sinks[$0].group]?.rules }
        sinks.removeAll { $0.id == id }
        sources.removeAll { $0.id == id }
        markBook.leave(id)
        endIfDue()
        // Nobody here breaks the protocol, so nobody may be told so.
        let isFair =
            switch code {
            case .groupRemoved, .recallTimeout: true
            case .lagged: rules.map { $0.patienceMilliseconds > 0 || !$0.holds } ?? false
            default: false
            }
        if !isFair { violations.append("closed with \(code): \(text)") }
    }

    private mutating func bookDelivery(_ id: LinkID, _ delivery: Delivery) {
        guard let index = sink(id), sinks[index].isAttached else {
            violations.append("L7: EVENTS for nobody")
            return
        }
        touched.add(sinks[index].group)
        checkCut(index)
        if topic.isPaused { violations.append("EVENTS while the topic is paused") }
        var events: UInt64 = 0
        var bytes = 0
        var offsets: [Range<UInt64>] = []
        offsets.reserveCapacity(delivery.runs.count)
        checkDelivery(id, delivery, index)
        for place in delivery.runs {
            let run = effects.runs[place]
            checkContent(run)
            offsets.append(run.offset..<run.endOffset)
            events += UInt64(run.count)
            bytes += run.byteCount
        }
        if events != delivery.events || UInt64(bytes) != delivery.bytes {
            violations.append("a delivery of \(delivery.events) events carries \(events)")
        }
        deliveries += events
        sinks[index].unwritten += bytes
        if delivery.events > 1, sinks[index].unwritten > Limits.writeWindowBytes {
            violations.append("\(sinks[index].unwritten) bytes in a write window")
        }
        sinks[index].inbox.append(
            .events(
                sequence: delivery.firstSequence,
                bytes: delivery.bytes,
                offsets: offsets
            )
        )
    }

    private mutating func bookResume(_ id: LinkID) {
        if let index = sink(id), let ledger = topic.consumer(id)?.ledger {
            sinks[index].ledger.resumeAsSink(
                forfeited: ledger.forfeited,
                forfeitedBytes: ledger.forfeitedBytes
            )
            // What was lost is not delivered again: its credit went with it.
            let sink = sinks[index]
            if ledger.credit > sink.creditAtCut + (ledger.asked - sink.askedAtCut) {
                violations.append("L2: came back with \(ledger), had \(sink.creditAtCut)")
            }
            return
        }
        guard let index = source(id),
            let ledger = topic.producer(id)?.ledger
        else { return }
        do {
            try sources[index].ledger.resumeAsSource(
                asked: ledger.asked,
                askedBytes: ledger.askedBytes,
                received: ledger.delivered,
                receivedBytes: ledger.deliveredBytes
            )
        } catch {
            violations.append("L2 at a producer that came back: \(error)")
        }
    }

    /// The next frame arrives at a consumer, and the kernel makes room for as much.
    mutating func read(_ index: Int) {
        guard sinks[index].reads || isEnding, let frame = sinks[index].inbox.popFirst() else {
            return
        }
        do {
            switch frame {
            case .events(let sequence, let bytes, let offsets):
                let events = offsets.reduce(0) { $0 + UInt64($1.count) }
                try sinks[index].ledger.receive(
                    firstSequence: sequence,
                    events: events,
                    bytes: bytes
                )
                wrote(index, Int(bytes))
            case .gap(_, let next):
                sinks[index].gaps += 1
                checkPlace(next, index)
                wrote(index, Limits.gapWindowBytes)
            case .mark(let number, let next):
                checkPlace(next, index)
                wrote(index, markBook.said[number].mark.windowBytes)
            case .status(let kind, let told):
                // It stands behind all events that it counts, and before all others.
                if told.delivered != sinks[index].ledger.delivered {
                    violations.append("a STATUS of \(told) at \(sinks[index].ledger)")
                }
                try sinks[index].ledger.book(
                    forfeited: told.forfeited,
                    forfeitedBytes: told.forfeitedBytes
                )
                let ledger = sinks[index].ledger
                if kind == .echo, told.asked == ledger.asked { compare(index) }
                if kind == .drained { checkDrained(ledger, told) }
            // What lay before it has arrived.
            case .proof(let sequence): apply(.received(sinks[index].id, sequence))
            }
        } catch {
            violations.append("L1 at a consumer: \(error)")
        }
    }

    private mutating func wrote(_ index: Int, _ bytes: Int) {
        sinks[index].unwritten -= bytes
        apply(.wrote(sinks[index].id, bytes: bytes))
    }

    /// L7: nothing is left of asks that a STOP or a DRAIN was answered for.
    private mutating func checkDrained(_ ledger: Ledger, _ told: Ledger) {
        let isStopped = told.stoppedTo == ledger.stoppedTo
        let isDrained = told.drainedTo == ledger.drainedTo
        if isStopped && ledger.credit(upTo: ledger.stoppedTo) > 0
            || isDrained && ledger.credit(upTo: ledger.drainedTo) > 0
        {
            violations.append("L7: credit is left after DRAINED, \(ledger)")
        }
    }

    /// L2: with nothing on the way both ends are equal.
    mutating func compare(_ index: Int) {
        let sink = sinks[index]
        guard sink.inbox.isEmpty, sink.outbox.isEmpty,
            let ledger = topic.consumer(sink.id)?.ledger
        else { return }
        let isEqual =
            sink.ledger.asked == ledger.asked && sink.ledger.delivered == ledger.delivered
            && sink.ledger.forfeited == ledger.forfeited
            && sink.ledger.askedBytes == ledger.askedBytes
            && sink.ledger.deliveredBytes == ledger.deliveredBytes
            && sink.ledger.forfeitedBytes == ledger.forfeitedBytes
        if !isEqual { violations.append("L2: \(sink.ledger) against \(ledger)") }
    }
}
