package import SluiceCore

/// Appends frames to one array of bytes, without an array for each.
package struct FrameWriter: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func reserveCapacity(_ count: Int) { bytes.reserveCapacity(count) }

    /// Empties the writer; its memory stays for the next frames.
    package mutating func removeAll() { bytes.removeLast(bytes.count) }

    /// Gives away what was written and starts anew.
    package mutating func take() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }

    /// Makes room for `count` bytes at once and lets `body` fill all of it.
    @inline(__always)
    private mutating func append(count: Int, _ body: (inout FieldPen) -> Void) {
        bytes.append(addingCapacity: count) { room in
            unsafe room.withUnsafeMutableBufferPointer { buffer, filled in
                var pen = unsafe FieldPen(filling: UnsafeMutableRawBufferPointer(buffer))
                body(&pen)
                precondition(pen.isAtEnd, "the room is filled")
                filled = count
            }
        }
    }

    /// Appends a frame whose body has `length` bytes.
    @inline(__always)
    private mutating func append(
        _ type: FrameType,
        flags: UInt8 = 0,
        link: UInt32,
        length: Int,
        _ body: (inout FieldPen) -> Void
    ) {
        append(count: FrameHeader.byteCount + length) { pen in
            pen.put(FrameHeader(length: length, type: type.rawValue, flags: flags, link: link))
            body(&pen)
        }
    }

    /// Runs `body` to write a frame's body, then enters its length in the header.
    private mutating func frame(
        _ type: FrameType,
        flags: UInt8 = 0,
        link: UInt32 = 0,
        _ body: (inout FrameWriter) -> Void
    ) {
        let start = bytes.count
        append(type, flags: flags, link: link, length: 0) { _ in }
        body(&self)
        let length = bytes.count - start - FrameHeader.byteCount
        precondition(length <= Limits.frameBytesMax, "a frame keeps within the limit")
        bytes[start] = UInt8(truncatingIfNeeded: length >> 16)
        bytes[start + 1] = UInt8(truncatingIfNeeded: length >> 8)
        bytes[start + 2] = UInt8(truncatingIfNeeded: length)
    }

    private mutating func append<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        append(count: MemoryLayout<Value>.size) { $0.put(value) }
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
        let flags = ping.isAnswer ? FrameFlags.pong : 0
        append(.ping, flags: flags, link: 0, length: 8) { $0.put(ping.opaque) }
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
            writer.append(UInt8(open.topic.byteCount))
            writer.append(text: open.topic.text, maximum: Limits.topicNameBytesMax)
            if let group = open.group {
                writer.appendOption(.group, bytes: group.byteCount)
                writer.append(text: group.text, maximum: Limits.groupNameBytesMax)
            }
            if let dispatcher = open.wish.dispatcher {
                writer.appendOption(.dispatcher, dispatcher.rawValue)
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
            writer.append(open.wish, open.member)
        }
    }

    /// The options 8 to 18, in the order of their tags.
    private mutating func append(_ wish: GroupWish, _ member: MemberOptions) {
        if let weight = member.weight { appendOption(.weight, weight) }
        if member.priority > 0 { appendOption(.priority, member.priority) }
        if let lag = wish.lag {
            appendOption(.lag, bytes: 5)
            append(lag.policy.rawValue)
            append(lag.events)
        }
        if let partitions = wish.partitions { appendOption(.partitions, partitions) }
        if let claims = member.claims {
            appendOption(.claim, bytes: 2 * claims.count)
            for claim in claims { append(claim) }
        }
        if let filter = member.filter {
            appendOption(.filter, bytes: filter.encoded.count)
            bytes.append(contentsOf: filter.encoded)
        }
        if member.sampleOneIn > 1 { appendOption(.sample, member.sampleOneIn) }
        if let batch = member.batch {
            appendOption(.batch, bytes: 8)
            append(batch.eventsMax)
            append(batch.waitMilliseconds)
        }
        if let rate = member.rate {
            appendOption(.rate, bytes: 8)
            append(rate.eventsPerSecond)
            append(rate.burst)
        }
        if let isEphemeral = wish.isEphemeral {
            appendOption(.ephemeral, isEphemeral ? 1 : 0 as UInt8)
        }
        if let patience = wish.patienceMilliseconds { appendOption(.patience, patience) }
    }

    private mutating func appendOption<Value: FixedWidthInteger & BitwiseCopyable>(
        _ tag: OptionTag,
        _ value: Value
    ) {
        appendOption(tag, bytes: MemoryLayout<Value>.size)
        append(value)
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
        appendOption(.resume, bytes: resume.gaps > 0 ? 56 : 48)
        append(resume.position)
        append(resume.positionBytes)
        append(resume.asked)
        append(resume.askedBytes)
        append(resume.stoppedTo)
        append(resume.drainedTo)
        if resume.gaps > 0 { append(resume.gaps) }
    }

    package mutating func append(_ opened: Opened, link: UInt32) {
        let flags = opened.resumed ? FrameFlags.resumed : 0
        append(.opened, flags: flags, link: link, length: 72) { pen in
            pen.put(opened.nextSequence)
            pen.put(opened.head)
            pen.put(opened.asked)
            pen.put(opened.askedBytes)
            pen.put(opened.deliveredBytes)
            pen.put(opened.forfeited)
            pen.put(opened.forfeitedBytes)
            pen.put(opened.stoppedTo)
            pen.put(opened.drainedTo)
        }
    }

    package mutating func append(_ ask: Ask, link: UInt32) {
        let hasEcho = ask.echo > 0 && ask.flags.contains(.echo)
        let length = hasEcho ? 40 : 32
        append(.demand, flags: ask.flags.rawValue, link: link, length: length) { pen in
            pen.put(ask.events)
            pen.put(ask.total)
            pen.put(ask.bytes)
            pen.put(ask.bytesTotal)
            pen.put(ask.received)
            if hasEcho { pen.put(ask.echo) }
        }
    }

    package mutating func append(_ settlement: Settlement, link: UInt32) {
        append(.settle, link: link, length: Settlement.byteCount) { $0.put(settlement) }
    }

    package mutating func append(_ status: Status, link: UInt32) {
        let flags =
            (status.isDrained ? FrameFlags.drained : 0) | (status.isEcho ? FrameFlags.echoed : 0)
        let hasEcho = status.isEcho && status.echo > 0
        append(.status, flags: flags, link: link, length: hasEcho ? 93 : 85) { pen in
            pen.put(status.asked)
            pen.put(status.delivered)
            pen.put(status.forfeited)
            pen.put(status.askedBytes)
            pen.put(status.deliveredBytes)
            pen.put(status.forfeitedBytes)
            pen.put(status.stoppedTo)
            pen.put(status.drainedTo)
            pen.put(status.available)
            pen.put(status.unsettled)
            pen.put(status.oldestMilliseconds)
            pen.put(status.blockedBy.rawValue)
            pen.put(status.needBytes)
            if hasEcho { pen.put(status.echo) }
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
        append(count: FrameHeader.byteCount + 8) { pen in
            pen.put(FrameHeader(length: length, type: FrameType.events.rawValue, link: link))
            pen.put(firstSequence)
        }
    }

    /// The head of one run; its records follow, here or from where they lie.
    package mutating func appendRunHead(_ run: RunHeader) {
        append(count: RunHeader.byteCount) { $0.put(run) }
    }

    /// Copies records that are already in their form.
    package mutating func append(records: RawSpan) {
        unsafe records.withUnsafeBytes { unsafe bytes.append(contentsOf: $0) }
    }

    /// Copies the frames of another writer.
    package mutating func append(_ frames: FrameWriter) {
        bytes.append(contentsOf: frames.bytes)
    }

    package mutating func append(_ gap: Gap, nextSequence: UInt64, link: UInt32) {
        append(.events, flags: FrameFlags.gap, link: link, length: 33) { pen in
            pen.put(nextSequence)
            pen.put(gap.from)
            pen.put(gap.to)
            pen.put(gap.count)
            pen.put(gap.reason.rawValue)
        }
    }

    package mutating func append(
        _ mark: Mark,
        offset: UInt64,
        nextSequence: UInt64,
        link: UInt32
    ) {
        switch mark {
        case .end:
            append(.events, flags: FrameFlags.end, link: link, length: 16) { pen in
                pen.put(nextSequence)
                pen.put(offset)
            }
        case .marker(let text):
            precondition(!text.isEmpty && text.count <= Limits.markerBytesMax)
            frame(.events, flags: FrameFlags.marker, link: link) { writer in
                writer.append(nextSequence)
                writer.append(offset)
                writer.append(UInt16(text.count))
                writer.bytes.append(contentsOf: text)
            }
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
