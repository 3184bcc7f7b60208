import SluiceCore
import SluiceWire

/// A consumer's link on a `$sys` topic: each DEMAND brings documents, and ends with DRAINED.
final class Inspection {
    enum Subject {
        case server
        case topic(Name)
        case list(StatsList)
        case peek(TopicBox)
    }

    /// What one look at the broker shows.
    enum Round {
        /// A document of its own.
        case document
        /// The documents of a list.
        case walk(Walk)
        /// Events up to the offset after the last.
        case events(until: UInt64)
    }

    /// A round through a list, page by page.
    struct Walk {
        let list: StatsList
        let epoch: UInt64
        /// The place of the last document that was shown.
        var place = StatsPlace.start
        /// The place that the page behind which it stands begins at.
        var pageStart = StatsPlace.start
        /// How many documents there were to be shown when it began, less those shown.
        var left: Int
        var isOver = false
    }

    let subject: Subject
    var ledger = Ledger()
    var room = Limits.writeWindowBytes
    /// Nil between the end of a round and the next DEMAND.
    private(set) var round: Round?
    /// Counts the rounds: what was asked for an earlier one is nobody's.
    private(set) var roundNumber: UInt64 = 0
    /// The offset of the next event to peek at.
    var offset: UInt64 = 0
    /// Whether it waits for the turn in which the engine looks, or for what it has asked for.
    var isQueued = false
    var isGathering = false
    /// The epoch of its list that it waits for.
    var awaited: UInt64?
    /// The page that came last, until it was looked at.
    var page: StatsPage?
    /// A document that was rendered and not delivered.
    var document: KeptDocument?
    /// Whether a DEMAND waits for its DRAINED, and for an ECHO with it.
    var isAnswering = false
    var owesEcho = false
    /// The highest number of an ECHO.
    var echo: UInt64 = 0
    var shown: UInt64 = 0

    init(_ subject: Subject) { self.subject = subject }

    /// What of the round is not shown yet; of a walk, as far as is known.
    var left: UInt64 {
        switch round {
        case nil: 0
        case .document?: 1
        case .walk(let walk)?: walk.isOver ? 0 : UInt64(max(1, walk.left))
        case .events(let end)?: end - min(end, offset)
        }
    }

    func begin(_ round: Round) {
        end()
        self.round = round
    }

    func end() {
        round = nil
        roundNumber += 1
        page = nil
        document = nil
        isGathering = false
    }

    /// Notes how far a walk has come.
    func move(_ body: (inout Walk) -> Void) {
        guard case .walk(var walk)? = round else { return }
        body(&walk)
        round = .walk(walk)
    }
}

/// A document as it was rendered, until it is delivered: so it has the size that was told.
final class KeptDocument {
    let run: Run
    /// The place that a walk has come to with it, and whether that is its end.
    let place: StatsPlace?
    let isLast: Bool
    private let desk: StatsDesk
    private var chargedBytes = 0

    init(_ run: Run, at place: StatsPlace?, isLast: Bool, of desk: StatsDesk) {
        self.run = run
        self.place = place
        self.isLast = isLast
        self.desk = desk
    }

    deinit { desk.keptBytes -= chargedBytes }

