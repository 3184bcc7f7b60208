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

    /// What one look at the broker shows.
    enum Round {
        case documents([() -> [UInt8]?])
        /// The offset after the last.
        case events(until: UInt64)
    }

    let subject: Subject
    var ledger = Ledger()
    var room = Limits.writeWindowBytes
    /// Nil between the end of a round and the next DEMAND.
    var round: Round?
    /// The place in the round: a document's, or an event's offset.
    var position: UInt64 = 0
    /// Whether it waits for the turn in which the engine looks.
    var isWaiting = false
    /// Whether a DEMAND waits for its DRAINED, and for an ECHO with it.
    var isAnswering = false
    var owesEcho = false
    /// The highest number of an ECHO.
    var echo: UInt64 = 0
    var shown: UInt64 = 0
    /// What the other engines have of the round that begins.
    var sightings: [Sighting]?

    init(_ subject: Subject) { self.subject = subject }

    /// What of the round is not shown yet.
    var left: UInt64 {
        switch round {
        case nil: 0
        case .documents(let documents)?: UInt64(documents.count) - position
        case .events(let end)?: end - min(end, position)
        }
    }
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
        let first = Ask(opening: open.demandEvents, bytes: open.demandBytes)
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
        inspection.isAnswering = true
        if ask.flags.contains(.echo) {
            inspection.owesEcho = true
            inspection.echo = max(inspection.echo, ask.echo)
        }
        if ask.flags.contains(.stop) {
            inspection.round = nil
            finish(inspection, session, link)
            return
        }
        guard !inspection.isWaiting else { return }
        inspection.isWaiting = true
        inspecting.append((inspection, session, link))
    }

    /// Begins or goes on with what is asked.
    func answer(_ inspection: Inspection, _ session: Session, _ link: UInt32) {
        inspection.isWaiting = false
        guard case .inspection(let known)? = session.link(link)?.target, known === inspection,
            inspection.isAnswering
        else { return }
        if inspection.round == nil, inspection.ledger.credit > 0 {
            if inspection.sightings == nil, survey(inspection, session, link) {
                inspection.isWaiting = true
                return
            }
            begin(inspection)
        }
        pump(inspection, session, link)
    }

    /// Shows as much of the round as credit and window allow.
    func pump(_ inspection: Inspection, _ session: Session, _ link: UInt32) {
        while let round = inspection.round, inspection.ledger.credit > 0, inspection.left > 0 {
            guard inspection.room > 0 else { return }
            let goesOn =
                switch round {
                case .documents(let documents):
                    showNext(of: documents, inspection, session, link)
                case .events(let end): showEvents(until: end, inspection, session, link)
                }
            guard goesOn else { return }
        }
        finish(inspection, session, link)
    }

    /// Ends the answer to a DEMAND; `needBytes` is what the next event needs if that is why.
    private func finish(
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32,
        needBytes: Int = 0
    ) {
        let credit = inspection.ledger.credit
        if credit > 0 { inspection.ledger.drain(upTo: inspection.ledger.asked) }
        inspection.ledger.forfeit(upTo: inspection.ledger.asked)
        var status = Status(inspection.ledger)
        status.isDrained = true
        status.isEcho = inspection.owesEcho
        status.echo = inspection.owesEcho ? inspection.echo : 0
        status.available = inspection.left
        status.needBytes = UInt32(needBytes)
        status.blockedBy = needBytes > 0 ? .bytes : .noDemand
        if inspection.left == 0 { inspection.round = nil }
        inspection.isAnswering = false
        inspection.owesEcho = false
        session.peer?.status(link, status)
    }

    private func showNext(
        of documents: [() -> [UInt8]?],
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) -> Bool {
        let document = documents[Int(inspection.position)]()
        guard let document, let run = record(document, at: inspection.shown) else {
            inspection.position += 1
            return true
        }
        guard run.byteCount <= largestEvent(session) else {
            return endOutgrown(session, link)
        }
        if let credit = inspection.ledger.byteCredit, UInt64(run.byteCount) > credit {
            finish(inspection, session, link, needBytes: run.byteCount)
            return false
        }
        inspection.position += 1
        inspection.shown += 1
        deliver([run], inspection, session, link)
        return true
    }

    private func largestEvent(_ session: Session) -> Int {
        session.peer?.eventBytesMax ?? Limits.eventBytesMax
    }

    /// Ends the link of a client whose frames cannot carry what comes next.
    private func endOutgrown(_ session: Session, _ link: UInt32) -> Bool {
        session.remove(link)
        let text = "the next event does not fit into the consumer's max_frame"
        session.peer?.closed(link, Close(.eventTooLarge, reason: text))
        return false
    }

    /// A run of one plain event; nil if it is above the limit of an event.
    private func record(_ document: [UInt8], at offset: UInt64) -> Run? {
        var writer = FrameWriter()
        do {
            try writer.appendRecord(payload: document.span.bytes)
        } catch {
            logger.warning("document left out", metadata: ["reason": "\(error)"])
            return nil
        }
        let slab = Slab(capacity: writer.bytes.count)
        let range = slab.append(writer.bytes.span.bytes)
        return Run(slab: slab, bytes: range, count: 1, offset: offset, time: time, attempt: 1)
    }

    private func deliver(
        _ runs: [Run],
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) {
        let bytes = runs.reduce(0) { $0 + $1.byteCount }
        let events = runs.reduce(0) { $0 + UInt64($1.count) }
        let sequence = inspection.ledger.delivered + 1
        inspection.ledger.deliver(events: events, bytes: UInt64(bytes))
        inspection.room -= bytes
        session.peer?.deliver(link, firstSequence: sequence, runs: runs[...], bytes: bytes)
    }

    private func showEvents(
        until end: UInt64,
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) -> Bool {
        guard case .peek(let box) = inspection.subject else { return false }
        let log = box.core.log
        var cursor = log.start
        log.seek(&cursor, to: max(inspection.position, log.firstOffset))
        inspection.position = cursor.offset
        guard cursor.offset < end, !box.isRemoved else {
            inspection.position = end
            return true
        }
        var runs: [Run] = []
        let credit = inspection.ledger.bytesAllowed
        let taken = log.take(
            from: &cursor,
            events: min(inspection.ledger.credit, end - cursor.offset),
            bytes: min(credit, largestEvent(session)),
            window: inspection.room,
            windowIsEmpty: inspection.room >= Limits.writeWindowBytes,
            into: &runs
        )
        guard taken.events > 0 else {
            guard let need = log.nextRecordBytes(at: cursor) else { return false }
            guard need <= largestEvent(session) else { return endOutgrown(session, link) }
            if need > credit {
                finish(inspection, session, link, needBytes: need)
            }
            return false
        }
        inspection.position = cursor.offset
        deliver(runs, inspection, session, link)
        return true
    }

    private func begin(_ inspection: Inspection) {
        let round = newRound(inspection)
        inspection.sightings = nil
        inspection.round = round
        inspection.position = 0
        if case .events = round, case .peek(let box) = inspection.subject {
            inspection.position = box.core.log.firstOffset
        }
    }

    private func newRound(_ inspection: Inspection) -> Inspection.Round {
        let elsewhere = inspection.sightings ?? []
        switch inspection.subject {
        case .server: return .documents([{ self.encode(self.serverSnapshot(elsewhere)) }])
        case .topics(let name):
            var topics = (name.map { [$0] } ?? Array(topics.keys)).map { name in
                (name, { self.topics[name].map { self.encode(self.snapshot($0)) } })
            }
            for case .topics(let others) in elsewhere {
                topics += others.map { topic in (topic.topic, { self.encode(topic) }) }
            }
            return .documents(topics.sorted { $0.0 < $1.0 }.map(\.1))
        case .links(let name):
            let boxes = name.map { [topics[$0]].compactMap { $0 } } ?? Array(topics.values)
            var links: [() -> [UInt8]?] = boxes.flatMap { box in
                box.owners.indices.filter { box.owners[$0] != nil }.map { index in
                    { self.snapshot(box, index).map(self.encode) }
                }
            }
            for case .links(let others) in elsewhere {
                links += others.map { link in { self.encode(link) } }
            }
            return .documents(links)
        case .connections:
            var sessions = sessions.values.map { session in
                (session.number, { self.encode(self.snapshot(session)) })
            }
            for case .connections(let others) in elsewhere {
                sessions += others.map { other in (other.connection, { self.encode(other) }) }
            }
            return .documents(sessions.sorted { $0.0 < $1.0 }.map(\.1))
        case .peek(let box):
            return .events(until: box.core.log.head)
        }
    }

    private func serverSnapshot(_ elsewhere: [Sighting]) -> Snapshot.Server {
        var server = serverSnapshot()
        for case .server(let other) in elsewhere { server.add(other) }
        return server
    }

    private func encode(_ document: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(document) else { return [] }
        return Array(data)
    }
}
