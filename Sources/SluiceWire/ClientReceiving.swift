import DequeModule
import SluiceCore

// What the broker's frames do to a client's session.
extension ClientSession {
    /// Takes all whole frames of `span` from `start` on; returns where the first broken one begins.
    ///
    /// The ranges in `events` are positions in `span`.
    package mutating func receive(
        _ span: RawSpan,
        from start: Int,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) -> Int {
        var next = start
        while state != .ended, let header = FrameHeader.decode(from: span, at: next) {
            let body = next + FrameHeader.byteCount
            do throws(WireError) {
                try header.checkLength(maximum: frameBytesMax)
                guard span.byteCount - body >= header.length else { break }
                let range = body..<(body + header.length)
                let frame = try Frame.decode(header, body: span, in: range)
                receive(frame, link: header.link, into: &writer, events: &events)
            } catch {
                receive(error, link: header.link, into: &writer, events: &events)
                guard state != .ended else { return span.byteCount }
            }
            next = body + header.length
        }
        return next
    }

    /// Takes one frame, answers into `writer` and tells what it means.
    private mutating func receive(
        _ frame: Frame,
        link id: UInt32,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        switch (state, frame) {
        case (.offline, _), (.ended, _): return
        case (_, .ignorable): return
        case (.greeting, .welcome(let welcome)):
            receive(welcome, into: &writer, events: &events)
        case (_, .close(let close)) where id == 0: receive(close, events: &events)
        case (.greeting, _): violation("expected WELCOME", into: &writer, events: &events)
        case (.open, .ping(let ping)):
            if ping.isAnswer {
                forgetMarks(before: ping.opaque, events: &events)
                events.append(.pong(ping.opaque))
            } else {
                writer.append(Ping(opaque: ping.opaque, isAnswer: true))
            }
        case (.open, .hello), (.open, .welcome), (.open, .open):
            violation("not a frame for a client", into: &writer, events: &events)
        case (.open, _): receive(frame, onLink: id, into: &writer, events: &events)
        }
    }

    /// Bytes came that are no legal frame; ends what the error says.
    private mutating func receive(
        _ error: WireError,
        link id: UInt32,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        let close = Close(error.closeCode, reason: "\(error)")
        if error.grade == .link, let key = keys[id] {
            end(key, close, into: &writer, events: &events)
        } else {
            fail(close, into: &writer, events: &events)
        }
    }

    private mutating func receive(
        _ welcome: Welcome,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        guard hello.versions.contains(welcome.version) else {
            let reason = "version \(welcome.version) was not offered"
            return fail(Close(.version, reason: reason), into: &writer, events: &events)
        }
        self.welcome = welcome
        token = welcome.session
        state = .open
        events.append(.welcomed(resumed: welcome.resumed))
        for key in links.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            if !welcome.resumed, links[key]?.state == .cut { links[key]?.startAnew() }
            writeOpen(key, into: &writer)
        }
    }

    private mutating func receive(_ close: Close, events: inout [ClientEvent]) {
        if close.isGraceful, state == .open {
            events.append(.goingAway(close))
            return
        }
        let ending: ClientEvent.Ending = state == .greeting ? .refused : .byBroker
        state = .ended
        events.append(.ended(close, ending))
    }

    private mutating func violation(
        _ reason: String,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        fail(Close(.protocolError, reason: reason), into: &writer, events: &events)
    }
}

// MARK: - Frames of links

extension ClientSession {
    private mutating func receive(
        _ frame: Frame,
        onLink id: UInt32,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        // No copy of the link is held here: it would make its queues copy themselves on a change.
        guard let key = keys[id], let (state, role) = links[key].map({ ($0.state, $0.open.role) })
        else {
            guard id <= lastID else {
                let reason = "link \(id) was never opened"
                return fail(Close(.badLink, reason: reason), into: &writer, events: &events)
            }
            skippedFrames += 1
            return
        }
        if case .close(let close) = frame {
            return receive(close, key, into: &writer, events: &events)
        }
        guard state != .closing else {
            skippedFrames += 1
            return
        }
        if case .opened(let opened) = frame {
            return receive(opened, key, into: &writer, events: &events)
        }
        do throws(LedgerError) {
            switch (frame, role) {
            case (.events(let batch), .sink): try receive(batch, key, events: &events)
            case (.status(let status), .sink): try receive(status, key, events: &events)
            case (.demand(let ask), .source):
                try receive(ask, key, into: &writer, events: &events)
            case (.settle(let settlements), .source):
                try receive(settlements, key, events: &events)
            default: violation("a frame of the other end", into: &writer, events: &events)
            }
        } catch {
            end(key, Close(error.code, reason: "\(error)"), into: &writer, events: &events)
        }
    }

    /// Opens a link under a new id, for the broker has forgotten the old one.
    private mutating func reopen(_ key: LinkKey, into writer: inout FrameWriter) {
        if let id = links[key]?.id { keys[id] = nil }
        links[key]?.startAnew()
        writeOpen(key, into: &writer)
    }

    /// Ends a link because the broker is at fault.
    private mutating func end(
        _ key: LinkKey,
        _ close: Close,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        self.close(key, close, into: &writer)
        events.append(.closed(key, close, .byClient))
    }

