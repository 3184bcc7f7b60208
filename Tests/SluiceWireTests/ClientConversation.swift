import SluiceCore
import SluiceWire

/// A client's session and the broker's half of the talk, by hand.
struct ClientConversation {
    struct Said: Equatable {
        let link: UInt32
        let frame: Frame
    }

    var session = ClientSession(name: "test", keepaliveSeconds: 10)
    var output = ClientOutput()
    var events: [ClientEvent] = []

    /// A session that was welcomed; what was said until then is forgotten.
    static func welcomed(resumed: Bool = false) -> Self {
        var talk = Self()
        talk.connect(resumed: resumed)
        return talk
    }

    /// A connection stands and the broker welcomes it.
    mutating func connect(resumed: Bool = false) {
        session.connected(at: Instant(nanoseconds: 0), into: &output.frames)
        _ = said()
        broker { $0.append(Self.welcome(resumed: resumed)) }
        events.removeAll { $0 == .welcomed(resumed: resumed) }
    }

    static func welcome(resumed: Bool) -> Welcome {
        var welcome = Welcome()
        welcome.session = [UInt8](repeating: 7, count: Limits.sessionTokenBytes)
        welcome.resumed = resumed
        return welcome
    }

    /// The connection breaks and the broker knows the session when it is back.
    mutating func reconnect(resumed: Bool = true) {
        session.disconnected()
        connect(resumed: resumed)
    }

    /// The broker writes frames, which come whole.
    mutating func broker(_ write: (inout FrameWriter) -> Void) {
        var writer = FrameWriter()
        write(&writer)
        let bytes = writer.take()
        let end = session.receive(
            bytes.span.bytes,
            from: 0,
            into: &output.frames,
            events: &events
        )
        precondition(end == bytes.count)
    }

    /// The broker writes events whose payloads are `payloads`.
    mutating func brokerSends(_ payloads: [[UInt8]], first: UInt64, link: UInt32 = 1) {
        broker { $0.appendEvents(payloads, first: first, link: link) }
    }

    /// What the client has written since the last look.
    mutating func said() -> [Said] {
        let bytes = output.take()
        var said: [Said] = []
        var next = 0
        let span = bytes.span.bytes
        while let header = FrameHeader.decode(from: span, at: next) {
            let body = next + FrameHeader.byteCount
            next = body + header.length
            guard let frame = try? Frame.decode(header, body: span, in: body..<next) else { break }
            said.append(Said(link: header.link, frame: frame))
        }
        return said
    }

    /// The events since the last look.
    mutating func told() -> [ClientEvent] {
        defer { events = [] }
        return events
    }

    /// A consumer's link with `demand`, open; the talk until then is forgotten.
    mutating func openSink(demand: UInt32, bytes: UInt32 = 0) -> LinkKey {
        let key = session.open(
            Open(role: .sink, topic: "t"),
            asking: demand,
            bytes: bytes,
            into: &output.frames
        )
        answerOpen()
        return key
    }

    /// A producer's link, open, with `demand` granted; the talk until then is forgotten.
    mutating func openSource(
        demand: UInt32,
        bytes: UInt32 = 0,
        available: UInt64? = 0
    ) -> LinkKey {
        var open = Open(role: .source, topic: "t")
        open.available = available
        let key = session.open(open, into: &output.frames)
        answerOpen()
        if demand > 0 { grant(demand, bytes: bytes, total: UInt64(demand)) }
        _ = said()
        _ = told()
        return key
    }

    private mutating func answerOpen() {
        guard let link = said().last?.link else { return }
        broker { $0.append(Opened(), link: link) }
        _ = told()
    }

    mutating func grant(
        _ events: UInt32,
        bytes: UInt32 = 0,
        total: UInt64,
        bytesTotal: UInt64? = nil,
        flags: AskFlags = []
    ) {
        let ask = Ask(
            events: events,
            total: total,
            bytes: bytes,
            bytesTotal: bytesTotal ?? UInt64(bytes),
            flags: flags
        )
        broker { $0.append(ask, link: 1) }
    }

    /// The program sends plain events of `size` bytes, and what may go is written.
    mutating func send(_ count: Int, size: Int = 1, on key: LinkKey) {
        enqueue(count, size: size, on: key)
        _ = session.writeEvents(key, room: 1_000_000, into: &output)
    }

    mutating func enqueue(_ count: Int, size: Int = 1, on key: LinkKey) {
        var records = FrameWriter()
        guard count > 0 else { return }
        for _ in 0..<count { records.appendPlain([UInt8](repeating: 65, count: size)) }
        let bytes = records.take()
        let slab = Slab(capacity: bytes.count)
        let range = slab.append(bytes.span.bytes)
        session.enqueue(Run(slab: slab, bytes: range, count: UInt32(count)), on: key)
    }
}

extension ClientOutput {
    /// Gives away all bytes in the order in which they go to the socket.
    mutating func take() -> [UInt8] {
        defer { removeAll() }
        var bytes: [UInt8] = []
        var next = 0
        for insert in inserts {
            bytes += frames.bytes[next..<insert.place]
            insert.run.withSpan { bytes += $0.array(in: insert.run.bytes) }
            next = insert.place
        }
        return bytes + frames.bytes[next...]
    }
}

extension FrameWriter {
    mutating func appendPlain(_ payload: [UInt8]) {
        try? appendRecord(payload: payload.span.bytes)
    }

    mutating func appendEvents(_ payloads: [[UInt8]], first: UInt64, link: UInt32) {
        let bytes = payloads.reduce(0) { $0 + Record.headBytes + $1.count }
        appendEventsHead(link: link, firstSequence: first, runs: 1, recordBytes: bytes)
        appendRunHead(
            RunHeader(
                count: UInt32(payloads.count),
                length: UInt32(bytes),
                offset: first - 1,
                time: 1,
                attempt: 1
            )
        )
        for payload in payloads { appendPlain(payload) }
    }
}

extension ClientConversation.Said {
    /// The first sequence and the number of events of an EVENTS.
    var batch: [UInt64]? {
        guard case .events(let events) = frame else { return nil }
        return [events.firstSequence, events.eventCount]
    }

    var status: Status? {
        guard case .status(let status) = frame else { return nil }
        return status
    }

    var closeCode: CloseCode? {
        guard case .close(let close) = frame else { return nil }
        return close.code
    }

    var ask: Ask? {
        guard case .demand(let ask) = frame else { return nil }
        return ask
    }

    var open: Open? {
        guard case .open(let open) = frame else { return nil }
        return open
    }
}
