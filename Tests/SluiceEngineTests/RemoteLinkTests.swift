import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

@Suite struct RemoteLinkTests {
    private let house = EngineHouse()
    /// A topic of the second engine; clients are at the first.
    private var topic: String { house.topic(on: 1) }

    private func sink(_ group: String? = nil, demand: UInt32 = 0) -> Open {
        var open = Open(role: .sink, topic: topic)
        open.group = group.map { Name($0) }
        open.demandEvents = demand
        return open
    }

    private func source(available: UInt64?) -> Open {
        var open = Open(role: .source, topic: topic)
        open.available = available
        return open
    }

    /// Publishes 1,000 events of 1,000 bytes each, on link 1.
    private func publishThousand(_ session: Session, at engine: Engine) throws {
        let payloads = Array(repeating: String(repeating: "x", count: 996), count: 1_000)
        engine.publish(session, 1, try Publication(first: 1, payloads))
    }

    /// A consumer at the first engine and a producer at the topic's, which may send 1,000.
    private func openApart() -> (reader: Listener, reading: Session, writing: Session) {
        let (reader, reading) = house.connect(at: 0)
        house.engines[0].open(reading, 1, sink(demand: 10_000))
        let (_, writing) = house.connect(at: 1)
        house.engines[1].open(writing, 1, source(available: 1_000))
        house.settle()
        return (reader, reading, writing)
    }

    /// A consumer with wide windows at the topic's engine, and then a producer at the first that
    /// has published a thousand events.
    private func feedFromAfar(
        meanwhile: () -> Void = {}
    ) throws -> (reader: Listener, reading: Session, writing: Session) {
        let home = house.engines[1]
        let (reader, reading) = house.connect(at: 1)
        home.open(reading, 1, sink(demand: 10_000))
        home.setWindows(of: reading, WindowWidths(10_000, crossing: 100_000))
        meanwhile()
        let (_, writing) = house.connect(at: 0)
        house.engines[0].open(writing, 1, source(available: 1_000))
        house.settle()
        try publishThousand(writing, at: house.engines[0])
        house.settle()
        return (reader, reading, writing)
    }

    private func resumed(_ open: Open, position: UInt64, bytes: UInt64, asked: UInt64) -> Open {
        var open = open
        open.demandEvents = 0
        var point = Resume()
        point.position = position
        point.positionBytes = bytes
        point.asked = asked
        open.resume = point
        return open
    }

    private func resume(_ session: Session) throws -> Listener {
        let peer = Listener()
        let found = house.engines[0].resume(session.token.bytes, peerAddress: "again", peer: peer)
        #expect(try #require(found).session === session)
        return peer
    }

