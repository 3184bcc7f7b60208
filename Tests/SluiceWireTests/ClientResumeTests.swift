import SluiceCore
import SluiceWire
import Testing

@Suite("A client's session after a cut")
struct ClientResumeTests {
    @Test("names its session and tells where its links stand")
    func resumeSink() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 10)
        talk.brokerSends([[1], [2]], first: 1)
        talk.session.disconnected()
        talk.session.ask(key, events: 3, into: &talk.output.frames)
        #expect(talk.said().isEmpty)
        talk.session.connected(at: Instant(nanoseconds: 0), into: &talk.output.frames)
        guard case .hello(let hello)? = talk.said().first?.frame else {
            Issue.record("no HELLO")
            return
        }
        #expect(hello.session == ClientConversation.welcome(resumed: false).session)
        talk.broker { $0.append(ClientConversation.welcome(resumed: true)) }
        let said = talk.said()
        #expect(said.map(\.link) == [1])
        var resume = Resume()
        resume.position = 2
        resume.positionBytes = 10
        resume.asked = 13
        #expect(said.first?.open?.resume == resume)
        _ = talk.told()
        var opened = Opened()
        opened.resumed = true
        opened.nextSequence = 3
        opened.asked = 13
        opened.forfeited = 4
        talk.broker { $0.append(opened, link: 1) }
        #expect(talk.told() == [.opened(key, resumed: true)])
        #expect(talk.session[key]?.ledger.credit == 7)
        talk.brokerSends([[7]], first: 3)
        #expect(talk.told().count == 1)
    }

    @Test("tells how many gaps it has had, and counts anew when the broker has forgotten")
    func resumeGaps() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 4)
        let gap = Gap(from: 0, to: 2, count: 2, reason: .dropped)
        talk.broker {
            $0.append(gap, nextSequence: 1, link: 1)
            $0.append(gap, nextSequence: 1, link: 1)
        }
        #expect(talk.told() == [.gap(key, gap), .gap(key, gap)])
        talk.reconnect()
        #expect(talk.said().first?.open?.resume?.gaps == 2)
        talk.reconnect(resumed: false)
        talk.broker { $0.append(Opened(), link: 2) }
        talk.reconnect()
        #expect(talk.said().last?.open?.resume?.gaps == 0)
    }

    @Test("a STOP that was not answered is sent again")
    func resumeStop() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 4)
        talk.session.ask(key, events: 0, flags: .stop, into: &talk.output.frames)
        talk.reconnect()
        let said = talk.said()
        #expect(said.first?.open?.resume?.stoppedTo == 4)
        #expect(said.last?.ask?.flags == .stop)
    }

    @Test("bytes are counted on when the broker has forgotten, without credit in events too")
    func bytesAnew() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 1, bytes: 100)
        talk.brokerSends([[1]], first: 1)
        talk.reconnect(resumed: false)
        let open = talk.said().first?.open
        #expect(open?.demandEvents == 0)
        #expect(open?.demandBytes == 95)
        talk.session.ask(key, events: 1, bytes: 5, into: &talk.output.frames)
        #expect(talk.said().last?.ask?.bytesTotal == 100)
    }

    @Test("a link refused as BUSY keeps its demand and is opened under a new id when told")
    func busy() {
        var talk = ClientConversation.welcomed()
        let open = Open(role: .sink, topic: "t")
        let key = talk.session.open(open, asking: 10, into: &talk.output.frames)
        let busy = Close(.busy, reason: "", retryMilliseconds: 5)
        talk.broker { $0.append(busy, link: 1) }
        #expect(talk.told() == [.postponed(key, busy)])
        _ = talk.said()
        talk.session.retry(key, into: &talk.output.frames)
        talk.session.retry(key, into: &talk.output.frames)
        let said = talk.said()
        #expect(said.map(\.link) == [2])
        #expect(said.first?.open?.demandEvents == 10)
    }

    @Test("a session that is forgotten names its next links by keys that never were")
    func forget() {
        var talk = ClientConversation.welcomed()
        let former = talk.openSink(demand: 1)
        talk.session.disconnected()
        talk.session.forget()
        #expect(talk.session[former] == nil)
        talk.connect()
        #expect(talk.openSink(demand: 1) != former)
    }

    @Test("a producer sends again what was not received, and no more")
    func resumeSource() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 5)
        talk.send(5, on: key)
        talk.broker { $0.append(Settlement(from: 1, count: 1), link: 1) }
        talk.reconnect()
        let said = talk.said()
        #expect(said.first?.open?.resume?.position == 5)
        #expect(said.first?.open?.available == 4)
        _ = talk.told()
        var opened = Opened()
        opened.resumed = true
        opened.nextSequence = 4
        opened.asked = 5
        opened.forfeited = 2
        opened.stoppedTo = 5
        talk.broker { $0.append(opened, link: 1) }
        #expect(
            talk.told() == [
                .opened(key, resumed: true),
                .settled(key, count: 2, outcome: .accept, argument: 0),
            ]
        )
        _ = talk.session.writeEvents(key, room: 1_000, into: &talk.output)
        #expect(talk.said().map(\.status?.available) == [2], "what was granted is void")
        talk.grant(9, total: 14)
        _ = talk.session.writeEvents(key, room: 1_000, into: &talk.output)
        #expect(talk.said().map(\.batch) == [[4, 2]])
    }

    @Test("a session that is lost begins with new links and asks what is open")
    func lostSession() {
        var talk = ClientConversation.welcomed()
        let sink = talk.openSink(demand: 10)
        talk.brokerSends([[1], [2]], first: 1)
        talk.reconnect(resumed: false)
        let said = talk.said()
        #expect(said.map(\.link) == [2])
        #expect(said.first?.open?.resume == nil)
        #expect(said.first?.open?.demandEvents == 8)
        talk.broker { $0.append(Opened(), link: 2) }
        _ = talk.told()
        talk.brokerSends([[1]], first: 1, link: 2)
        #expect(talk.told().count == 1)
        #expect(talk.session[sink]?.ledger.credit == 7)
    }

    @Test("a link that the broker no longer knows is opened under a new id")
    func lostLink() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 10)
        talk.reconnect()
        _ = talk.said()
        talk.broker { $0.append(Close(.notFound), link: 1) }
        let said = talk.said()
        #expect(said.map(\.link) == [2])
        #expect(said.first?.open?.demandEvents == 10)
        #expect(talk.told().isEmpty)
        talk.broker { $0.append(Opened(), link: 2) }
        #expect(talk.told() == [.opened(key, resumed: false)])
    }

    @Test("a producer's lost session sends all that is unconfirmed again")
    func lostSourceSession() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 3)
        talk.send(3, on: key)
        talk.reconnect(resumed: false)
        #expect(talk.said().first?.open?.available == 3)
        talk.broker {
            $0.append(Opened(), link: 2)
            $0.append(Ask(events: 3, total: 3), link: 2)
        }
        _ = talk.session.writeEvents(key, room: 1_000, into: &talk.output)
        #expect(talk.said().map(\.batch) == [[1, 3]])
    }

    @Test("a talk cut into pieces anywhere means the same as whole")
    func everyCut() {
        var start = ClientConversation.welcomed()
        _ = start.openSink(demand: 6)
        var broker = FrameWriter()
        broker.append(Ping(opaque: 3))
        broker.appendEvents([[1], [2, 2]], first: 1, link: 1)
        broker.append(Gap(from: 2, to: 4, count: 2, reason: .cut), nextSequence: 3, link: 1)
        broker.appendEvents([[3], []], first: 3, link: 1)
        var status = Status()
        status.asked = 6
        status.delivered = 4
        status.forfeited = 2
        status.isDrained = true
        broker.append(status, link: 1)
        broker.append(Close(.complete), link: 1)
        broker.append(Close(.goingAway, reason: "bye"))
        let bytes = broker.take()
        let whole = Self.take(bytes, cutAt: [], from: start)
        #expect(whole.session.state == .ended)
        #expect(whole.events.count == 7)
        for cut in 0...bytes.count {
            let parts = Self.take(bytes, cutAt: [cut], from: start)
            #expect(parts.events == whole.events, "cut at \(cut)")
            #expect(parts.output.frames.bytes == whole.output.frames.bytes, "cut at \(cut)")
        }
        let single = Self.take(bytes, cutAt: Array(0..<bytes.count), from: start)
        #expect(single.events == whole.events)
    }

    @Test("bytes that are no frame end the connection with the code of the mistake")
    func garbage() {
        var talk = ClientConversation.welcomed()
        let bytes: [UInt8] = [0, 0, 0, 99, 0, 0, 0, 0, 0]
        _ = talk.session.receive(
            bytes.span.bytes,
            from: 0,
            into: &talk.output.frames,
            events: &talk.events
        )
        #expect(talk.said().map(\.closeCode) == [.protocolError])
        #expect(talk.session.state == .ended)
    }

    private static func take(
        _ bytes: [UInt8],
        cutAt cuts: [Int],
        from start: ClientConversation
    ) -> ClientConversation {
        var talk = start
        var next = 0
        for end in cuts + [bytes.count] {
            next = talk.session.receive(
                bytes.span.bytes.extracting(0..<end),
                from: next,
                into: &talk.output.frames,
                events: &talk.events
            )
        }
        return talk
    }
}
