package import SluiceCore
package import SluiceWire

/// The near half of a link whose topic lives on another engine.
final class RemoteLink {
    let engine: Int
    /// Whether the link outlives its connection.
    let isResumable: Bool
    /// A producer's account as its client was told it: what bounds the events on their way.
    var ledger = Ledger()
    /// The producer broke its account: the topic's engine ends the link, in its place.
    var hasFailed = false
    /// How much of a consumer's events may wait here, and as much again on its way.
    var window: Int
    /// Bytes of them that its connection has not written yet.
    private var unwritten = 0
    /// Bytes that the topic's engine has not been given room for again.
    private var owed = 0

    init(engine: Int, isResumable: Bool, window: Int) {
        self.engine = engine
        self.window = window
        self.isResumable = isResumable
    }

    /// Events came, which have to be written; returns the room to give back at once.
    ///
    /// While there is room here the next events may come when these are taken, not only when they
    /// are written: so both engines work at the same time.
    func take(_ bytes: Int) -> Int {
        unwritten += bytes
        owed += bytes
        return dues()
    }

    /// Events are written; returns the room to give back.
    func write(_ bytes: Int) -> Int {
        unwritten -= bytes
        return dues()
    }

    private func dues() -> Int {
        guard unwritten <= window else { return 0 }
        defer { owed = 0 }
        return owed
    }

    /// A new connection has nothing to write, and both ends count the window anew.
    func clear() {
        unwritten = 0
        owed = 0
    }
}

/// A client of another engine, as a topic's engine sees it.
final class Guest: Peer {
    private unowned let engine: Engine
    let home: Int
    private let session: UInt64
    var epoch: UInt32
    var eventBytesMax: Int
    var answerMilliseconds: UInt64

    init(_ caller: Caller, from home: Int, engine: Engine) {
        self.engine = engine
        self.home = home
        session = caller.session
        epoch = caller.epoch
        eventBytesMax = caller.eventBytesMax
        answerMilliseconds = caller.answerMilliseconds
    }

    private func tell(_ link: UInt32, _ word: Word) {
        let address = Address(session: session, epoch: epoch, link: link)
        engine.post(.told(address, word), to: home)
    }

    func opened(_ link: UInt32, _ opened: Opened) { tell(link, .opened(opened)) }
    func refused(_ link: UInt32, _ close: Close) { tell(link, .refused(close)) }

    func deliver(_ link: UInt32, firstSequence: UInt64, runs: ArraySlice<Run>, bytes: Int) {
        let crossing = runs.map { engine.exchange.crossing($0, to: home) }
        tell(link, .events(firstSequence: firstSequence, runs: crossing, bytes: bytes))
    }

    func gap(_ link: UInt32, _ gap: Gap, nextSequence: UInt64) {
        tell(link, .gap(gap, nextSequence: nextSequence))
    }

    func mark(_ link: UInt32, _ mark: Mark, offset: UInt64, nextSequence: UInt64) {
        tell(link, .mark(mark, offset: offset, nextSequence: nextSequence))
    }

    func ask(_ link: UInt32, _ ask: Ask) { tell(link, .ask(ask)) }
    func settle(_ link: UInt32, _ settlement: Settlement) { tell(link, .settle(settlement)) }
    func status(_ link: UInt32, _ status: Status) { tell(link, .status(status)) }
    func prove(_ link: UInt32, upTo sequence: UInt64) { tell(link, .prove(upTo: sequence)) }
    func closed(_ link: UInt32, _ close: Close) { tell(link, .closed(close)) }
    /// Its own engine answers its connection.
    func pong(_ opaque: UInt64) {}
    /// Its connection is its own engine's to replace.
    func replaced() {}
    /// Only its own engine knows its session by number.
    func kicked(_ close: Close) {}
    var traffic: Traffic { Traffic(bytesIn: 0, bytesOut: 0, queuedBytes: 0) }
}

// MARK: - Where the client is

extension Engine {
    /// The engine that a client without any link belongs to, if it is another than this.
    package func destination(of open: Open, _ session: Session) -> Int? {
        guard place.count > 1, configuration.movesClients, session.isFresh, !isStopping,
            !open.topic.isReserved
        else { return nil }
        let home = place.home(of: open.topic)
        return home == place.index ? nil : home
    }