    /// Counts it among those that wait for credit; false if there are too many.
    func wait() -> Bool {
        guard chargedBytes == 0 else { return true }
        guard desk.keptBytes + run.byteCount <= Limits.keptDocumentsBytesMax else { return false }
        chargedBytes = run.byteCount
        desk.keptBytes += chargedBytes
        return true
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

    private func subject(of name: Name) -> Inspection.Subject? {
        let parts = name.parts(most: 3)
        guard parts.first == "$sys", parts.count > 1 else { return nil }
        let rest = parts.count > 2 ? parts[2] : nil
        switch (parts[1], rest) {
        case ("server", nil): return .server
        case ("topics", nil): return .list(.topics)
        case ("topics", let name?): return topics[name] == nil ? nil : .topic(name)
        case ("links", nil): return .list(.links(nil))
        case ("links", let name?): return topics[name] == nil ? nil : .list(.links(name))
        case ("connections", nil): return .list(.connections)
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
            inspection.end()
            finish(inspection, session, link)
            return
        }
        queue(inspection, session, link)
    }

    /// Has an inspection answered in one of the next turns.
    ///
    /// Never at once: what is told may make room for more, and that for more again.
    func queue(_ inspection: Inspection, _ session: Session, _ link: UInt32) {
        guard inspection.isAnswering, !inspection.isQueued else { return }
        inspection.isQueued = true
        inspecting.append((inspection, session, link))
    }

    /// Begins or goes on with what is asked.
    func answer(_ inspection: Inspection, _ session: Session, _ link: UInt32) {
        inspection.isQueued = false
        guard case .inspection(let known)? = session.link(link)?.target, known === inspection,
            inspection.isAnswering
        else { return }
        if inspection.round == nil, inspection.ledger.credit > 0 {
            guard begin(inspection, session, link) else { return }
        }
        while inspection.ledger.credit > 0, inspection.left > 0 {
            guard inspection.room > 0 else {
                // Who does not read its socket pins no page meanwhile.
                inspection.page = nil
                return
            }
            guard stats.bytes > 0, stats.cost > 0 else {
                return queue(inspection, session, link)
            }
            guard showNext(inspection, session, link) else { return }
        }
        finish(inspection, session, link)
    }

    /// Begins a round; false if it has to wait for its time.
    private func begin(_ inspection: Inspection, _ session: Session, _ link: UInt32) -> Bool {
        switch inspection.subject {
        case .server, .topic: inspection.begin(.document)
        case .list(let list):
            guard let epoch = epoch(of: list, for: (inspection, session, link)) else {
                inspection.isQueued = true
                return false
            }
            var walk = Inspection.Walk(list: list, epoch: epoch, left: count(of: list))
            walk.isOver = walk.left == 0
            inspection.begin(.walk(walk))
        case .peek(let box):
            inspection.begin(.events(until: box.core.log.head))
            inspection.offset = box.core.log.firstOffset
        }
        return true
    }

    /// Ends the answer to a DEMAND; `needBytes` is what the next event needs if that is why.
    func finish(
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
        if inspection.left == 0 { inspection.end() }
        inspection.isAnswering = false
        inspection.owesEcho = false
        session.peer?.status(link, status)
    }

    func largestEvent(_ session: Session) -> Int {
        session.peer?.eventBytesMax ?? Limits.eventBytesMax
    }

    /// Ends the link of a client whose frames cannot carry what comes next.
    func endOutgrown(_ session: Session, _ link: UInt32) -> Bool {
        session.remove(link)
        let text = "the next event does not fit into the consumer's max_frame"
        session.peer?.closed(link, Close(.eventTooLarge, reason: text))
        return false
    }

    func deliver(
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
        stats.bytes -= bytes
        session.peer?.deliver(link, firstSequence: sequence, runs: runs[...], bytes: bytes)
    }
}

// MARK: - What is shown

extension Engine {
    /// Shows what comes next; false if the answer waits, or has ended.
    private func showNext(_ inspection: Inspection, _ session: Session, _ link: UInt32) -> Bool {
        if let document = inspection.document {
            return show(document, inspection, session, link)
        }
        switch (inspection.round, inspection.subject) {
        case (.walk(let walk)?, _): return show(walk, inspection, session, link)
        case (.events(let end)?, _): return showEvents(until: end, inspection, session, link)
        case (.document?, .topic(let name)):
            guard let box = topics[name] else {
                // It was removed after the link had been opened.
                inspection.end()
                return true
            }
            let most = min(largestEvent(session), Limits.eventBytesMax) - Record.headBytes
            let bytes = document(of: box, groupsMax: .max, most: most)
            stats.cost -= 1 + bytes.count / 1_024
            keep(bytes, inspection)
            return true
        case (.document?, _):
            lookAtServer(inspection, session, link)
            return false
        case (nil, _): return true
        }
    }

    private func lookAtServer(_ inspection: Inspection, _ session: Session, _ link: UInt32) {
        guard !inspection.isGathering else { return }
        inspection.isGathering = true
        let number = inspection.roundNumber
        gather(.server) { [unowned self] reply in
            guard inspection.roundNumber == number, case .server(let server) = reply else { return }
            inspection.isGathering = false
            keep(JSONBytes.of(server), inspection)
            queue(inspection, session, link)
        }
    }

    /// Keeps the only document of a round until it is delivered.
    private func keep(_ document: [UInt8], _ inspection: Inspection) {
        var writer = FrameWriter()
        writer.append(document: document)
        let slab = Slab(capacity: writer.bytes.count)
        let range = slab.append(writer.bytes.span.bytes)
        let run = Run(slab: slab, bytes: range, count: 1, time: time)
        inspection.document = KeptDocument(run, at: nil, isLast: true, of: stats)
    }

