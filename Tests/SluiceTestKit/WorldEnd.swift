import DequeModule
import SluiceCore

extension World {
    /// Ends the world's troubles: everyone is there, asks and reads; all that waits must flow.
    package mutating func end() {
        guard violations.isEmpty else { return }
        isEnding = true
        apply(.pause(false))
        addSink()
        addSource()
        for index in sources.indices {
            if !sources[index].isAttached { attachSource(index) }
            let more = sizes(20)
            sources[index].waiting.append(contentsOf: more)
            // Among producers that say nothing, one may hold what the other could use.
            sources[index].kind = .announcing
            sources[index].outbox.append(.report(sources[index].report()))
        }
        for case let group? in topic.groups where group.members.isEmpty {
            apply(.removeGroup(group.name))
            expected[group.name] = nil
        }
        for _ in 0..<3_000 where violations.isEmpty {
            guard !isAtRest else { break }
            pump()
        }
        guard violations.isEmpty else { return }
        checkEnd()
    }

    private var isAtRest: Bool {
        sources.allSatisfy { $0.waiting.isEmpty && $0.outbox.isEmpty && $0.inbox.isEmpty }
            && topic.buffered == 0 && sinks.allSatisfy { $0.inbox.isEmpty && $0.outbox.isEmpty }
    }

    /// A round in which everyone does what there is to do.
    private mutating func pump() {
        steps += 1
        now.nanoseconds += 1_000_000
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
            text += "\n  group \(group.name): at \(group.cursor.offset), \(group.deliverable)"
        }
        for sink in sinks {
            guard let link = topic.consumer(sink.id) else { continue }
            text +=
                "\n  sink of \(sink.group): credit \(link.ledger.credit), "
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
            violations.append(describe())
            violations.append(
                "\(source.waiting.count) events wait for ever at a producer (\(source.kind)): "
                    + "\(source.ledger), \(String(describing: topic.producer(source.id)))"
            )
        }
        if topic.buffered > 0 { violations.append("\(topic.buffered) events wait for ever") }
        guard violations.isEmpty else { return }
        for index in sinks.indices { compare(index) }
        for source in sources {
            guard let ledger = topic.producer(source.id)?.ledger else { continue }
            if ledger.asked != source.ledger.asked || ledger.delivered != source.ledger.delivered
                || ledger.credit != source.ledger.credit
            {
                violations.append("L2: \(source.ledger) against \(ledger)")
            }
        }
    }
}
