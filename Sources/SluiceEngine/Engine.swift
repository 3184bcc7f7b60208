import DequeModule
import HeapModule
package import Logging
package import SluiceCore
package import SluiceWire

/// The broker without sockets: sessions, topics, and one switch over what the core decides.
///
/// Confined to one event loop. Faces call it with what their clients sent, and call `turn` at the
/// end of each turn of the loop, which moves events and demand.
package final class Engine {
    package let configuration: EngineConfiguration
    let logger: Logger
    /// The loop's clocks; a face sets them before it calls.
    @exclusivity(unchecked) package var now = Instant(nanoseconds: 0)
    /// Microseconds since 1970 (UTC).
    @exclusivity(unchecked) package var time: UInt64 = 0
    let startedAt: Instant
    package let place: Place
    /// Where it notes what it was told to do last.
    private let lastCommand: UnsafeMutablePointer<UInt8>
    let exchange: Exchange

    private(set) var topics: [Name: TopicBox] = [:]
    private(set) var sessions: [SessionToken: Session] = [:]
    /// The same in an order that lasts, for those who look at all of them a few at a time.
    private(set) var topicTable = SortedTable<Name, TopicBox>()
    private(set) var sessionTable = SortedTable<UInt64, Session>()
    var detached = DetachedSessions()
    /// Cuts whose links may still be opened again, the oldest first.
    var losses = Deque<LinkLoss>()
    /// How many of them there may be before those that are void are looked for.
    var lossesKept = 64
    @exclusivity(unchecked) private var dirty = Deque<TopicBox>()
    /// Those of them whose last step was dear: they come after all others.
    @exclusivity(unchecked) private var dirtyDear = Deque<TopicBox>()
    /// Topics with recalls that are not answered, for `tick`.
    private var recalling: [TopicBox] = []
    /// Topics that wait for a time, and the first of these times; a face sets a timer for it.
    var sleeping: [TopicBox] = []
    /// Those that wait for longer, the first to be looked at first.
    var resting = Heap<Rest>()
    package internal(set) var wakesAt: Instant?
    /// When something may be begun that was asked for too often.
    var statsWakesAt: Instant?
    @exclusivity(unchecked) private var spareEffects = Effects()
    /// Inspections that a DEMAND waits at, first come first served.
    @exclusivity(unchecked)
    var inspecting = Deque<InspectedLink>()
    let stats = StatsDesk()
    package private(set) var isStopping = false
    /// How much of each link's events may wait to be written.
    var windowBytes = Limits.writeWindowBytes
    /// How often that has changed for all links at once.
    @exclusivity(unchecked) var windowChanges: UInt64 = 0
    @exclusivity(unchecked) var eventsIn: UInt64 = 0
    @exclusivity(unchecked) var eventsOut: UInt64 = 0
    var complaints: [SessionFace: Complaints] = [:]
    /// The memory that it may use, and what is counted of it.
    @exclusivity(unchecked) var memory: MemoryLease
    @exclusivity(unchecked) var usedBytes = 0
    @exclusivity(unchecked) var reservedBytes = 0
    /// Topics that could grant more with more memory, first come first served.
    @exclusivity(unchecked) var waitingForMemory = Deque<TopicBox>()
    /// The same, for lack of their addresses' shares of it.
    @exclusivity(unchecked) var waitingForShare = Deque<TopicBox>()
    @exclusivity(unchecked) var hasFreedMemory = false
    /// Topics whose producers hold grants without a known use.
    @exclusivity(unchecked) var holdingUnused = Deque<TopicBox>()
    /// Topics that nobody used when they were last looked at, the longest first.
    var lingering = Deque<(box: TopicBox, since: Instant)>()

    package init(
        configuration: EngineConfiguration,
        logger: Logger,
        now: Instant,
        place: Place = .alone
    ) {
        self.place = place
        memory = MemoryLease(place.census.memory)
        precondition(place.index < Limits.shardsMax)
        lastCommand = place.census.lastCommands + place.index
        exchange = Exchange(engines: place.count)
        self.configuration = configuration
        self.logger = logger
        self.startedAt = now
        self.now = now
    }

    /// What the steps since the last look at the statistics have looked at.
    @exclusivity(unchecked) private var turnWork = 0

    /// Topic steps of one turn; what is left over waits until sockets were looked at again.
    private static let stepsPerTurnMax = 64
    /// From how much work on a step is dear.
    private static let dearWorkMin = Limits.workPerStepMax / 8

    /// Whether another turn would move something.
    package var hasMore: Bool {
        !dirty.isEmpty || !dirtyDear.isEmpty || hasStatsWork
            || hasFreedMemory && !(waitingForMemory.isEmpty && waitingForShare.isEmpty)
    }

    /// Moves events and demand; true if there is more to do.
    ///
    /// A face that calls it several times in a turn of its loop asks for statistics once: what they
    /// may cost is meant for such a turn, as is what dear steps may. Topics with dear steps wait
    /// for the others, but one of them has its step in each turn of the loop.
    package func turn(stats hasStats: Bool = true) -> Bool {
        if hasStats { turnWork = 0 }
        if hasStats, hasStatsWork { stepStats() }
        if hasFreedMemory { retryForMemory() }
        var steps = 0
        var hasDear = !hasStats
        while steps < Self.stepsPerTurnMax, turnWork < Limits.workPerStepMax {
            if let box = dirty.popFirst() {
                step(box)
            } else if let box = dirtyDear.popFirst() {
                step(box)
                hasDear = true
            } else {
                break
            }
            steps += 1
        }
        if !hasDear, let box = dirtyDear.popFirst() { step(box) }
        return hasMore
    }

    private func step(_ box: TopicBox) {
        catchUp(box)
        box.isDirty = false
        lendMemory(to: box)
        var effects = takeEffects()
        lastCommand.pointee |= 0x80
        let hasMore = box.core.advance(at: now, into: &effects)
        bookMemory(of: box)
        turnWork += box.core.work
        box.isDear = box.core.work >= Self.dearWorkMin
        perform(&effects, of: box)
        if hasMore { mark(box) }
        if box.core.producers + box.core.consumers == 0 { noteLeft(box) }
        watchRecalls(of: box)
        if box.core.wakesAt != nil { watchTime(of: box) }
    }

    func watchRecalls(of box: TopicBox) {
        guard box.core.recalls > 0, !box.isRecalling, !box.isRemoved else { return }
        box.isRecalling = true
        recalling.append(box)
    }

    func mark(_ box: TopicBox) {
        guard !box.isDirty, !box.isRemoved else { return }
        box.isDirty = true
        if box.isDear { dirtyDear.append(box) } else { dirty.append(box) }
    }

    /// Lets the core decide on a command, says what has to be said, and books a step of the topic.
    func apply(_ command: Command, to box: TopicBox) {
        catchUp(box)
        var effects = takeEffects()
        lastCommand.pointee = command.kind.rawValue
        let isDue = box.core.apply(command, at: now, into: &effects)
        perform(&effects, of: box)
        if isDue { mark(box) }
        if box.core.producers + box.core.consumers == 0 { noteLeft(box) }
    }

    /// Empty effects, with the memory of those before them if these are not under way still.
    func takeEffects() -> Effects {
        var effects = Effects()
        swap(&effects, &spareEffects)
        return effects
    }
}

