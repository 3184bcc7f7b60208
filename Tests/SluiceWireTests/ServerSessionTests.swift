import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

extension ServerSession {
    /// A session that has heard a plain HELLO.
    static func greeted(_ change: (inout Hello) -> Void = { _ in }) throws -> ServerSession {
        var session = ServerSession()
        var hello = Hello()
        change(&hello)
        #expect(try session.hear { $0.append(hello) } == .hello(hello))
        return session
    }

    /// Takes the one frame that `write` writes.
    mutating func hear(_ write: (inout FrameWriter) -> Void) throws -> ServerAction {
        var writer = FrameWriter()
        write(&writer)
        return try hear(bytes: writer.bytes)
    }

    mutating func hear(bytes: [UInt8]) throws -> ServerAction {
        var progress = ReadProgress(from: 0)
        let action = try next(in: bytes.span.bytes, &progress)
        #expect(progress.parsed == bytes.count)
        return try #require(action)
    }

    mutating func open(_ id: UInt32, _ role: Role = .sink) throws {
        let open = Open(role: role, topic: "t")
        #expect(try hear { $0.append(open, link: id) } == .open(id, open))
        accepted(id)
    }

    /// The violation that the frame is; the test fails if it is none.
    mutating func refuses(_ write: (inout FrameWriter) -> Void) throws -> Violation {
        do {
            let action = try hear(write)
            Issue.record("\(action) instead of a violation")
        } catch let violation as Violation {
            return violation
        }
        return Violation(.normal, "")
    }
}

/// A frame of one event in each run.
func eventsFrame(
    link: UInt32 = 1,
    sequence: UInt64 = 1,
    payload: String = "x",
    runs: Int = 1,
    offset: UInt64 = 0,
    time: UInt64 = 0,
    attempt: UInt16 = 0,
    count: UInt32 = 1
) throws -> [UInt8] {
    var records = FrameWriter()
    try records.appendRecord(payload: Array(payload.utf8).span.bytes)
    var head = RunHeader(count: count, length: UInt32(records.bytes.count), offset: offset)
    head.time = time
    head.attempt = attempt
    return eventsFrame(link: link, sequence: sequence, head, records.bytes, runs: runs)
}

/// A frame of so many runs with this head and these records.
func eventsFrame(
    link: UInt32 = 1,
    sequence: UInt64 = 1,
    _ head: RunHeader,
    _ records: [UInt8],
    runs: Int = 1
) -> [UInt8] {
    var writer = FrameWriter()
    writer.appendEventsHead(
        link: link,
        firstSequence: sequence,
        runs: runs,
        recordBytes: records.count * runs
    )
    for _ in 0..<runs {
        writer.appendRunHead(head)
        writer.append(records: records.span.bytes)
    }
    return writer.bytes
}

@Suite("Server session: greeting")
struct GreetingTests {
    @Test("anything before HELLO ends the connection")
    func helloFirst() throws {
        var session = ServerSession()
        let violation = try session.refuses { $0.append(Ping(opaque: 1)) }
        #expect(violation.code == .protocolError && violation.link == nil)
        #expect(!session.isOpen)
        #expect(try session.hear { $0.append(Hello()) } == .skipped)
    }

    @Test("HELLO comes only once")
    func helloOnce() throws {
        var session = try ServerSession.greeted()
        #expect(try session.refuses { $0.append(Hello()) }.code == .protocolError)
    }

    @Test("the broker needs version 1 among those offered")
    func versions() throws {
        _ = try ServerSession.greeted { $0.versions = 0...9 }
        var session = ServerSession()
        var hello = Hello()
        hello.versions = 2...3
        let violation = try session.refuses { $0.append(hello) }
        #expect(violation.code == .version && violation.text.contains("1..1"))
    }

    @Test("an unknown kind of credential is refused")
    func credentials() throws {
        var session = ServerSession()
        var hello = Hello()
        hello.authKind = 1
        #expect(try session.refuses { $0.append(hello) }.code == .authFailed)
    }

