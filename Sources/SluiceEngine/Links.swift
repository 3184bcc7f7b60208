package import SluiceCore
package import SluiceWire

// What clients do with their links.

extension Engine {
    package func open(_ session: Session, _ link: UInt32, _ open: Open) {
        session.isFresh = false
        if isStopping {
            let close = Close(
                .busy,
                reason: "the broker is stopping",
                retryMilliseconds: nextRetry()
            )
            session.peer?.refused(link, close)
            return
        }
        let isSystem = open.topic.isReserved
        guard open.resume != nil || memory.hasRoom(for: openingBytes(open), ofSystem: isSystem)
        else {
            session.peer?.refused(link, lacking(memoryAdvice))
            return
        }
        if openRemote(session, link, open) { return }
        if open.topic.isReserved {
            openSystem(session, link, open)
            return
        }
        if let resume = open.resume {
            self.resume(session, link, open, resume)
            return
        }
        guard hasShare(for: open, of: session) else {
            session.peer?.refused(link, lacking(Self.shareAdvice))
            return
        }
        guard let box = topic(named: open.topic, for: session, link) else { return }
        // At once, as the next OPEN asks what is left before the topic's next step.
        defer { bookMemory(of: box) }
        let id = box.core.nextLink()
        let owner = TopicBox.Owner(id, session: session, link: link, open)
        box.setOwner(owner, of: id)
        session.add(SessionLink(id: link, target: .topic(box, id)))
        switch open.role {
        case .sink:
            var opening = ConsumerOpening(
                group: open.group ?? "",
                start: open.start,
                events: open.demandEvents,
                bytes: open.demandBytes,
                eventBytesMax: session.peer?.eventBytesMax ?? Limits.eventBytesMax
            )
            opening.wish = open.wish
            opening.member = open.member
            opening.owner = session.number
            apply(.openConsumer(id, opening), to: box)
            apply(.answersWithin(id, milliseconds: answerMilliseconds(of: session)), to: box)
            let window = firstWindow(of: session)
            guard window != Limits.writeWindowBytes else { return }
            apply(.window(id, bytes: window), to: box)
        case .source:
            let backlog = Backlog(available: open.available ?? Backlog.unknownOnWire)
            let number = UInt64(UInt(bitPattern: session.address.hashValue))
            apply(.openProducer(id, backlog, owner: number), to: box)
            apply(.answersWithin(id, milliseconds: answerMilliseconds(of: session)), to: box)
            if owner.isFeedFromAfar { tellWindows(box) }
        }
    }

    private func resume(_ session: Session, _ link: UInt32, _ open: Open, _ resume: Resume) {
        guard case .topic(let box, let id)? = session.link(link)?.target else {
            session.peer?.refused(link, Close(.notFound, reason: "the link has ended meanwhile"))
            return
        }
        let group = box.core.consumer(id).flatMap { box.core.group($0.group)?.name } ?? ""
        guard box.core.name == open.topic, open.role == .source || group == open.group ?? "" else {
            session.remove(link)
            box.setOwner(nil, of: id)
            apply(.close(id), to: box)
            let text = "the link is on topic \(box.core.name), group \"\(group)\""
            session.peer?.refused(link, Close(.badOption, reason: text))
            return
        }
        session.noteReturn(of: link)
        let point = ResumePoint(resume)
        apply(.answersWithin(id, milliseconds: answerMilliseconds(of: session)), to: box)
        switch open.role {
        case .sink:
            let largest = session.peer?.eventBytesMax ?? Limits.eventBytesMax
            apply(.attachConsumer(id, point, eventBytesMax: largest), to: box)
            // The next connection's kernel has not said yet that it takes more at once.
            apply(.window(id, bytes: firstWindow(of: session)), to: box)
        case .source:
            let backlog = Backlog(available: open.available ?? Backlog.unknownOnWire)
            apply(.attachProducer(id, point, backlog), to: box)
        }
    }

    private func topic(named name: Name, for session: Session, _ link: UInt32) -> TopicBox? {
        if let box = topics[name] { return box }
        guard configuration.createsTopics else {
            let text = "topic \(name) does not exist; create it first"
            session.peer?.refused(link, Close(.notFound, reason: text))
            return nil
        }
        let account = place.census.account(of: session.address)
        let text: String
        switch place.census.addTopic(account) {
        case .free: return add(name, configuration.topicDefaults, madeBy: account)
        case .full: text = "the broker holds \(Limits.topicsMax) topics, its limit; remove some"
        case .shareUsed:
            text =
                "the broker is more than half full of topics, and your address has made its share "
                + "of the rest; remove some, or have the topic created by a request"
        }
        session.peer?.refused(link, Close(.limit, reason: text))
        return nil
    }

    /// Makes a topic that was counted.
    func add(
        _ name: Name,
        _ options: TopicOptions,
        madeBy account: AddressAccount?
    ) -> TopicBox {
        let box = TopicBox(
            Topic(name: name, options: options),
            account: account,
            windowChanges: windowChanges,
            census: place.census
        )
        add(box, named: name)
        return box
    }