// MARK: - Effects

extension Engine {
    /// Does what a step decided, and keeps the memory of its effects for the next.
    ///
    /// A peer that cannot take what it is told closes its link: a step of its own, within this.
    func perform(_ effects: inout Effects, of box: TopicBox) {
        defer {
            effects.removeAll()
            swap(&effects, &spareEffects)
        }
        for effect in effects.list {
            switch effect {
            case .opened(let id, let resumed): sayOpened(id, resumed: resumed, of: box)
            case .deliver(let id, let delivery):
                eventsOut += delivery.events
                box.latency.note(effects.runs[delivery.runs.lowerBound].time, at: time)
                guard let owner = box.owner(id) else { continue }
                owner.session.peer?.deliver(
                    owner.link,
                    firstSequence: delivery.firstSequence,
                    runs: effects.runs[delivery.runs],
                    bytes: Int(delivery.bytes)
                )
            case .gap(let id, let gap, let next):
                guard let owner = box.owner(id) else { continue }
                owner.session.peer?.gap(owner.link, gap, nextSequence: next)
            case .mark(let id, let mark, let offset, let next):
                guard let owner = box.owner(id) else { continue }
                owner.session.peer?.mark(owner.link, mark, offset: offset, nextSequence: next)
            case .ask(let id, let ask):
                guard let owner = box.owner(id) else { continue }
                owner.session.peer?.ask(owner.link, ask)
            case .accept(let id, let from, let count, let offset):
                settle(id, Settlement(from: from, count: count, offset: offset), of: box)
            case .reject(let id, let from, let count, let code):
                let refusal = Settlement(
                    from: from,
                    count: count,
                    outcome: .reject,
                    argument: UInt32(code.rawValue)
                )
                settle(id, refusal, of: box)
            case .status(let id, let kind): sayStatus(id, kind, of: box)
            case .expired(let group, let waiting):
                logger.notice(
                    "group expired",
                    metadata: [
                        "topic": "\(box.core.name)", "group": "\(group)", "waiting": "\(waiting)",
                    ]
                )
            case .prove(let id):
                guard let owner = box.owner(id), let link = box.core.consumer(id) else { continue }
                owner.session.peer?.prove(owner.link, upTo: link.ledger.delivered)
            case .close(let id, let code, let text): end(id, Close(code, reason: text), of: box)
            }
        }
    }

