import SluiceCore
import SluiceWire
import Testing

@Suite("Marks of a client's source")
struct ClientMarkTests {
    private static func marker(_ text: String) -> Mark { .marker(Array(text.utf8)) }

    @Test("a mark goes behind the events before it and in front of those after it")
    func place() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 5)
        talk.enqueue(2, on: key)
        talk.session.enqueue(Self.marker("half"), on: key)
        talk.enqueue(2, on: key)
        talk.session.enqueue(.end, on: key)
        talk.session.enqueue(Self.marker("more"), on: key)
        talk.send(0, on: key)
        #expect(
            talk.lines() == ["1+2", "half before 3", "3+2", "end before 5", "more before 5"]
        )
    }

    @Test("a mark waits for the credit of the events before it, and needs none itself")
    func credit() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 1)
        talk.enqueue(2, on: key)
        talk.session.enqueue(.end, on: key)
        talk.send(0, on: key)
        #expect(talk.lines() == ["1+1"])
        talk.grant(1, total: 2)
        talk.send(0, on: key)
        #expect(talk.lines() == ["2+1", "end before 3"])
        talk.session.enqueue(Self.marker("late"), on: key)
        talk.send(0, on: key)
        #expect(talk.lines() == ["late before 3"])
    }

    @Test("marks that have no room wait for the next turn")
    func room() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 0)
        for _ in 0..<3 { talk.session.enqueue(.end, on: key) }
        var turns = 1
        while talk.session.writeEvents(key, room: 1, into: &talk.output) { turns += 1 }
        #expect(turns == 3)
        #expect(talk.lines().count == 3)
    }

    @Test("the answer to a PING behind a mark shows that it arrived, one before it does not")
    func pong() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 0)
        talk.session.ping(7, into: &talk.output.frames)
        talk.session.enqueue(.end, on: key)
        talk.send(0, on: key)
        talk.session.ping(8, into: &talk.output.frames)
        talk.session.enqueue(Self.marker("late"), on: key)
        talk.send(0, on: key)
        talk.session.ping(9, into: &talk.output.frames)
        talk.broker { $0.append(Ping(opaque: 7, isAnswer: true)) }
        #expect(talk.told() == [.pong(7)])
        // The broker may pass over all but the last.
        talk.broker { $0.append(Ping(opaque: 9, isAnswer: true)) }
        #expect(talk.told() == [.marksArrived(key, count: 2), .pong(9)])
        talk.broker { $0.append(Ping(opaque: 8, isAnswer: true)) }
        #expect(talk.told() == [.pong(8)], "nobody asked any more")
    }

    @Test("an event that is settled shows that the marks before it arrived, and no later ones")
    func settle() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 3)
        talk.enqueue(1, on: key)
        talk.session.enqueue(Self.marker("half"), on: key)
        talk.enqueue(1, on: key)
        talk.session.enqueue(.end, on: key)
        talk.send(0, on: key)
        talk.broker { $0.append(Settlement(from: 1, count: 1), link: 1) }
        #expect(talk.told() == [.settled(key, count: 1, outcome: .accept, argument: 0)])
        talk.broker { $0.append(Settlement(from: 2, count: 1), link: 1) }
        #expect(
            talk.told() == [
                .settled(key, count: 1, outcome: .accept, argument: 0),
                .marksArrived(key, count: 1),
            ]
        )
        #expect(talk.session[key]?.outbox.hasSentMarks == true)
    }

    @Test("a resume sends marks again in their place, but for those known to have arrived")
    func resume() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 4)
        for text in ["a", "b", "c", "d"] {
            talk.session.enqueue(Self.marker(text), on: key)
            talk.enqueue(1, on: key)
        }
        talk.session.enqueue(.end, on: key)
        talk.send(0, on: key)
        talk.session.ping(1, into: &talk.output.frames)
        talk.reconnect()
        _ = talk.said()
        _ = talk.told()
        var opened = Opened()
        opened.resumed = true
        opened.nextSequence = 3
        opened.asked = 4
        opened.forfeited = 2
        opened.stoppedTo = 4
        talk.broker { $0.append(opened, link: 1) }
        #expect(talk.told().contains(.marksArrived(key, count: 2)), "a and b")
        talk.send(0, on: key)
        #expect(talk.lines() == ["c before 3"])
        // An answer that the cut outran is none to a PING of this connection.
        talk.broker { $0.append(Ping(opaque: 1, isAnswer: true)) }
        #expect(talk.told() == [.pong(1)])
        talk.grant(2, total: 6)
        talk.send(0, on: key)
        #expect(talk.lines() == ["3+1", "d before 4", "4+1", "end before 5"])
        #expect(talk.session.isPingDue, "they are asked for again")
        talk.session.ping(2, into: &talk.output.frames)
        talk.broker { $0.append(Ping(opaque: 2, isAnswer: true)) }
        #expect(talk.told().contains(.marksArrived(key, count: 3)), "c, d and the end")
    }

    @Test("a broker that has forgotten the session is told all that may not have arrived")
    func forgotten() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 2)
        talk.enqueue(2, on: key)
        talk.session.enqueue(.end, on: key)
        talk.send(0, on: key)
        talk.broker { $0.append(Settlement(from: 1, count: 1), link: 1) }
        talk.reconnect(resumed: false)
        talk.broker { writer in
            writer.append(Opened(), link: 2)
            writer.append(Ask(events: 2, total: 2), link: 2)
        }
        _ = talk.said()
        talk.send(0, on: key)
        #expect(talk.lines() == ["1+1", "end before 2"])
    }

    @Test("a DRAIN is answered behind the marks")
    func drain() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 2)
        talk.enqueue(1, on: key)
        talk.session.enqueue(.end, on: key)
        talk.grant(0, total: 2, flags: .drain)
        talk.send(0, on: key)
        #expect(talk.lines() == ["1+1", "end before 2", "drained"])
    }
}

extension ClientConversation {
    /// The EVENTS and answers to DRAIN that were written since the last look.
    fileprivate mutating func lines() -> [String] {
        said().compactMap { said in
            switch said.frame {
            case .events(let events):
                switch events.content {
                case .runs: "\(events.firstSequence)+\(events.eventCount)"
                case .mark(.end, _): "end before \(events.firstSequence)"
                case .mark(.marker(let text), _):
                    "\(String(decoding: text, as: UTF8.self)) before \(events.firstSequence)"
                case .gap: "gap"
                }
            case .status(let status): status.isDrained ? "drained" : nil
            default: nil
            }
        }
    }
}
