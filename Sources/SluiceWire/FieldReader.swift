import SluiceCore

/// Takes the fields of one body in order; every step is checked against the body's end.
struct FieldReader {
    let type: FrameType
    var position: Int
    let end: Int

    init(type: FrameType, in range: Range<Int>) {
        self.type = type
        position = range.lowerBound
        end = range.upperBound
    }

    var left: Int { end - position }

    mutating func next<Value: FixedWidthInteger & BitwiseCopyable>(
        _ span: RawSpan,
        as type: Value.Type = Value.self
    ) throws(WireError) -> Value {
        let range = try take(MemoryLayout<Value>.size)
        return span.bigEndian(at: range.lowerBound)
    }

    /// The range of the next `count` bytes.
    mutating func take(_ count: Int) throws(WireError) -> Range<Int> {
        guard count <= left else { throw .truncated(type) }
        defer { position += count }
        return position..<(position + count)
    }

    mutating func name(
        _ field: WireError.Field,
        count: Int,
        maximum: Int,
        from span: RawSpan
    ) throws(WireError) -> String {
        let range = try take(count)
        guard count <= maximum else { throw .tooLong(field, count: count, maximum: maximum) }
        guard let text = span.text(in: range) else { throw .badText(field) }
        guard NameRule.isLegal(text) else { throw .badName(field) }
        return text
    }

    mutating func sessionToken(from span: RawSpan) throws(WireError) -> [UInt8] {
        let count = Int(try next(span, as: UInt8.self))
        guard count == 0 || count == Limits.sessionTokenBytes else {
            throw .badValue(.sessionToken, UInt64(count))
        }
        return span.array(in: try take(count))
    }

    /// A name that may be left out by sending no bytes.
    mutating func connectionName(from span: RawSpan) throws(WireError) -> String {
        let count = Int(try next(span, as: UInt8.self))
        guard count > 0 else { return "" }
        return try name(
            .connectionName,
            count: count,
            maximum: Limits.clientNameBytesMax,
            from: span
        )
    }
}

// MARK: - Frames of the connection

extension FieldReader {
    mutating func hello(from span: RawSpan) throws(WireError) -> Hello {
        let magic: UInt32 = try next(span)
        guard magic == Hello.magic else { throw .badMagic(magic) }
        var hello = Hello()
        let lowest: UInt8 = try next(span)
        let highest: UInt8 = try next(span)
        guard lowest <= highest else { throw .badValue(.versions, UInt64(lowest)) }
        hello.versions = lowest...highest
        hello.keepaliveSeconds = try next(span)
        hello.capabilities = try next(span)
        hello.maxFrame = try next(span)
        guard hello.maxFrame >= UInt32(Limits.frameBytesMin) else {
            throw .badValue(.maxFrame, UInt64(hello.maxFrame))
        }
        hello.session = try sessionToken(from: span)
        hello.authKind = try next(span)
        let authCount = Int(try next(span, as: UInt16.self))
        guard authCount <= Limits.authBytesMax else {
            throw .tooLong(.credential, count: authCount, maximum: Limits.authBytesMax)
        }
        hello.auth = span.array(in: try take(authCount))
        hello.name = try connectionName(from: span)
        return hello
    }

    mutating func welcome(flags: UInt8, from span: RawSpan) throws(WireError) -> Welcome {
        var welcome = Welcome()
        welcome.resumed = flags & FrameFlags.resumed != 0
        welcome.version = try next(span)
        welcome.keepaliveSeconds = try next(span)
        welcome.capabilities = try next(span)
        welcome.maxFrame = try next(span)
        welcome.maxEvent = try next(span)
        welcome.maxDemand = try next(span)
        welcome.maxDemandBytes = try next(span)
        welcome.maxLinks = try next(span)
        welcome.resumeWindowMilliseconds = try next(span)
        welcome.session = try sessionToken(from: span)
        welcome.name = try connectionName(from: span)
        return welcome
    }

    mutating func ping(flags: UInt8, from span: RawSpan) throws(WireError) -> Ping {
        Ping(opaque: try next(span), isAnswer: flags & FrameFlags.pong != 0)
    }