    private mutating func receive(
        _ close: Close,
        _ key: LinkKey,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        guard let id = links[key]?.id, let state = links[key]?.state else { return }
        keys[id] = nil
        switch state {
        case .closing: links[key] = nil
        case .resuming where close.code == .notFound || close.code == .badLink:
            reopen(key, into: &writer)
        case .opening where close.isForNow, .resuming where close.isForNow:
            links[key]?.startAnew()
            events.append(.postponed(key, close))
        case .opening, .resuming:
            links[key] = nil
            events.append(.closed(key, close, .refused))
        default:
            links[key] = nil
            writer.append(Close(close.code), link: id)
            events.append(.closed(key, close, .byBroker))
        }
    }

    private mutating func receive(
        _ opened: Opened,
        _ key: LinkKey,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) {
        guard let state = links[key]?.state, state == .opening || state == .resuming else {
            return violation("OPENED without OPEN", into: &writer, events: &events)
        }
        guard opened.resumed || state == .opening else {
            // The broker knew nothing of the link and has opened another in its place.
            if let id = links[key]?.id { writer.append(Close(.cancelled), link: id) }
            return reopen(key, into: &writer)
        }
        let settledBefore = links[key]?.settledTo ?? 0
        do throws(LedgerError) {
            try links[key]?.opened(opened)
        } catch {
            return end(
                key,
                Close(error.code, reason: "\(error)"),
                into: &writer,
                events: &events
            )
        }
        events.append(.opened(key, resumed: opened.resumed))
        guard links[key]?.open.role == .source else { return }
        if opened.resumed { takeUp(key, opened, settledBefore, events: &events) }
        // What came to wait since OPEN was sent.
        announce(key, waiting: links[key]?.waiting ?? 0, into: &writer)
    }

    /// Puts what the broker did not receive back among the events to send.
    private mutating func takeUp(
        _ key: LinkKey,
        _ opened: Opened,
        _ settledBefore: UInt64,
        events: inout [ClientEvent]
    ) {
        let received = opened.delivered - settledBefore
        if received > 0 {
            let marks = links[key]?.outbox.settle(received) ?? 0
            links[key]?.settledTo = opened.delivered
            events.append(.settled(key, count: received, outcome: .accept, argument: 0))
            if marks > 0 { events.append(.marksArrived(key, count: marks)) }
        }
        links[key]?.outbox.rewind()
    }

    private mutating func receive(
        _ batch: Events,
        _ key: LinkKey,
        events: inout [ClientEvent]
    ) throws(LedgerError) {
        guard case .runs = batch.content else {
            let expected = (links[key]?.ledger.delivered ?? 0) + 1
            guard batch.firstSequence == expected else {
                throw .mismatch(expected: expected, found: batch.firstSequence)
            }
            switch batch.content {
            case .gap(let gap):
                links[key]?.gaps += 1
                events.append(.gap(key, gap))
            case .mark(let mark, let offset):
                events.append(.mark(key, mark, offset: offset))
            case .runs: break
            }
            return
        }
        try links[key]?.ledger.receive(
            firstSequence: batch.firstSequence,
            events: batch.eventCount,
            bytes: batch.byteCount
        )
        events.append(.events(key, batch))
    }

    private mutating func receive(
        _ status: Status,
        _ key: LinkKey,
        events: inout [ClientEvent]
    ) throws(LedgerError) {
        try links[key]?.ledger.book(
            forfeited: status.forfeited,
            forfeitedBytes: status.forfeitedBytes
        )
        events.append(.status(key, status))
        if status.isDrained {
            links[key]?.unanswered = []
            events.append(.drained(key))
        }
    }

    private mutating func receive(
        _ ask: Ask,
        _ key: LinkKey,
        into writer: inout FrameWriter,
        events: inout [ClientEvent]
    ) throws(LedgerError) {
        guard let granted = try links[key]?.apply(ask, into: &writer) else { return }
        if ask.flags.contains(.stop) { events.append(.recalled(key)) }
        if granted > 0 || ask.bytes > 0 || ask.flags.contains(.drain) {
            events.append(.granted(key, events: granted))
        }
    }

    private mutating func receive(
        _ settlements: [Settlement],
        _ key: LinkKey,
        events: inout [ClientEvent]
    ) throws(LedgerError) {
        for settlement in settlements {
            guard let known = try links[key]?.settle(settlement), known.events > 0 else {
                continue
            }
            events.append(
                .settled(
                    key,
                    count: known.events,
                    outcome: settlement.outcome,
                    argument: settlement.argument
                )
            )
            if known.marks > 0 { events.append(.marksArrived(key, count: known.marks)) }
        }
    }

    /// A PONG came: what was written before its PING, and before those that were passed over, is
    /// there.
    private mutating func forgetMarks(before opaque: UInt64, events: inout [ClientEvent]) {
        guard let index = pings.firstIndex(where: { $0.opaque == opaque }) else { return }
        let number = pings[index].number
        pings.removeFirst(index + 1)
        for key in marked.sorted(by: { $0.rawValue < $1.rawValue }) {
            let count = links[key]?.outbox.forgetMarks(before: number) ?? 0
            if count > 0 { events.append(.marksArrived(key, count: count)) }
            if links[key]?.outbox.hasSentMarks != true { marked.remove(key) }
        }
    }
}