    package func demand(_ session: Session, _ link: UInt32, _ ask: Ask) {
        switch session.link(link)?.target {
        case .topic(let box, let id)?: apply(.ask(id, ask), to: box)
        case .inspection(let inspection)?: self.ask(inspection, ask, session, link)
        case .remote(let remote)?:
            post(.demand(session.number, link, ask), to: remote.engine)
        case .control?, nil: break
        }
    }

    package func publish(_ session: Session, _ link: UInt32, _ publication: Publication) {
        switch session.link(link)?.target {
        case .topic(let box, let id)?:
            eventsIn += publication.events
            apply(.publish(id, publication), to: box)
        case .control(let control)?: take(publication, control, session, link)
        case .remote(let remote)?: publish(publication, remote, session, link)
        case .inspection?, nil: break
        }
    }

    /// A producer says a word between its events.
    package func mark(
        _ session: Session,
        _ link: UInt32,
        _ mark: Mark,
        nextSequence: UInt64
    ) {
        switch session.link(link)?.target {
        case .topic(let box, let id)?:
            let expected = (box.core.producer(id)?.ledger.delivered ?? 0) + 1
            guard nextSequence == expected else {
                apply(.fail(id, .mismatch(expected: expected, found: nextSequence)), to: box)
                return
            }
            apply(.mark(id, mark), to: box)
        case .remote(let remote)?:
            self.mark(mark, nextSequence: nextSequence, remote, session, link)
        case .inspection?, .control?, nil: break
        }
    }

    /// What a producer may still send, in events and in bytes; nil if its link is none of a topic.
    package func credit(_ session: Session, _ link: UInt32) -> (events: UInt64, bytes: UInt64)? {
        switch session.link(link)?.target {
        case .topic(let box, let id)?: box.core.credit(ofProducer: id)
        case .remote(let remote)?: (remote.ledger.credit, remote.ledger.byteCredit ?? .max)
        case .inspection?, .control?, nil: nil
        }
    }

    package func report(_ session: Session, _ link: UInt32, _ status: Status) {
        switch session.link(link)?.target {
        case .topic(let box, let id)?: apply(.report(id, ProducerReport(status)), to: box)
        case .control(let control)?: report(status, control, session, link)
        case .remote(let remote)?: report(status, remote, session, link)
        case .inspection?, nil: break
        }
    }

    /// A client has received what it was given on a link up to a sequence.
    package func received(_ session: Session, _ link: UInt32, _ sequence: UInt64) {
        switch session.link(link)?.target {
        case .topic(let box, let id)?: apply(.received(id, sequence), to: box)
        case .remote(let remote)?:
            post(.received(session.number, link, sequence: sequence), to: remote.engine)
        case .inspection?, .control?, nil: break
        }
    }

    /// The client, or the face on its behalf, has closed the link.
    package func close(_ session: Session, _ link: UInt32) {
        guard let target = session.link(link)?.target else { return }
        session.remove(link)
        switch target {
        case .topic(let box, let id):
            box.setOwner(nil, of: id)
            apply(.close(id), to: box)
        case .remote(let remote): post(.close(session.number, link), to: remote.engine)
        case .inspection, .control: break
        }
    }

    /// The kernel took this many bytes of the link's events.
    package func wrote(_ session: Session, _ link: UInt32, bytes: Int) {
        switch session.link(link)?.target {
        case .topic(let box, let id)?: apply(.wrote(id, bytes: bytes), to: box)
        case .inspection(let inspection)?:
            inspection.room += bytes
            queue(inspection, session, link)
        case .remote(let remote)?: wrote(bytes, remote, session, link)
        case .control?, nil: break
        }
    }
}

extension ResumePoint {
    init(_ resume: Resume) {
        self.init(
            position: resume.position,
            positionBytes: resume.positionBytes,
            asked: resume.asked,
            askedBytes: resume.askedBytes,
            stoppedTo: resume.stoppedTo,
            drainedTo: resume.drainedTo,
            gaps: resume.gaps
        )
    }
}

extension ProducerReport {
    init(_ status: Status) {
        self.init(
            isDrained: status.isDrained,
            asked: status.asked,
            forfeited: status.forfeited,
            forfeitedBytes: status.forfeitedBytes,
            available: status.available,
            needBytes: status.blockedBy == .bytes ? status.needBytes : 0
        )
    }
}

extension Opened {
    init(_ ledger: Ledger) {
        self.init()
        nextSequence = ledger.delivered + 1
        asked = ledger.asked
        askedBytes = ledger.askedBytes
        deliveredBytes = ledger.deliveredBytes
        forfeited = ledger.forfeited
        forfeitedBytes = ledger.forfeitedBytes
        stoppedTo = ledger.stoppedTo
        drainedTo = ledger.drainedTo
    }
}

extension Topic {
    /// The STATUS that a consumer's link owes.
    func status(of id: LinkID, _ kind: StatusKind) -> Status? {
        guard let link = consumer(id) else { return nil }
        var status = Status(link.ledger)
        status.isDrained = kind == .drained
        status.isEcho = kind == .echo
        status.echo = kind == .echo ? link.echo : 0
        status.available = waiting(forConsumer: id)
        status.blockedBy = holder(ofConsumer: id)
        status.needBytes = status.blockedBy == .bytes ? link.needBytes : 0
        return status
    }
}
