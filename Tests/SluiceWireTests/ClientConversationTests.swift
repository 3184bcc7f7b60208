import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

@Suite struct ClientConversationTests {
    /// Those in which our client has something to say.
    static let legal = Conversation.all.filter { conversation in
        guard case .client(let hello, true)? = conversation.lines.first?.step else { return false }
        return hello.fields["versions"] == "1..1"
    }

    @Test("Most conversations begin as our client would begin them")
    func areThere() {
        #expect(Self.legal.count >= 30)
    }

    @Test("The client says what the conversation says", arguments: legal)
    func whole(_ conversation: Conversation) throws {
        var replay = try ClientReplay(conversation, piece: .max)
        try replay.run()
    }

    @Test("It says the same when every byte comes alone", arguments: legal)
    func byteByByte(_ conversation: Conversation) throws {
        var replay = try ClientReplay(conversation, piece: 1)
        try replay.run()
    }
}

/// Plays the broker of a conversation to a client's session, and the program behind that.
private struct ClientReplay {
    private let conversation: Conversation
    private let piece: Int
    private var session: ClientSession
    private var output = ClientOutput()
    private var events: [ClientEvent] = []
    /// What the client has said and no line has asked for yet.
    private var said: [Sentence] = []
    /// By the ids of the conversation.
    private var keys: [UInt32: LinkKey] = [:]
    private var wireIDs: [UInt32: UInt32] = [:]
    private var askedBytes: [UInt32: UInt64] = [:]
    private var line = 0
    private let now = Instant(nanoseconds: 0)

    init(_ conversation: Conversation, piece: Int) throws {
        self.conversation = conversation
        self.piece = piece
        guard case .client(let hello, _)? = conversation.lines.first?.step else {
            throw Sentence.Unspeakable(sentence: Sentence(type: "nothing", link: 0))
        }
        session = ClientSession(
            name: hello.fields["name"] ?? "",
            keepaliveSeconds: UInt16(hello["keepalive"] ?? 0)
        )
    }

    private var place: String { "\(conversation.name):\(line)" }

    mutating func run() throws {
        lines: for (index, line) in conversation.lines.enumerated() {
            self.line = line.number
            switch line.step {
            case .client(_, isLegal: false), .bytes: break lines
            case .client(let sentence, _): try expect(sentence)
            case .broker(let sentence): try hear(sentence, isLost: line.isLost)
            case .cut: cut(conversation.lines[index...])
            case .brokerCloses: #expect(session.state == .ended, "\(place): the client is done")
            case .clientCloses: session.disconnected()
            }
            listen()
        }
        said.removeAll { $0.type == "STATUS" }
        #expect(said.isEmpty, "\(place): nobody expected \(said)")
        for event in events {
            switch event {
            case .closed(_, _, .byClient), .ended(_, .byClient):
                Issue.record("\(place): the client finds fault: \(event)")
            default: break
            }
        }
    }

    /// What the client has written since the last look joins what it said.
    private mutating func listen() {
        let bytes = output.take()
        let span = bytes.span.bytes
        var next = 0
        while let header = FrameHeader.decode(from: span, at: next) {
            let body = next + FrameHeader.byteCount
            next = body + header.length
            guard let frame = try? Frame.decode(header, body: span, in: body..<next) else {
                Issue.record("\(place): the client wrote no frame")
                return
            }
            let id = wireIDs.first { $0.value == header.link }?.key ?? header.link
            said.append(Sentence(frame, link: id, body: span))
        }
    }

    /// Lets the program do what makes the client say this, unless it said it by itself.
    private mutating func expect(_ sentence: Sentence) throws {
        if takeSaid(sentence) { return }
        try act(sentence)
        listen()
        let isSaid = takeSaid(sentence)
        // A client tells its backlog when it has changed; a conversation may tell it again.
        #expect(isSaid || sentence.type == "STATUS", "\(place): the client said \(said)")
    }

    private mutating func takeSaid(_ sentence: Sentence) -> Bool {
        var wanted = sentence
        for name in ["session", "available", "versions", "blocked_by"] { wanted.fields[name] = nil }
        if wanted.fields["asked_bytes"] == nil, wanted.words.contains("resume") {
            wanted.fields["asked_bytes"] = "*"
        }
        let place = said.firstIndex { said in
            let lanes = said.atoms.count == wanted.atoms.count && said.link == wanted.link
            return lanes && zip(wanted.atoms, said.atoms).allSatisfy { $0.matches($1) }
        }
        guard let place else { return false }
        said.remove(at: place)
        return true
    }

