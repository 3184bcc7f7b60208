import DequeModule
import FoundationEssentials
import SluiceCore
import SluiceWire

/// A producer's link on `$sys/ctl`: each event is a request, answered by SETTLE.
final class ControlLink {
    var ledger = Ledger()
    /// What the client has announced and was not granted.
    var backlog: Backlog
    /// Requests that are not settled yet, the oldest first.
    var pending = Deque<Pending>()
    /// Whether requests of one frame are being done: what they free is granted after the last.
    var isTaking = false

    /// A request, and what became of it once that is known.
    struct Pending {
        let sequence: UInt64
        var settlement: Settlement?
    }

    init(_ backlog: Backlog) { self.backlog = backlog }
}

extension Engine {
    /// Requests that a control link may send before an answer.
    private static let requestsMax: UInt64 = 16

    func openControl(_ session: Session, _ link: UInt32, _ open: Open) {
        guard open.role == .source, open.resume == nil else {
            let text = "requests are published on $sys/ctl, by a new link"
            session.peer?.refused(link, Close(.badOption, reason: text))
            return
        }
        let control = ControlLink(Backlog(available: open.available ?? Backlog.unknownOnWire))
        session.add(SessionLink(id: link, target: .control(control)))
        session.peer?.opened(link, Opened(control.ledger))
        grant(control, session, link)
    }

    /// Asks for what is announced, or for as much as may be under way.
    private func grant(_ control: ControlLink, _ session: Session, _ link: UInt32) {
        guard !isStopping else { return }
        let credit = control.ledger.credit
        let busy = credit + UInt64(control.pending.count)
        var events = Self.requestsMax - min(Self.requestsMax, busy)
        if case .events(let backlog) = control.backlog {
            events = min(events, backlog)
            control.backlog = .events(backlog - events)
        }
        let held = control.ledger.byteCredit ?? 0
        let window = UInt64(Limits.writeWindowBytes)
        guard events > 0 || credit > 0 && held < window / 2 else { return }
        let ask = control.ledger.ask(
            events: UInt32(events),
            bytes: UInt32(window - min(window, held))
        )
        session.peer?.ask(link, ask)
    }

    func report(_ status: Status, _ control: ControlLink, _ session: Session, _ link: UInt32) {
        do {
            try control.ledger.book(
                forfeited: status.forfeited,
                forfeitedBytes: status.forfeitedBytes
            )
        } catch {
            session.remove(link)
            session.peer?.closed(link, Close(error.code, reason: "the ledger does not hold"))
            return
        }
        let asked = control.ledger.asked
        let unseen = asked - min(asked, status.asked)
        control.backlog = Backlog(available: status.available, unseen: unseen)
        grant(control, session, link)
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
        control.isTaking = true
        for run in [publication.run] + publication.more {
            for payload in payloads(of: run) {
                let number = sequence
                sequence += 1
                control.pending.append(ControlLink.Pending(sequence: number))
                perform(payload, for: session) { code in
                    self.settle(number, code, control, session, link)
                }
            }
        }
        control.isTaking = false
        // One of the requests may have ended the link that they came by.
        if isOpen(control, session, link) { grant(control, session, link) }
    }

    private func isOpen(_ control: ControlLink, _ session: Session, _ link: UInt32) -> Bool {
        guard case .control(let known)? = session.link(link)?.target else { return false }
        return known === control
    }

