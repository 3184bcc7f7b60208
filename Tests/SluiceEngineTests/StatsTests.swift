import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceTestKit
import SluiceWire
import Testing

/// What is asked about very many topics is answered a little a turn, however many there are.
@Suite struct StatsTests {
    private let bench = Bench()

    private func make(_ count: Int) {
        let (_, session) = bench.connect("maker")
        for number in 0..<count {
            let name = "t\(String(number + 100_000).dropFirst())"
            bench.engine.open(session, UInt32(number + 1), Open(role: .sink, topic: name))
        }
        bench.run()
    }

    private func ask(_ session: Session, _ link: UInt32, _ topic: String, _ count: UInt32) {
        var open = Open(role: .sink, topic: topic)
        open.demandEvents = count
        bench.engine.open(session, link, open)
    }

    @Test("A peer that takes what it is told at once is never told more from within that")
    func noRecursion() throws {
        make(3_000)
        let (peer, session) = bench.connect()
        var depth = 0
        var deepest = 0
        var events = 0
        peer.onDeliver = { link, bytes in
            depth += 1
            deepest = max(deepest, depth)
            bench.engine.wrote(session, link, bytes: bytes)
            depth -= 1
        }
        ask(session, 1, "$sys/topics", 100_000)
        var most = 0
        while bench.engine.turn() {
            var inTurn = 0
            for case .events(_, _, let payloads) in peer.take() { inTurn += payloads.count }
            most = max(most, inTurn)
            events += inTurn
        }
        for case .events(_, _, let payloads) in peer.take() { events += payloads.count }
        #expect(events == 3_000 && deepest == 1)
        #expect(most <= 512, "documents in one turn")
        #expect(peer.statuses.last?.isDrained == true && peer.statuses.last?.available == 0)
    }

    @Test("A summary tells of the first thousand topics and adds up the others, over many turns")
    func summary() throws {
        make(2_500)
        try bench.publish(to: "t02400", ["a", "b", "c"])
        var found: StatsTopics?
        bench.engine.gather(.summary) { reply in
            if case .topics(let topics) = reply { found = topics }
        }
        #expect(found == nil, "never from within the call")
        var turns = 0
        while bench.engine.turn() { turns += 1 }
        let topics = try #require(found)
        #expect(topics.topics.count == Limits.metricsTopicsMax && turns > 10)
        #expect(topics.topics.first?.topic == "t00000" && topics.topics.last?.topic == "t00999")
        #expect(topics.others?.head == 3 && topics.others?.consumers == 1_500)
    }

    @Test("Who asks for a long list again and again shares the next round with others who do")
    func sharedRounds() throws {
        make(400)
        var readers: [(peer: Listener, session: Session)] = []
        for _ in 0..<5 {
            let reader = bench.connect()
            ask(reader.session, 1, "$sys/topics", 50)
            readers.append(reader)
        }
        bench.run()
        // The first round began at once; all others wait for the second, and get the same bytes.
        #expect(readers.map { $0.peer.statuses.count } == [1, 0, 0, 0, 0])
        try bench.publish(to: "t00000", ["fresh"])
        bench.pass(milliseconds: 10)
        bench.run()
        let documents = try readers.map { reader in
            try reader.peer.documents(as: Snapshot.Topic.self)
        }
        #expect(documents.map(\.count) == [50, 50, 50, 50, 50])
        let heads = documents.map { $0[0].head }
        #expect(heads == [0, 1, 1, 1, 1], "none is older than it was asked for")
        for reader in readers {
            #expect(reader.peer.statuses.last?.available == 350)
        }
        let (peer, session) = readers[0]
        peer.onDeliver = { bench.engine.wrote(session, $0, bytes: $1) }
        for (link, bytes) in peer.unwritten { bench.engine.wrote(session, link, bytes: bytes) }
        // A round that is under way goes on at once.
        bench.ask(session, 1, 400, total: 450)
        #expect(try peer.documents(as: Snapshot.Topic.self).count == 350)
        #expect(peer.statuses.last?.available == 0)
    }

    @Test("A round goes on where it stopped, whatever topics came and went meanwhile")
    func changedMeanwhile() throws {
        make(30)
        let (peer, session) = bench.connect()
        ask(session, 1, "$sys/topics", 10)
        bench.run()
        #expect(try peer.documents(as: Snapshot.Topic.self).last?.topic == "t00009")
        #expect(try bench.request("{\"op\":\"remove-topic\",\"topic\":\"t00009\"}") == nil)
        #expect(try bench.request("{\"op\":\"remove-topic\",\"topic\":\"t00015\"}") == nil)
        #expect(try bench.request("{\"op\":\"create-topic\",\"topic\":\"a\"}") == nil)
        #expect(try bench.request("{\"op\":\"create-topic\",\"topic\":\"z\"}") == nil)
        bench.pass(milliseconds: 5_000)
        bench.ask(session, 1, 100, total: 110)
        let rest = try peer.documents(as: Snapshot.Topic.self).map(\.topic)
        #expect(rest.first == "t00010" && rest.last == "z" && rest.count == 20)
        #expect(!rest.contains("t00015") && !rest.contains("a"))
    }