    /// Opens a link on another engine if that is where its topic lives; false if it is here.
    func openRemote(_ session: Session, _ link: UInt32, _ open: Open) -> Bool {
        if open.resume != nil {
            guard case .remote(let remote)? = session.link(link)?.target else { return false }
            // The topic's engine makes its half narrow too: this kernel has shown nothing yet.
            remote.window = windowBytes
            session.noteReturn(of: link)
            post(.open(caller(session), link, open), to: remote.engine)
            return true
        }
        let home = place.home(of: open)
        guard home != place.index else { return false }
        let remote = RemoteLink(
            engine: home,
            isResumable: !open.topic.isReserved,
            window: windowBytes
        )
        session.add(SessionLink(id: link, target: .remote(remote)))
        session.isAbroad = true
        if !session.visited.contains(home) { session.visited.append(home) }
        exchange.travellers[session.number] = session
        post(.open(caller(session), link, open), to: home)
        return true
    }

    private func caller(_ session: Session) -> Caller {
        Caller(
            session: session.number,
            epoch: session.epoch,
            name: session.name,
            peerAddress: session.peerAddress,
            eventBytesMax: session.peer?.eventBytesMax ?? Limits.eventBytesMax,
            answerMilliseconds: answerMilliseconds(of: session)
        )
    }

    func answerMilliseconds(of session: Session) -> UInt64 {
        session.peer?.answerMilliseconds ?? TopicOptions().recallMilliseconds
    }

    func publish(
        _ publication: Publication,
        _ remote: RemoteLink,
        _ session: Session,
        _ link: UInt32
    ) {
        guard !remote.hasFailed else { return }
        do {
            try remote.ledger.receive(
                firstSequence: publication.firstSequence,
                events: publication.events,
                bytes: publication.bytes
            )
        } catch {
            fail(remote, error, session, link)
            return
        }
        var crossing = publication
        crossing.run = exchange.crossing(publication.run, to: remote.engine)
        crossing.more = publication.more.map { exchange.crossing($0, to: remote.engine) }
        post(.publish(session.number, link, crossing), to: remote.engine)
    }

    func mark(
        _ mark: Mark,
        nextSequence: UInt64,
        _ remote: RemoteLink,
        _ session: Session,
        _ link: UInt32
    ) {
        guard !remote.hasFailed else { return }
        let expected = remote.ledger.delivered + 1
        guard nextSequence == expected else {
            let error = LedgerError.mismatch(expected: expected, found: nextSequence)
            return fail(remote, error, session, link)
        }
        post(.mark(session.number, link, mark, nextSequence: nextSequence), to: remote.engine)
    }

    func report(_ status: Status, _ remote: RemoteLink, _ session: Session, _ link: UInt32) {
        guard !remote.hasFailed else { return }
        do throws(LedgerError) {
            let asked = remote.ledger.asked
            guard status.asked <= asked else {
                throw .mismatch(expected: asked, found: status.asked)
            }
            try remote.ledger.book(
                forfeited: status.forfeited,
                forfeitedBytes: status.forfeitedBytes
            )
        } catch {
            fail(remote, error, session, link)
            return
        }
        post(.report(session.number, link, status), to: remote.engine)
    }

    /// Leaves the end to the topic's engine, behind the answers to what came before.
    private func fail(
        _ remote: RemoteLink,
        _ error: LedgerError,
        _ session: Session,
        _ link: UInt32
    ) {
        remote.hasFailed = true
        post(.fail(session.number, link, error), to: remote.engine)
    }

    /// A client wants a PONG, behind the answers to what it said before.
    ///
    /// Each engine hears the other's words in order: what one has answered is here before its ring.
    package func ping(_ session: Session, _ opaque: UInt64) {
        guard !session.visited.isEmpty else {
            session.peer?.pong(opaque)
            return
        }
        pass(
            Ring(
                session: session.number,
                epoch: session.epoch,
                opaque: opaque,
                rest: session.visited
            )
        )
    }

    func pass(_ ring: Ring) {
        var ring = ring
        guard let session = exchange.travellers[ring.session], session.epoch == ring.epoch else {
            return
        }
        if let next = ring.rest.popLast() {
            post(.ping(ring), to: next)
        } else {
            session.peer?.pong(ring.opaque)
        }
    }