    @Test("What is published elsewhere arrives, and every account of it is exact")
    func flow() throws {
        let near = house.engines[0]
        let (reader, reading) = house.connect(at: 0, "reader")
        near.open(reading, 7, sink("g", demand: 5))
        let (writer, writing) = house.connect(at: 0, "writer")
        near.open(writing, 3, source(available: 4))
        house.settle()
        #expect(reader.take() == [.opened(7, resumed: false, asked: 5)])
        #expect(
            writer.take() == [
                .opened(3, resumed: false, asked: 0), .ask(3, events: 4, flags: 0),
            ]
        )
        #expect(near.credit(writing, 3)?.events == 4)
        near.publish(writing, 3, try Publication(first: 1, ["a", "b", "c"]))
        #expect(near.credit(writing, 3)?.events == 1)
        house.settle()
        #expect(reader.take() == [.events(7, first: 1, ["a", "b", "c"])])
        #expect(writer.take().first == .settle(3, from: 1, count: 3, .accept, 0))
        let links = try house.links(of: topic)
        let consumer = try #require(links.first { $0.role == "consumer" })
        #expect(consumer.asked == 5 && consumer.delivered == 3 && consumer.credit == 2)
        #expect(consumer.connection == reading.number && consumer.link == 7)
        #expect(consumer.name == "reader" && consumer.peer == "test")
        let producer = try #require(links.first { $0.role == "producer" })
        #expect(producer.delivered == 3 && producer.connection == writing.number)
    }

    @Test("The events cross without a copy, and the slab lives as long as somebody shows it")
    func sharing() throws {
        let near = house.engines[0]
        let (reader, reading) = house.connect(at: 0)
        near.open(reading, 1, sink(demand: 100))
        let (_, writing) = house.connect(at: 0)
        near.open(writing, 1, source(available: 100))
        house.settle()
        let pool = SlabPool(slabBytes: 4_096, keptMax: 1)
        weak var slab: Slab?
        do {
            let filled = pool.make()
            slab = filled
            let record = [0, 0, 15, 252] + [UInt8](repeating: 7, count: 4_092)
            let range = filled.append(record.span.bytes)
            let run = Run(slab: filled, bytes: range, count: 1)
            near.publish(
                writing,
                1,
                Publication(firstSequence: 1, events: 1, bytes: 4_096, runs: [run], time: 1)
            )
        }
        #expect(slab != nil, "its bytes are on their way")
        house.settle()
        #expect(reader.take().count == 2)
        #expect(slab == nil, "nobody has them any more")
    }

    @Test("A consumer that does not write holds its events where the topic is")
    func window() throws {
        let near = house.engines[0]
        let (reader, reading) = house.connect(at: 0)
        near.open(reading, 1, sink(demand: 10_000))
        let (writer, writing) = house.connect(at: 0)
        near.open(writing, 1, source(available: 1_000))
        house.settle()
        #expect(writer.take().contains(.ask(1, events: 1_000, flags: 0)))
        try publishThousand(writing, at: near)
        house.settle()
        let queued = reader.unwrittenBytes
        #expect(queued > Limits.writeWindowBytes)
        #expect(queued <= 2 * Limits.writeWindowBytes, "its own window and the internal credit")
        while !reader.unwritten.isEmpty {
            let written = reader.unwritten.removeFirst()
            near.wrote(reading, written.link, bytes: written.bytes)
            house.settle()
        }
        var events = 0
        for case .events(_, _, let payloads) in reader.take() { events += payloads.count }
        #expect(events == 1_000)
    }

    @Test("A PONG comes behind the settlements of what went elsewhere, wherever that is")
    func ping() throws {
        let house = EngineHouse(3)
        let near = house.engines[0]
        let (writer, writing) = house.connect(at: 0, "writer")
        near.ping(writing, 1)
        #expect(writer.take() == [.pong(1)], "there is nobody to wait for")
        for engine in 1...2 {
            var open = Open(role: .source, topic: house.topic(on: engine))
            open.available = 4
            near.open(writing, UInt32(engine), open)
        }
        house.settle()
        _ = writer.take()
        for link in 1...2 as ClosedRange<UInt32> {
            near.publish(writing, link, try Publication(first: 1, ["a"]))
        }
        near.ping(writing, 2)
        #expect(writer.take() == [])
        house.settle()
        let said = writer.take()
        let settled: [Listener.Word] = [
            .settle(1, from: 1, count: 1, .accept, 0), .settle(2, from: 1, count: 1, .accept, 0),
        ]
        #expect(Set(said.dropLast()) == Set(settled))
        #expect(said.last == .pong(2))
    }

    @Test("A PONG is not for the connection that comes next")
    func pingAndCut() throws {
        let near = house.engines[0]
        let (writer, writing) = house.connect(at: 0, "writer")
        near.open(writing, 1, source(available: 4))
        house.settle()
        near.ping(writing, 1)
        near.disconnect(writing, links: LinkTable())
        let again = try resume(writing)
        house.settle()
        #expect(again.take() == [])
        #expect(!writer.take().contains(.pong(1)))
        near.ping(writing, 2)
        house.settle()
        #expect(again.take() == [.pong(2)])
    }

    @Test("Of a link whose topic is elsewhere as much waits, and is on its way, as its window says")
    func crossingWindow() throws {
        let near = house.engines[0]
        let (reader, reading, writing) = openApart()
        near.setWindows(of: reading, WindowWidths(10_000, crossing: 100_000))
        try publishThousand(writing, at: house.engines[1])
        house.settle()
        let queued = reader.unwrittenBytes
        #expect(queued > 100_000 && queued <= 200_000)
    }

    @Test("While a producer elsewhere feeds a topic, its consumers have the window of what crosses")
    func fedWindow() throws {
        let home = house.engines[1]
        let (reader, reading, writing) = try feedFromAfar()
        #expect(reader.unwrittenBytes > 90_000 && reader.unwrittenBytes <= 100_000)
        house.engines[0].close(writing, 1)
        house.settle()
        home.setWindows(of: reading, WindowWidths(10_000, crossing: 100_000))
        home.wrote(reading, 1, bytes: reader.unwrittenBytes)
        reader.unwritten = []
        house.settle()
        #expect(reader.unwrittenBytes > 0 && reader.unwrittenBytes <= 10_000)
    }

    @Test("A producer elsewhere widens no window that all links have lost meanwhile")
    func fedTightWindow() throws {
        let (reader, _, _) = try feedFromAfar {
            house.engines[1].setWindows(bytes: Limits.writeWindowBytesTight)
        }
        let queued = reader.unwrittenBytes
        #expect(queued > 0 && queued <= Limits.writeWindowBytesTight)
    }

    @Test("A link that is resumed has the narrow window again here, and the internal credit there")
    func resumedWindow() throws {
        let near = house.engines[0]
        let (_, reading, writing) = openApart()
        let wide = WindowWidths(Limits.writeBurstBytes, crossing: Limits.crossingBurstBytes)
        near.setWindows(of: reading, wide)
        near.disconnect(reading, links: LinkTable())
        try publishThousand(writing, at: house.engines[1])
        house.settle()
        let again = try resume(reading)
        near.open(reading, 1, resumed(sink(), position: 0, bytes: 0, asked: 10_000))
        house.settle()
        let queued = again.unwrittenBytes
        #expect(queued > Limits.writeWindowBytes)
        #expect(queued <= 2 * Limits.writeWindowBytes)
    }

    @Test("A producer past its credit is ended behind the answers to what it may send")
    func overrun() throws {
        let near = house.engines[0]
        let (writer, writing) = house.connect(at: 0)
        near.open(writing, 1, source(available: 2))
        house.settle()
        _ = writer.take()
        near.publish(writing, 1, try Publication(first: 1, ["a"]))
        near.publish(writing, 1, try Publication(first: 2, ["b", "c", "d", "e", "f", "g", "h"]))
        near.publish(writing, 1, try Publication(first: 2, ["b"]))
        house.settle()
        let words = writer.take()
        #expect(words.first == .settle(1, from: 1, count: 1, .accept, 0))
        #expect(words.last == .closed(1, .creditOverrun))
        let shown = try house.documents("$sys/topics/\(topic)", as: Snapshot.Topic.self)
        #expect(shown.first?.head == 1 && shown.first?.ledgerErrors == 1)
        #expect(shown.first?.producers == 0)
    }

    @Test("What was on its way to a connection that broke is told as a gap to the next one")
    func cut() throws {
        let near = house.engines[0]
        let (reader, reading) = house.connect(at: 0)
        near.open(reading, 1, sink("g", demand: 5))
        let (_, writing) = house.connect(at: 1)
        house.engines[1].open(writing, 1, source(available: 9))
        house.settle()
        house.engines[1].publish(writing, 1, try Publication(first: 1, ["a", "b"]))
        house.turn(1)
        #expect(house.isUnderWay(from: 1, to: 0))
        near.disconnect(reading, links: LinkTable())
        let again = try resume(reading)
        near.open(reading, 1, resumed(sink("g"), position: 0, bytes: 0, asked: 6))
        house.deliver(from: 1, to: 0)
        #expect(again.take() == [], "it was not meant for this connection")
        house.settle()
        #expect(
            again.take() == [.opened(1, resumed: true, asked: 6), .gap(1, from: 0, to: 2, .cut)]
        )
        house.engines[1].publish(writing, 1, try Publication(first: 3, ["c", "d", "e", "f", "g"]))
        house.settle()
        #expect(again.take() == [.events(1, first: 1, ["c", "d", "e", "f"])])
        let link = try #require(try house.links(of: topic).first { $0.role == "consumer" })
        #expect(link.asked == 6 && link.delivered == 4 && link.forfeited == 2)
        #expect(link.peer == "again" && reader.take() == [.opened(1, resumed: false, asked: 5)])
    }

    @Test("A producer that comes back learns what arrived, and a grant it missed is void")
    func producerBack() throws {
        let near = house.engines[0]
        let (_, writing) = house.connect(at: 0)
        near.open(writing, 1, source(available: 9))
        house.turn(0)
        house.deliver(from: 0, to: 1)
        house.turn(1)
        near.disconnect(writing, links: LinkTable())
        house.settle()
        let again = try resume(writing)
        let open = resumed(source(available: 3), position: 0, bytes: 0, asked: 0)
        near.open(writing, 1, open)
        house.settle()
        #expect(
            again.take() == [.opened(1, resumed: true, asked: 9), .ask(1, events: 3, flags: 0)]
        )
        #expect(near.credit(writing, 1)?.events == 3)
        near.publish(writing, 1, try Publication(first: 1, ["a", "b", "c"]))
        house.settle()
        #expect(again.take().first == .settle(1, from: 1, count: 3, .accept, 0))
    }

    @Test("With its session a link ends on both engines, at once or by the clock")
    func ends() throws {
        let near = house.engines[0]
        let (_, polite) = house.connect(at: 0)
        near.open(polite, 1, sink(demand: 1))
        let (_, lost) = house.connect(at: 0)
        near.open(lost, 1, sink(demand: 1))
        house.settle()
        #expect(try house.links(of: topic).count == 2)
        near.end(polite)
        near.disconnect(lost, links: LinkTable())
        house.settle()
        #expect(try house.links(of: topic).map(\.isAttached) == [false])
        near.now = near.now.advanced(milliseconds: 30_000)
        near.tick()
        house.settle()
        #expect(try house.links(of: topic).isEmpty)
    }

    @Test("A client's CLOSE and the topic's cross, and neither is told twice")
    func crossing() throws {
        let near = house.engines[0]
        let (reader, reading) = house.connect(at: 0)
        near.open(reading, 1, sink(demand: 1))
        house.settle()
        _ = reader.take()
        let (_, operating) = house.connect(at: 1)
        house.engines[1].open(operating, 1, Open(role: .source, topic: "$sys/ctl"))
        let json = "{\"op\":\"remove-topic\",\"topic\":\"\(topic)\"}"
        house.engines[1].publish(operating, 1, try Publication(first: 1, [json]))
        near.close(reading, 1)
        house.settle()
        #expect(reader.take() == [])
    }

    @Test("A link that its topic ended while its client was away is not found again")
    func endedAway() throws {
        let near = house.engines[0]
        let (_, reading) = house.connect(at: 0)
        near.open(reading, 1, sink("g", demand: 1))
        house.settle()
        near.disconnect(reading, links: LinkTable())
        let far = house.engines[1]
        let (_, operating) = house.connect(at: 1)
        far.open(operating, 1, Open(role: .source, topic: "$sys/ctl"))
        let json = "{\"op\":\"remove-group\",\"topic\":\"\(topic)\",\"group\":\"g\"}"
        house.settle()
        far.publish(operating, 1, try Publication(first: 1, [json]))
        house.settle()
        let again = try resume(reading)
        near.open(reading, 1, resumed(sink("g"), position: 0, bytes: 0, asked: 1))
        house.settle()
        #expect(again.take() == [.refused(1, .notFound)])
    }
}
