import DequeModule
package import SluiceCore

/// The client's half of the protocol, without sockets: facts in, bytes and events out.
///
/// It outlives its connections: after a loss `connected` takes up the session with its token,
/// and opens its links anew if the broker has forgotten them.
package struct ClientSession: Sendable {
    package enum State: Hashable, Sendable {
        /// No connection. Next: `greeting`.
        case offline
        /// HELLO is sent. Next: `open`, or `ended` if the broker refuses.
        case greeting
        /// Next: `offline` when the connection is lost, or `ended`.
        case open
        /// The connection is to be closed. Next: `offline`.
        case ended
    }

    package internal(set) var state = State.offline
    /// What the broker said of itself; nil before it said it.
    package internal(set) var welcome: Welcome?
    /// Frames that came for links already closed.
    package internal(set) var skippedFrames: UInt64 = 0

    let hello: Hello
    var token: [UInt8] = []
    var links: [LinkKey: ClientLink] = [:]
    /// The links of this connection by their id on the wire.
    var keys: [UInt32: LinkKey] = [:]
    var lastID: UInt32 = 0
    /// Numbers of PINGs that a program sent and that are not answered, with what they carry.
    var pings: Deque<(number: UInt64, opaque: UInt64)> = []
    private var lastPing: UInt64 = 0
    /// Links with marks that may not have arrived.
    var marked: Set<LinkKey> = []
    /// Whether marks were sent and no PING behind them.
    package private(set) var isPingDue = false
    private var lastKey: UInt32 = 0
    private var heardAt = Instant(nanoseconds: 0)
    private var saidAt = Instant(nanoseconds: 0)

    package init(name: String = "", keepaliveSeconds: UInt16 = 10) {
        var hello = Hello()
        hello.name = name
        hello.keepaliveSeconds = keepaliveSeconds
        self.hello = hello
    }

    /// Begins without a session and without links; keys go on, so that none ever names two links.
    package mutating func forget() {
        let last = lastKey
        self = Self(name: hello.name, keepaliveSeconds: hello.keepaliveSeconds)
        lastKey = last
    }

    package subscript(key: LinkKey) -> ClientLink? { links[key] }

    /// Bytes of the largest frame that both sides take.
    package var frameBytesMax: Int {
        min(Limits.frameBytesMax, Int(welcome?.maxFrame ?? hello.maxFrame))
    }

    /// Events that may be outstanding on one link.
    package var demandMax: UInt64 {
        min(Limits.demandMax, UInt64(welcome?.maxDemand ?? UInt32(Limits.demandMax)))
    }
}

// MARK: - The connection

extension ClientSession {
    /// A connection stands: says hello, with the token of the session to resume if there is one.
    package mutating func connected(at now: Instant, into writer: inout FrameWriter) {
        precondition(state == .offline)
        state = .greeting
        heardAt = now
        saidAt = now
        var hello = hello
        hello.session = token
        writer.append(hello)
    }

    /// The connection is gone; links wait for the next one.
    package mutating func disconnected() {
        state = .offline
        keys = [:]
        pings = []
        marked = []
        isPingDue = false
        for key in links.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            switch links[key]?.state {
            case .open, .opening, .resuming: links[key]?.state = .cut
            case .closing: links[key] = nil
            case .planned, .cut, nil: break
            }
        }
    }

    /// Ends the connection in peace; what was written before is still to be sent.
    package mutating func finish(into writer: inout FrameWriter) {
        guard state == .greeting || state == .open else { return }
        state = .ended
        writer.append(Close(.normal))
    }

    /// Something was written to the socket.
    package mutating func said(at now: Instant) { saidAt = now }

    /// Something was read from the socket.
    package mutating func heard(at now: Instant) { heardAt = now }

    /// Seconds after which silence is broken, as both sides agreed.
    package var keepaliveSeconds: UInt64 {
        UInt64(max(1, min(hello.keepaliveSeconds, welcome?.keepaliveSeconds ?? .max)))
    }

    /// Sends a sign of life when one is due, and ends a connection that is dead.
    package mutating func tick(
        at now: Instant,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        guard state == .greeting || state == .open else { return }
        let interval = keepaliveSeconds * 1_000
        if now.milliseconds(since: heardAt) >= interval * UInt64(Limits.keepalivesMissedMax) {
            let close = Close(.idle, reason: "nothing came for two keepalives")
            fail(close, into: &writer, events: &events)
        } else if state == .open, now.milliseconds(since: saidAt) >= interval {
            writer.append(Ping())
            saidAt = now
        }
    }

    /// Asks for a sign of life; the answer shows that all written before has arrived.
    ///
    /// `opaque` is not 0 and tells this PING from all others of the connection.
    package mutating func ping(_ opaque: UInt64, into writer: inout FrameWriter) {
        guard state == .open else { return }
        lastPing += 1
        pings.append((lastPing, opaque))
        isPingDue = false
        writer.append(Ping(opaque: opaque))
    }

    /// Ends the connection because the broker is at fault.
    mutating func fail(
        _ close: Close,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        guard state != .ended else { return }
        state = .ended
        writer.append(close)
        events.append(.ended(close, .byClient))
    }
}

