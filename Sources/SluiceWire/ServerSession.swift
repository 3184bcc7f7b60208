package import SluiceCore

/// What a received frame means to the broker.
package enum ServerAction: Hashable, Sendable {
    /// The greeting is legal: answer WELCOME, after `resume` if the session is known.
    indirect case hello(Hello)
    /// Answer by `accepted` with OPENED, or by `refused` with CLOSE.
    indirect case open(UInt32, Open)
    case demand(UInt32, Ask)
    /// Runs of a producer; whether credit covers them is the core's to say.
    case events(UInt32, Events)
    /// A producer's word between its events; whether it stands at its place is the core's to say.
    case mark(UInt32, Mark, nextSequence: UInt64)
    indirect case status(UInt32, Status)
    /// The link is gone; send CLOSE on it if `needsAnswer`.
    case closed(UInt32, Close, needsAnswer: Bool)
    case closedConnection(Close)
    /// Answer with the same number.
    case ping(UInt64)
    case pong(UInt64)
    /// Nothing to do: the link has closed, or the type may be ignored.
    case skipped

    /// Whether it is something else than events.
    @inline(__always)
    package var isCommand: Bool { if case .events = self { false } else { true } }
}

/// How far the bytes of a read were understood.
package struct ReadProgress: Equatable {
    /// Where the first frame begins that is not complete.
    package var parsed: Int
    /// Bytes that this frame needs with its header; 0 if even that is not complete.
    package var frameBytes = 0

    package init(from start: Int) { parsed = start }
}

/// What a client did wrong, and what ends for it.
package struct Violation: Error, Hashable, Sendable {
    package var code: CloseCode
    /// The link to send CLOSE on, which is closed here already; nil ends the connection.
    package var link: UInt32?
    /// What happened and what to do next: the reason of the CLOSE.
    package var text: String

    package init(_ code: CloseCode, link: UInt32? = nil, _ text: String) {
        self.code = code
        self.link = link
        self.text = text
    }

    init(_ error: WireError, link: UInt32) {
        self.init(
            error.closeCode,
            link: error.grade == .connection || link == 0 ? nil : link,
            error.description
        )
    }
}

/// The broker's side of one connection: which frames are legal now, and what they say.
///
/// It knows no credit, no topic and no time. A link that a violation names needs no `closing`.
package struct ServerSession: Sendable {
    private enum State: UInt8 {
        /// Next: open with a legal HELLO, closed with anything else.
        case greeting
        /// Next: leaving, closed.
        case open
        /// The client said CLOSE with GRACEFUL: no new links. Next: closed.
        case leaving
        case closed
    }

    private var state = State.greeting
    private var frameBytesMax = UInt32(Limits.helloBytesMax)
    private var links = LinkTable()
    /// Frames that were skipped, because their link had closed or their type is of a later version.
    package private(set) var skippedFrames: UInt64 = 0

    package init() {}

    /// Links that are not closed.
    package var linkCount: Int { links.count }

    /// Whether HELLO came and the connection has not ended.
    package var isOpen: Bool { state == .open || state == .leaving }

    /// The max_frame in force, and before HELLO the longest HELLO.
    package var maxFrame: Int { Int(frameBytesMax) }
}

// MARK: - What the client sends

extension ServerSession {
    /// Refuses by its header a frame whose body is not worth waiting for.
    package mutating func check(_ header: FrameHeader) throws(Violation) {
        if state == .closed { return }
        do {
            try header.checkLength(maximum: maxFrame)
        } catch {
            state = .closed
            throw Violation(error, link: 0)
        }
        if state == .greeting, header.type != FrameType.hello.rawValue {
            throw end(.protocolError, "the first frame has to be HELLO")
        }
    }

    /// Whether the frame will be skipped, so that its body need not be kept.
    private func skips(_ header: FrameHeader, _ link: LinkTable.Entry?) -> Bool {
        guard let type = FrameType(rawValue: header.type) else {
            return header.flags & FrameFlags.ignorable != 0
        }
        guard header.link > 0, type != .open else { return false }
        guard let link else { return links.hasSeen(header.link) }
        return link.state == .closing && type != .close
    }

