package import SluiceCore

/// Appends frames to one array of bytes, without an array for each.
package struct FrameWriter: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func reserveCapacity(_ count: Int) { bytes.reserveCapacity(count) }

    /// Empties the writer; its memory stays for the next frames.
    package mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    /// Gives away what was written and starts anew.
    package mutating func take() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }

    /// Runs `body` to write a frame's body, then enters its length in the header.
    private mutating func frame(
        _ type: FrameType,
        flags: UInt8 = 0,
        link: UInt32 = 0,
        _ body: (inout FrameWriter) -> Void
    ) {
        let start = bytes.count
        appendHeader(FrameHeader(length: 0, type: type.rawValue, flags: flags, link: link))
        body(&self)
        let length = bytes.count - start - FrameHeader.byteCount
        precondition(length <= Limits.frameBytesMax, "a frame keeps within the limit")
        bytes[start] = UInt8(truncatingIfNeeded: length >> 16)
        bytes[start + 1] = UInt8(truncatingIfNeeded: length >> 8)
        bytes[start + 2] = UInt8(truncatingIfNeeded: length)
    }

    private mutating func appendHeader(_ header: FrameHeader) {
        append(UInt32(header.length) << 8 | UInt32(header.type))
        append(header.flags)
        append(header.link)
    }

    private mutating func append<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        unsafe withUnsafeBytes(of: value.bigEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    private mutating func append(text: String, maximum: Int) {
        precondition(text.utf8.count <= maximum, "a text keeps within its limit")
        bytes.append(contentsOf: text.utf8)
    }
}

// MARK: - Frames of the connection

extension FrameWriter {
    package mutating func append(_ hello: Hello) {
        precondition(hello.session.isEmpty || hello.session.count == Limits.sessionTokenBytes)
        precondition(hello.auth.count <= Limits.authBytesMax)
        frame(.hello) { writer in
            writer.append(Hello.magic)
            writer.append(hello.versions.lowerBound)
            writer.append(hello.versions.upperBound)
            writer.append(hello.keepaliveSeconds)
            writer.append(hello.capabilities)
            writer.append(hello.maxFrame)
            writer.append(UInt8(hello.session.count))
            writer.bytes.append(contentsOf: hello.session)
            writer.append(hello.authKind)
            writer.append(UInt16(hello.auth.count))
            writer.bytes.append(contentsOf: hello.auth)
            writer.append(UInt8(hello.name.utf8.count))
            writer.append(text: hello.name, maximum: Limits.clientNameBytesMax)
        }
    }

    package mutating func append(_ welcome: Welcome) {
        precondition(welcome.session.isEmpty || welcome.session.count == Limits.sessionTokenBytes)
        frame(.welcome, flags: welcome.resumed ? FrameFlags.resumed : 0) { writer in
            writer.append(welcome.version)
            writer.append(welcome.keepaliveSeconds)
            writer.append(welcome.capabilities)
            writer.append(welcome.maxFrame)
            writer.append(welcome.maxEvent)
            writer.append(welcome.maxDemand)
            writer.append(welcome.maxDemandBytes)
            writer.append(welcome.maxLinks)
            writer.append(welcome.resumeWindowMilliseconds)
            writer.append(UInt8(welcome.session.count))
            writer.bytes.append(contentsOf: welcome.session)
            writer.append(UInt8(welcome.name.utf8.count))
            writer.append(text: welcome.name, maximum: Limits.clientNameBytesMax)
        }
    }

    package mutating func append(_ ping: Ping) {
        frame(.ping, flags: ping.isAnswer ? FrameFlags.pong : 0) { writer in
            writer.append(ping.opaque)
        }
    }

    /// Closes `link`, or the connection on link 0; a reason above the limit is cut.
    package mutating func append(_ close: Close, link: UInt32 = 0) {
        let flags = close.isGraceful ? FrameFlags.graceful : 0
        let reason = Self.shortened(close.reason)
        frame(.close, flags: flags, link: link) { writer in
            writer.append(close.code.rawValue)
            writer.append(close.retryMilliseconds)
            writer.append(UInt16(reason.utf8.count))
            writer.append(text: reason, maximum: Limits.reasonBytesMax)
        }
    }

