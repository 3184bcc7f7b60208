import SluiceCore
package import SluiceWire

extension Sentence {
    /// What a decoded frame says; the records of an EVENTS are read from `span`.
    package init(_ frame: Frame, link: UInt32, body span: RawSpan) {
        self.init(type: "", link: link)
        switch frame {
        case .hello(let hello): take(hello)
        case .welcome(let welcome): take(welcome)
        case .ping(let ping):
            type = "PING"
            fields["opaque"] = String(ping.opaque)
            if ping.isAnswer { flags = ["PONG"] }
        case .open(let open): take(open)
        case .opened(let opened): take(opened)
        case .demand(let ask):
            type = "DEMAND"
            set("n", ask.events)
            set("total", ask.total)
            set("bytes", ask.bytes)
            set("bytes_total", ask.bytesTotal)
            set("received", ask.received)
            set("echo", ask.echo)
            if ask.flags.contains(.drain) { flags.insert("DRAIN") }
            if ask.flags.contains(.stop) { flags.insert("STOP") }
            if ask.flags.contains(.echo) { flags.insert("ECHO") }
        case .events(let events): take(events, span)
        case .settle(let settlements): take(settlements)
        case .status(let status): take(status)
        case .close(let close):
            type = "CLOSE"
            fields["code"] = close.code.description
            set("retry", close.retryMilliseconds)
            fields["reason"] = close.reason
            if close.isGraceful { flags = ["GRACEFUL"] }
        case .ignorable(let number): type = "FRAME \(number)"
        }
    }

    private mutating func set(_ name: String, _ value: some BinaryInteger) {
        fields[name] = String(value)
    }

    private mutating func take(_ hello: Hello) {
        type = "HELLO"
        fields["versions"] = "\(hello.versions.lowerBound)..\(hello.versions.upperBound)"
        set("keepalive", hello.keepaliveSeconds)
        set("max_frame", hello.maxFrame)
        fields["session"] = Hex.text(hello.session)
        fields["name"] = hello.name
    }

    private mutating func take(_ welcome: Welcome) {
        type = "WELCOME"
        if welcome.resumed { flags = ["RESUMED"] }
        set("version", welcome.version)
        set("keepalive", welcome.keepaliveSeconds)
        set("max_frame", welcome.maxFrame)
        set("max_event", welcome.maxEvent)
        set("max_demand", welcome.maxDemand)
        set("max_demand_bytes", welcome.maxDemandBytes)
        set("max_links", welcome.maxLinks)
        set("resume_window_ms", welcome.resumeWindowMilliseconds)
        fields["session"] = Hex.text(welcome.session)
        fields["name"] = welcome.name
    }

    private mutating func take(_ open: Open) {
        type = "OPEN"
        words = [open.role == .sink ? "sink" : "source"]
        fields["topic"] = open.topic.text
        fields["group"] = open.group?.text
        switch open.start {
        case nil: break
        case .new?: fields["start"] = "new"
        case .first?: fields["start"] = "first"
        case .offset(let offset)?: fields["start"] = "offset:\(offset)"
        case .time(let time)?: fields["start"] = "time:\(time)"
        }
        set("demand", open.demandEvents)
        set("bytes", open.demandBytes)
        fields["name"] = open.name
        fields["available"] = open.available.map { String($0) }
        for text in open.texts { fields[text.name] = text.value }
        guard let resume = open.resume else { return }
        words.insert("resume")
        set("position", resume.position)
        set("position_bytes", resume.positionBytes)
        set("asked", resume.asked)
        set("asked_bytes", resume.askedBytes)
        set("stopped_to", resume.stoppedTo)
        set("drained_to", resume.drainedTo)
        set("gaps", resume.gaps)
    }

    private mutating func take(_ opened: Opened) {
        type = "OPENED"
        if opened.resumed { flags = ["RESUMED"] }
        set("next", opened.nextSequence)
        set("head", opened.head)
        set("asked", opened.asked)
        set("asked_bytes", opened.askedBytes)
        set("delivered_bytes", opened.deliveredBytes)
        set("forfeited", opened.forfeited)
        set("forfeited_bytes", opened.forfeitedBytes)
        set("stopped_to", opened.stoppedTo)
        set("drained_to", opened.drainedTo)
    }

