import SluiceCore
import SluiceWire
import Testing

@Suite("A client's session as sink")
struct ClientSinkTests {
    @Test("says hello, and opens what was planned once it is welcomed")
    func greeting() {
        var talk = ClientConversation()
        let key = talk.session.open(
            Open(role: .sink, topic: "t"),
            asking: 5,
            into: &talk.output.frames
        )
        talk.session.ask(key, events: 2, into: &talk.output.frames)
        #expect(talk.said().isEmpty)
        talk.session.connected(at: Instant(nanoseconds: 0), into: &talk.output.frames)
        guard case .hello(let hello)? = talk.said().first?.frame else {
            Issue.record("no HELLO")
            return
        }
        #expect(hello.session.isEmpty)
        #expect(hello.name == "test")
        talk.broker { $0.append(ClientConversation.welcome(resumed: false)) }
        #expect(talk.told() == [.welcomed(resumed: false)])
        let said = talk.said()
        #expect(said.map(\.link) == [1])
        #expect(said.first?.open?.demandEvents == 7)
    }

    @Test("a refused greeting ends the connection and names the reason")
    func refusedGreeting() {
        var talk = ClientConversation()
        talk.session.connected(at: Instant(nanoseconds: 0), into: &talk.output.frames)
        let close = Close(.version, reason: "speak 2")
        talk.broker { $0.append(close) }
        #expect(talk.told() == [.ended(close, .refused)])
        #expect(talk.session.state == .ended)
    }

    @Test("anything but WELCOME first is a violation")
    func noWelcome() {
        var talk = ClientConversation()
        talk.session.connected(at: Instant(nanoseconds: 0), into: &talk.output.frames)
        _ = talk.said()
        talk.broker { $0.append(Ping()) }
        #expect(talk.said().map(\.closeCode) == [.protocolError])
    }