    @Test("A document that waits for bytes keeps the size that was told, whatever happens")
    func keptDocument() throws {
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "t", available: 90)
        for (link, topic) in [(2, "$sys/topics"), (3, "$sys/topics/t"), (4, "$sys/server")] {
            bench.openSink(session, UInt32(link), topic, demand: 1, bytes: 10)
            let need = try #require(peer.statuses.last?.needBytes)
            try bench.publish(session, 1, first: UInt64(20 * link - 39), (0..<20).map { "\($0)" })
            bench.openSink(session, UInt32(link + 10), "t", group: "a long name of a group \(link)")
            bench.openSink(session, UInt32(link + 20), "u\(link)")
            _ = peer.take()
            let total = UInt64(10 + need)
            bench.ask(session, UInt32(link), 1, total: 2, bytes: need, bytesTotal: total)
            let status = try #require(peer.statuses.last)
            #expect(status.delivered == 1 && status.deliveredBytes == UInt64(need))
        }
    }

    @Test("What does not fit into a topic's document is left out, and counted")
    func cutDocument() throws {
        let (_, session) = bench.connect()
        for number in UInt32(1)...600 {
            var open = Open(role: .sink, topic: "t")
            open.group = Name("\(number)-" + String(repeating: "g", count: 180))
            if number <= 20 { open.wish.dispatcher = .partition }
            if number <= 20 { open.wish.partitions = 1_024 }
            bench.engine.open(session, number, open)
        }
        bench.run()
        let (peer, reader) = bench.connect()
        bench.openSink(reader, 1, "$sys/topics", demand: 9)
        var sizes: [Int] = []
        for case .events(_, _, let payloads) in peer.take() {
            sizes += payloads.map(\.utf8.count)
            for payload in payloads {
                let data = Data(payload.utf8)
                let topic = try JSONDecoder().decode(Snapshot.Topic.self, from: data)
                #expect(topic.groups.count + (topic.groupsLeftOut ?? 0) == 600)
                #expect(topic.groups[19].partitionsLeftOut == 1_024)
            }
        }
        #expect(sizes.count == 1 && sizes.allSatisfy { $0 <= Limits.documentBytesMax })
        let one = try #require(try bench.documents("$sys/topics/t", as: Snapshot.Topic.self).first)
        #expect(one.groups.count == 600 && one.groupsLeftOut == nil)
        let told = one.groups.filter { $0.partitions != nil }
        #expect(told.count == 8 && told.allSatisfy { $0.partitions?.count == 1_024 })
        #expect(one.groups.filter { $0.partitionsLeftOut == 1_024 }.count == 12)
        // The smallest frame that a client may name takes what it takes.
        let (small, client) = bench.connect()
        small.eventBytesMax = 100_000
        bench.openSink(client, 1, "$sys/topics/t", demand: 1)
        let cut = try #require(try small.documents(as: Snapshot.Topic.self).first)
        #expect(cut.groups.count + (cut.groupsLeftOut ?? 0) == 600 && !cut.groups.isEmpty)
    }

    @Test("Topics are told page by page, in the order of their names", arguments: [1, 3])
    func pages(shards: Int) throws {
        let house = EngineHouse(shards)
        let (_, session) = house.connect(at: 0)
        let names = (0..<300).map { "t\(String($0 + 1_000).dropFirst())" }
        for (index, name) in names.enumerated() {
            house.engines[0].open(session, UInt32(index + 1), Open(role: .sink, topic: name))
        }
        house.settle()
        var found: [String] = []
        var after: Name?
        for _ in 0..<9 {
            var page: StatsTopics?
            house.engines[shards - 1].gather(.topics(after: after, most: 70)) { reply in
                if case .topics(let topics) = reply { page = topics }
            }
            house.settle()
            let told = try #require(page)
            found += told.topics.map(\.topic)
            after = told.topics.last.map { Name($0.topic) }
            guard told.hasMore else { break }
            // As few as a turn may look at, if they have groups.
            #expect((30...70).contains(told.topics.count))
        }
        #expect(found == names)
        let documents = try house.documents("$sys/topics", as: Snapshot.Topic.self)
        #expect(documents.map(\.topic) == names)
        let links = try house.documents("$sys/links", as: Snapshot.Link.self)
        #expect(links.map(\.topic) == names)
    }
}
