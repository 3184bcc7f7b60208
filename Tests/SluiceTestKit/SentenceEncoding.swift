package import SluiceCore
package import SluiceWire

extension Sentence {
    package struct Unspeakable: Error {
        package let sentence: Sentence

        package init(sentence: Sentence) { self.sentence = sentence }
    }

    /// The bytes of the frame; fields that it leaves out are 0.
    package func encoded() throws -> [UInt8] {
        var writer = FrameWriter()
        switch type {
        case "HELLO": writer.append(try hello())
        case "WELCOME": writer.append(welcome)
        case "OPENED": writer.append(opened, link: link)
        case "PING":
            writer.append(Ping(opaque: self["opaque"] ?? 0, isAnswer: flags.contains("PONG")))
        case "OPEN": return try encodedOpen()
        case "DEMAND": writer.append(ask, link: link)
        case "EVENTS" where flags.contains("GAP"):
            writer.append(try gap(), nextSequence: self["next"] ?? 0, link: link)
        case "EVENTS" where flags.contains("END"): writer.append(mark: .end, of: self)
        case "EVENTS" where flags.contains("MARKER"):
            writer.append(mark: .marker(Array((fields["text"] ?? "").utf8)), of: self)
        case "EVENTS": try writeEvents(into: &writer)
        case "SETTLE": writer.append(try settlements(), link: link)
        case "STATUS": writer.append(status, link: link)
        case "CLOSE":
            let close = Close(
                try Self.code(fields["code"] ?? "", self),
                retryMilliseconds: UInt32(self["retry"] ?? 0),
                isGraceful: flags.contains("GRACEFUL")
            )
            writer.append(close, link: link)
        case "FRAME":
            let length = UInt32(body.count)
            let link = UInt32(self["link"] ?? 0)
            let head = [
                UInt8(truncatingIfNeeded: length >> 16), UInt8(truncatingIfNeeded: length >> 8),
                UInt8(truncatingIfNeeded: length), UInt8(self["type"] ?? 0),
                UInt8(self["flags"] ?? 0),
            ]
            return head + (0..<4).map { UInt8(truncatingIfNeeded: link >> (24 - 8 * $0)) } + body
        default: throw Unspeakable(sentence: self)
        }
        return writer.bytes
    }

    private static func code(_ name: String, _ sentence: Sentence) throws -> CloseCode {
        guard let known = CloseCode.known.first(where: { $0.name == name }) else {
            throw Unspeakable(sentence: sentence)
        }
        return known.code
    }

    private func hello() throws -> Hello {
        var hello = Hello()
        let versions = (fields["versions"] ?? "").split(separator: ".").compactMap { UInt8($0) }
        guard versions.count == 2 else { throw Unspeakable(sentence: self) }
        hello.versions = versions[0]...versions[1]
        hello.keepaliveSeconds = UInt16(self["keepalive"] ?? 0)
        hello.maxFrame = UInt32(self["max_frame"] ?? 1_048_576)
        hello.session = Hex.bytes(Self.spaced(fields["session"] ?? "")) ?? []
        hello.name = fields["name"] ?? ""
        return hello
    }