    private static func shortened(_ reason: String) -> String {
        guard reason.utf8.count > Limits.reasonBytesMax else { return reason }
        var short = String(decoding: reason.utf8.prefix(Limits.reasonBytesMax), as: UTF8.self)
        // A character cut in two was repaired by a longer one.
        while short.utf8.count > Limits.reasonBytesMax { short.removeLast() }
        return short
    }
}

// MARK: - Frames of a link

extension FrameWriter {
    package mutating func append(_ open: Open, link: UInt32) {
        frame(.open, link: link) { writer in
            writer.append(open.role.rawValue)
            writer.append(UInt8(open.topic.utf8.count))
            writer.append(text: open.topic, maximum: Limits.topicNameBytesMax)
            if let group = open.group {
                writer.appendOption(.group, bytes: group.utf8.count)
                writer.append(text: group, maximum: Limits.groupNameBytesMax)
            }
            if let dispatcher = open.dispatcher {
                writer.appendOption(.dispatcher, bytes: 1)
                writer.append(dispatcher.rawValue)
            }
            if let start = open.start { writer.append(start) }
            if open.demandEvents > 0 || open.demandBytes > 0 {
                writer.appendOption(.demand, bytes: 8)
                writer.append(open.demandEvents)
                writer.append(open.demandBytes)
            }
            if let name = open.name {
                writer.appendOption(.name, bytes: name.utf8.count)
                writer.append(text: name, maximum: Limits.clientNameBytesMax)
            }
            if let available = open.available {
                writer.appendOption(.available, bytes: 8)
                writer.append(available)
            }
            if let resume = open.resume { writer.append(resume) }
        }
    }

    private mutating func appendOption(_ tag: OptionTag, bytes count: Int) {
        append(tag.rawValue)
        append(UInt16(count))
    }

    private mutating func append(_ start: Start) {
        let (kind, value): (StartKind, UInt64) =
            switch start {
            case .new: (.new, 0)
            case .first: (.first, 0)
            case .offset(let offset): (.offset, offset)
            case .time(let time): (.time, time)
            }
        appendOption(.start, bytes: 9)
        append(kind.rawValue)
        append(value)
    }

    private mutating func append(_ resume: Resume) {
        appendOption(.resume, bytes: 48)
        append(resume.position)
        append(resume.positionBytes)
        append(resume.asked)
        append(resume.askedBytes)
        append(resume.stoppedTo)
        append(resume.drainedTo)
    }

    package mutating func append(_ opened: Opened, link: UInt32) {
        let flags = opened.resumed ? FrameFlags.resumed : 0
        frame(.opened, flags: flags, link: link) { writer in
            writer.append(opened.nextSequence)
            writer.append(opened.head)
            writer.append(opened.asked)
            writer.append(opened.askedBytes)
            writer.append(opened.deliveredBytes)
            writer.append(opened.forfeited)
            writer.append(opened.forfeitedBytes)
            writer.append(opened.stoppedTo)
            writer.append(opened.drainedTo)
        }
    }

    package mutating func append(_ ask: Ask, link: UInt32) {
        frame(.demand, flags: ask.flags.rawValue, link: link) { writer in
            writer.append(ask.events)
            writer.append(ask.total)
            writer.append(ask.bytes)
            writer.append(ask.bytesTotal)
            writer.append(ask.received)
        }
    }

    package mutating func append(_ settlements: [Settlement], link: UInt32) {
        precondition(!settlements.isEmpty && settlements.count <= Limits.settleRangesMax)
        frame(.settle, link: link) { writer in
            for settlement in settlements {
                writer.append(settlement.from)
                writer.append(settlement.count)
                writer.append(settlement.outcome.rawValue)
                writer.append(settlement.argument)
            }
        }
    }

    package mutating func append(_ status: Status, link: UInt32) {
        let flags =
            (status.isDrained ? FrameFlags.drained : 0) | (status.isEcho ? FrameFlags.echoed : 0)
        frame(.status, flags: flags, link: link) { writer in
            writer.append(status.asked)
            writer.append(status.delivered)
            writer.append(status.forfeited)
            writer.append(status.askedBytes)
            writer.append(status.deliveredBytes)
            writer.append(status.forfeitedBytes)
            writer.append(status.stoppedTo)
            writer.append(status.drainedTo)
            writer.append(status.available)
            writer.append(status.unsettled)
            writer.append(status.oldestMilliseconds)
            writer.append(status.blockedBy.rawValue)
            writer.append(status.needBytes)
        }
    }
}

