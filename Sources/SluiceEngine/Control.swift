import FoundationEssentials
import SluiceCore
import SluiceWire

/// A producer's link on `$sys/ctl`: each event is a request, answered by SETTLE.
final class ControlLink {
    var ledger = Ledger()
}

extension Engine {
    /// Requests that a control link may send before an answer.
    private static let requestsMax: UInt32 = 16

    func openControl(_ session: Session, _ link: UInt32, _ open: Open) {
        guard open.role == .source, open.resume == nil else {
            let text = "requests are published on $sys/ctl, by a new link"
            session.peer?.refused(link, Close(.badOption, reason: text))
            return
        }
        let control = ControlLink()
        session.add(SessionLink(id: link, target: .control(control)))
        session.peer?.opened(link, Opened(control.ledger))
        let ask = control.ledger.ask(
            events: Self.requestsMax,
            bytes: UInt32(Limits.writeWindowBytes)
        )
        session.peer?.ask(link, ask)
    }

    func take(
        _ publication: Publication,
        _ control: ControlLink,
        _ session: Session,
        _ link: UInt32
    ) {
        do {
            try control.ledger.receive(
                firstSequence: publication.firstSequence,
                events: publication.events,
                bytes: publication.bytes
            )
        } catch {
            session.remove(link)
            session.peer?.closed(link, Close(error.code, reason: "the ledger does not hold"))
            return
        }
        var sequence = publication.firstSequence
        for run in publication.runs {
            for payload in payloads(of: run) {
                let code = perform(payload)
                let settlement = Settlement(
                    from: sequence,
                    count: 1,
                    outcome: code == nil ? .accept : .reject,
                    argument: UInt32(code?.rawValue ?? 0)
                )
                session.peer?.settle(link, settlement)
                sequence += 1
            }
        }
        let ask = control.ledger.ask(
            events: UInt32(publication.events),
            bytes: UInt32(publication.bytes)
        )
        session.peer?.ask(link, ask)
    }

    private func payloads(of run: Run) -> [[UInt8]] {
        run.slab.withBytes { span in
            var reader = RecordReader(run.bytes)
            var payloads: [[UInt8]] = []
            while let record = try? reader.next(from: span) {
                payloads.append(span.array(in: record.payload))
            }
            return payloads
        }
    }

    /// Does what a request says; the code of its refusal, or nil.
    private func perform(_ bytes: [UInt8]) -> CloseCode? {
        guard let request = try? JSONDecoder().decode(Snapshot.Request.self, from: Data(bytes)),
            Name.isLegal(request.topic),
            request.topic.utf8.count <= Limits.topicNameBytesMax,
            !request.topic.hasPrefix("$")
        else { return .badOption }
        if request.op == "create-topic" { return create(request) }
        guard let box = topics[request.topic] else { return .notFound }
        switch request.op {
        case "remove-topic": remove(box)
        case "purge-topic": apply(.purge, to: box)
        case "pause-topic": apply(.pause(true), to: box)
        case "resume-topic": apply(.pause(false), to: box)
        case "remove-group":
            let name = request.group ?? ""
            guard box.core.groups.contains(where: { $0?.name == name }) else { return .notFound }
            apply(.removeGroup(name), to: box)
        default: return .badOption
        }
        return nil
    }

    private func create(_ request: Snapshot.Request) -> CloseCode? {
        guard topics[request.topic] == nil else { return .exists }
        guard topics.count < Limits.topicsMax else { return .limit }
        var options = configuration.topicDefaults
        if let buffer = request.buffer {
            options.capacity = buffer
            options.ahead = buffer
        }
        if let bytes = request.bufferBytes { options.bufferBytes = bytes }
        if let ahead = request.ahead { options.ahead = ahead }
        if let onFull = request.onFull {
            guard let policy = FullPolicy(rawValue: onFull) else { return .badOption }
            options.onFull = policy
        }
        guard options.ahead <= options.capacity, options.capacity <= Limits.bufferEventsMax,
            options.bufferBytes <= Limits.bufferBytesMax
        else { return .badOption }
        _ = create(request.topic, options)
        return nil
    }

    private func remove(_ box: TopicBox) {
        box.isRemoved = true
        topics[box.core.name] = nil
        for index in box.owners.indices {
            guard let owner = box.owners[index] else { continue }
            box.owners[index] = nil
            owner.session.remove(owner.link)
            owner.session.table.end(owner.link)
            let text = "topic \(box.core.name) was removed"
            owner.session.peer?.closed(owner.link, Close(.topicDeleted, reason: text))
        }
    }
}
