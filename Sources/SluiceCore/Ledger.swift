/// One end's account of one link, in events and in bytes (law L2).
///
/// Both ends of a link keep one. The sink counts what it asked when it sends, the source when it
/// receives; the source counts what it delivered when the frame enters the connection's byte
/// stream, the sink at receipt; only the source decides what is forfeited.
// delivered + forfeited ≤ asked, in events, and in bytes once bytes are tracked
package struct Ledger: Hashable, Sendable {
    package private(set) var asked: UInt64 = 0
    package private(set) var delivered: UInt64 = 0
    package private(set) var forfeited: UInt64 = 0
    package private(set) var askedBytes: UInt64 = 0
    package private(set) var deliveredBytes: UInt64 = 0
    package private(set) var forfeitedBytes: UInt64 = 0
    /// The total up to which the last STOP forfeited.
    package private(set) var stoppedTo: UInt64 = 0
    /// The total up to which the last DRAIN asked to deliver or forfeit.
    package private(set) var drainedTo: UInt64 = 0

    package init() {}

    /// The account that the other end of a link has told.
    package init(
        asked: UInt64,
        askedBytes: UInt64,
        delivered: UInt64,
        deliveredBytes: UInt64,
        forfeited: UInt64,
        forfeitedBytes: UInt64
    ) {
        self.asked = asked
        self.askedBytes = askedBytes
        self.delivered = delivered
        self.deliveredBytes = deliveredBytes
        self.forfeited = forfeited
        self.forfeitedBytes = forfeitedBytes
    }

    /// Asked for and not yet delivered or forfeited, in events.
    package var credit: UInt64 { asked - delivered - forfeited }

    /// Whether the sink set a limit in bytes; the first DEMAND with credit decides.
    package var tracksBytes: Bool { askedBytes > 0 }

    /// Asked for and not yet delivered or forfeited, in bytes; nil when bytes are not tracked.
    package var byteCredit: UInt64? {
        tracksBytes ? askedBytes - min(askedBytes, deliveredBytes + forfeitedBytes) : nil
    }

    /// Bytes that may be delivered now: without an end when bytes are not tracked.
    package var bytesAllowed: Int { Int(clamping: byteCredit ?? UInt64(Int.max)) }

    /// Credit that a DRAIN or STOP up to `total` speaks of.
    package func credit(upTo total: UInt64) -> UInt64 {
        min(total, asked) - min(min(total, asked), delivered + forfeited)
    }
}

/// What a DEMAND says: the numbers of the frame, both entries.
package struct Ask: Hashable, Sendable {
    package var events: UInt32
    package var bytes: UInt32
    package var total: UInt64
    package var bytesTotal: UInt64
    /// How many events the sink has received on the link.
    package var received: UInt64
    /// The number of an ECHO; 0 for one without.
    package var echo: UInt64
    package var flags: AskFlags

    package init(
        events: UInt32,
        total: UInt64,
        bytes: UInt32 = 0,
        bytesTotal: UInt64 = 0,
        received: UInt64 = 0,
        flags: AskFlags = [],
        echo: UInt64 = 0
    ) {
        self.events = events
        self.total = total
        self.bytes = bytes
        self.bytesTotal = bytesTotal
        self.received = received
        self.flags = flags
        self.echo = echo
    }

    /// The demand that comes with an OPEN, as a link's first DEMAND would bring it.
    package init(opening events: UInt32, bytes: UInt32) {
        self.init(
            events: events,
            total: UInt64(events),
            bytes: bytes,
            bytesTotal: UInt64(bytes)
        )
    }
}

/// The flags of a DEMAND.
package struct AskFlags: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Deliver what waits now, forfeit the rest, and answer STATUS with DRAINED.
    package static let drain = Self(rawValue: 0x01)
    /// Forfeit now and answer STATUS with DRAINED.
    package static let stop = Self(rawValue: 0x02)
    /// Answer STATUS with ECHO.
    package static let echo = Self(rawValue: 0x04)
}