    /// Takes the frame that begins where `progress` stands, and moves that behind it; nil if it is
    /// not complete.
    package mutating func next(
        in span: RawSpan,
        _ progress: inout ReadProgress
    ) throws(Violation) -> ServerAction? {
        guard let header = FrameHeader.decode(from: span, at: progress.parsed) else { return nil }
        try check(header)
        let body = progress.parsed + FrameHeader.byteCount
        guard span.byteCount - body >= header.length else {
            progress.frameBytes = FrameHeader.byteCount + header.length
            return nil
        }
        progress.parsed = body + header.length
        return try receive(header, body: span, in: body..<progress.parsed)
    }

    private mutating func receive(
        _ header: FrameHeader,
        body span: RawSpan,
        in range: Range<Int>
    ) throws(Violation) -> ServerAction {
        let link = header.link > 0 ? links[header.link] : nil
        if state == .closed || state != .greeting && skips(header, link) {
            skippedFrames += 1
            return .skipped
        }
        try checkLegality(of: header, link)
        if header.type == FrameType.events.rawValue {
            // What comes most goes the shortest way.
            var fields = FieldReader(type: .events, in: range)
            let events: Events
            do {
                events = try fields.events(flags: header.flags, from: span)
            } catch { throw refuse(error, header) }
            return try take(events, on: header.link)
        }
        let frame: Frame
        do {
            frame = try Frame.decode(header, body: span, in: range)
        } catch { throw refuse(error, header) }
        return try take(frame, on: header.link)
    }

    /// Asks what can be asked before the body is read: whether the type is legal here and now.
    private mutating func checkLegality(
        of header: FrameHeader,
        _ link: LinkTable.Entry?
    ) throws(Violation) {
        let type: FrameType
        do {
            guard let known = try header.knownType() else { return }
            type = known
        } catch {
            throw refuse(error, header)
        }
        switch type {
        case .hello:
            guard state == .greeting else { throw end(.protocolError, "HELLO comes only once") }
        case .welcome, .opened:
            throw end(.protocolError, "\(type) is the broker's to send")
        case .open:
            guard state == .open else {
                throw end(.protocolError, "no OPEN after CLOSE with GRACEFUL on link 0")
            }
        case .demand, .settle: try expect(.sink, type, on: header.link, link)
        case .events, .status: try expect(.source, type, on: header.link, link)
        case .close:
            if header.link > 0, link == nil { throw neverOpened(header.link) }
        case .ping: break
        }
    }

    private mutating func expect(
        _ role: Role,
        _ type: FrameType,
        on id: UInt32,
        _ link: LinkTable.Entry?
    ) throws(Violation) {
        guard let link else { throw neverOpened(id) }
        guard link.state != .detached else {
            throw end(.badLink, "link \(id) is detached; send OPEN with the resume option first")
        }
        guard link.role == role else {
            throw end(
                .protocolError,
                "\(type) on link \(id) is the other end's to send; the \(role) opened it"
            )
        }
    }

    private mutating func take(
        _ frame: Frame,
        on id: UInt32
    ) throws(Violation) -> ServerAction {
        switch frame {
        case .hello(let hello): return try greet(hello)
        case .ping(let ping): return ping.isAnswer ? .pong(ping.opaque) : .ping(ping.opaque)
        case .open(let open): return try take(open, on: id)
        case .demand(let ask): return .demand(id, ask)
        case .settle:
            throw close(id, .badOption, "version 1 has no acknowledgement; send no SETTLE")
        case .status(let status): return .status(id, status)
        case .close(let close): return take(close, on: id)
        case .ignorable, .welcome, .opened, .events:
            // `skips` and `checkLegality` let none of these pass, and `receive` took the events.
            throw end(.protocolError, "this frame is not legal from a client")
        }
    }

    private mutating func greet(_ hello: Hello) throws(Violation) -> ServerAction {
        guard hello.versions.contains(1) else {
            throw end(.version, "no common version; this broker speaks 1..1")
        }
        guard hello.authKind == 0 else {
            throw end(.authFailed, "this broker takes no credentials; send auth kind 0")
        }
        state = .open
        frameBytesMax = min(hello.maxFrame, UInt32(Limits.frameBytesMax))
        return .hello(hello)
    }