    /// Notes what became of a request, and says it once all before it are said.
    private func settle(
        _ sequence: UInt64,
        _ code: CloseCode?,
        _ control: ControlLink,
        _ session: Session,
        _ link: UInt32
    ) {
        guard isOpen(control, session, link),
            let index = control.pending.firstIndex(where: { $0.sequence == sequence })
        else { return }
        control.pending[index].settlement = Settlement(
            from: sequence,
            count: 1,
            outcome: code == nil ? .accept : .reject,
            argument: UInt32(code?.rawValue ?? 0)
        )
        while let settlement = control.pending.first?.settlement {
            control.pending.removeFirst()
            session.peer?.settle(link, settlement)
        }
        if !control.isTaking { grant(control, session, link) }
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

    /// Has done what a request says where its topic lives; answers the code of its refusal.
    private func perform(
        _ bytes: [UInt8],
        for session: Session,
        _ answer: @escaping (CloseCode?) -> Void
    ) {
        let decoder = JSONDecoder()
        if let wish = try? decoder.decode(Snapshot.Kick.self, from: Data(bytes)), wish.isOne {
            kick(wish, for: session, answer)
            return
        }
        guard let request = try? decoder.decode(Snapshot.Request.self, from: Data(bytes)),
            NameRule.topic.fault(in: request.topic) == nil
        else {
            answer(.badOption)
            return
        }
        let home = place.home(of: Name(request.topic))
        guard home != place.index else {
            answer(perform(request))
            return
        }
        session.isAbroad = true
        let ticket = exchange.ticket()
        exchange.requests[ticket] = answer
        post(.request(ticket: ticket, request), to: home)
    }

    /// Does what a request says; the code of its refusal, or nil.
    func perform(_ request: Snapshot.Request) -> CloseCode? {
        if request.op == "create-topic" { return create(request) }
        guard let act = action(of: request) else { return .badOption }
        guard let box = topics[Name(request.topic)] else { return .notFound }
        return act(box)
    }

    /// What a request does to its topic; nil if there is no such request.
    private func action(of request: Snapshot.Request) -> ((TopicBox) -> CloseCode?)? {
        switch request.op {
        case "remove-topic": return step { self.remove($0) }
        case "change-topic": return { self.change(request, $0) }
        case "purge-topic": return step { self.apply(.purge, to: $0) }
        case "pause-topic": return step { self.apply(.pause(true), to: $0) }
        case "resume-topic": return step { self.apply(.pause(false), to: $0) }
        case "create-group": return { self.createGroup(request, $0) }
        case "remove-group": return step(request.group) { .removeGroup($0) }
        case "seek-group":
            guard let start = request.start.flatMap({ Start($0) }) else { return nil }
            return step(request.group) { .seek($0, start) }
        default: return nil
        }
    }

    /// Makes a group that stays until it is removed.
    private func createGroup(_ request: Snapshot.Request, _ box: TopicBox) -> CloseCode? {
        let start = request.start.flatMap { Start($0) }
        guard let name = request.group, NameRule.group.fault(in: name) == nil,
            start != nil || request.start == nil
        else { return .badOption }
        var options = GroupWish()
        guard take(request, into: &options) else { return .badOption }
        if let code = box.core.refusal(ofGroup: Name(name), options) { return code }
        let partitions = options.partitions ?? box.core.options.group.partitions
        let bytes = newGroupBytes(partitions: partitions)
        guard memory.hasRoom(for: Int(bytes), ofSystem: false) else { return .limit }
        apply(.createGroup(Name(name), options, start), to: box)
        return nil
    }

    /// What a request says of how a group hands out events; false if there is no such way.
    private func take(_ request: Snapshot.Request, into group: inout GroupWish) -> Bool {
        if let name = request.dispatcher {
            guard let kind = DispatcherKind(name: name) else { return false }
            group.dispatcher = kind
        }
        if let partitions = request.partitions {
            guard partitions > 0, partitions <= Limits.partitionsMax else { return false }
            group.partitions = partitions
        }
        return true
    }

    /// Something that is done to a group, without a name to the default group.
    private func step(
        _ group: String?,
        _ command: @escaping (Name) -> Command
    ) -> (TopicBox) -> CloseCode? {
        let name = Name(group ?? "")
        return { box in
            guard box.core.groups.contains(where: { $0?.name == name }) else { return .notFound }
            self.apply(command(name), to: box)
            return nil
        }
    }

    private func step(_ body: @escaping (TopicBox) -> Void) -> (TopicBox) -> CloseCode? {
        { box in
            body(box)
            return nil
        }
    }

    private func create(_ request: Snapshot.Request) -> CloseCode? {
        guard topics[Name(request.topic)] == nil else { return .exists }
        var options = configuration.topicDefaults
        if let buffer = request.buffer {
            options.capacity = buffer
            options.ahead = buffer
        }
        guard let change = change(of: options, by: request), take(request, into: &options) else {
            return .badOption
        }
        options.take(change)
        guard place.census.addTopic(nil) == .free else { return .limit }
        _ = add(Name(request.topic), options, madeBy: nil)
        return nil
    }

    /// Gives a topic other settings; what its groups were made with stays.
    private func change(_ request: Snapshot.Request, _ box: TopicBox) -> CloseCode? {
        guard request.dispatcher == nil, request.partitions == nil, request.lag == nil,
            request.maxLag == nil, request.isEphemeral == nil,
            let change = change(of: box.core.options, by: request)
        else { return .badOption }
        box.isKept = true
        apply(.change(change), to: box)
        return nil
    }

    /// What a request makes of a topic's size, pace and limits; nil if that does not fit together.
    private func change(of options: TopicOptions, by request: Snapshot.Request) -> TopicChange? {
        var change = TopicChange(options)
        if let buffer = request.buffer {
            // What was not told apart stays together.
            change.ahead = change.ahead == change.capacity ? buffer : min(change.ahead, buffer)
            change.capacity = buffer
        }
        change.bufferBytes = request.bufferBytes ?? change.bufferBytes
        change.ahead = request.ahead ?? change.ahead
        if let onFull = request.onFull {
            guard let policy = FullPolicy(rawValue: onFull) else { return nil }
            change.onFull = policy
        }
        switch (request.rate, request.burst) {
        case (nil, nil): break
        case (0?, nil) where request.op == "change-topic":
            change.rate = nil
        case (let rate, let burst):
            guard let rate = rate ?? options.rate?.eventsPerSecond, rate > 0, burst != 0 else {
                return nil
            }
            change.rate = RateLimit(eventsPerSecond: rate, burst: burst ?? rate)
        }
        if let seconds = request.groupExpireAfter { change.groupExpiry.afterSeconds = seconds }
        guard take(request, into: &change.limits),
            change.groupExpiry.afterSeconds <= Limits.groupExpireAfterSecondsMax,
            change.ahead <= change.capacity,
            change.capacity <= Limits.bufferEventsMax,
            change.bufferBytes <= Limits.bufferBytesMax
        else { return nil }
        return change
    }

    /// What a request says of new groups; false if that does not fit together.
    private func take(_ request: Snapshot.Request, into options: inout TopicOptions) -> Bool {
        guard take(request, into: &options.group) else { return false }
        let isPartitioned = options.group.dispatcher == .partition
        guard isPartitioned == (options.group.partitions != nil) else { return false }
        if let name = request.lag {
            guard let policy = LagPolicy(name: name),
                (policy == .block) == (request.maxLag ?? 0 == 0),
                options.group.dispatcher == .independent
            else { return false }
            options.group.lag = LagLimit(policy, events: request.maxLag ?? 0)
        } else if request.maxLag != nil {
            return false
        }
        options.isEphemeral = request.isEphemeral ?? options.isEphemeral
        return true
    }

    /// What a request allows of links, groups and events; false if that is nothing, or too much.
    private func take(_ request: Snapshot.Request, into limits: inout TopicLimits) -> Bool {
        limits.producers = request.maxProducers ?? limits.producers
        limits.consumers = request.maxConsumers ?? limits.consumers
        limits.groups = request.maxGroups ?? limits.groups
        limits.eventBytes = request.maxEventBytes ?? limits.eventBytes
        return limits.producers > 0 && limits.consumers > 0
            && (1...UInt32(Limits.groupsPerTopicMax)).contains(limits.groups)
            && (1...UInt32(Limits.eventBytesMax)).contains(limits.eventBytes)
    }

    func remove(_ box: TopicBox) {
        box.isRemoved = true
        removeTopic(box)
        forgetMemory(of: box)
        for case let owner? in box.owners {
            box.setOwner(nil, of: owner.id)
            owner.session.remove(owner.link)
            owner.session.table.end(owner.link)
            let text = "topic \(box.core.name) was removed"
            owner.session.peer?.closed(owner.link, Close(.topicDeleted, reason: text))
        }
    }
}