// MARK: - EVENTS

extension FrameWriter {
    /// Bytes of an EVENTS before its records: the frame's header, the sequence, a head a run.
    package static func eventsOverhead(runs: Int) -> Int {
        FrameHeader.byteCount + 8 + runs * RunHeader.byteCount
    }

    /// Begins an EVENTS; `runs` run heads, each with its records after it, complete the frame.
    package mutating func appendEventsHead(
        link: UInt32,
        firstSequence: UInt64,
        runs: Int,
        recordBytes: Int
    ) {
        let length = Self.eventsOverhead(runs: runs) - FrameHeader.byteCount + recordBytes
        precondition(runs > 0 && runs <= Limits.runsPerFrameMax && length <= Limits.frameBytesMax)
        appendHeader(FrameHeader(length: length, type: FrameType.events.rawValue, link: link))
        append(firstSequence)
    }

    /// The head of one run; its records follow, here or from where they lie.
    package mutating func appendRunHead(_ run: RunHeader) {
        append(run.count)
        append(run.length)
        append(run.offset)
        append(run.time)
        append(run.attempt)
        append(UInt16(0))
    }

    /// Copies records that are already in their form.
    package mutating func append(records: RawSpan) {
        unsafe records.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    }

    package mutating func append(_ gap: Gap, nextSequence: UInt64, link: UInt32) {
        frame(.events, flags: FrameFlags.gap, link: link) { writer in
            writer.append(nextSequence)
            writer.append(gap.from)
            writer.append(gap.to)
            writer.append(gap.count)
            writer.append(gap.reason.rawValue)
        }
    }
}

// MARK: - Records

/// One header of an event.
package struct RecordHeader: Hashable, Sendable {
    package var name: String
    package var value: [UInt8]

    package init(name: String, value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

extension FrameWriter {
    /// Bytes that the record will take, which is what it costs in credit; checks every limit.
    package static func recordByteCount(
        key: [UInt8]?,
        headers: [RecordHeader],
        payload count: Int
    ) throws(WireError) -> Int {
        var total = Record.headBytes + count
        if let key {
            guard key.count <= Limits.keyBytesMax else {
                throw .tooLong(.key, count: key.count, maximum: Limits.keyBytesMax)
            }
            total += 2 + key.count
        }
        if !headers.isEmpty { total += 2 + (try blockByteCount(headers)) }
        guard total <= Limits.eventBytesMax else { throw .eventTooLarge(total) }
        return total
    }

    private static func blockByteCount(_ headers: [RecordHeader]) throws(WireError) -> Int {
        var total = 0
        for header in headers {
            let nameCount = header.name.utf8.count
            guard nameCount > 0 else { throw .badValue(.headerName, 0) }
            guard nameCount <= 255 else {
                throw .tooLong(.headerName, count: nameCount, maximum: 255)
            }
            total += 3 + nameCount + header.value.count
        }
        guard total <= Limits.headersBytesMax else {
            throw .tooLong(.headers, count: total, maximum: Limits.headersBytesMax)
        }
        return total
    }

    /// Appends a record, or nothing if a part of it is above its limit.
    package mutating func appendRecord(
        key: [UInt8]? = nil,
        headers: [RecordHeader] = [],
        payload: RawSpan
    ) throws(WireError) {
        let total = try Self.recordByteCount(
            key: key,
            headers: headers,
            payload: payload.byteCount
        )
        let flags =
            (key == nil ? 0 : Record.keyFlag) | (headers.isEmpty ? 0 : Record.headersFlag)
        append(UInt32(flags) << 24 | UInt32(total - Record.headBytes))
        if let key {
            append(UInt16(key.count))
            bytes.append(contentsOf: key)
        }
        if !headers.isEmpty {
            append(UInt16(try Self.blockByteCount(headers)))
            for header in headers {
                append(UInt8(header.name.utf8.count))
                bytes.append(contentsOf: header.name.utf8)
                append(UInt16(header.value.count))
                bytes.append(contentsOf: header.value)
            }
        }
        append(records: payload)
    }
}
