import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

@Suite struct OperatorTests {
    private let bench = Bench()

    private func topic() throws -> Snapshot.Topic {
        try #require(try bench.documents("$sys/topics/t", as: Snapshot.Topic.self).first)
    }

    private func change(_ more: String) throws -> CloseCode? {
        try bench.request("{\"op\":\"change-topic\",\"topic\":\"t\"\(more)}")
    }

    @Test("A topic is changed in what is said, and nothing else")
    func change() throws {
        let make = "{\"op\":\"create-topic\",\"topic\":\"t\",\"buffer\":9,\"rate\":5}"
        #expect(try bench.request(make) == nil)
        #expect(try change(",\"buffer\":20,\"maxGroups\":2") == nil)
        var topic = try topic()
        #expect(topic.capacity == 20 && topic.ahead == 20 && topic.maxGroups == 2)
        #expect(topic.rate == 5 && topic.onFull == "block")
        #expect(try change(",\"ahead\":3,\"onFull\":\"drop-newest\",\"burst\":2") == nil)
        #expect(try change(",\"buffer\":30,\"bufferBytes\":5000") == nil)
        topic = try self.topic()
        #expect(topic.capacity == 30 && topic.ahead == 3 && topic.bufferBytes == 5_000)
        #expect(topic.rate == 5 && topic.burst == 2 && topic.onFull == "drop-newest")
        #expect(try change(",\"buffer\":2,\"rate\":0") == nil)
        topic = try self.topic()
        #expect(topic.capacity == 2 && topic.ahead == 2 && topic.rate == nil)
    }

    @Test(
        "A change that does not fit together, or is of what cannot be changed, changes nothing",
        arguments: [
            ",\"ahead\":10001", ",\"onFull\":\"explode\"", ",\"burst\":5",
            ",\"rate\":5,\"burst\":0",
            ",\"maxGroups\":0", ",\"buffer\":1000000001", ",\"dispatcher\":\"fair\"",
            ",\"isEphemeral\":true", ",\"buffer\":5,\"maxEventBytes\":0",
        ]
    )
    func refused(more: String) throws {
        #expect(try bench.request("{\"op\":\"create-topic\",\"topic\":\"t\"}") == nil)
        #expect(try change(more) == .badOption)
        #expect(try topic().capacity == Limits.bufferEventsDefault)
    }

    private func kick(_ session: Session, link: UInt32? = nil) throws -> CloseCode? {
        let more = link.map { ",\"link\":\($0)" } ?? ""
        return try bench.request("{\"op\":\"kick\",\"connection\":\(session.number)\(more)}")
    }

    @Test("A link is ended with a reason, and the others of its connection go on")
    func link() throws {
        let (peer, session) = bench.connect()
        bench.openSink(session, 1, "t", demand: 2)
        bench.openSink(session, 2, "u", demand: 2)
        _ = peer.take()
        #expect(try kick(session, link: 1) == nil)
        #expect(peer.take() == [.closed(1, .kicked)])
        #expect(try bench.documents("$sys/links", as: Snapshot.Link.self).map(\.link) == [2])
        #expect(try kick(session, link: 1) == .notFound)
    }

    @Test("A connection is ended with all its links, also one that waits to be resumed")
    func connection() throws {
        let (peer, session) = bench.connect()
        bench.openSink(session, 1, "t", demand: 2)
        _ = peer.take()
        #expect(try kick(session) == nil)
        #expect(peer.take() == [.kicked(.kicked)])
        let (_, away) = bench.connect()
        bench.openSink(away, 1, "t", demand: 2)
        bench.engine.disconnect(away, links: LinkTable())
        #expect(try kick(away) == nil)
        #expect(try bench.documents("$sys/links", as: Snapshot.Link.self).count == 1)
        #expect(try kick(away) == .notFound)
    }

    @Test("Whoever ends the link of its own request is told so, and nothing else")
    func ownLink() throws {
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "$sys/ctl", available: 3)
        _ = peer.take()
        let kick = "{\"op\":\"kick\",\"connection\":\(session.number),\"link\":1}"
        try bench.publish(session, 1, first: 1, [kick, "{}"])
        #expect(peer.take() == [.closed(1, .kicked)])
    }

    @Test("A session is found on whichever engine it is", arguments: [0, 1])
    func elsewhere(engine: Int) throws {
        let house = EngineHouse()
        let (peer, session) = house.connect(at: 1)
        var open = Open(role: .sink, topic: house.topic(on: 0))
        open.demandEvents = 3
        house.engines[1].open(session, 1, open)
        let (asker, asking) = house.connect(at: engine)
        var control = Open(role: .source, topic: "$sys/ctl")
        control.available = 3
        house.engines[engine].open(asking, 1, control)
        house.settle()
        _ = peer.take()
        _ = asker.take()
        let number = session.number
        let requests = [
            "{\"op\":\"kick\",\"connection\":\(number),\"link\":1}",
            "{\"op\":\"kick\",\"connection\":\(number),\"link\":1}",
            "{\"op\":\"kick\",\"connection\":\(number)}",
        ]
        house.engines[engine].publish(asking, 1, try Publication(first: 1, requests))
        house.settle()
        let refused = UInt32(CloseCode.notFound.rawValue)
        let answers = asker.take().filter { if case .settle = $0 { true } else { false } }
        #expect(
            answers == [
                .settle(1, from: 1, count: 1, .accept, 0),
                .settle(1, from: 2, count: 1, .reject, refused),
                .settle(1, from: 3, count: 1, .accept, 0),
            ]
        )
        #expect(peer.take() == [.closed(1, .kicked), .kicked(.kicked)])
        #expect(try house.links(of: house.topic(on: 0)).isEmpty)
    }
}
