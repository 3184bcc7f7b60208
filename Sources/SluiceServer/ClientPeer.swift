package import Glibc
package import SluiceCore
package import SluiceEngine
package import SluiceWire

/// One client's side of the protocol: what it sends becomes commands, what it is owed, frames.
///
/// It knows no socket: bytes come in slabs, and leave through its queue.
package final class ClientPeer: Peer {
    private var engine: Engine
    private let settings: Settings
    /// Whose share of what is limited its connection uses.
    package let address: ClientAddress
    @exclusivity(unchecked) private var machine = ServerSession()
    @exclusivity(unchecked) private var session: Session?
    @exclusivity(unchecked) package var out = OutQueue()
    /// Called when there is something to write where there was nothing.
    @exclusivity(unchecked) package var wantsFlush: () -> Void
    /// Called when there are settlements, which may wait for something else to be written with.
    @exclusivity(unchecked) package var wantsSettling: () -> Void = {}
    /// The end of the connection once everything is written.
    @exclusivity(unchecked) package private(set) var isEnding = false
    /// Seconds between signs of life, as agreed.
    package private(set) var keepaliveSeconds: UInt16
    /// Where the client has to go on, and with what; nothing more is read until it is there.
    @exclusivity(unchecked) package private(set) var departure: Departure?
    /// Whether frames of the slab were left over because the slice of time was used up.
    private(set) var isBehind = false
    /// When the client may come back if it is sent away: the same whenever it is told.
    private lazy var retryMilliseconds = engine.nextRetry()
    /// PINGs whose PONG shows what has arrived.
    @exclusivity(unchecked) private var proofs = Proofs()
    package var bytesIn: UInt64 = 0
    private var bytesOut: UInt64 = 0

    /// What every client of a server is told.
    package struct Settings: Sendable {
        package var keepaliveSeconds = UInt16(Limits.keepaliveSecondsDefault)
        package var peerAddress = ""

        package init() {}
    }

    /// A client's way to another engine, and the frame that it begins with there.
    package final class Departure {
        package let engine: Int
        let reason: Reason

        enum Reason {
            /// Its first topic lives there.
            case open(UInt32, Open)
            /// Its session may live there.
            case hello(Hello)
        }

        init(engine: Int, reason: Reason) {
            self.engine = engine
            self.reason = reason
        }
    }

    package init(
        engine: Engine,
        settings: Settings,
        wantsFlush: @escaping () -> Void = {}
    ) {
        self.engine = engine
        self.settings = settings
        address = ClientAddress(settings.peerAddress)
        self.wantsFlush = wantsFlush
        keepaliveSeconds = settings.keepaliveSeconds
    }

    package var isGreeted: Bool { session != nil }

    package var eventBytesMax: Int {
        let overhead = FrameWriter.eventsOverhead(runs: 1) - FrameHeader.byteCount
        return min(Limits.eventBytesMax, machine.maxFrame - overhead)
    }

    package var traffic: Traffic {
        Traffic(bytesIn: bytesIn, bytesOut: bytesOut, queuedBytes: out.eventBytes + out.replyBytes)
    }
}

// MARK: - What comes in

extension ClientPeer {
    /// Takes the frames that begin at `start` of the slab, as far as the slice of time lasts.
    func receive(
        _ slab: Slab,
        from start: Int,
        within slice: inout CommandSlice
    ) -> ReadProgress {
        var progress = ReadProgress(from: start)
        isBehind = false
        while !isEnding {
            let frame = progress.parsed
            do throws(Violation) {
                let next = try slab.withBytes { (span) throws(Violation) in
                    try machine.next(in: span, &progress)
                }
                guard let next else { break }
                let isCommand = next.isCommand
                act(on: next, in: slab, &progress)
                if departure != nil { break }
                if slice.isUsedUp(after: progress.parsed - frame, isCommand: isCommand) {
                    isBehind = progress.parsed < slab.filled
                    break
                }
            } catch {
                fail(error)
            }
        }
        if isEnding { progress.parsed = slab.filled }
        return progress
    }

