import SluiceCore
import SluiceEngine
import SluiceTestKit
import SluiceWire
import Testing

@Suite struct SessionTests {
    private let bench = Bench()

    private func lose(_ session: Session) { bench.engine.disconnect(session, links: LinkTable()) }

    private func resume(_ session: Session) -> (peer: Listener, session: Session)? {
        let peer = Listener()
        let found = bench.engine.resume(session.token.bytes, peerAddress: "again", peer: peer)
        return found.map { (peer, $0.session) }
    }

    private func resumeOpen(_ topic: String, group: String? = nil, asked: UInt64) -> Open {
        var open = Open(role: .sink, topic: topic)
        open.group = group.map { Name($0) }
        var point = Resume()
        point.asked = asked
        open.resume = point
        return open
    }

    private func server() throws -> Snapshot.Server {
        try #require(try bench.documents("$sys/server", as: Snapshot.Server.self).first)
    }

    @Test("A lost session waits, detached, and goes on with its links")
    func goesOn() throws {
        let (_, session) = bench.connect()
        bench.openSink(session, 1, "t", group: "g", demand: 5)
        lose(session)
        #expect(try server().detachedSessions == 1)
        let again = try #require(resume(session))
        #expect(again.session === session)
        bench.engine.open(session, 1, resumeOpen("t", group: "g", asked: 8))
        #expect(again.peer.take() == [.opened(1, resumed: true, asked: 8)])
        #expect(try server().detachedSessions == 0)
    }

    @Test("A resumed link has to be the link it was", arguments: [("u", "g"), ("t", "h")])
    func isTheSame(_ topic: String, _ group: String) throws {
        let (_, session) = bench.connect()
        bench.openSink(session, 1, "t", group: "g", demand: 5)
        lose(session)
        let again = try #require(resume(session))
        bench.engine.open(session, 1, resumeOpen(topic, group: group, asked: 5))
        #expect(again.peer.take() == [.refused(1, .badOption)])
        #expect(try server().links == 0)
    }

    @Test("A session without links is not kept, nor one with links of inspection alone")
    func needsLinks() throws {
        let (_, session) = bench.connect()
        lose(session)
        #expect(resume(session) == nil)
        let (_, other) = bench.connect()
        bench.openSink(other, 1, "$sys/server")
        lose(other)
        #expect(resume(other) == nil)
        #expect(try server().detachedSessions == 0)
    }

    @Test("The resume window ends by the clock, for each session by when it was left last")
    func expires() throws {
        let (_, first) = bench.connect()
        let (_, second) = bench.connect()
        bench.openSink(first, 1, "t")
        bench.openSink(second, 1, "t")
        lose(first)
        bench.pass(milliseconds: 1_000)
        lose(second)
        bench.pass(milliseconds: 1_000)
        _ = try #require(resume(first))
        lose(first)
        bench.pass(milliseconds: 28_999)
        #expect(try server().detachedSessions == 2)
        bench.pass(milliseconds: 1)
        #expect(try server().detachedSessions == 1)
        #expect(resume(second) == nil)
        bench.pass(milliseconds: 1_000)
        #expect(try server().detachedSessions == 0 && server().links == 0)
        #expect(resume(first) == nil)
    }

    @Test("Whoever has the token takes the session over, and the former client is told")
    func takeover() throws {
        let (old, session) = bench.connect()
        bench.openSink(session, 1, "t", demand: 3)
        old.onReplaced = { lose(session) }
        let again = try #require(resume(session))
        #expect(old.take().last == .replaced)
        #expect(again.session === session && session.peer === again.peer)
        #expect(try server().detachedSessions == 0)
    }

    private func connect(from address: String) -> Session {
        let session = bench.engine.connect(name: "t", peerAddress: address, peer: Listener())
        bench.engine.open(session, 1, Open(role: .source, topic: "t"))
        return session
    }

    @Test("Of ten thousand detached sessions and one, the address with most loses its newest")
    func eviction() throws {
        let good = connect(from: "192.0.2.1:1")
        let neighbour = connect(from: "192.0.2.2:1")
        lose(good)
        var attacks: [Session] = []
        for port in 0..<Limits.detachedSessionsMax {
            let session = connect(from: "192.0.2.2:\(port)")
            lose(session)
            attacks.append(session)
        }
        // Detached last, and begun before all the others of its address.
        lose(neighbour)
        #expect(try server().detachedSessions == Limits.detachedSessionsMax)
        #expect(resume(good) != nil && resume(neighbour) != nil)
        #expect(resume(attacks[0]) != nil)
        #expect(resume(attacks[attacks.count - 3]) != nil)
        #expect(resume(attacks[attacks.count - 2]) == nil)
        #expect(resume(attacks[attacks.count - 1]) == nil)
    }

