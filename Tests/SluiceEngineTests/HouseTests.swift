import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

@Suite struct HouseTests {
    @Test("Names are spread evenly, and each has the same home everywhere")
    func homes() {
        let census = Census()
        let places = (0..<5).map { Place(index: $0, of: 5, census: census) }
        var counts = [0, 0, 0, 0, 0]
        for number in 0..<10_000 {
            let homes = Set(places.map { $0.home(of: "orders-\(number)") })
            #expect(homes.count == 1)
            if let home = homes.first { counts[home] += 1 }
        }
        #expect(counts.allSatisfy { $0 > 1_800 && $0 < 2_200 }, "\(counts)")
    }

    @Test("Inspection shows what all engines have, whichever is asked", arguments: [0, 1, 2])
    func inspection(at engine: Int) throws {
        let house = EngineHouse(3)
        let (_, session) = house.connect(at: 0, "shop")
        for home in 0..<3 {
            var open = Open(role: .source, topic: house.topic(on: home))
            open.available = 2
            house.engines[0].open(session, UInt32(home + 1), open)
        }
        house.settle()
        for home in 0..<3 {
            let publication = try Publication(first: 1, ["a", "b"])
            house.engines[0].publish(session, UInt32(home + 1), publication)
        }
        let (_, other) = house.connect(at: 2, "desk")
        house.engines[2].open(other, 1, Open(role: .sink, topic: house.topic(on: 1)))
        house.settle()
        let server = try #require(
            try house.documents("$sys/server", as: Snapshot.Server.self, at: engine).first
        )
        #expect(server.topics == 3 && server.links == 4 && server.connections == 3)
        #expect(server.eventsIn == 6 && server.eventsOut == 0)
        let topics = try house.documents("$sys/topics", as: Snapshot.Topic.self, at: engine)
        #expect(topics.map(\.topic) == (0..<3).map { house.topic(on: $0) }.sorted())
        #expect(topics.allSatisfy { $0.head == 2 })
        let links = try house.documents("$sys/links", as: Snapshot.Link.self, at: engine)
        #expect(links.count == 4)
        #expect(Set(links.map(\.connection)) == [session.number, other.number])
        for home in 0..<3 {
            let name = house.topic(on: home)
            let one = try house.documents(
                "$sys/topics/\(name)",
                as: Snapshot.Topic.self,
                at: engine
            )
            #expect(one.map(\.topic) == [name])
        }
        let connections = try house.documents(
            "$sys/connections",
            as: Snapshot.Connection.self,
            at: engine
        )
        #expect(connections.map(\.name) == ["shop", "desk", "inspector"])
        #expect(connections.map(\.links) == [3, 1, 1])
    }

    @Test("A round that waits for the others can be stopped, and asked for anew")
    func stoppedRound() throws {
        let house = EngineHouse()
        let (peer, session) = house.connect(at: 0)
        var open = Open(role: .sink, topic: "$sys/server")
        open.demandEvents = 1
        house.engines[0].open(session, 1, open)
        house.turn(0)
        #expect(house.isUnderWay(from: 0, to: 1) && peer.statuses.isEmpty)
        house.engines[0].demand(session, 1, Ask(events: 0, total: 1, flags: .stop))
        #expect(peer.statuses.last?.isDrained == true)
        house.settle()
        #expect(try peer.documents(as: Snapshot.Server.self).isEmpty)
        house.engines[0].demand(session, 1, Ask(events: 1, total: 2))
        house.settle()
        #expect(try peer.documents(as: Snapshot.Server.self).count == 1)
    }

    @Test("A peek shows the events of a topic elsewhere, and consumes nothing")
    func peek() throws {
        let house = EngineHouse()
        let topic = house.topic(on: 1)
        let (_, writing) = house.connect(at: 1)
        var source = Open(role: .source, topic: topic)
        source.available = 2
        house.engines[1].open(writing, 1, source)
        house.settle()
        house.engines[1].publish(writing, 1, try Publication(first: 1, ["a", "b"]))
        let (peer, session) = house.connect(at: 0)
        var open = Open(role: .sink, topic: "$sys/peek/\(topic)")
        open.demandEvents = 5
        house.engines[0].open(session, 1, open)
        house.settle()
        #expect(peer.take().contains(.events(1, first: 1, ["a", "b"])))
    }

    @Test("Requests are done where their topics live, and answered in the order they came")
    func requests() throws {
        let house = EngineHouse()
        let (far, near) = (house.topic(on: 1), house.topic(on: 0))
        let (peer, session) = house.connect(at: 0)
        house.engines[0].open(session, 1, Open(role: .source, topic: "$sys/ctl"))
        _ = peer.take()
        let requests = [
            "{\"op\":\"create-topic\",\"topic\":\"\(far)\"}",
            "{\"op\":\"create-topic\",\"topic\":\"\(near)\"}",
            "{\"op\":\"create-topic\",\"topic\":\"\(far)\"}",
            "{\"op\":\"pause-topic\",\"topic\":\"\(near)\"}",
        ]
        house.engines[0].publish(session, 1, try Publication(first: 1, requests))
        #expect(peer.take() == [], "the first is not done yet")
        house.settle()
        let settlements = peer.take().compactMap { word in
            if case .settle(_, let from, _, let outcome, let code) = word {
                "\(from) \(outcome) \(code)"
            } else {
                nil
            }
        }
        let exists = CloseCode.exists.rawValue
        #expect(settlements == ["1 accept 0", "2 accept 0", "3 reject \(exists)", "4 accept 0"])
        let topics = try house.documents("$sys/topics", as: Snapshot.Topic.self)
        #expect(topics.first { $0.topic == near }?.isPaused == true)
        #expect(topics.first { $0.topic == far }?.isPaused == false)
    }

    @Test("A client that floods another engine is held up until that has caught up")
    func brake() {
        let house = EngineHouse()
        let (_, session) = house.connect(at: 0)
        let engine = house.engines[0]
        engine.open(session, 1, Open(role: .sink, topic: house.topic(on: 1)))
        let (_, other) = house.connect(at: 0)
        engine.open(other, 1, Open(role: .sink, topic: house.topic(on: 0)))
        house.settle()
        var total: UInt64 = 0
        while !engine.isHeldUp(session), total < 100_000 {
            total += 1
            engine.demand(session, 1, Ask(events: 1, total: total))
        }
        #expect(total <= Limits.exchangeMessagesMax)
        #expect(!engine.isHeldUp(other), "it does not use the other engine")
        house.settle()
        #expect(!engine.isHeldUp(session))
        for _ in 0..<10 {
            for _ in 0..<Limits.exchangeMessagesMax / 2 - 1 {
                total += 1
                engine.demand(session, 1, Ask(events: 1, total: total))
            }
            house.settle()
            #expect(!engine.isHeldUp(session))
        }
    }

    @Test("Topics are counted for all engines together, and those that went leave room")
    func topicLimit() throws {
        let house = EngineHouse()
        let (peer, session) = house.connect(at: 0)
        house.engines[0].open(session, 1, Open(role: .source, topic: "$sys/ctl"))
        var sequence: UInt64 = 1
        func request(_ op: String, _ topic: String) throws -> CloseCode? {
            let json = "{\"op\":\"\(op)\",\"topic\":\"\(topic)\"}"
            house.engines[0].publish(session, 1, try Publication(first: sequence, [json]))
            sequence += 1
            house.settle()
            for case .settle(_, _, _, let outcome, let code) in peer.take() {
                return outcome == .accept ? nil : CloseCode(rawValue: UInt16(code))
            }
            return .internalError
        }
        for number in 0..<Limits.topicsMax {
            try #require(request("create-topic", "n\(number)") == nil)
        }
        #expect(try request("create-topic", "more") == .limit)
        #expect(try request("remove-topic", "n7") == nil)
        #expect(try request("create-topic", "more") == nil)
    }

    @Test("A client moves to the engine of its first topic, and only a client without links")
    func destination() {
        let house = EngineHouse()
        let (far, near) = (house.topic(on: 1), house.topic(on: 0))
        let engine = house.engines[0]
        let (_, session) = house.connect(at: 0)
        #expect(engine.destination(of: Open(role: .sink, topic: far), session) == 1)
        #expect(engine.destination(of: Open(role: .sink, topic: near), session) == nil)
        #expect(engine.destination(of: Open(role: .sink, topic: "$sys/server"), session) == nil)
        engine.open(session, 1, Open(role: .sink, topic: near))
        engine.close(session, 1)
        #expect(engine.destination(of: Open(role: .sink, topic: far), session) == nil)
    }
}