    /// The same for one who has no turns.
    package func receive(_ slab: Slab, from start: Int) -> ReadProgress {
        var slice = CommandSlice.endless
        return receive(slab, from: start, within: &slice)
    }

    // Given away, as events that stay behind in the action would be copied out of it.
    private func act(
        on action: consuming ServerAction,
        in slab: Slab,
        _ progress: inout ReadProgress
    ) {
        switch consume action {
        case .events(let link, let events): take(events, on: link, in: slab, &progress)
        case .pong(let opaque): if !proofs.isEmpty { prove(by: opaque) }
        case .skipped: break
        case .hello(let hello): greet(hello)
        case let other: if let session { act(on: other, session) }
        }
    }

    /// Publishes events, with those of the frames behind them that are one more each.
    private func take(
        _ events: Events,
        on link: UInt32,
        in slab: Slab,
        _ progress: inout ReadProgress
    ) {
        guard let session else { return }
        guard let credit = engine.credit(session, link),
            var gathering = Gathering(events, credit: credit, in: slab)
        else {
            publish(events, in: slab, on: link, session)
            return
        }
        if progress.parsed < slab.filled {
            let end = gathering.takeFollowing(machine, on: link, in: slab, from: progress.parsed)
            progress.parsed = end
        }
        engine.publish(session, link, gathering.publication(at: engine.time))
    }

    private func act(on action: ServerAction, _ session: Session) {
        switch action {
        case .events, .hello, .pong, .skipped: break
        case .open(let link, let open):
            if let home = engine.destination(of: open, session) {
                departure = Departure(engine: home, reason: .open(link, open))
            } else {
                engine.open(session, link, open)
            }
        case .demand(let link, let ask): engine.demand(session, link, ask)
        case .mark(let link, let mark, let next):
            engine.mark(session, link, mark, nextSequence: next)
        case .status(let link, let status): engine.report(session, link, status)
        case .closed(let link, _, let needsAnswer):
            engine.close(session, link)
            // A CLOSE of ours that still waits is the answer, behind what it tells the truth of.
            guard needsAnswer else { return }
            out.settleNow(link: link)
            out.drop(link: link)
            urgently { $0.append(Close(.normal), link: link) }
        case .closedConnection(let close): leave(close, session)
        case .ping(let opaque): engine.ping(session, opaque)
        }
    }

    private func greet(_ hello: Hello, onTour: Bool = false) {
        var welcome = Welcome()
        let resumed =
            hello.session.isEmpty
            ? nil
            : engine.resume(hello.session, peerAddress: settings.peerAddress, peer: self)
        let place = engine.place
        if resumed == nil, !hello.session.isEmpty, place.count > 1, !onTour || place.index > 0 {
            // The session may live elsewhere: asked around, the client ends where it began.
            let next = (place.index + 1) % place.count
            departure = Departure(engine: next, reason: .hello(hello))
            return
        }
        let session: Session
        if let resumed {
            session = resumed.session
            machine.resume(resumed.links)
            welcome.resumed = true
        } else {
            session = engine.connect(
                name: hello.name,
                peerAddress: settings.peerAddress,
                peer: self
            )
        }
        self.session = session
        if hello.keepaliveSeconds > 0 {
            keepaliveSeconds = min(keepaliveSeconds, hello.keepaliveSeconds)
        }
        welcome.keepaliveSeconds = keepaliveSeconds
        welcome.maxFrame = UInt32(machine.maxFrame)
        welcome.resumeWindowMilliseconds =
            UInt32(clamping: engine.configuration.resumeWindowMilliseconds)
        welcome.session = session.token.bytes
        welcome.name = engine.configuration.name
        urgently { $0.append(welcome) }
    }

