import SluiceCore
package import SluiceWire

/// A frame as one line of text; `Protocol/vectors/README.md` says how to read it.
package struct FrameText {
    private var words: [String] = []

    /// Describes `frame`; the records of an EVENTS are read from `span`.
    package static func describe(_ frame: Frame, link: UInt32, body span: RawSpan) -> String {
        var text = FrameText()
        switch frame {
        case .hello(let hello): text.add(hello, link)
        case .welcome(let welcome): text.add(welcome, link)
        case .ping(let ping):
            text.head("PING", link, [("PONG", ping.isAnswer)])
            text.add("opaque", ping.opaque)
        case .open(let open): text.add(open, link)
        case .opened(let opened): text.add(opened, link)
        case .demand(let ask): text.add(ask, link)
        case .events(let events): text.add(events, link, span)
        case .settle(let settlements):
            text.head("SETTLE", link)
            text.words += settlements.map(Self.word)
        case .status(let status): text.add(status, link)
        case .close(let close): text.add(close, link)
        case .ignorable(let type):
            text.head("IGNORABLE", link)
            text.words.append("type=\(type)")
        }
        return text.words.joined(separator: " ")
    }

    private mutating func head(_ name: String, _ link: UInt32, _ flags: [(String, Bool)] = []) {
        words += [name, String(link)] + flags.filter(\.1).map(\.0)
    }

    private mutating func add(_ name: String, _ value: some BinaryInteger) {
        if value != 0 { words.append("\(name)=\(value)") }
    }

    private mutating func add(_ name: String, _ value: String) {
        if !value.isEmpty { words.append("\(name)=\(Self.shortened(value))") }
    }

    private static func shortened(_ text: String) -> String {
        text.utf8.count > 64 ? "\(text.prefix(8))…[\(text.utf8.count)]" : text
    }

    private static func word(_ settlement: Settlement) -> String {
        let argument = settlement.argument == 0 ? "" : "(\(settlement.argument))"
        return "\(settlement.outcome)\(argument):\(settlement.from)+\(settlement.count)"
    }

    static func word(_ bytes: [UInt8]) -> String {
        let isText = bytes.allSatisfy { byte in
            let scalar = Unicode.Scalar(byte)
            return "a"..."z" ~= scalar || "A"..."Z" ~= scalar || "0"..."9" ~= scalar
                || scalar == "." || scalar == "_" || scalar == "-"
        }
        if bytes.isEmpty { return "-" }
        return isText && bytes != [UInt8(ascii: "-")]
            ? shortened(String(decoding: bytes, as: UTF8.self)) : "0x" + Hex.text(bytes)
    }
}

extension FrameText {
    private mutating func add(_ hello: Hello, _ link: UInt32) {
        head("HELLO", link)
        words.append("versions=\(hello.versions.lowerBound)..\(hello.versions.upperBound)")
        add("keepalive", hello.keepaliveSeconds)
        add("capabilities", hello.capabilities)
        add("max_frame", hello.maxFrame)
        add("session", Hex.text(hello.session))
        add("auth_kind", hello.authKind)
        add("auth", Hex.text(hello.auth))
        add("name", hello.name)
    }

    private mutating func add(_ welcome: Welcome, _ link: UInt32) {
        head("WELCOME", link, [("RESUMED", welcome.resumed)])
        add("version", welcome.version)
        add("keepalive", welcome.keepaliveSeconds)
        add("capabilities", welcome.capabilities)
        add("max_frame", welcome.maxFrame)
        add("max_event", welcome.maxEvent)
        add("max_demand", welcome.maxDemand)
        add("max_demand_bytes", welcome.maxDemandBytes)
        add("max_links", welcome.maxLinks)
        add("resume_window", welcome.resumeWindowMilliseconds)
        add("session", Hex.text(welcome.session))
        add("name", welcome.name)
    }

    private mutating func add(_ open: Open, _ link: UInt32) {
        head("OPEN", link)
        words.append("\(open.role)")
        add("topic", open.topic.text)
        add("group", open.group?.text ?? "")
        if let dispatcher = open.wish.dispatcher { words.append("dispatcher=\(dispatcher)") }
        switch open.start {
        case nil: break
        case .new?: words.append("start=new")
        case .first?: words.append("start=first")
        case .offset(let offset)?: words.append("start=offset:\(offset)")
        case .time(let time)?: words.append("start=time:\(time)")
        }
        add("demand", open.demandEvents)
        add("bytes", open.demandBytes)
        add("name", open.name ?? "")
        if let available = open.available { words.append("available=\(available)") }
        words += open.texts.filter { $0.name != "dispatcher" }.map(\.word)
        guard let resume = open.resume else { return }
        words.append("resume")
        add("position", resume.position)
        add("position_bytes", resume.positionBytes)
        add("asked", resume.asked)
        add("asked_bytes", resume.askedBytes)
        add("stopped_to", resume.stoppedTo)
        add("drained_to", resume.drainedTo)
        add("gaps", resume.gaps)
    }

