import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

@Suite("A client's session as source")
struct ClientSourceTests {
    @Test("sends what is granted, never more, and goes on with the next grant")
    func credit() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 3)
        talk.send(5, on: key)
        #expect(talk.said().map(\.batch) == [[1, 3]])
        talk.send(1, on: key)
        #expect(talk.said().isEmpty)
        talk.grant(2, total: 5)
        #expect(talk.told() == [.granted(key, events: 2)])
        _ = talk.session.writeEvents(key, room: 1_000, into: &talk.output)
        #expect(talk.said().map(\.batch) == [[4, 2]])
        #expect(talk.session[key]?.outbox.pendingCount == 1)
    }

    @Test("an event that does not fit the bytes waits, and the broker is told what it needs")
    func bytesBlocked() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 3, bytes: 20)
        talk.send(2, size: 12, on: key)
        let said = talk.said()
        #expect(said.first?.batch == [1, 1])
        #expect(said.last?.status?.blockedBy == .bytes)
        #expect(said.last?.status?.needBytes == 16)
        talk.send(1, on: key)
        #expect(talk.said().isEmpty, "told once")
        talk.session.announce(key, waiting: 10, into: &talk.output.frames)
        #expect(talk.said().first?.status?.needBytes == 16, "as long as it holds")
        talk.grant(0, bytes: 16, total: 3, bytesTotal: 36)
        _ = talk.session.writeEvents(key, room: 1_000, into: &talk.output)
        #expect(talk.said().map(\.batch) == [[2, 1], nil])
    }

    @Test("a DEMAND whose total does not follow on ends the link with CREDIT_MISMATCH")
    func mismatch() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 3)
        talk.grant(2, total: 6)
        #expect(talk.said().map(\.closeCode) == [.creditMismatch])
        talk.send(1, on: key)
        #expect(talk.said().isEmpty, "nothing is sent after CLOSE")
    }

    @Test("STOP takes back what is not sent at once")
    func recall() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 5)
        talk.send(2, on: key)
        _ = talk.said()
        talk.grant(0, total: 5, flags: .stop)
        let status = talk.said().first?.status
        #expect(status?.isDrained == true)
        #expect(status?.forfeited == 3)
        #expect(status?.stoppedTo == 5)
        #expect(talk.told() == [.recalled(key)])
        talk.send(1, on: key)
        #expect(talk.said().isEmpty)
    }

    @Test("DRAIN sends what waits and gives back the rest")
    func drain() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 5)
        talk.enqueue(2, on: key)
        talk.grant(0, total: 5, flags: .drain)
        #expect(talk.said().isEmpty)
        _ = talk.session.writeEvents(key, room: 1_000, into: &talk.output)
        let said = talk.said()
        #expect(said.first?.batch == [1, 2])
        #expect(said.last?.status?.isDrained == true)
        #expect(said.last?.status?.forfeited == 3)
    }

    @Test("ECHO is answered by the account")
    func echo() {
        var talk = ClientConversation.welcomed()
        _ = talk.openSource(demand: 5)
        talk.grant(0, total: 5, flags: .echo)
        let status = talk.said().first?.status
        #expect(status?.isEcho == true)
        #expect(status?.asked == 5)
    }

    @Test("a backlog is announced once, beyond credit, and less what was granted for it")
    func announcing() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 3)
        talk.session.announce(key, waiting: 10, into: &talk.output.frames)
        #expect(talk.said().map(\.status?.available) == [7])
        talk.grant(4, total: 7)
        talk.session.announce(key, waiting: 10, into: &talk.output.frames)
        #expect(talk.said().isEmpty, "the broker knows: it granted 4 of them")
        talk.session.announce(key, waiting: 0, into: &talk.output.frames)
        #expect(talk.said().map(\.status?.available) == [0])
    }

    @Test("a backlog that came while the link was opening is announced when it stands")
    func announcingEarly() {
        var talk = ClientConversation.welcomed()
        var open = Open(role: .source, topic: "t")
        open.available = 0
        let key = talk.session.open(open, into: &talk.output.frames)
        _ = talk.said()
        talk.session.announce(key, waiting: 10, into: &talk.output.frames)
        #expect(talk.said().isEmpty)
        talk.broker { $0.append(Opened(), link: 1) }
        #expect(talk.said().map(\.status?.available) == [10])
    }

    @Test("a producer that does not know its backlog says so in every STATUS")
    func unknownBacklog() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 3, available: nil)
        talk.session.announce(key, waiting: 10, into: &talk.output.frames)
        #expect(talk.said().isEmpty)
        talk.grant(0, total: 3, flags: .echo)
        #expect(talk.said().map(\.status?.available) == [.max])
    }

    @Test("a producer that always has more says so until it ends")
    func endlessBacklog() {
        let endless = ClientLink.endlessBacklog
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 3, available: endless)
        talk.send(2, on: key)
        _ = talk.said()
        talk.session.announce(key, waiting: endless, into: &talk.output.frames)
        #expect(talk.said().isEmpty, "the broker knows it since OPEN")
        talk.grant(4, total: 7, flags: .echo)
        #expect(talk.said().map(\.status?.available) == [endless])
        talk.session.announce(key, waiting: 0, into: &talk.output.frames)
        #expect(talk.said().map(\.status?.available) == [0])
        talk.reconnect()
        #expect(talk.said().map(\.open?.available) == [2], "what is not confirmed")
    }

    @Test("large runs are sent from where they lie, small ones are copied, all in order")
    func inserts() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 10)
        talk.send(1, size: 5_000, on: key)
        talk.send(2, size: 10, on: key)
        talk.send(1, size: 3_000, on: key)
        #expect(talk.output.inserts.map(\.run.byteCount) == [5_004, 3_004])
        #expect(talk.output.frames.bytes.count < 1_000)
        let said = talk.said()
        #expect(said.map(\.batch) == [[1, 1], [2, 2], [4, 1]])
        #expect(talk.output.byteCount == 0)
    }

    @Test("what is left of the room after a frame is not spent on a small one")
    func wholeFrames() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 100)
        talk.enqueue(100, size: 96, on: key)
        _ = talk.session.writeEvents(key, room: 1_090, into: &talk.output)
        #expect(talk.said().map(\.batch) == [[1, 10]])
    }

    @Test("SETTLE confirms in order and forgets what is confirmed")
    func confirming() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 5)
        talk.send(5, on: key)
        talk.broker {
            $0.append(
                [
                    Settlement(from: 1, count: 2),
                    Settlement(
                        from: 3,
                        count: 2,
                        outcome: .reject,
                        argument: UInt32(CloseCode.discarded.rawValue)
                    ),
                ],
                link: 1
            )
        }
        #expect(
            talk.told() == [
                .settled(key, count: 2, outcome: .accept, argument: 0),
                .settled(key, count: 2, outcome: .reject, argument: 39),
            ]
        )
        #expect(talk.session[key]?.outbox.sentCount == 1)
        _ = talk.said()
        talk.broker { $0.append(Settlement(from: 7, count: 1), link: 1) }
        #expect(talk.said().map(\.closeCode) == [.creditMismatch])
    }

    @Test("more events than room go in several turns")
    func room() {
        var talk = ClientConversation.welcomed()
        let key = talk.openSource(demand: 100)
        talk.enqueue(100, size: 96, on: key)
        var batches: [[UInt64]] = []
        while talk.session.writeEvents(key, room: 1_000, into: &talk.output) {
            batches += talk.said().compactMap(\.batch)
        }
        batches += talk.said().compactMap(\.batch)
        #expect(batches.map { $0[1] }.reduce(0, +) == 100)
        #expect(batches.count >= 10)
    }
}