    private func publish(
        _ events: Events,
        in slab: Slab,
        on link: UInt32,
        _ session: Session
    ) {
        guard case .runs(let slices) = events.content else { return }
        let publication = Publication(
            firstSequence: events.firstSequence,
            events: events.eventCount,
            bytes: events.byteCount,
            runs: slices.map { Run($0, in: slab) },
            time: engine.time
        )
        engine.publish(session, link, publication)
    }

    private func leave(_ close: Close, _ session: Session) {
        guard !close.isGraceful else { return }
        self.session = nil
        if close.code == .idle || close.code == .replaced {
            engine.disconnect(session, links: machine.detach())
        } else {
            engine.end(session)
        }
        out.dropEvents()
        isEnding = true
        wantsFlush()
    }

    private func fail(_ violation: Violation) {
        let close = Close(violation.code, reason: violation.text)
        guard let link = violation.link else {
            end(close)
            return
        }
        engine.countBreach(close.code, at: .binary)
        if let session { engine.close(session, link) }
        out.settleNow(link: link)
        out.drop(link: link)
        urgently { $0.append(close, link: link) }
    }
}

// MARK: - From engine to engine

extension ClientPeer {
    /// Leaves its engine, which forgets it.
    package func depart() { engine.release(session) }

    /// Goes on at another engine with the frame that sent it there.
    package func arrive(at engine: Engine) {
        guard let departure else { return }
        self.engine = engine
        self.departure = nil
        engine.adopt(session)
        switch departure.reason {
        case .open(let link, let open):
            if let session { engine.open(session, link, open) }
        case .hello(let hello): greet(hello, onTour: true)
        }
    }

    /// Whether what its client sends may stay in its socket for now.
    package var mayReadLate: Bool { session.map { engine.mayReadLate($0) } ?? false }

    /// Whether its client has to be read, late as it was.
    package var isReadingDue: Bool { session.map { engine.isReadingDue(of: $0) } ?? true }

    /// Whether its client has to wait until other engines have dealt with what it said.
    package var isHeldUp: Bool {
        engine.isCongested && session.map { engine.isHeldUp($0) } ?? false
    }
}

// MARK: - What ends it

extension ClientPeer {
    /// Says why and ends the connection; what the session's links were owed dies with it.
    package func end(_ close: Close) {
        guard !isEnding else { return }
        if isGreeted {
            engine.countBreach(close.code, at: .binary)
        } else {
            engine.countReject(RejectReason(close.code), at: .binary)
        }
        machine.closed()
        if let session {
            self.session = nil
            engine.end(session)
        }
        sayLast(close)
    }

    /// Says why and ends the connection, but not the session, which may come back.
    package func detach(_ close: Close) {
        guard !isEnding else { return }
        lost()
        sayLast(close)
    }

    private func sayLast(_ close: Close) {
        out.dropEvents()
        isEnding = true
        urgently { $0.append(close) }
    }

    /// The connection is gone; the session may come back.
    package func lost() {
        guard let session else { return }
        self.session = nil
        engine.disconnect(session, links: machine.detach())
    }

    /// Tells the client that the broker stops: finish in peace.
    package func sayGoingAway() {
        guard !isEnding else { return }
        let close = Close(
            .goingAway,
            reason: "the broker is stopping; come back after the retry time",
            retryMilliseconds: retryMilliseconds,
            isGraceful: true
        )
        urgently { $0.append(close) }
    }

    /// The broker has stopped.
    package func sayFarewell() {
        end(
            Close(
                .goingAway,
                reason: "the broker has stopped",
                retryMilliseconds: retryMilliseconds
            )
        )
    }

    /// Nothing waits to be written: what was asked for before is shown by its answer too.
    package func sendPing(_ opaque: UInt64) {
        proofs.note(opaque)
        urgently { $0.append(Ping(opaque: opaque)) }
    }

