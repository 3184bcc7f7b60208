import FoundationEssentials
import Logging
import SluiceCore
import SluiceWire

/// A consumer's link on a `$sys` topic: each DEMAND brings documents, and ends with DRAINED.
final class Inspection {
    enum Subject {
        case server
        case topics(String?)
        case links(String?)
        case connections
        case peek(TopicBox)
    }

    /// What a round still has to show.
    enum Round {
        case documents([() -> [UInt8]?])
        case events(from: UInt64, to: UInt64)
    }

    let subject: Subject
    var ledger = Ledger()
    var room = Limits.writeWindowBytes
    var round: Round?
    var shown: UInt64 = 0

    init(_ subject: Subject) { self.subject = subject }
}

extension Engine {
    func openSystem(_ session: Session, _ link: UInt32, _ open: Open) {
        if open.topic == "$sys/ctl" {
            openControl(session, link, open)
            return
        }
        guard open.role == .sink else {
            let text = "\(open.topic) can only be read"
            session.peer?.refused(link, Close(.forbidden, reason: text))
            return
        }
        guard open.resume == nil, let subject = subject(of: open.topic) else {
            let text = "there is no \(open.topic)"
            session.peer?.refused(link, Close(.notFound, reason: text))
            return
        }
        let inspection = Inspection(subject)
        session.add(SessionLink(id: link, target: .inspection(inspection)))
        session.peer?.opened(link, Opened(inspection.ledger))
        guard open.demandEvents > 0 else { return }
        let first = Ask(
            events: open.demandEvents,
            total: UInt64(open.demandEvents),
            bytes: open.demandBytes,
            bytesTotal: UInt64(open.demandBytes)
        )
        ask(inspection, first, session, link)
    }

    private func subject(of name: String) -> Inspection.Subject? {
        let parts = name.split(separator: "/", maxSplits: 2).map(String.init)
        guard parts.first == "$sys", parts.count > 1 else { return nil }
        let rest = parts.count > 2 ? parts[2] : nil
        switch (parts[1], rest) {
        case ("server", nil): return .server
        case ("topics", nil): return .topics(nil)
        case ("topics", let name?): return topics[name] == nil ? nil : .topics(name)
        case ("links", nil): return .links(nil)
        case ("links", let name?): return topics[name] == nil ? nil : .links(name)
        case ("connections", nil): return .connections
        case ("peek", let name?): return topics[name].map { .peek($0) }
        default: return nil
        }
    }

    func ask(_ inspection: Inspection, _ ask: Ask, _ session: Session, _ link: UInt32) {
        do {
            try inspection.ledger.apply(ask)
        } catch {
            session.remove(link)
            session.peer?.closed(link, Close(error.code, reason: "the ledger does not hold"))
            return
        }
        if ask.flags.contains(.echo) {
            var status = Status(inspection.ledger)
            status.isEcho = true
            session.peer?.status(link, status)
        }
        if ask.flags.contains(.stop) {
            finish(inspection, session, link)
            return
        }
        if inspection.round == nil { inspection.round = newRound(inspection.subject) }
        pump(inspection, session, link)
    }

    /// Shows as much of the round as credit and window allow.
    func pump(_ inspection: Inspection, _ session: Session, _ link: UInt32) {
        while inspection.ledger.credit > 0, inspection.room > 0, let round = inspection.round {
            switch round {
            case .documents(var documents):
                guard !documents.isEmpty else {
                    finish(inspection, session, link)
                    return
                }
                let make = documents.removeFirst()
                inspection.round = .documents(documents)
                guard let document = make() else { continue }
                guard show(document, inspection, session, link) else { return }
            case .events(let from, let to):
                guard showEvents(from, to, inspection, session, link) else { return }
            }
        }
    }

    private func finish(_ inspection: Inspection, _ session: Session, _ link: UInt32) {
        inspection.round = nil
        inspection.ledger.forfeit(upTo: inspection.ledger.asked)
        var status = Status(inspection.ledger)
        status.isDrained = true
        session.peer?.status(link, status)
    }

    private func show(
        _ document: [UInt8],
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) -> Bool {
        var writer = FrameWriter()
        do {
            try writer.appendRecord(payload: document.span.bytes)
        } catch {
            logger.warning("document left out", metadata: ["reason": "\(error)"])
            return true
        }
        let slab = Slab(capacity: writer.bytes.count)
        let range = slab.append(writer.bytes.span.bytes)
        let run = Run(
            slab: slab,
            bytes: range,
            count: 1,
            offset: inspection.shown,
            time: time,
            attempt: 1
        )
        inspection.shown += 1
        return deliver([run], inspection, session, link)
    }

    private func deliver(
        _ runs: [Run],
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) -> Bool {
        let bytes = runs.reduce(0) { $0 + $1.byteCount }
        let events = runs.reduce(0) { $0 + UInt64($1.count) }
        if let credit = inspection.ledger.byteCredit, UInt64(bytes) > credit {
            finish(inspection, session, link)
            return false
        }
        let sequence = inspection.ledger.delivered + 1
        inspection.ledger.deliver(events: events, bytes: UInt64(bytes))
        inspection.room -= bytes
        session.peer?.deliver(link, firstSequence: sequence, runs: runs[...], bytes: bytes)
        return true
    }

    private func showEvents(
        _ from: UInt64,
        _ to: UInt64,
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) -> Bool {
        guard case .peek(let box) = inspection.subject else { return false }
        let log = box.core.log
        var cursor = log.start
        log.seek(&cursor, to: max(from, box.core.log.firstOffset))
        guard cursor.offset < to, !box.isRemoved else {
            finish(inspection, session, link)
            return false
        }
        var runs: [Run] = []
        let taken = log.take(
            from: &cursor,
            events: min(inspection.ledger.credit, to - cursor.offset),
            bytes: Int(clamping: inspection.ledger.byteCredit ?? UInt64(Int.max)),
            window: inspection.room,
            windowIsEmpty: inspection.room >= Limits.writeWindowBytes,
            into: &runs
        )
        guard taken.events > 0 else { return false }
        inspection.round = .events(from: cursor.offset, to: to)
        return deliver(runs, inspection, session, link)
    }

    private func newRound(_ subject: Inspection.Subject) -> Inspection.Round {
        switch subject {
        case .server: return .documents([{ self.encode(self.serverSnapshot()) }])
        case .topics(let name):
            let names = name.map { [$0] } ?? topics.keys.sorted()
            return .documents(
                names.map { name in { self.topics[name].map { self.encode(self.snapshot($0)) } } }
            )
        case .links(let name):
            let boxes = name.map { [topics[$0]].compactMap { $0 } } ?? Array(topics.values)
            let owners = boxes.flatMap { box in
                box.owners.indices.filter { box.owners[$0] != nil }.map { (box, $0) }
            }
            return .documents(
                owners.map { box, index in { self.snapshot(box, index).map(self.encode) } }
            )
        case .connections:
            let sessions = sessions.values.sorted { $0.number < $1.number }
            return .documents(sessions.map { session in { self.encode(self.snapshot(session)) } })
        case .peek(let box):
            return .events(from: box.core.log.firstOffset, to: box.core.log.head)
        }
    }

    private func encode(_ document: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(document) else { return [] }
        return Array(data)
    }
}
