import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

@Suite("Topics that an OPEN makes")
struct UnusedTopicTests {
    private let linger = UInt64(Limits.topicLingerMilliseconds)

    private func topics(_ bench: Bench) throws -> Int {
        try #require(try bench.documents("$sys/server", as: Snapshot.Server.self).first).topics
    }

    /// Opens a link on a topic from an address; the code of its refusal, or nil.
    private func open(_ topic: String, from address: String, _ bench: Bench) -> CloseCode? {
        let peer = Listener()
        let session = bench.engine.connect(name: "t", peerAddress: address, peer: peer)
        bench.openSource(session, 1, topic)
        defer { bench.engine.end(session) }
        guard case .refused(_, let code)? = peer.take().first else { return nil }
        return code
    }

    @Test("Beyond half of the limit an address makes no more topics than half of those left")
    func shares() throws {
        let census = Census(topicsMax: 100)
        let bench = Bench(place: Place(index: 0, of: 1, census: census))
        var made = 0
        while open("a\(made)", from: "192.0.2.1:1", bench) == nil { made += 1 }
        #expect(made == 50)
        #expect(open("a", from: "192.0.2.1:2", bench) == .limit)
        #expect(open("a0", from: "192.0.2.1:2", bench) == nil)
        made = 0
        while open("b\(made)", from: "192.0.2.2:1", bench) == nil { made += 1 }
        // Seventeen of fifty: then as many as half of the rest.
        #expect(made == 17)
        #expect(open("c", from: "192.0.2.3:1", bench) == nil)
        #expect(try bench.request(#"{"op": "create-topic", "topic": "d"}"#) == nil)
        #expect(try bench.request(#"{"op": "remove-topic", "topic": "a0"}"#) == nil)
        #expect(try topics(bench) == 68)
    }

    @Test("A full broker makes no topic for anybody, and one again when another is gone")
    func full() throws {
        let bench = Bench(place: Place(index: 0, of: 1, census: Census(topicsMax: 2)))
        for name in ["a", "b"] {
            #expect(try bench.request(#"{"op": "create-topic", "topic": "\#(name)"}"#) == nil)
        }
        #expect(open("c", from: "192.0.2.1:1", bench) == .limit)
        #expect(try bench.request(#"{"op": "create-topic", "topic": "c"}"#) == .limit)
        #expect(try bench.request(#"{"op": "remove-topic", "topic": "a"}"#) == nil)
        #expect(open("c", from: "192.0.2.1:1", bench) == nil)
    }

    @Test("A topic that an OPEN made ends when nobody has used it for its time")
    func ends() throws {
        let bench = Bench()
        #expect(open("t", from: "192.0.2.1:1", bench) == nil)
        bench.pass(milliseconds: linger - 1)
        #expect(open("t", from: "192.0.2.1:1", bench) == nil)
        bench.pass(milliseconds: linger - 1)
        #expect(try topics(bench) == 1)
        bench.pass(milliseconds: 1)
        #expect(try topics(bench) == 0)
    }

    @Test("A consumer of the default group that left keeps no topic, nor does a refused OPEN")
    func defaultGroup() throws {
        let bench = Bench()
        let (_, session) = bench.connect()
        bench.openSink(session, 1, "t", demand: 5)
        bench.openSink(session, 2, "u", demand: UInt32(Limits.demandMax) + 1)
        bench.engine.end(session)
        #expect(try topics(bench) == 2)
        bench.pass(milliseconds: linger)
        #expect(try topics(bench) == 0)
    }

    @Test("What is used, holds or held something, or was set up, stays")
    func kept() throws {
        let bench = Bench()
        let (_, session) = bench.connect()
        bench.openSink(session, 1, "linked")
        let (_, other) = bench.connect()
        bench.openSink(other, 1, "grouped", group: "g")
        bench.openSink(other, 2, "changed")
        bench.openSink(other, 3, "paused")
        bench.engine.end(other)
        try bench.publish(to: "drained", ["a"])
        let (_, reader) = bench.connect()
        bench.openSink(reader, 1, "drained", demand: 1)
        bench.engine.end(reader)
        #expect(try bench.request(#"{"op": "create-topic", "topic": "created"}"#) == nil)
        let change = #"{"op": "change-topic", "topic": "changed", "buffer": 7}"#
        #expect(try bench.request(change) == nil)
        #expect(try bench.request(#"{"op": "pause-topic", "topic": "paused"}"#) == nil)
        bench.pass(milliseconds: 2 * linger)
        #expect(try topics(bench) == 6)
        let removal = #"{"op": "remove-group", "topic": "grouped", "group": "g"}"#
        #expect(try bench.request(removal) == nil)
        bench.pass(milliseconds: linger)
        #expect(try topics(bench) == 5)
    }

    @Test("A detached link is a link")
    func detached() throws {
        let bench = Bench { $0.topicLingerMilliseconds = 1_000 }
        let (_, session) = bench.connect()
        bench.openSink(session, 1, "t")
        bench.engine.disconnect(session, links: LinkTable())
        bench.pass(milliseconds: 29_999)
        #expect(try topics(bench) == 1)
        bench.pass(milliseconds: 1)
        bench.pass(milliseconds: 1_000)
        #expect(try topics(bench) == 0)
    }

    @Test("With no time set, topics stay for ever")
    func forever() throws {
        let bench = Bench { $0.topicLingerMilliseconds = 0 }
        #expect(open("t", from: "192.0.2.1:1", bench) == nil)
        bench.pass(milliseconds: 100 * linger)
        #expect(try topics(bench) == 1)
    }
}