    private func sayOpened(_ id: LinkID, resumed: Bool, of box: TopicBox) {
        guard let owner = box.owner(id),
            let ledger = box.core.consumer(id)?.ledger ?? box.core.producer(id)?.ledger
        else { return }
        var opened = Opened(ledger)
        opened.resumed = resumed
        opened.head = box.core.log.head
        owner.session.peer?.opened(owner.link, opened)
    }

    private func settle(_ id: LinkID, _ settlement: Settlement, of box: TopicBox) {
        guard let owner = box.owner(id) else { return }
        owner.session.peer?.settle(owner.link, settlement)
    }

    private func sayStatus(_ id: LinkID, _ kind: StatusKind, of box: TopicBox) {
        guard let owner = box.owner(id), let status = box.core.status(of: id, kind) else { return }
        owner.session.peer?.status(owner.link, status)
    }

    /// The core has ended a link: its owner forgets it and is told.
    private func end(_ id: LinkID, _ close: Close, of box: TopicBox) {
        guard let owner = box.owner(id) else { return }
        box.setOwner(nil, of: id)
        owner.session.remove(owner.link)
        owner.session.table.end(owner.link)
        owner.session.peer?.closed(owner.link, close)
        logger.debug(
            "link ended",
            metadata: [
                "session": "\(owner.session.number)", "link": "\(owner.link)",
                "topic": "\(box.core.name)", "code": "\(close.code)",
                "reason": "\(close.reason)",
            ]
        )
    }
}

// MARK: - Sessions

extension Engine {
    /// A client has said HELLO and is new.
    package func connect(
        name: String,
        face: SessionFace = .binary,
        peerAddress: String,
        peer: any Peer
    ) -> Session {
        let session = Session(
            number: place.census.nextSession(),
            name: name,
            face: face,
            peerAddress: peerAddress,
            peer: peer,
            since: now,
            engine: self
        )
        add(session)
        place.census.retries.addConnection()
        return session
    }

    private func add(_ session: Session) {
        sessions[session.token] = session
        sessionTable.insert(session, for: session.number)
        place.census.countSessions(1)
        bookMemory(Limits.memorySessionBytes)
    }

    private func remove(_ session: Session) {
        guard sessions.removeValue(forKey: session.token) != nil else { return }
        sessionTable.remove(session.number)
        place.census.countSessions(-1)
        bookMemory(-Limits.memorySessionBytes)
    }

    /// Adds a topic to those that there are.
    func add(_ box: TopicBox, named name: Name) {
        topics[name] = box
        topicTable.insert(box, for: name)
    }