    @Test("events within demand are told, beyond it the link ends with CREDIT_OVERRUN")
    func overrun() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 4)
        talk.brokerSends([[1], [2], [3], [4]], first: 1)
        #expect(talk.session[key]?.ledger.delivered == 4)
        #expect(talk.told().count == 1)
        talk.brokerSends([[5]], first: 5)
        #expect(talk.said().map(\.closeCode) == [.creditOverrun])
        guard case .closed(key, let close, .byClient)? = talk.told().first else {
            Issue.record("not closed")
            return
        }
        #expect(close.code == .creditOverrun)
    }

    @Test("bytes beyond demand end the link with CREDIT_OVERRUN")
    func byteOverrun() {
        var talk = ClientConversation.welcomed()
        _ = talk.openSink(demand: 4, bytes: 10)
        talk.brokerSends([[1], [2]], first: 1)
        #expect(talk.told().count == 1)
        talk.brokerSends([[3]], first: 3)
        #expect(talk.said().map(\.closeCode) == [.creditOverrun])
    }

    @Test("a sequence that does not follow on ends the link with CREDIT_MISMATCH")
    func sequence() {
        var talk = ClientConversation.welcomed()
        _ = talk.openSink(demand: 4)
        talk.brokerSends([[1]], first: 2)
        #expect(talk.said().map(\.closeCode) == [.creditMismatch])
    }

    @Test("a gap is told and costs no credit")
    func gap() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 4)
        let gap = Gap(from: 3, to: 9, count: 5, reason: .dropped)
        talk.broker { $0.append(gap, nextSequence: 1, link: 1) }
        #expect(talk.told() == [.gap(key, gap)])
        #expect(talk.session[key]?.ledger.credit == 4)
    }

    @Test("marks are told in their place, and cost no credit")
    func marks() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 4)
        let marker = Mark.marker(Array("half".utf8))
        talk.broker { writer in
            writer.append(marker, offset: 3, nextSequence: 1, link: 1)
            writer.append(.end, offset: 3, nextSequence: 1, link: 1)
        }
        #expect(talk.told() == [.mark(key, marker, offset: 3), .mark(key, .end, offset: 3)])
        #expect(talk.session[key]?.ledger.credit == 4)
    }

    @Test("a mark at another place ends the link")
    func markElsewhere() {
        var talk = ClientConversation.welcomed()
        _ = talk.openSink(demand: 4)
        talk.broker { $0.append(.end, offset: 3, nextSequence: 2, link: 1) }
        #expect(talk.said().map(\.closeCode) == [.creditMismatch])
    }

    @Test("STOP is sent with the total, and DRAINED ends it")
    func stop() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 4)
        talk.session.ask(key, events: 0, flags: .stop, into: &talk.output.frames)
        #expect(talk.said().map(\.ask) == [Ask(events: 0, total: 4, flags: .stop)])
        var ledger = Ledger()
        _ = try? ledger.apply(Ask(events: 4, total: 4))
        _ = try? ledger.apply(Ask(events: 0, total: 4, flags: .stop))
        var status = Status(ledger)
        status.isDrained = true
        talk.broker { $0.append(status, link: 1) }
        #expect(talk.told() == [.status(key, status), .drained(key)])
        #expect(talk.session[key]?.ledger.credit == 0)
    }

    @Test("a STATUS that forfeits more than there is ends the link")
    func statusMismatch() {
        var talk = ClientConversation.welcomed()
        _ = talk.openSink(demand: 4)
        var status = Status()
        status.forfeited = 5
        talk.broker { $0.append(status, link: 1) }
        #expect(talk.said().map(\.closeCode) == [.creditMismatch])
    }

    @Test("a refused OPEN is told and not answered")
    func refusedOpen() {
        var talk = ClientConversation.welcomed()
        let key = talk.session.open(Open(role: .sink, topic: "t"), into: &talk.output.frames)
        _ = talk.said()
        let close = Close(.notFound, reason: "no topic")
        talk.broker { $0.append(close, link: 1) }
        #expect(talk.told() == [.closed(key, close, .refused)])
        #expect(talk.said().isEmpty)
    }

    @Test("a CLOSE of an open link is answered once, and what comes after is skipped")
    func closedByBroker() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 4)
        let close = Close(.topicDeleted)
        talk.broker { $0.append(close, link: 1) }
        #expect(talk.told() == [.closed(key, close, .byBroker)])
        #expect(talk.said().map(\.closeCode) == [.topicDeleted])
        talk.brokerSends([[1]], first: 1)
        talk.broker { $0.append(close, link: 1) }
        #expect(talk.told().isEmpty)
        #expect(talk.said().isEmpty)
        #expect(talk.session.skippedFrames == 2)
    }

    @Test("the answer to our CLOSE is not answered, and events before it are skipped")
    func closedByUs() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 4)
        talk.session.close(key, into: &talk.output.frames)
        #expect(talk.said().map(\.closeCode) == [.normal])
        talk.brokerSends([[1]], first: 1)
        talk.broker { $0.append(Close(.normal), link: 1) }
        #expect(talk.told().isEmpty)
        #expect(talk.said().isEmpty)
        #expect(talk.session[key] == nil)
    }

    @Test("a frame for a link that was never opened ends the connection with BAD_LINK")
    func badLink() {
        var talk = ClientConversation.welcomed()
        talk.brokerSends([[1]], first: 1, link: 9)
        #expect(talk.said().map(\.closeCode) == [.badLink])
        #expect(talk.session.state == .ended)
    }

    @Test("a frame of the other end is a violation")
    func wrongEnd() {
        var talk = ClientConversation.welcomed()
        _ = talk.openSink(demand: 1)
        talk.broker { $0.append(Ask(events: 1, total: 1), link: 1) }
        #expect(talk.said().map(\.closeCode) == [.protocolError])
    }

    @Test("PING is answered with its number, an answer is told")
    func ping() {
        var talk = ClientConversation.welcomed()
        talk.broker {
            $0.append(Ping(opaque: 5))
            $0.append(Ping(opaque: 6, isAnswer: true))
        }
        #expect(talk.said().map(\.frame) == [.ping(Ping(opaque: 5, isAnswer: true))])
        #expect(talk.told() == [.pong(6)])
    }

    @Test("silence is broken after a keepalive, and two without a sound are death")
    func keepalive() {
        var talk = ClientConversation.welcomed()
        func at(_ seconds: UInt64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }
        talk.session.tick(at: at(9), into: &talk.output.frames, events: &talk.events)
        #expect(talk.said().isEmpty)
        talk.session.tick(at: at(10), into: &talk.output.frames, events: &talk.events)
        #expect(talk.said().map(\.frame) == [.ping(Ping())])
        talk.session.heard(at: at(11))
        talk.session.said(at: at(30))
        talk.session.tick(at: at(30), into: &talk.output.frames, events: &talk.events)
        #expect(talk.told().isEmpty)
        talk.session.tick(at: at(31), into: &talk.output.frames, events: &talk.events)
        #expect(talk.said().map(\.closeCode) == [.idle])
        #expect(talk.session.state == .ended)
    }

    @Test("a graceful CLOSE lets links go on until the connection ends")
    func goingAway() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSink(demand: 4)
        let away = Close(.goingAway, retryMilliseconds: 1_000, isGraceful: true)
        talk.broker { $0.append(away) }
        #expect(talk.told() == [.goingAway(away)])
        talk.brokerSends([[1]], first: 1)
        #expect(talk.session[key]?.ledger.delivered == 1)
        talk.broker { $0.append(Close(.goingAway)) }
        #expect(talk.session.state == .ended)
    }
}