    @Test("Where no address has more than one session, the one detached first goes")
    func evictionOfEquals() throws {
        var sessions: [Session] = []
        for number in 0...Limits.detachedSessionsMax {
            let session = connect(from: "10.0.\(number / 256).\(number % 256):1")
            lose(session)
            sessions.append(session)
        }
        #expect(try server().detachedSessions == Limits.detachedSessionsMax)
        #expect(resume(sessions[0]) == nil)
        #expect(resume(sessions[1]) != nil)
        #expect(resume(sessions[Limits.detachedSessionsMax]) != nil)
    }

    @Test("Sessions that come and go in any order are counted by address", arguments: 0..<8)
    func evictionHistory(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var sessions: [(session: Session, isDetached: Bool)] = []
        for _ in 0..<40 {
            let address = "10.0.0.\(Int.random(in: 0..<5, using: &random)):1"
            sessions.append((connect(from: address), false))
        }
        for step in 0..<2_000 {
            let index = Int.random(in: 0..<sessions.count, using: &random)
            if sessions[index].isDetached {
                #expect(resume(sessions[index].session) != nil, "step \(step)")
            } else {
                lose(sessions[index].session)
            }
            sessions[index].isDetached.toggle()
        }
        #expect(try server().detachedSessions == sessions.count { $0.isDetached })
    }

    @Test("A token of the wrong length or of nobody is no session")
    func unknown() {
        let peer = Listener()
        for token in [[], [1, 2, 3], [UInt8](repeating: 9, count: 16)] as [[UInt8]] {
            #expect(bench.engine.resume(token, peerAddress: "", peer: peer) == nil)
        }
    }

    @Test("A topic is made by its first OPEN, unless the broker was told not to")
    func creation() {
        let (peer, session) = bench.connect()
        bench.openSink(session, 1, "t")
        #expect(peer.take() == [.opened(1, resumed: false, asked: 0)])
        let closed = Bench { $0.createsTopics = false }
        let (other, stranger) = closed.connect()
        closed.openSink(stranger, 1, "t")
        #expect(other.take() == [.refused(1, .notFound)])
    }

    @Test("A refused first demand opens nothing and leaves no group")
    func refusedDemand() throws {
        let (peer, session) = bench.connect()
        bench.openSink(session, 1, "t", group: "g", demand: UInt32(Limits.demandMax) + 1)
        #expect(peer.take() == [.closed(1, .limit)])
        let topic = try #require(
            try bench.documents("$sys/topics/t", as: Snapshot.Topic.self).first
        )
        #expect(topic.groups.isEmpty && topic.consumers == 0)
    }

    @Test("A recall that nobody answers ends its link by the clock, and another producer is asked")
    func recallTimeout() {
        let strict = Bench.strict()
        let (holder, holding) = strict.connect()
        strict.openSource(holding, 1, "t")
        let (_, reading) = strict.connect()
        strict.openSink(reading, 1, "t", demand: 5)
        let (announcer, announcing) = strict.connect()
        strict.openSource(announcing, 1, "t", available: 5)
        #expect(holder.take().last == .ask(1, events: 0, flags: AskFlags.stop.rawValue))
        strict.pass(milliseconds: 100)
        strict.pass(milliseconds: 19_899)
        #expect(holder.take() == [])
        strict.pass(milliseconds: 1)
        strict.run()
        #expect(holder.take() == [.closed(1, .recallTimeout)])
        #expect(announcer.take().last == .ask(1, events: 5, flags: 0))
    }

    @Test("A link that is resumed has the narrow window again, whatever its last connection took")
    func resumedWindow() throws {
        let (_, reading) = bench.connect()
        bench.openSink(reading, 1, "t", demand: 1_000)
        bench.engine.setWindows(of: reading, WindowWidths(Limits.writeBurstBytes))
        lose(reading)
        let text = String(repeating: "x", count: 1_000)
        try bench.publish(to: "t", Array(repeating: text, count: 100))
        let peer = try #require(resume(reading)).peer
        bench.engine.open(reading, 1, resumeOpen("t", asked: 1_000))
        bench.run()
        let waiting = peer.unwrittenBytes
        #expect(waiting > 0 && waiting <= Limits.writeWindowBytes)
    }

    @Test("A stopping broker recalls its grants, opens nothing and keeps no session")
    func stopping() throws {
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "t", available: 5)
        #expect(peer.take().contains(.ask(1, events: 5, flags: 0)))
        bench.engine.wind()
        bench.run()
        #expect(peer.take() == [.ask(1, events: 0, flags: AskFlags.stop.rawValue)])
        #expect(!bench.engine.isDrained)
        bench.openSink(session, 2, "t", demand: 1)
        #expect(peer.take() == [.refused(2, .busy)])
        bench.giveBack(session, 1, 5)
        #expect(bench.engine.isDrained && peer.take() == [])
        lose(session)
        #expect(resume(session) == nil)
    }
}