    /// A PING behind what the link has waiting: its PONG shows that all of that has arrived.
    package func prove(_ link: UInt32, upTo sequence: UInt64) {
        guard let opaque = proofs.begin(link, upTo: sequence) else { return }
        out.append(link: link) { $0.append(Ping(opaque: opaque)) }
        wantsFlush()
    }

    private func prove(by opaque: UInt64) {
        guard let session else { return }
        for proof in proofs.take(upTo: opaque) {
            engine.received(session, proof.link, proof.sequence)
            if let more = proof.more { prove(proof.link, upTo: more) }
        }
    }

    package var answerMilliseconds: UInt64 {
        UInt64(keepaliveSeconds) * UInt64(Limits.keepalivesMissedMax) * 1_000
    }

    private func urgently(_ write: (inout FrameWriter) -> Void) {
        write(&out.urgent)
        wantsFlush()
    }

    /// Links that are not closed.
    package var linkCount: Int { machine.linkCount }

    /// How much of the events of each link may wait to be written.
    package func setWindows(_ widths: WindowWidths) {
        guard let session else { return }
        engine.setWindows(of: session, widths)
    }

    /// Writes as much as `send` takes.
    package func flush(
        _ scratch: inout OutQueue.Scratch,
        _ send: (UnsafeBufferPointer<iovec>) -> OutQueue.Sent
    ) -> OutQueue.Outcome {
        let outcome = out.flush(&scratch, send)
        bytesOut += UInt64(outcome.byteCount)
        guard let session else { return outcome }
        for credit in scratch.credits {
            engine.wrote(session, credit.link, bytes: credit.bytes)
        }
        return outcome
    }
}

// MARK: - What the engine says

extension ClientPeer {
    package func opened(_ link: UInt32, _ opened: Opened) {
        machine.accepted(link)
        urgently { $0.append(opened, link: link) }
    }

    package func refused(_ link: UInt32, _ close: Close) {
        engine.countBreach(close.code, at: .binary)
        machine.refused(link)
        urgently { $0.append(close, link: link) }
    }

    package func deliver(
        _ link: UInt32,
        firstSequence: UInt64,
        runs: ArraySlice<Run>,
        bytes: Int
    ) {
        out.append(link: link, firstSequence: firstSequence, runs: runs, bytes: bytes)
        wantsFlush()
    }

    package func gap(_ link: UInt32, _ gap: Gap, nextSequence: UInt64) {
        out.append(link: link, window: Limits.gapWindowBytes) {
            $0.append(gap, nextSequence: nextSequence, link: link)
        }
        wantsFlush()
    }

    package func mark(_ link: UInt32, _ mark: Mark, offset: UInt64, nextSequence: UInt64) {
        out.append(link: link, window: mark.windowBytes) {
            $0.append(mark, offset: offset, nextSequence: nextSequence, link: link)
        }
        wantsFlush()
    }

    package func ask(_ link: UInt32, _ ask: Ask) { urgently { $0.append(ask, link: link) } }

    package func settle(_ link: UInt32, _ settlement: Settlement) {
        out.settle(link, settlement)
        wantsSettling()
    }

    package func status(_ link: UInt32, _ status: Status) {
        out.say(status, link: link)
        wantsFlush()
    }

    package func closed(_ link: UInt32, _ close: Close) {
        guard machine.closing(link) else {
            out.drop(link: link)
            return
        }
        engine.countBreach(close.code, at: .binary)
        out.settleNow(link: link)
        if close.code.blame == .nobody {
            out.append(link: link) { $0.append(close, link: link) }
            wantsFlush()
        } else {
            out.drop(link: link)
            urgently { $0.append(close, link: link) }
        }
    }

    package func pong(_ opaque: UInt64) {
        out.answer(ping: opaque)
        wantsFlush()
    }

    package func kicked(_ close: Close) { end(close) }

    package func replaced() {
        detach(Close(.replaced, reason: "the session goes on elsewhere"))
    }
}