    private static func spaced(_ digits: String) -> String {
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, index % 2 == 0 { text.append(" ") }
            text.append(digit)
        }
        return text
    }

    package func open() throws -> Open {
        var open = Open(
            role: words.contains("sink") ? .sink : .source,
            topic: fields["topic"] ?? ""
        )
        open.group = fields["group"].map { Name($0) }
        let start = (fields["start"] ?? "").split(separator: ":")
        switch start.first {
        case nil: break
        case "new"?: open.start = .new
        case "first"?: open.start = .first
        case "offset"?: open.start = .offset(UInt64(start[1]) ?? 0)
        case "time"?: open.start = .time(UInt64(start[1]) ?? 0)
        default: throw Unspeakable(sentence: self)
        }
        open.demandEvents = UInt32(self["demand"] ?? 0)
        open.demandBytes = UInt32(self["bytes"] ?? 0)
        open.name = fields["name"]
        open.available = self["available"]
        for (name, value) in fields where Open.isOption(name) {
            guard open.take(name, value) else { throw Unspeakable(sentence: self) }
        }
        guard words.contains("resume") else { return open }
        var resume = Resume()
        resume.position = self["position"] ?? 0
        resume.positionBytes = self["position_bytes"] ?? 0
        resume.asked = self["asked"] ?? 0
        resume.askedBytes = self["asked_bytes"] ?? 0
        resume.stoppedTo = self["stopped_to"] ?? 0
        resume.drainedTo = self["drained_to"] ?? 0
        resume.gaps = self["gaps"] ?? 0
        open.resume = resume
        return open
    }

    private func encodedOpen() throws -> [UInt8] {
        var writer = FrameWriter()
        writer.append(try open(), link: link)
        var bytes = writer.bytes
        for option in options {
            bytes += [option.tag, 0, UInt8(option.bytes.count)] + option.bytes
        }
        bytes[1] = UInt8((bytes.count - FrameHeader.byteCount) >> 8)
        bytes[2] = UInt8((bytes.count - FrameHeader.byteCount) & 0xFF)
        return bytes
    }

    package var ask: Ask {
        var asked: AskFlags = []
        if flags.contains("DRAIN") { asked.insert(.drain) }
        if flags.contains("STOP") { asked.insert(.stop) }
        if flags.contains("ECHO") { asked.insert(.echo) }
        return Ask(
            events: UInt32(self["n"] ?? 0),
            total: self["total"] ?? 0,
            bytes: UInt32(self["bytes"] ?? 0),
            bytesTotal: self["bytes_total"] ?? 0,
            received: self["received"] ?? 0,
            flags: asked,
            echo: self["echo"] ?? 0
        )
    }

    private func gap() throws -> Gap {
        let reasons: [GapReason] = [.cut, .dropped, .purged, .lagged]
        guard let reason = reasons.first(where: { "\($0)" == fields["reason"] }) else {
            throw Unspeakable(sentence: self)
        }
        return Gap(
            from: self["from"] ?? 0,
            to: self["to"] ?? 0,
            count: self["count"] ?? 0,
            reason: reason
        )
    }

    private var welcome: Welcome {
        var welcome = Welcome()
        welcome.resumed = flags.contains("RESUMED")
        welcome.keepaliveSeconds = UInt16(self["keepalive"] ?? 10)
        welcome.session = [UInt8](repeating: 7, count: Limits.sessionTokenBytes)
        return welcome
    }

    private var opened: Opened {
        var opened = Opened()
        opened.resumed = flags.contains("RESUMED")
        opened.nextSequence = self["next"] ?? 1
        opened.head = self["head"] ?? 0
        opened.asked = self["asked"] ?? 0
        opened.askedBytes = self["asked_bytes"] ?? 0
        opened.deliveredBytes = self["delivered_bytes"] ?? 0
        opened.forfeited = self["forfeited"] ?? 0
        opened.forfeitedBytes = self["forfeited_bytes"] ?? 0
        opened.stoppedTo = self["stopped_to"] ?? 0
        opened.drainedTo = self["drained_to"] ?? 0
        return opened
    }

    /// The payloads of an EVENTS as records.
    package func records() throws -> [UInt8] {
        var records = FrameWriter()
        for event in events {
            try records.appendRecord(payload: Array((event.payload ?? "{}").utf8).span.bytes)
        }
        return records.bytes
    }

    private func writeEvents(into writer: inout FrameWriter) throws {
        let records = try records()
        writer.appendEventsHead(
            link: link,
            firstSequence: self["seq"] ?? 0,
            runs: 1,
            recordBytes: records.count
        )
        let run = RunHeader(
            count: UInt32(events.count),
            length: UInt32(records.count),
            offset: events.first?.offset ?? 0
        )
        writer.appendRunHead(run)
        writer.append(records: records.span.bytes)
    }

    private func settlements() throws -> [Settlement] {
        try verdicts.map { verdict in
            let words = verdict.outcome.split(separator: " ").map(String.init)
            guard words[0] == "reject" else {
                return Settlement(from: verdict.sequence, count: 1)
            }
            return Settlement(
                from: verdict.sequence,
                count: 1,
                outcome: .reject,
                argument: UInt32(try Self.code(words[1], self).rawValue)
            )
        }
    }

    private var status: Status {
        var status = Status()
        status.isDrained = flags.contains("DRAINED")
        status.isEcho = flags.contains("ECHO")
        status.asked = self["asked"] ?? 0
        status.delivered = self["delivered"] ?? 0
        status.forfeited = self["forfeited"] ?? 0
        status.askedBytes = self["asked_bytes"] ?? 0
        status.deliveredBytes = self["delivered_bytes"] ?? 0
        status.forfeitedBytes = self["forfeited_bytes"] ?? 0
        status.stoppedTo = self["stopped_to"] ?? 0
        status.drainedTo = self["drained_to"] ?? 0
        status.available = self["available"] ?? 0
        status.needBytes = UInt32(self["need_bytes"] ?? 0)
        status.echo = self["echo"] ?? 0
        let blocker = Self.blockers.firstIndex(of: fields["blocked_by"] ?? "nothing") ?? 0
        status.blockedBy = BlockedBy(rawValue: UInt8(blocker)) ?? .nothing
        return status
    }
}

extension FrameWriter {
    fileprivate mutating func append(mark: Mark, of sentence: Sentence) {
        append(
            mark,
            offset: sentence["offset"] ?? 0,
            nextSequence: sentence["next"] ?? 0,
            link: sentence.link
        )
    }

    /// A SETTLE of several ranges, which any broker may write and this one does not.
    package mutating func append(_ settlements: [Settlement], link: UInt32) {
        var frame: [UInt8] = []
        for settlement in settlements {
            var single = FrameWriter()
            single.append(settlement, link: link)
            frame += single.bytes.dropFirst(frame.isEmpty ? 0 : FrameHeader.byteCount)
        }
        let length = frame.count - FrameHeader.byteCount
        for index in 0..<3 { frame[index] = UInt8(truncatingIfNeeded: length >> (16 - 8 * index)) }
        append(records: frame.span.bytes)
    }
}