    private mutating func act(_ sentence: Sentence) throws {
        let id = sentence.link
        switch sentence.type {
        case "HELLO": session.connected(at: now, into: &output.frames)
        case "PING": session.ping(sentence["opaque"] ?? 0, into: &output.frames)
        case "OPEN" where !sentence.words.contains("resume"):
            let demand = UInt32(sentence["demand"] ?? 0)
            let bytes = UInt32(sentence["bytes"] ?? 0)
            let open = try sentence.open()
            wireIDs[id] = UInt32(wireIDs.count + 1)
            keys[id] = session.open(open, asking: demand, bytes: bytes, into: &output.frames)
        case "CLOSE" where id == 0: session.finish(into: &output.frames)
        default: try act(sentence, try #require(keys[id]))
        }
    }

    private mutating func act(_ sentence: Sentence, _ key: LinkKey) throws {
        switch sentence.type {
        case "DEMAND":
            let ask = sentence.ask
            session.ask(
                key,
                events: ask.events,
                bytes: ask.bytes,
                flags: ask.flags,
                into: &output.frames
            )
        case "EVENTS" where !sentence.flags.isDisjoint(with: ["MARKER", "END"]):
            let text = sentence.fields["text"].map { Array($0.utf8) }
            session.enqueue(text.map { .marker($0) } ?? .end, on: key)
            _ = session.writeEvents(key, room: .max, into: &output)
        case "EVENTS":
            guard session[key]?.outbox.pendingCount == 0 else {
                // What was lost in a cut waits to be sent again.
                _ = session.writeEvents(key, room: .max, into: &output)
                return
            }
            let records = try sentence.records()
            let slab = Slab(capacity: records.count)
            let range = slab.append(records.span.bytes)
            let run = Run(slab: slab, bytes: range, count: UInt32(sentence.events.count))
            session.enqueue(run, on: key)
            _ = session.writeEvents(key, room: .max, into: &output)
        case "STATUS":
            let credit = session[key]?.ledger.credit ?? 0
            let available = sentence["available"] ?? 0
            session.announce(
                key,
                waiting: available > 0 ? available + credit : 0,
                into: &output.frames
            )
        case "CLOSE":
            let close = CloseCode.known.first { $0.name == sentence.fields["code"] }
            session.close(key, Close(close?.code ?? .normal), into: &output.frames)
        default: throw Sentence.Unspeakable(sentence: sentence)
        }
    }

    private mutating func hear(_ sentence: Sentence, isLost: Bool) throws {
        let bytes = try bind(sentence).encoded()
        guard !isLost else { return }
        var buffer: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: min(piece, bytes.count)) {
            buffer += bytes[start..<min(bytes.count, start + min(piece, bytes.count))]
            let taken = session.receive(
                buffer.span.bytes,
                from: 0,
                into: &output.frames,
                events: &events
            )
            buffer.removeFirst(taken)
        }
        #expect(buffer.isEmpty || session.state == .ended, "\(place): a frame was left")
    }

    /// Puts a number where the conversation leaves it open, and the id that the client uses.
    private mutating func bind(_ sentence: Sentence) -> Sentence {
        var sentence = sentence
        let id = sentence.link
        sentence.link = wireIDs[id] ?? id
        if sentence.type == "DEMAND", sentence.fields["bytes"] == "*" {
            let bytes = (sentence["n"] ?? 0) * 100
            askedBytes[id, default: 0] += bytes
            sentence.fields["bytes"] = "\(bytes)"
            sentence.fields["bytes_total"] = "\(askedBytes[id, default: 0])"
        }
        if sentence.fields["asked_bytes"] == "*" {
            sentence.fields["asked_bytes"] = "\(askedBytes[id, default: 0])"
        }
        if sentence.fields["forfeited_bytes"] == "*" {
            let left = askedBytes[id, default: 0] - (sentence["delivered_bytes"] ?? 0)
            sentence.fields["forfeited_bytes"] = "\(left)"
        }
        return sentence
    }

    /// The connection breaks; the program lets go of links that the conversation does not resume.
    private mutating func cut(_ rest: ArraySlice<Conversation.Line>) {
        session.disconnected()
        let resumed = rest.compactMap { line -> UInt32? in
            guard case .client(let sentence, true) = line.step else { return nil }
            return sentence.words.contains("resume") ? sentence.link : nil
        }
        for (id, key) in keys where !resumed.contains(id) {
            session.close(key, into: &output.frames)
        }
    }
}