    /// Tells the engines that a session used that its connection is gone.
    func detachAbroad(_ session: Session) {
        session.epoch &+= 1
        for engine in session.visited {
            post(.detach(session.number, epoch: session.epoch), to: engine)
        }
    }

    func endAbroad(_ session: Session) {
        for engine in session.visited { post(.end(session.number), to: engine) }
        session.visited = []
        exchange.travellers[session.number] = nil
    }

    /// Passes on what a topic's engine says to a client here.
    func hear(_ word: Word, _ address: Address, from engine: Int) {
        let link = address.link
        guard let session = exchange.travellers[address.session],
            case .remote(let remote)? = session.link(link)?.target, remote.engine == engine
        else { return }
        if case .closed(let close) = word {
            // True of the link whichever connection it was said to.
            session.remove(link)
            session.table.end(link)
            session.peer?.closed(link, close)
            return
        }
        guard address.epoch == session.epoch, let peer = session.peer else { return }
        switch word {
        case .opened(let opened):
            remote.ledger = Ledger(opened)
            remote.clear()
            peer.opened(link, opened)
        case .refused(let close):
            session.remove(link)
            peer.refused(link, close)
        case .events(let sequence, let runs, let bytes):
            giveRoom(remote.take(bytes), remote, session, link)
            peer.deliver(link, firstSequence: sequence, runs: runs[...], bytes: bytes)
        case .gap(let gap, let next):
            giveRoom(remote.take(Limits.gapWindowBytes), remote, session, link)
            peer.gap(link, gap, nextSequence: next)
        case .mark(let mark, let offset, let next):
            giveRoom(remote.take(mark.windowBytes), remote, session, link)
            peer.mark(link, mark, offset: offset, nextSequence: next)
        case .ask(let ask):
            _ = remote.ledger.ask(events: ask.events, bytes: ask.bytes, flags: ask.flags)
            peer.ask(link, ask)
        case .settle(let settlement): peer.settle(link, settlement)
        case .status(let status): peer.status(link, status)
        case .prove(let sequence): peer.prove(link, upTo: sequence)
        case .closed: break
        }
    }
}

extension Engine {
    /// The kernel took bytes of a remote link's events.
    func wrote(_ bytes: Int, _ remote: RemoteLink, _ session: Session, _ link: UInt32) {
        giveRoom(remote.write(bytes), remote, session, link)
    }

    private func giveRoom(
        _ bytes: Int,
        _ remote: RemoteLink,
        _ session: Session,
        _ link: UInt32
    ) {
        guard bytes > 0 else { return }
        post(.wrote(session.number, link, bytes: bytes), to: remote.engine)
    }
}

// MARK: - Where the topic is

extension Engine {
    /// The session that stands for a client of another engine.
    func guest(_ caller: Caller, from home: Int) -> Session {
        if let known = exchange.guests[caller.session] {
            known.peerAddress = caller.peerAddress
            if let guest = known.peer as? Guest {
                guest.epoch = caller.epoch
                guest.eventBytesMax = caller.eventBytesMax
                guest.answerMilliseconds = caller.answerMilliseconds
            }
            return known
        }
        let session = Session(
            number: caller.session,
            name: caller.name,
            face: .binary,
            peerAddress: caller.peerAddress,
            peer: Guest(caller, from: home, engine: self),
            since: now,
            engine: self
        )
        session.home = home
        exchange.guests[caller.session] = session
        return session
    }

    /// The guest's connection is gone, and with it the links that cannot be resumed.
    func detach(_ session: Session, epoch: UInt32) {
        (session.peer as? Guest)?.epoch = epoch
        for link in session.links {
            switch link.target {
            case .topic(let box, let id): apply(.detach(id), to: box)
            case .inspection, .control, .remote: session.remove(link.id)
            }
        }
    }

    func fail(_ session: Session, _ link: UInt32, _ error: LedgerError) {
        guard case .topic(let box, let id)? = session.link(link)?.target else { return }
        apply(.fail(id, error), to: box)
    }
}

extension Ledger {
    /// The account of a link as its OPENED tells it.
    package init(_ opened: Opened) {
        self.init(
            asked: opened.asked,
            askedBytes: opened.askedBytes,
            delivered: opened.delivered,
            deliveredBytes: opened.deliveredBytes,
            forfeited: opened.forfeited,
            forfeitedBytes: opened.forfeitedBytes
        )
    }
}