    private mutating func take(_ status: Status) {
        type = "STATUS"
        if status.isDrained { flags.insert("DRAINED") }
        if status.isEcho { flags.insert("ECHO") }
        set("asked", status.asked)
        set("delivered", status.delivered)
        set("forfeited", status.forfeited)
        set("asked_bytes", status.askedBytes)
        set("delivered_bytes", status.deliveredBytes)
        set("forfeited_bytes", status.forfeitedBytes)
        set("stopped_to", status.stoppedTo)
        set("drained_to", status.drainedTo)
        set("available", status.available)
        set("unsettled", status.unsettled)
        set("need_bytes", status.needBytes)
        set("echo", status.echo)
        fields["blocked_by"] = Self.blockers[Int(status.blockedBy.rawValue)]
    }

    static let blockers = [
        "nothing", "no_demand", "no_events", "bytes", "unsettled", "paused", "filter", "window",
        "buffer", "rate", "batch", "standby", "others", "partition",
    ]

    private mutating func take(_ settlements: [Settlement]) {
        type = "SETTLE"
        for settlement in settlements {
            var outcome = "\(settlement.outcome)"
            if settlement.outcome == .reject {
                let code = CloseCode(rawValue: UInt16(clamping: settlement.argument))
                outcome += " " + code.description
            }
            verdicts += (0..<UInt64(settlement.count)).map { step in
                Verdict(sequence: settlement.from + step, outcome: outcome)
            }
        }
    }

    private mutating func take(_ batch: Events, _ span: RawSpan) {
        type = "EVENTS"
        switch batch.content {
        case .gap(let gap):
            flags = ["GAP"]
            set("next", batch.firstSequence)
            set("from", gap.from)
            set("to", gap.to)
            set("count", gap.count)
            fields["reason"] = "\(gap.reason)"
        case .mark(let mark, let offset):
            set("next", batch.firstSequence)
            set("offset", offset)
            switch mark {
            case .end: flags = ["END"]
            case .marker(let text):
                flags = ["MARKER"]
                fields["text"] = String(decoding: text, as: UTF8.self)
            }
        case .runs(let runs):
            set("seq", batch.firstSequence)
            var sequence = batch.firstSequence
            for run in runs {
                var reader = RecordReader(run.records)
                var offset = run.header.offset
                while let record = try? reader.next(from: span) {
                    let payload = String(
                        decoding: span.array(in: record.payload),
                        as: UTF8.self
                    )
                    events.append(Event(sequence: sequence, offset: offset, payload: payload))
                    sequence += 1
                    offset += 1
                }
            }
        }
    }
}

extension Sentence {
    /// What a side said on one link in an order that is fixed, cut into what cannot be cut further.
    package enum Atom: Hashable, Sendable {
        case event(Event)
        case verdict(Verdict)
        case frame(Sentence)
    }

    package var atoms: [Atom] {
        if !events.isEmpty { return events.map { .event($0) } }
        if !verdicts.isEmpty { return verdicts.map { .verdict($0) } }
        return [.frame(self)]
    }

    /// Frames of one link whose order is fixed; demand and settlements overtake the rest.
    package var lane: String {
        switch type {
        case "DEMAND", "SETTLE": "\(link) \(type)"
        default: "\(link)"
        }
    }
}

extension Sentence.Atom {
    /// Whether what was said is what this line of a conversation expects.
    package func matches(_ said: Self) -> Bool {
        switch (self, said) {
        case (.event(let expected), .event(let event)):
            expected.sequence == event.sequence
                && (expected.offset == nil || expected.offset == event.offset)
                && (expected.payload == nil || expected.payload == event.payload)
        case (.verdict(let expected), .verdict(let verdict)): expected == verdict
        case (.frame(let expected), .frame(let frame)):
            expected.type == frame.type && expected.flags == frame.flags
                && expected.words == frame.words
                && expected.fields.allSatisfy { name, value in
                    value == "*" || frame.fields[name] == value
                }
        default: false
        }
    }
}