    @Test("before HELLO a frame of more than 4,096 bytes is refused by its header alone")
    func longHello() throws {
        var session = ServerSession()
        #expect(session.maxFrame == 4_096)
        #expect(throws: Violation.self) {
            try session.check(FrameHeader(length: 4_097, type: FrameType.hello.rawValue))
        }
        #expect(!session.isOpen)
    }

    @Test("max_frame in force is the smaller of both", arguments: [131_072, 200_000, 1 << 24])
    func maxFrame(offered: UInt32) throws {
        var session = try ServerSession.greeted { $0.maxFrame = offered }
        let limit = min(Int(offered), Limits.frameBytesMax)
        #expect(session.maxFrame == limit)
        try session.check(FrameHeader(length: limit, type: FrameType.ping.rawValue))
        #expect(throws: Violation.self) {
            try session.check(FrameHeader(length: limit + 1, type: FrameType.ping.rawValue))
        }
    }
}

@Suite("Server session: links")
struct LinkTests {
    @Test("each end sends only the frames of its role", arguments: [Role.sink, .source])
    func roles(role: Role) throws {
        let sinkFrame = { (writer: inout FrameWriter) in
            writer.append(Ask(events: 1, total: 1), link: 1)
        }
        let sourceFrame = { (writer: inout FrameWriter) in writer.append(Status(), link: 1) }
        var session = try ServerSession.greeted()
        try session.open(1, role)
        let legal = try session.hear(role == .sink ? sinkFrame : sourceFrame)
        let demand = ServerAction.demand(1, Ask(events: 1, total: 1))
        #expect(legal == (role == .sink ? demand : .status(1, Status())))
        let violation = try session.refuses(role == .sink ? sourceFrame : sinkFrame)
        #expect(violation.code == .protocolError && violation.link == nil)
    }

    @Test("what only the broker sends is not legal from a client")
    func brokersFrames() throws {
        let frames: [(inout FrameWriter) -> Void] = [
            { $0.append(Welcome()) },
            { $0.append(Opened(), link: 1) },
            { $0.append(Gap(from: 0, to: 1, count: 1, reason: .cut), nextSequence: 1, link: 1) },
            { $0.append(.end, offset: 1, nextSequence: 1, link: 1) },
        ]
        for frame in frames {
            var session = try ServerSession.greeted()
            try session.open(1, .source)
            #expect(try session.refuses(frame).code == .protocolError)
        }
    }

    @Test("a producer says marks, whose offset is the broker's; a consumer does not")
    func marks() throws {
        var session = try ServerSession.greeted()
        try session.open(1, .source)
        for mark in [Mark.marker([0x61]), .end] {
            let action = try session.hear { $0.append(mark, offset: 0, nextSequence: 4, link: 1) }
            #expect(action == .mark(1, mark, nextSequence: 4))
        }
        try session.open(2, .sink)
        let violation = try session.refuses {
            $0.append(.end, offset: 0, nextSequence: 1, link: 2)
        }
        #expect(violation.code == .protocolError)
    }

    @Test("ids only rise, and one that was passed over is closed for good")
    func idsRise() throws {
        var session = try ServerSession.greeted()
        try session.open(5)
        #expect(try session.hear { $0.append(Ask(events: 1, total: 1), link: 3) } == .skipped)
        let violation = try session.refuses { $0.append(Open(role: .sink, topic: "t"), link: 5) }
        #expect(violation.code == .badLink && violation.link == nil)
    }

    @Test("a frame for an id that was never opened ends the connection")
    func neverOpened() throws {
        var session = try ServerSession.greeted()
        try session.open(5)
        let violation = try session.refuses { $0.append(Close(.normal), link: 6) }
        #expect(violation.code == .badLink && violation.link == nil)
    }

    @Test("a CLOSE of the client wants an answer, and then nothing is left of the link")
    func clientCloses() throws {
        var session = try ServerSession.greeted()
        try session.open(1)
        let close = Close(.cancelled)
        let first = try session.hear { $0.append(close, link: 1) }
        #expect(first == .closed(1, close, needsAnswer: true))
        #expect(session.linkCount == 0)
        #expect(session.closing(1) == false)
        #expect(try session.hear { $0.append(close, link: 1) } == .skipped)
        #expect(session.skippedFrames == 1)
    }