/// Why a ledger refuses an entry; each closes the link with `code`.
package enum LedgerError: Error, Equatable, Sendable {
    /// A DEMAND for no events, no bytes and without a flag.
    case zeroDemand
    /// n and total (or the pair in bytes, or `received`) disagree with the account.
    case mismatch(expected: UInt64, found: UInt64)
    /// More would be outstanding than the limit allows.
    case aboveMaximum
    /// More was sent than asked for.
    case overrun(credit: UInt64, sent: UInt64)

    package var code: CloseCode {
        switch self {
        case .zeroDemand: .badDemand
        case .mismatch: .creditMismatch
        case .aboveMaximum: .limit
        case .overrun: .creditOverrun
        }
    }
}

// MARK: - The sink's entries

extension Ledger {
    /// Asks for more and returns the DEMAND to send; the caller keeps within the limits.
    package mutating func ask(
        events: UInt32,
        bytes: UInt32 = 0,
        flags: AskFlags = []
    ) -> Ask {
        precondition(events > 0 || bytes > 0 || !flags.isEmpty, "a demand asks for something")
        asked += UInt64(events)
        askedBytes += UInt64(bytes)
        // Both together are a STOP.
        if flags.contains(.stop) {
            stoppedTo = asked
        } else if flags.contains(.drain) {
            drainedTo = asked
        }
        return Ask(
            events: events,
            total: asked,
            bytes: bytes,
            bytesTotal: askedBytes,
            received: delivered,
            flags: flags
        )
    }

    /// Books a received EVENTS: its sequence must follow on, and credit must cover it.
    package mutating func receive(
        firstSequence: UInt64,
        events: UInt64,
        bytes: UInt64
    ) throws(LedgerError) {
        // Saturated: an account that the other side brought may be at its end, without credit.
        let expected = delivered.addingSaturated(1)
        guard firstSequence == expected else {
            throw .mismatch(expected: expected, found: firstSequence)
        }
        guard events <= credit else { throw .overrun(credit: credit, sent: events) }
        if let byteCredit, bytes > byteCredit {
            throw .overrun(credit: byteCredit, sent: bytes)
        }
        delivered += events
        deliveredBytes += bytes
    }

    /// Books what the source says it has forfeited, from STATUS.
    package mutating func book(
        forfeited total: UInt64,
        forfeitedBytes totalBytes: UInt64
    ) throws(LedgerError) {
        guard total >= forfeited, total <= asked - delivered else {
            throw .mismatch(expected: forfeited, found: total)
        }
        guard totalBytes >= forfeitedBytes,
            totalBytes <= max(askedBytes, deliveredBytes) - deliveredBytes
        else { throw .mismatch(expected: forfeitedBytes, found: totalBytes) }
        forfeited = total
        forfeitedBytes = totalBytes
    }

    /// Takes over what the source answered to a resume: nothing that was cut stays as credit.
    package mutating func resumeAsSink(forfeited: UInt64, forfeitedBytes: UInt64) {
        self.forfeited = min(forfeited, asked - delivered)
        self.forfeitedBytes = min(forfeitedBytes, max(askedBytes, deliveredBytes) - deliveredBytes)
    }

    /// The broker's part when a producer is gone: what it was granted is void at once.
    package mutating func forfeitAsSink() {
        stoppedTo = asked
        forfeit(upTo: asked)
    }
}

// MARK: - The source's entries

extension Ledger {
    /// Books a received DEMAND; on an error nothing has changed and the link must close.
    package mutating func apply(_ ask: Ask) throws(LedgerError) {
        guard ask.events > 0 || ask.bytes > 0 || !ask.flags.isEmpty else { throw .zeroDemand }
        let (total, overflow) = asked.addingReportingOverflow(UInt64(ask.events))
        guard !overflow, total == ask.total else {
            throw .mismatch(expected: total, found: ask.total)
        }
        let (totalBytes, overflowBytes) = askedBytes.addingReportingOverflow(UInt64(ask.bytes))
        guard !overflowBytes, totalBytes == ask.bytesTotal else {
            throw .mismatch(expected: totalBytes, found: ask.bytesTotal)
        }
        guard tracksBytes || asked == 0 || ask.bytes == 0 else {
            throw .mismatch(expected: 0, found: ask.bytesTotal)
        }
        guard ask.received <= delivered else {
            throw .mismatch(expected: delivered, found: ask.received)
        }
        guard credit + UInt64(ask.events) <= Limits.demandMax,
            (byteCredit ?? 0) + UInt64(ask.bytes) <= Limits.demandBytesMax
        else { throw .aboveMaximum }
        asked = total
        askedBytes = totalBytes
        if ask.flags.contains(.stop) {
            stoppedTo = total
            forfeit(upTo: total)
        } else if ask.flags.contains(.drain) {
            drainedTo = total
        }
    }