    /// Shows a document that was rendered already.
    private func show(
        _ document: KeptDocument,
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) -> Bool {
        var run = document.run
        guard run.byteCount <= largestEvent(session) else { return endOutgrown(session, link) }
        if let credit = inspection.ledger.byteCredit, UInt64(run.byteCount) > credit {
            let isKept = document.wait()
            finish(inspection, session, link, needBytes: run.byteCount)
            if !isKept { inspection.document = nil }
            return false
        }
        run.offset = inspection.shown
        run.attempt = 1
        inspection.shown += 1
        if let place = document.place {
            inspection.document = nil
            inspection.move { walk in
                walk.place = place
                walk.left -= 1
                walk.isOver = document.isLast
            }
        } else {
            inspection.end()
        }
        deliver([run], inspection, session, link)
        return true
    }

    /// Shows what it may of the page that a walk has come to.
    private func show(
        _ walk: Inspection.Walk,
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) -> Bool {
        let known = StatsPageKey(list: walk.list, epoch: walk.epoch, place: walk.pageStart)
        guard let page = inspection.page ?? knownPage(known) else {
            read(walk, inspection, session, link)
            return false
        }
        inspection.page = nil
        let first = page.index(behind: walk.place)
        guard first < page.entries.count, let slab = page.slab else {
            // A page may be empty, and not the last.
            inspection.move { walk in
                walk.place = max(walk.place, page.next)
                walk.pageStart = walk.place
                walk.isOver = page.isLast
            }
            return true
        }
        let count = count(of: page.entries[first...], inspection, largestEvent(session))
        guard count > 0 else {
            keep(page, first, slab, inspection)
            return true
        }
        let entries = page.entries[first..<first + count]
        let range = entries[first].start..<page.entries[first + count - 1].end
        let run = Run(
            slab: slab,
            bytes: range,
            count: UInt32(count),
            offset: inspection.shown,
            time: page.time,
            attempt: 1
        )
        inspection.shown += UInt64(count)
        let isWhole = first + count == page.entries.count
        inspection.move { walk in
            walk.place = isWhole ? page.next : page.entries[first + count - 1].place
            if isWhole { walk.pageStart = walk.place }
            walk.left -= count
            walk.isOver = isWhole && page.isLast
        }
        deliver([run], inspection, session, link)
        return true
    }

    /// How many documents fit the credit, the window, the turn and the client's frames; none if the
    /// first has to be told or refused by itself.
    private func count(
        of entries: ArraySlice<StatsPage.Entry>,
        _ inspection: Inspection,
        _ largest: Int
    ) -> Int {
        let allowed = min(largest, Int(clamping: inspection.ledger.bytesAllowed))
        let wanted = min(inspection.room, stats.bytes)
        var bytes = 0
        var count = 0
        for entry in entries where UInt64(count) < inspection.ledger.credit {
            let next = bytes + entry.end - entry.start
            guard next <= allowed, count == 0 || next <= wanted else { break }
            bytes = next
            count += 1
        }
        return count
    }

    /// Takes a document out of its page, to be kept until there is credit for its bytes.
    private func keep(_ page: StatsPage, _ index: Int, _ slab: Slab, _ inspection: Inspection) {
        let entry = page.entries[index]
        let copy = Slab(capacity: entry.end - entry.start)
        let range = slab.withShared(entry.start..<entry.end) { copy.append($0.bytes) }
        let isLast = page.isLast && index + 1 == page.entries.count
        let run = Run(slab: copy, bytes: range, count: 1, time: page.time)
        inspection.document = KeptDocument(run, at: entry.place, isLast: isLast, of: stats)
    }

    /// Has the page behind the last document rendered.
    private func read(
        _ walk: Inspection.Walk,
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) {
        guard !inspection.isGathering else { return }
        inspection.isGathering = true
        inspection.move { $0.pageStart = walk.place }
        let number = inspection.roundNumber
        let key = StatsPageKey(list: walk.list, epoch: walk.epoch, place: walk.place)
        readPage(key) { [unowned self] page in
            guard inspection.roundNumber == number else { return }
            inspection.isGathering = false
            inspection.page = page
            queue(inspection, session, link)
        }
    }
}