    @Test("after the broker's CLOSE frames are skipped until the answer, which is not answered")
    func brokerCloses() throws {
        var session = try ServerSession.greeted()
        try session.open(1)
        #expect(session.closing(1) == true)
        #expect(session.closing(1) == false, "one CLOSE is enough")
        #expect(try session.hear { $0.append(Ask(events: 1, total: 1), link: 1) } == .skipped)
        let close = Close(.normal)
        let answer = try session.hear { $0.append(close, link: 1) }
        #expect(answer == .closed(1, close, needsAnswer: false))
        #expect(session.linkCount == 0)
    }

    @Test("a refused OPEN leaves no link, and what follows it is skipped")
    func refusedOpen() throws {
        var session = try ServerSession.greeted()
        _ = try session.hear { $0.append(Open(role: .sink, topic: "t"), link: 1) }
        session.refused(1)
        #expect(session.linkCount == 0)
        #expect(try session.hear { $0.append(Ask(events: 1, total: 1), link: 1) } == .skipped)
    }

    @Test("an OPEN with a bad option costs its id and nothing else")
    func badOption() throws {
        var session = try ServerSession.greeted()
        let violation = try session.refuses { $0.append(Open(role: .sink, topic: ""), link: 1) }
        #expect(violation.code == .badOption && violation.link == 1)
        #expect(session.isOpen && session.linkCount == 0)
        #expect(try session.hear { $0.append(Ask(events: 1, total: 1), link: 1) } == .skipped)
        try session.open(2)
    }

    @Test("one link more than the limit is refused, and closing one makes room")
    func limit() throws {
        var session = try ServerSession.greeted()
        let last = UInt32(Limits.linksPerConnectionMax)
        for id in 1...last { try session.open(id) }
        let open = Open(role: .sink, topic: "t")
        let violation = try session.refuses { $0.append(open, link: last + 1) }
        #expect(violation.code == .limit && violation.link == last + 1)
        let ask = Ask(events: 1, total: 1)
        #expect(try session.hear { $0.append(ask, link: last + 1) } == .skipped)
        _ = try session.hear { $0.append(Close(.normal), link: 7) }
        try session.open(last + 2)
    }

    @Test("SETTLE from a consumer closes its link alone")
    func settle() throws {
        var session = try ServerSession.greeted()
        try session.open(1)
        let violation = try session.refuses { $0.append(Settlement(from: 1, count: 1), link: 1) }
        #expect(violation.code == .badOption && violation.link == 1)
        #expect(session.isOpen)
        #expect(session.closing(1) == false, "the violation closed it already")
    }
}

@Suite("Server session: producers")
struct ProducerTests {
    @Test("events of a producer come with their sums")
    func eventsOfProducer() throws {
        var session = try ServerSession.greeted()
        try session.open(1, .source)
        guard case .events(1, let found) = try session.hear(bytes: eventsFrame(payload: "hi"))
        else {
            Issue.record("no events")
            return
        }
        #expect(found.firstSequence == 1 && found.eventCount == 1 && found.byteCount == 6)
    }

    @Test("an offset is the broker's to give")
    func offset() throws {
        var session = try ServerSession.greeted()
        try session.open(1, .source)
        #expect(throws: Violation.self) {
            try session.hear(bytes: eventsFrame(payload: "hi", offset: 1))
        }
        #expect(!session.isOpen)
    }

    @Test("a frame of a closed link is skipped by its header, whatever its body")
    func skipsBodies() throws {
        var session = try ServerSession.greeted()
        try session.open(1, .source)
        #expect(session.closing(1) == true)
        var bytes = try eventsFrame(payload: "hi")
        bytes[FrameHeader.byteCount + 8] = 0xFF
        #expect(try session.hear(bytes: bytes) == .skipped)
    }
}

@Suite("Server session: the end and the resume")
struct ResumeTests {
    private func resumption(_ role: Role = .sink) -> Open {
        var open = Open(role: role, topic: "t")
        open.resume = Resume()
        return open
    }