    private mutating func take(
        _ events: Events,
        on id: UInt32
    ) throws(Violation) -> ServerAction {
        switch events.content {
        case .runs: break
        case .gap: throw end(.protocolError, "a producer has no gaps to tell; send runs")
        case .mark(let mark, let offset):
            guard offset == 0 else {
                throw end(.protocolError, "the offset of a mark is the broker's; send 0")
            }
            return .mark(id, mark, nextSequence: events.firstSequence)
        }
        guard !events.isNumbered else {
            throw end(.protocolError, "offset, time and attempt are the broker's; send 0")
        }
        return .events(id, events)
    }

    private mutating func take(_ close: Close, on id: UInt32) -> ServerAction {
        guard id > 0 else {
            state = close.isGraceful ? .leaving : .closed
            return .closedConnection(close)
        }
        let needsAnswer = links[id]?.state != .closing
        links.end(id)
        return .closed(id, close, needsAnswer: needsAnswer)
    }
}

// MARK: - Opening

extension ServerSession {
    private mutating func take(_ open: Open, on id: UInt32) throws(Violation) -> ServerAction {
        if open.resume != nil { return try takeResume(open, on: id) }
        guard !links.hasSeen(id) else {
            throw end(.badLink, "link id \(id) was used before; ids only rise")
        }
        guard links.count < Limits.linksPerConnectionMax else {
            links.see(id)
            throw Violation(
                .limit,
                link: id,
                "the limit is \(Limits.linksPerConnectionMax) links a connection; close one first"
            )
        }
        links.add(id, role: open.role)
        return .open(id, open)
    }

    private mutating func takeResume(
        _ open: Open,
        on id: UInt32
    ) throws(Violation) -> ServerAction {
        guard let link = links[id] else {
            links.see(id)
            throw Violation(.notFound, link: id, "link \(id) cannot be resumed; open a new one")
        }
        guard link.state == .detached else {
            throw end(.badLink, "link \(id) is in use; only a detached link can be resumed")
        }
        guard link.role == open.role else {
            links.end(id)
            throw Violation(.badOption, link: id, "a resumed link keeps its role")
        }
        links.set(id, to: .opening)
        return .open(id, open)
    }
}

// MARK: - What the broker does itself

extension ServerSession {
    /// OPENED is on its way.
    package mutating func accepted(_ id: UInt32) {
        if links[id]?.state == .opening { links.set(id, to: .open) }
    }

    /// CLOSE answers the OPEN; the client does not answer that.
    package mutating func refused(_ id: UInt32) { links.end(id) }

    /// The broker ends a link; true if CLOSE has to be sent.
    ///
    /// Its answer ends the link here; one that was never opened ends at once, as nobody answers.
    package mutating func closing(_ id: UInt32) -> Bool {
        guard isOpen, let link = links[id], link.state != .closing else { return false }
        switch link.state {
        case .detached:
            links.end(id)
            return false
        case .opening: links.end(id)
        case .open, .closing: links.set(id, to: .closing)
        }
        return true
    }

    /// The connection is lost or ends; what comes still is skipped.
    package mutating func closed() { state = .closed }

    /// Takes the links out, for a session that waits for its client to come back.
    package mutating func detach() -> LinkTable {
        state = .closed
        defer { links = LinkTable() }
        links.detach()
        return links
    }

    /// Puts the links of a known session in, before WELCOME with RESUMED is sent.
    package mutating func resume(_ table: LinkTable) {
        precondition(isOpen && links.isEmpty, "a session is resumed at its greeting")
        links = table
    }
}

// MARK: - Violations

extension ServerSession {
    private mutating func end(_ code: CloseCode, _ text: String) -> Violation {
        state = .closed
        return Violation(code, text)
    }

    private mutating func close(_ id: UInt32, _ code: CloseCode, _ text: String) -> Violation {
        links.set(id, to: .closing)
        return Violation(code, link: id, text)
    }

    private mutating func neverOpened(_ id: UInt32) -> Violation {
        end(.badLink, "link \(id) was never opened")
    }

    private mutating func refuse(_ error: WireError, _ header: FrameHeader) -> Violation {
        let violation = Violation(error, link: header.link)
        guard let id = violation.link else {
            state = .closed
            return violation
        }
        guard header.type == FrameType.open.rawValue else {
            links.set(id, to: .closing)
            return violation
        }
        // An OPEN on a used id is a bug of its own, whatever its body says.
        guard !links.hasSeen(id) || links[id]?.state == .detached else {
            return end(.badLink, "link id \(id) was used before; ids only rise")
        }
        links.see(id)
        links.end(id)
        return violation
    }
}