// MARK: - Links

extension ClientSession {
    /// Plans a link and opens it as soon as there is a session.
    ///
    /// Demand is not part of `open`: what is asked before OPEN is sent goes with it.
    package mutating func open(_ open: Open, into writer: inout FrameWriter) -> LinkKey {
        lastKey += 1
        let key = LinkKey(rawValue: lastKey)
        links[key] = ClientLink(open)
        if state == .open { writeOpen(key, into: &writer) }
        return key
    }

    /// As `open`, with demand that travels in OPEN.
    package mutating func open(
        _ open: Open,
        asking events: UInt32,
        bytes: UInt32 = 0,
        into writer: inout FrameWriter
    ) -> LinkKey {
        lastKey += 1
        let key = LinkKey(rawValue: lastKey)
        var link = ClientLink(open)
        if events > 0 || bytes > 0 { _ = link.ledger.ask(events: events, bytes: bytes) }
        links[key] = link
        if state == .open { writeOpen(key, into: &writer) }
        return key
    }

    /// Opens a link anew that the broker postponed.
    package mutating func retry(_ key: LinkKey, into writer: inout FrameWriter) {
        if state == .open, links[key]?.state == .planned { writeOpen(key, into: &writer) }
    }

    mutating func writeOpen(_ key: LinkKey, into writer: inout FrameWriter) {
        guard var link = links[key] else { return }
        if link.id == 0 {
            lastID += 1
            link.id = lastID
        }
        keys[link.id] = key
        link.writeOpen(into: &writer)
        links[key] = link
    }

    /// Asks for more on a link on which we are the sink; `false` if the link is gone.
    ///
    /// Without a connection the demand is entered and told when the link is opened or resumed.
    @discardableResult
    package mutating func ask(
        _ key: LinkKey,
        events: UInt32,
        bytes: UInt32 = 0,
        flags: AskFlags = [],
        into writer: inout FrameWriter
    ) -> Bool {
        guard var link = links[key], link.open.role == .sink, link.state != .closing else {
            return false
        }
        let ask = link.ledger.ask(events: events, bytes: bytes, flags: flags)
        link.unanswered.formUnion(flags.intersection([.drain, .stop]))
        if link.isOnWire { writer.append(ask, link: link.id) }
        links[key] = link
        return true
    }

    /// Takes over events of a producer; they are sent as credit allows.
    package mutating func enqueue(_ run: Run, on key: LinkKey) {
        links[key]?.outbox.append(run)
    }

    /// Takes over a mark behind the events that were; it is sent once they are, without credit.
    ///
    /// It is sent again after a cut unless it is known to have arrived, so it may come twice.
    package mutating func enqueue(_ mark: Mark, on key: LinkKey) {
        links[key]?.outbox.append(mark)
    }

    /// Sends what credit and `room` allow; true if more could go when there is room again.
    package mutating func writeEvents(
        _ key: LinkKey,
        room: Int,
        into output: inout ClientOutput
    ) -> Bool {
        guard state == .open else { return false }
        let frameBytesMax = frameBytesMax
        let hasMore = links[key]?.writeEvents(
            room: room,
            frameBytesMax: frameBytesMax,
            pings: lastPing,
            into: &output
        )
        if links[key]?.outbox.hasSentMark(after: lastPing) == true {
            marked.insert(key)
            isPingDue = true
        }
        return hasMore ?? false
    }

    /// Tells the broker how many events wait beside those taken over; legal without credit.
    package mutating func announce(
        _ key: LinkKey,
        waiting: UInt64,
        into writer: inout FrameWriter
    ) {
        guard var link = links[key], link.open.role == .source else { return }
        link.waiting = waiting
        if link.isOnWire, link.available != link.announced, link.state == .open {
            link.write(link.status, into: &writer)
        }
        links[key] = link
    }

    /// Ends a link in peace, or with `code`; it is forgotten when the broker has answered.
    package mutating func close(
        _ key: LinkKey,
        _ close: Close = Close(.normal),
        into writer: inout FrameWriter
    ) {
        guard var link = links[key], link.state != .closing else { return }
        guard link.isOnWire, state == .open else {
            // A session resumed without the link lets it end at the broker with the window.
            links[key] = nil
            return
        }
        writer.append(close, link: link.id)
        link.state = .closing
        links[key] = link
    }
}