    @Test("after CLOSE on link 0 everything is skipped")
    func closedConnection() throws {
        var session = try ServerSession.greeted()
        let close = Close(.normal)
        #expect(try session.hear { $0.append(close) } == .closedConnection(close))
        #expect(!session.isOpen)
        #expect(try session.hear { $0.append(Ping()) } == .skipped)
    }

    @Test("after CLOSE with GRACEFUL links go on, but none is opened")
    func leaving() throws {
        var session = try ServerSession.greeted()
        try session.open(1)
        _ = try session.hear { $0.append(Close(.normal, isGraceful: true)) }
        #expect(session.isOpen)
        let ask = Ask(events: 1, total: 1)
        #expect(try session.hear { $0.append(ask, link: 1) } == .demand(1, ask))
        let open = Open(role: .sink, topic: "t")
        #expect(try session.refuses { $0.append(open, link: 2) }.code == .protocolError)
    }

    @Test("a detached link is resumed by OPEN with its id, and by nothing else")
    func resumes() throws {
        var lost = try ServerSession.greeted()
        try lost.open(1)
        try lost.open(4)
        #expect(lost.closing(4) == true)
        let table = lost.detach()
        #expect(table.ids == [1], "a link on its way out does not come back")

        var session = try ServerSession.greeted()
        session.resume(table)
        let open = resumption()
        #expect(try session.hear { $0.append(open, link: 1) } == .open(1, open))
        session.accepted(1)
        let ask = Ask(events: 1, total: 1)
        #expect(try session.hear { $0.append(ask, link: 1) } == .demand(1, ask))
        #expect(try session.refuses { $0.append(open, link: 1) }.code == .badLink)
    }

    @Test("ids of the former connection stay used")
    func idsStayUsed() throws {
        var lost = try ServerSession.greeted()
        try lost.open(4)
        var session = try ServerSession.greeted()
        session.resume(lost.detach())
        let open = Open(role: .sink, topic: "t")
        #expect(try session.refuses { $0.append(open, link: 3) }.code == .badLink)
    }

    @Test("a frame on a link that is still detached ends the connection")
    func detachedIsNotOpen() throws {
        var lost = try ServerSession.greeted()
        try lost.open(1)
        var session = try ServerSession.greeted()
        session.resume(lost.detach())
        let violation = try session.refuses { $0.append(Ask(events: 1, total: 1), link: 1) }
        #expect(violation.code == .badLink && violation.link == nil)
    }

    @Test("a detached link that ended meanwhile is refused with NOT_FOUND")
    func endedMeanwhile() throws {
        var lost = try ServerSession.greeted()
        try lost.open(1)
        var table = lost.detach()
        table.end(1)
        var session = try ServerSession.greeted()
        session.resume(table)
        let open = resumption()
        let violation = try session.refuses { $0.append(open, link: 1) }
        #expect(violation.code == .notFound && violation.link == 1)
        try session.open(2)
    }

    @Test("the broker ends a detached link without a CLOSE; the client's wants an answer")
    func detachedEnds() throws {
        var lost = try ServerSession.greeted()
        try lost.open(1)
        try lost.open(2)
        var session = try ServerSession.greeted()
        session.resume(lost.detach())
        #expect(session.closing(1) == false)
        let close = Close(.normal)
        let action = try session.hear { $0.append(close, link: 2) }
        #expect(action == .closed(2, close, needsAnswer: true))
        #expect(session.linkCount == 0)
    }

    @Test("a resumed link keeps its role")
    func roleStays() throws {
        var lost = try ServerSession.greeted()
        try lost.open(1)
        var session = try ServerSession.greeted()
        session.resume(lost.detach())
        let open = resumption(.source)
        let violation = try session.refuses { $0.append(open, link: 1) }
        #expect(violation.code == .badOption && violation.link == 1)
        #expect(session.linkCount == 0)
    }

    @Test("a session takes no more than 64 bytes beside its links")
    func size() {
        #expect(MemoryLayout<ServerSession>.size <= 64)
    }
}