    mutating func close(flags: UInt8, from span: RawSpan) throws(WireError) -> Close {
        let code = CloseCode(rawValue: try next(span))
        let retry: UInt32 = try next(span)
        let count = Int(try next(span, as: UInt16.self))
        let range = try take(count)
        guard count <= Limits.reasonBytesMax else {
            throw .tooLong(.reason, count: count, maximum: Limits.reasonBytesMax)
        }
        guard let reason = span.text(in: range) else { throw .badText(.reason) }
        return Close(
            code,
            reason: reason,
            retryMilliseconds: retry,
            isGraceful: flags & FrameFlags.graceful != 0
        )
    }
}

// MARK: - Frames of a link

extension FieldReader {
    mutating func opened(flags: UInt8, from span: RawSpan) throws(WireError) -> Opened {
        var opened = Opened()
        opened.resumed = flags & FrameFlags.resumed != 0
        opened.nextSequence = try next(span)
        guard opened.nextSequence > 0 else { throw .badValue(.nextSequence, 0) }
        opened.head = try next(span)
        opened.asked = try next(span)
        opened.askedBytes = try next(span)
        opened.deliveredBytes = try next(span)
        opened.forfeited = try next(span)
        opened.forfeitedBytes = try next(span)
        opened.stoppedTo = try next(span)
        opened.drainedTo = try next(span)
        return opened
    }

    mutating func demand(flags: UInt8, from span: RawSpan) throws(WireError) -> Ask {
        let events: UInt32 = try next(span)
        let total: UInt64 = try next(span)
        let bytes: UInt32 = try next(span)
        let bytesTotal: UInt64 = try next(span)
        let received: UInt64 = try next(span)
        let flags = AskFlags(rawValue: flags & type.knownFlags)
        return Ask(
            events: events,
            total: total,
            bytes: bytes,
            bytesTotal: bytesTotal,
            received: received,
            flags: flags,
            echo: flags.contains(.echo) ? try nextIfThere(span) : 0
        )
    }

    /// A number that frames of earlier peers end before; 0 then.
    private mutating func nextIfThere(_ span: RawSpan) throws(WireError) -> UInt64 {
        left >= 8 ? try next(span) : 0
    }

    mutating func settlements(from span: RawSpan) throws(WireError) -> [Settlement] {
        let (count, rest) = left.quotientAndRemainder(dividingBy: Settlement.byteCount)
        guard rest == 0, count > 0 else { throw .truncated(type) }
        guard count <= Limits.settleRangesMax else {
            throw .tooLong(.settlement, count: count, maximum: Limits.settleRangesMax)
        }
        var settlements: [Settlement] = []
        settlements.reserveCapacity(count)
        for _ in 0..<count {
            let from: UInt64 = try next(span)
            let length: UInt32 = try next(span)
            let outcome: UInt8 = try next(span)
            let argument: UInt32 = try next(span)
            guard from > 0, !from.addingReportingOverflow(UInt64(length)).overflow else {
                throw .badValue(.settlement, from)
            }
            guard length > 0 else { throw .badValue(.settlement, 0) }
            guard let outcome = Outcome(rawValue: outcome) else {
                throw .badValue(.outcome, UInt64(outcome))
            }
            settlements.append(
                Settlement(from: from, count: length, outcome: outcome, argument: argument)
            )
        }
        return settlements
    }

    mutating func status(flags: UInt8, from span: RawSpan) throws(WireError) -> Status {
        var status = Status()
        status.isDrained = flags & FrameFlags.drained != 0
        status.isEcho = flags & FrameFlags.echoed != 0
        status.asked = try next(span)
        status.delivered = try next(span)
        status.forfeited = try next(span)
        status.askedBytes = try next(span)
        status.deliveredBytes = try next(span)
        status.forfeitedBytes = try next(span)
        status.stoppedTo = try next(span)
        status.drainedTo = try next(span)
        status.available = try next(span)
        status.unsettled = try next(span)
        status.oldestMilliseconds = try next(span)
        // What a later peer names and we do not know is nothing that we could act on.
        status.blockedBy = BlockedBy(rawValue: try next(span)) ?? .nothing
        status.needBytes = try next(span)
        if status.isEcho { status.echo = try nextIfThere(span) }
        return status
    }
}

extension Settlement {
    /// Bytes of one range in a SETTLE.
    package static let byteCount = 17
}
