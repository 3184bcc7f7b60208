package import SluiceCore

/// One link at the client's end: its OPEN, its account and, on a producer's, its events.
package struct ClientLink: Sendable {
    package enum State: Hashable, Sendable {
        /// OPEN is not sent on this session. Next: `opening`.
        case planned
        /// OPEN is sent. Next: `open`, or gone if it is refused.
        case opening
        /// OPEN with the resume option is sent. Next: `open`, or `planned` if it is refused.
        case resuming
        /// Next: `cut`, `closing` or gone.
        case open
        /// The connection is lost. Next: `resuming`, or `planned` if the session is lost too.
        case cut
        /// CLOSE is sent. Next: gone.
        case closing
    }

    /// As it was first asked for; demand and resume are entered when it is sent.
    package let open: Open
    package internal(set) var state = State.planned
    package internal(set) var ledger = Ledger()
    package internal(set) var outbox = ClientOutbox()
    /// How often the account began anew; the counters of `ledger` are those of the last one.
    package internal(set) var account: UInt32 = 0
    /// The id on the wire; 0 while planned.
    var id: UInt32 = 0
    /// Events that wait outside the outbox, told to the broker in STATUS.
    var waiting: UInt64 = 0
    /// What the broker takes for the backlog: the last `available` less what it granted since.
    var announced: UInt64 = 0
    /// The flags of a DRAIN or STOP that is not answered: ours as sink, the broker's as source.
    var unanswered: AskFlags = []
    /// Gaps that were told on the link.
    var gaps: UInt64 = 0
    /// The sequence of the latest settled event.
    var settledTo: UInt64 = 0
    /// The record for which bytes blocked, told once.
    var blockedAt: UInt64 = .max

    init(_ open: Open) {
        self.open = open
        if open.available == Self.endlessBacklog { waiting = Self.endlessBacklog }
    }

    /// Whether frames of the link may be written now.
    var isOnWire: Bool { state == .opening || state == .resuming || state == .open }

    /// On the wire this says that a producer does not know its backlog.
    static let unknownBacklog = UInt64.max
    /// On the wire and as what waits this says that a producer always has more.
    package static let endlessBacklog = UInt64.max - 1

    private var held: UInt64 {
        // As many as can be told if more were said to wait.
        min(waiting.addingSaturated(outbox.pendingCount), Self.endlessBacklog)
    }

    /// Events that wait at this source beyond its credit, as STATUS tells it.
    var available: UInt64 {
        guard open.available != nil else { return Self.unknownBacklog }
        return held == Self.endlessBacklog ? held : held - min(held, ledger.credit)
    }
}

// MARK: - Opening

extension ClientLink {
    /// Writes the OPEN that fits the state; `id` is already chosen.
    mutating func writeOpen(into writer: inout FrameWriter) {
        var open = open
        if open.role == .source, open.available != nil {
            // What was sent and not confirmed may have to be sent again.
            open.available =
                min(held.addingSaturated(outbox.sentCount), Self.endlessBacklog)
        }
        announced = open.available ?? Self.unknownBacklog
        if state == .cut {
            open.resume = resume
            state = .resuming
        } else {
            state = .opening
            open.demandEvents = UInt32(clamping: ledger.asked)
            open.demandBytes = UInt32(clamping: ledger.askedBytes)
        }
        writer.append(open, link: id)
        if open.role == .sink, !unanswered.isEmpty {
            writer.append(ledger.ask(events: 0, flags: unanswered), link: id)
        }
    }

    private var resume: Resume {
        var resume = Resume()
        resume.position = ledger.delivered
        resume.positionBytes = ledger.deliveredBytes
        resume.asked = ledger.asked
        resume.askedBytes = ledger.askedBytes
        resume.stoppedTo = ledger.stoppedTo
        resume.drainedTo = ledger.drainedTo
        resume.gaps = gaps
        return resume
    }

    /// Begins a new account, for the broker has forgotten the old one; open demand is asked anew.
    mutating func startAnew() {
        let old = ledger
        ledger = Ledger()
        account &+= 1
        state = .planned
        id = 0
        gaps = 0
        settledTo = 0
        blockedAt = .max
        if open.role == .source {
            unanswered = []
            outbox.rewind()
        } else if old.credit > 0 || old.tracksBytes {
            // At least 1, or the new account would not track bytes.
            let bytes = old.byteCredit.map { max(1, UInt32(clamping: $0)) } ?? 0
            _ = ledger.ask(events: UInt32(clamping: old.credit), bytes: bytes)
        }
    }

    /// Books the broker's answer to OPEN.
    mutating func opened(_ opened: Opened) throws(LedgerError) {
        guard opened.resumed else {
            guard opened.nextSequence == 1 else {
                throw .mismatch(expected: 1, found: opened.nextSequence)
            }
            state = .open
            return
        }
        if open.role == .sink {
            guard opened.delivered == ledger.delivered else {
                throw .mismatch(expected: ledger.delivered, found: opened.delivered)
            }
            ledger.resumeAsSink(
                forfeited: opened.forfeited,
                forfeitedBytes: opened.forfeitedBytes
            )
        } else {
            try resumeSource(opened)
        }
        state = .open
    }

    private mutating func resumeSource(_ opened: Opened) throws(LedgerError) {
        let received = opened.delivered
        guard received >= settledTo else {
            throw .mismatch(expected: settledTo, found: received)
        }
        try ledger.resumeAsSource(
            asked: opened.asked,
            askedBytes: opened.askedBytes,
            received: received,
            receivedBytes: opened.deliveredBytes
        )
        unanswered = []
        blockedAt = .max
    }
}