    func removeTopic(_ box: TopicBox) {
        let name = box.core.name
        topics[name] = nil
        topicTable.remove(name)
        place.census.removeTopic(box.account)
    }

    /// A client has said HELLO with a token: its session, with its links detached.
    ///
    /// If another connection still has the session, that one loses it.
    package func resume(
        _ token: [UInt8],
        peerAddress: String,
        peer: any Peer
    ) -> (session: Session, links: LinkTable)? {
        guard let token = SessionToken(token), let session = sessions[token] else { return nil }
        if let old = session.peer {
            old.replaced()
            if session.peer != nil { return nil }
        }
        guard sessions[token] != nil else { return nil }
        detached.remove(session)
        session.peer = peer
        place.census.retries.addConnection()
        session.peerAddress = peerAddress
        defer { session.table = LinkTable() }
        return (session, session.table)
    }

    /// A connection is gone without a farewell: keeps the session if it had a link on a topic.
    package func disconnect(_ session: Session, links table: LinkTable) {
        losePeer(of: session)
        session.widths = nil
        let hasLink = session.links.contains { $0.target.isResumable }
        guard hasLink, configuration.resumeWindowMilliseconds > 0, !isStopping else {
            end(session)
            return
        }
        session.table = table
        detached.add(session, at: now)
        noteLoss(of: session)
        for link in session.links {
            switch link.target {
            case .topic(let box, let id): apply(.detach(id), to: box)
            case .remote(let remote) where remote.isResumable: remote.ledger.forfeitAsSink()
            case .inspection, .control, .remote:
                session.remove(link.id)
                session.table.end(link.id)
            }
        }
        detachAbroad(session)
        while detached.count > Limits.detachedSessionsMax / place.count {
            guard let surplus = detached.surplus() else { break }
            expire(surplus)
        }
    }

    /// The session is over: its links close.
    package func end(_ session: Session) {
        losePeer(of: session)
        for link in session.links {
            guard case .topic(let box, let id) = link.target else { continue }
            box.setOwner(nil, of: id)
            apply(.close(id), to: box)
        }
        session.removeAllLinks()
        remove(session)
        endAbroad(session)
    }

    private func losePeer(of session: Session) {
        // A client of another engine is counted there.
        if session.peer != nil, session.home == nil { place.census.retries.removeConnection() }
        session.peer = nil
    }

    /// Lets a client go that moves to another engine, with its session if it has one: no links.
    package func release(_ session: Session?) {
        exchange.countDeparture()
        if let session { remove(session) }
    }

    /// Takes a client that another engine let go.
    package func adopt(_ session: Session?) {
        exchange.countArrival()
        guard let session else { return }
        session.engine = self
        add(session)
    }

    func expire(_ session: Session) {
        detached.remove(session)
        end(session)
    }

    /// What only time brings: windows that end, topics that nobody uses, recalls that were not
    /// answered.
    package func tick() {
        while let (session, since) = detached.oldest() {
            let age = now.milliseconds(since: since)
            guard age >= configuration.resumeWindowMilliseconds else { break }
            expire(session)
        }
        endLostLinks()
        endUnused()
        if !waitingForMemory.isEmpty || !waitingForShare.isEmpty {
            recallUnused()
            retryForMemory()
        }
        expireStats()
        let watched = recalling
        recalling.removeAll(keepingCapacity: true)
        for box in watched {
            box.isRecalling = false
            var effects = takeEffects()
            box.core.expireRecalls(at: now, into: &effects)
            let hasExpired = !effects.list.isEmpty
            perform(&effects, of: box)
            if hasExpired { mark(box) }
            watchRecalls(of: box)
        }
    }

    /// Grants nothing more and recalls what producers hold.
    package func wind() {
        isStopping = true
        for box in topics.values { apply(.wind, to: box) }
    }

    /// Whether producers hold nothing more and consumers have what they asked for.
    package var isDrained: Bool {
        topics.values.allSatisfy { box in
            guard box.core.granted == 0 else { return false }
            return box.core.groups.allSatisfy { group in
                guard let group else { return true }
                return group.deliverable == 0 || group.isIdle(at: box.core.log.head)
            }
        }
    }
}