    private mutating func add(_ opened: Opened, _ link: UInt32) {
        head("OPENED", link, [("RESUMED", opened.resumed)])
        add("next", opened.nextSequence)
        add("head", opened.head)
        add("asked", opened.asked)
        add("asked_bytes", opened.askedBytes)
        add("delivered_bytes", opened.deliveredBytes)
        add("forfeited", opened.forfeited)
        add("forfeited_bytes", opened.forfeitedBytes)
        add("stopped_to", opened.stoppedTo)
        add("drained_to", opened.drainedTo)
    }

    private mutating func add(_ ask: Ask, _ link: UInt32) {
        let flags = [
            ("DRAIN", ask.flags.contains(.drain)), ("STOP", ask.flags.contains(.stop)),
            ("ECHO", ask.flags.contains(.echo)),
        ]
        head("DEMAND", link, flags)
        words.append("n=\(ask.events)")
        words.append("total=\(ask.total)")
        add("bytes", ask.bytes)
        add("bytes_total", ask.bytesTotal)
        add("received", ask.received)
        add("echo", ask.echo)
    }

    private mutating func add(_ status: Status, _ link: UInt32) {
        head("STATUS", link, [("DRAINED", status.isDrained), ("ECHO", status.isEcho)])
        add("asked", status.asked)
        add("delivered", status.delivered)
        add("forfeited", status.forfeited)
        add("asked_bytes", status.askedBytes)
        add("delivered_bytes", status.deliveredBytes)
        add("forfeited_bytes", status.forfeitedBytes)
        add("stopped_to", status.stoppedTo)
        add("drained_to", status.drainedTo)
        add("available", status.available)
        add("unsettled", status.unsettled)
        add("oldest_ms", status.oldestMilliseconds)
        if status.blockedBy != .nothing { words.append("blocked_by=\(status.blockedBy)") }
        add("need_bytes", status.needBytes)
        add("echo", status.echo)
    }

    private mutating func add(_ close: Close, _ link: UInt32) {
        head("CLOSE", link, [("GRACEFUL", close.isGraceful)])
        words.append("\(close.code)")
        add("retry", close.retryMilliseconds)
        if !close.reason.isEmpty { words.append("reason=\"\(Self.shortened(close.reason))\"") }
    }

    private mutating func add(_ events: Events, _ link: UInt32, _ span: RawSpan) {
        switch events.content {
        case .gap(let gap):
            head("EVENTS", link, [("GAP", true)])
            words += ["next=\(events.firstSequence)", "from=\(gap.from)", "to=\(gap.to)"]
            words += ["count=\(gap.count)", "reason=\(gap.reason)"]
        case .mark(let mark, let offset):
            head("EVENTS", link, [("END", mark == .end), ("MARKER", mark != .end)])
            words += ["next=\(events.firstSequence)"]
            add("offset", offset)
            if case .marker(let text) = mark { add("text", Self.word(text)) }
        case .runs(let runs):
            head("EVENTS", link)
            words.append("seq=\(events.firstSequence)")
            for run in runs {
                words.append("run")
                add("offset", run.header.offset)
                add("time", run.header.time)
                add("attempt", run.header.attempt)
                words.append("[" + Self.records(run.records, span) + "]")
            }
        }
    }

    private static func records(_ range: Range<Int>, _ span: RawSpan) -> String {
        var words: [String] = []
        var reader = RecordReader(range)
        do {
            while let record = try reader.next(from: span) { words.append(try word(record, span)) }
        } catch {
            words.append("<\(error)>")
        }
        return words.joined(separator: " ")
    }

    private static func word(
        _ record: RecordSlice,
        _ span: RawSpan
    ) throws(WireError) -> String {
        let payload = word(span.array(in: record.payload))
        guard record.key != nil || record.headers != nil else { return payload }
        var parts: [String] = []
        if let key = record.key { parts.append("key=" + word(span.array(in: key))) }
        if let block = record.headers {
            var reader = HeaderReader(block)
            while let header = try reader.next(from: span) {
                let name = word(span.array(in: header.name))
                parts.append(name + "=" + word(span.array(in: header.value)))
            }
        }
        return "(" + (parts + [payload]).joined(separator: " ") + ")"
    }
}

extension FrameWriter {
    /// Writes a decoded frame again, the records of an EVENTS from `span`; nothing for `ignorable`.
    package mutating func append(_ frame: Frame, link: UInt32, body span: RawSpan) {
        switch frame {
        case .hello(let hello): append(hello)
        case .welcome(let welcome): append(welcome)
        case .ping(let ping): append(ping)
        case .open(let open): append(open, link: link)
        case .opened(let opened): append(opened, link: link)
        case .demand(let ask): append(ask, link: link)
        case .settle(let settlements): append(settlements, link: link)
        case .status(let status): append(status, link: link)
        case .close(let close): append(close, link: link)
        case .ignorable: break
        case .events(let events):
            switch events.content {
            case .gap(let gap): append(gap, nextSequence: events.firstSequence, link: link)
            case .mark(let mark, let offset):
                append(mark, offset: offset, nextSequence: events.firstSequence, link: link)
            case .runs(let runs):
                appendEventsHead(
                    link: link,
                    firstSequence: events.firstSequence,
                    runs: runs.count,
                    recordBytes: Int(events.byteCount)
                )
                for run in runs {
                    appendRunHead(run.header)
                    append(records: span.extracting(run.records))
                }
            }
        }
    }
}