// MARK: - Sending events

extension ClientLink {
    /// Writes EVENTS while credit, events and `room` last; true if more could go.
    ///
    /// `room` is in bytes; one event of any size goes even if it is larger than the room. Marks
    /// that are due go without credit; `pings` were sent on the connection before.
    mutating func writeEvents(
        room: Int,
        frameBytesMax: Int,
        pings: UInt64,
        into output: inout ClientOutput
    ) -> Bool {
        guard state == .open, open.role == .source else { return false }
        var left = room
        var isBlocked = false
        repeat {
            if let mark = outbox.takeMark(after: pings) {
                let next = ledger.delivered + 1
                output.frames.append(mark, offset: 0, nextSequence: next, link: id)
                left -= mark.windowBytes
                continue
            }
            guard outbox.pendingCount > 0, ledger.credit > 0 else {
                isBlocked = true
                break
            }
            let written = writeFrame(room: left, frameBytesMax: frameBytesMax, into: &output)
            isBlocked = written == 0
            left -= written
            // What is left is not spent on a small frame: a larger one goes in the next turn.
        } while !isBlocked && left > room / 2
        isBlocked =
            isBlocked
            || !outbox.hasDueMark && (outbox.pendingCount == 0 || ledger.credit == 0)
        if isBlocked { answerDrain(into: &output.frames) }
        return !isBlocked
    }

    private mutating func writeFrame(
        room: Int,
        frameBytesMax: Int,
        into output: inout ClientOutput
    ) -> Int {
        let runsMax = 64
        let overhead = FrameWriter.eventsOverhead(runs: runsMax)
        let byteCredit = ledger.byteCredit ?? .max
        let head = outbox.headBytes ?? 0
        guard UInt64(head) <= byteCredit else {
            writeBytesBlocked(into: &output.frames)
            return 0
        }
        let room = max(head, min(room, frameBytesMax - overhead))
        let runs = outbox.take(
            events: ledger.credit,
            bytes: min(UInt64(room), byteCredit),
            runsMax: runsMax
        )
        let bytes = runs.reduce(0) { $0 + $1.byteCount }
        let count = runs.reduce(0) { $0 + UInt64($1.count) }
        output.frames.appendEventsHead(
            link: id,
            firstSequence: ledger.delivered + 1,
            runs: runs.count,
            recordBytes: bytes
        )
        for run in runs {
            let head = RunHeader(count: run.count, length: UInt32(run.byteCount))
            output.frames.appendRunHead(head)
            output.append(records: run)
        }
        ledger.deliver(events: count, bytes: UInt64(bytes))
        return bytes + FrameWriter.eventsOverhead(runs: runs.count)
    }

    private mutating func writeBytesBlocked(into writer: inout FrameWriter) {
        guard blockedAt != ledger.delivered else { return }
        blockedAt = ledger.delivered
        write(status, into: &writer)
    }

    /// Answers a DRAIN once nothing more can go for it.
    private mutating func answerDrain(into writer: inout FrameWriter) {
        guard unanswered.contains(.drain) else { return }
        unanswered = []
        ledger.forfeit(upTo: ledger.drainedTo)
        var status = status
        status.isDrained = true
        write(status, into: &writer)
    }

    /// The account in clear.
    var status: Status {
        var status = Status(ledger)
        status.available = available
        status.unsettled = UInt32(clamping: outbox.sentCount)
        status.blockedBy =
            if held == 0 { .noEvents } else { ledger.credit > 0 ? .nothing : .noDemand }
        if blockedAt == ledger.delivered, ledger.credit > 0, let needed = outbox.headBytes {
            // The latest STATUS counts: one that left this out would take the need back.
            status.blockedBy = .bytes
            status.needBytes = UInt32(clamping: needed)
        }
        return status
    }

    mutating func write(_ status: Status, into writer: inout FrameWriter) {
        announced = status.available
        writer.append(status, link: id)
    }

    /// Applies a DEMAND of the broker and answers its flags; returns the events it added.
    mutating func apply(_ ask: Ask, into writer: inout FrameWriter) throws(LedgerError) -> UInt64 {
        try ledger.apply(ask)
        blockedAt = .max
        if announced < Self.endlessBacklog { announced -= min(announced, UInt64(ask.events)) }
        if ask.flags.contains(.stop) {
            unanswered = []
            var status = status
            status.isDrained = true
            status.isEcho = ask.flags.contains(.echo)
            status.echo = ask.echo
            write(status, into: &writer)
            return UInt64(0)
        }
        if ask.flags.contains(.drain) { unanswered.insert(.drain) }
        if ask.flags.contains(.echo) {
            var status = status
            status.isEcho = true
            status.echo = ask.echo
            write(status, into: &writer)
        }
        return UInt64(ask.events)
    }

    /// Books a stretch of SETTLE, which follows on the last.
    ///
    /// Returns how many events it settles, and how many marks it shows to have arrived.
    mutating func settle(
        _ settlement: Settlement
    ) throws(LedgerError) -> (events: UInt64, marks: Int) {
        let end = settlement.from &+ UInt64(settlement.count)
        guard settlement.from > 0, settlement.from <= settledTo + 1 else {
            throw .mismatch(expected: settledTo + 1, found: settlement.from)
        }
        // What a resume took as received may be settled once more.
        guard end > settledTo + 1 else { return (0, 0) }
        let count = end - 1 - settledTo
        guard count <= outbox.sentCount else {
            throw .overrun(credit: outbox.sentCount, sent: count)
        }
        settledTo += count
        return (count, outbox.settle(count))
    }
}