    /// Books events that enter the connection's byte stream.
    package mutating func deliver(events: UInt64, bytes: UInt64) {
        precondition(events <= credit, "a link never receives more than it asked")
        if let byteCredit { precondition(bytes <= byteCredit, "nor in bytes") }
        delivered += events
        deliveredBytes += bytes
    }

    /// Gives up the credit asked for up to `total`; all credit in bytes goes with the last of it.
    package mutating func forfeit(upTo total: UInt64) {
        forfeited += credit(upTo: total)
        if credit == 0, let byteCredit { forfeitedBytes += byteCredit }
    }

    /// Resumes at the broker as source: what the sink never received counts as forfeited.
    package mutating func rewind(
        received: UInt64,
        receivedBytes: UInt64,
        asked sinkAsked: UInt64,
        askedBytes sinkAskedBytes: UInt64
    ) throws(LedgerError) {
        guard received <= delivered else { throw .mismatch(expected: delivered, found: received) }
        guard receivedBytes <= deliveredBytes else {
            throw .mismatch(expected: deliveredBytes, found: receivedBytes)
        }
        guard sinkAsked >= asked else { throw .mismatch(expected: asked, found: sinkAsked) }
        guard sinkAskedBytes >= askedBytes else {
            throw .mismatch(expected: askedBytes, found: sinkAskedBytes)
        }
        guard tracksBytes || asked == 0 || sinkAskedBytes == 0 else {
            throw .mismatch(expected: 0, found: sinkAskedBytes)
        }
        let byteRoom = Limits.demandBytesMax - min(Limits.demandBytesMax, byteCredit ?? 0)
        guard sinkAsked - received - forfeited - (delivered - received) <= Limits.demandMax,
            sinkAskedBytes - askedBytes <= byteRoom
        else { throw .aboveMaximum }
        forfeited += delivered - received
        if tracksBytes { forfeitedBytes += deliveredBytes - receivedBytes }
        delivered = received
        deliveredBytes = receivedBytes
        asked = sinkAsked
        askedBytes = sinkAskedBytes
    }

    /// Resumes at the client as source: takes the broker's account of the link.
    package mutating func resumeAsSource(
        asked: UInt64,
        askedBytes: UInt64,
        received: UInt64,
        receivedBytes: UInt64
    ) throws(LedgerError) {
        guard received <= delivered else { throw .mismatch(expected: delivered, found: received) }
        guard receivedBytes <= deliveredBytes else {
            throw .mismatch(expected: deliveredBytes, found: receivedBytes)
        }
        guard asked >= self.asked else { throw .mismatch(expected: self.asked, found: asked) }
        guard askedBytes >= self.askedBytes else {
            throw .mismatch(expected: self.askedBytes, found: askedBytes)
        }
        guard tracksBytes || self.asked == 0 || askedBytes == 0 else {
            throw .mismatch(expected: 0, found: askedBytes)
        }
        self.asked = asked
        self.askedBytes = askedBytes
        delivered = received
        deliveredBytes = receivedBytes
        stoppedTo = asked
        forfeited = asked - received
        forfeitedBytes = askedBytes - min(askedBytes, receivedBytes)
    }

    /// Applies a STOP that was lost in a cut.
    package mutating func stop(upTo total: UInt64) {
        stoppedTo = min(total, asked)
        forfeit(upTo: stoppedTo)
    }

    /// Applies a DRAIN that was lost in a cut.
    package mutating func drain(upTo total: UInt64) { drainedTo = min(total, asked) }
}
