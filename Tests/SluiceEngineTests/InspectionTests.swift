import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

@Suite struct InspectionTests {
    private let bench = Bench()

    @Test("The documents tell what there is")
    func documents() throws {
        let (_, session) = bench.connect("shop")
        bench.openSource(session, 1, "orders", available: 3)
        try bench.publish(session, 1, first: 1, ["a", "b", "c"])
        bench.openSink(session, 2, "orders", group: "billing", demand: 5)
        let server = try #require(
            try bench.documents("$sys/server", as: Snapshot.Server.self).first
        )
        #expect(server.topics == 1 && server.links == 2 && server.connections == 2)
        #expect(server.eventsIn == 3 && server.eventsOut == 3 && !server.isStopping)
        let topics = try bench.documents("$sys/topics", as: Snapshot.Topic.self)
        let topic = try #require(topics.first)
        #expect(topics.count == 1 && topic.topic == "orders" && topic.head == 3)
        #expect(topic.producers == 1 && topic.consumers == 1)
        let group = try #require(topic.groups.first)
        #expect(group.group == "billing" && group.delivered == 3 && group.credit == 2)
        let links = try bench.documents("$sys/links/orders", as: Snapshot.Link.self)
        let consumer = try #require(links.first { $0.role == "consumer" })
        #expect(consumer.link == 2 && consumer.asked == 5 && consumer.delivered == 3)
        #expect(consumer.name == "shop" && consumer.group == "billing")
        #expect(links.contains { $0.role == "producer" && $0.delivered == 3 })
        let connections = try bench.documents(
            "$sys/connections",
            as: Snapshot.Connection.self
        )
        #expect(connections.map(\.name) == ["shop", "inspector"])
        #expect(connections.first?.links == 2 && connections.first?.bytesOut == 2)
    }

    @Test("The rules of a topic and its groups are told, and what waits in each partition")
    func rules() throws {
        let request = """
            {"op":"create-topic","topic":"t","dispatcher":"partition","partitions":2,"rate":9,\
            "isEphemeral":true}
            """
        #expect(try bench.request(request) == nil)
        let (_, session) = bench.connect()
        bench.openSource(session, 1, "t", available: 3)
        bench.openSink(session, 2, "t", demand: 1)
        bench.openSink(session, 3, "t")
        try bench.publish(session, 1, first: 1, ["a", "b", "c"])
        let topic = try #require(
            try bench.documents("$sys/topics/t", as: Snapshot.Topic.self).first
        )
        #expect(topic.dispatcher == "partition" && topic.rate == 9 && topic.burst == 9)
        #expect(topic.isEphemeral)
        let group = try #require(topic.groups.first)
        #expect(group.lag == "block" && group.maxLag == nil && !group.isEphemeral)
        // Without a key the offset decides: 0 and 2 are in one partition, 1 in the other.
        let owners = try bench.documents("$sys/links/t", as: Snapshot.Link.self)
        #expect(owners.flatMap { $0.partitions ?? [] }.sorted() == [0, 1])
        let waiting = try #require(group.partitions)
        #expect(waiting.count == 2 && waiting.reduce(0, +) == group.waiting)
        #expect(group.waiting == 3 - group.delivered && group.delivered == 1)
        #expect(group.position == (waiting.contains(2) ? 0 : 1))
    }

    @Test("A demand smaller than the round ends with DRAINED, and the next one goes on there")
    func rounds() {
        let (peer, session) = bench.connect()
        for link in UInt32(1)...5 { bench.openSink(session, link, "t\(link)") }
        bench.openSink(session, 9, "$sys/topics")
        _ = peer.take()
        var shown = 0
        for (step, left) in [(1, 3), (2, 1), (3, 0)] as [(UInt64, UInt64)] {
            bench.ask(session, 9, 2, total: 2 * step)
            let words = peer.take()
            for case .events(9, _, let payloads) in words { shown += payloads.count }
            let forfeited: UInt64 = step == 3 ? 1 : 0
            let delivered = 2 * step - forfeited
            let drained = Listener.Word.drained(
                9,
                delivered: delivered,
                forfeited: forfeited,
                available: left
            )
            #expect(words.last == drained)
        }
        #expect(shown == 5)
        bench.ask(session, 9, 2, total: 8)
        #expect(peer.statuses.last?.available == 3, "a new round")
        bench.ask(session, 9, 0, total: 8, flags: [.stop, .echo])
        #expect(peer.statuses.last?.isEcho == true && peer.statuses.last?.available == 0)
        bench.ask(session, 9, 1, total: 10)
        #expect(peer.take().last == .closed(9, .creditMismatch))
    }

    @Test("Bytes that do not suffice are told with what is needed, and nothing is skipped")
    func bytes() throws {
        let (peer, session) = bench.connect()
        bench.openSink(session, 1, "$sys/server", demand: 3, bytes: 10)
        let status = try #require(peer.statuses.last)
        #expect(status.isDrained && status.blockedBy == .bytes && status.available == 1)
        #expect(status.needBytes > 100 && status.forfeitedBytes == 10)
        let total = UInt64(10 + status.needBytes)
        bench.ask(session, 1, 1, total: 4, bytes: status.needBytes, bytesTotal: total)
        #expect(peer.statuses.last?.delivered == 1 && peer.statuses.last?.available == 0)
    }

    @Test("An answer that is larger than the window goes on when bytes were written")
    func window() throws {
        let (peer, session) = bench.connect()
        for link in UInt32(1)...400 { bench.openSink(session, link, "topic-\(link)") }
        _ = peer.take()
        bench.openSink(session, 999, "$sys/topics", demand: 1_000)
        var shown = 0
        for _ in 0..<50 where peer.statuses.isEmpty {
            #expect(peer.unwrittenBytes < 2 * Limits.writeWindowBytes)
            let written = peer.unwritten
            peer.unwritten = []
            for (link, bytes) in written { bench.engine.wrote(session, link, bytes: bytes) }
            bench.run()
        }
        for case .events(_, _, let payloads) in peer.take() { shown += payloads.count }
        #expect(shown == 400 && peer.statuses.last?.forfeited == 600)
        for (link, bytes) in peer.unwritten { bench.engine.wrote(session, link, bytes: bytes) }
        #expect(peer.statuses.count == 1, "what is written later is no new answer")
    }

    @Test("A peek shows what is held and consumes nothing")
    func peek() throws {
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "t", available: 4)
        try bench.publish(session, 1, first: 1, ["a", "b", "c", "d"])
        _ = peer.take()
        for _ in 0..<2 {
            let (eye, watcher) = bench.connect()
            bench.openSink(watcher, 1, "$sys/peek/t", demand: 3)
            #expect(eye.take().contains(.events(1, first: 1, ["a", "b", "c"])))
            #expect(eye.statuses.last?.available == 1)
            bench.ask(watcher, 1, 3, total: 6)
            #expect(eye.take().contains(.events(1, first: 4, ["d"])))
            #expect(eye.statuses.last?.available == 0)
        }
        bench.openSink(session, 2, "t", demand: 9)
        #expect(peer.take().contains(.events(2, first: 1, ["a", "b", "c", "d"])))
    }

    @Test("A client is shown nothing that its frames cannot carry; its link ends instead")
    func outgrown() throws {
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "t", available: 2)
        try bench.publish(session, 1, first: 1, ["a", String(repeating: "b", count: 100)])
        peer.eventBytesMax = 100
        _ = peer.take()
        bench.openSink(session, 2, "$sys/peek/t", demand: 2)
        #expect(peer.take().suffix(2) == [.events(2, first: 1, ["a"]), .closed(2, .eventTooLarge)])
        bench.openSink(session, 3, "$sys/server", demand: 1)
        #expect(peer.take().last == .closed(3, .eventTooLarge))
        bench.ask(session, 3, 1, total: 2)
        #expect(peer.take() == [])
    }

    @Test("Many looks that are asked for in one turn are one answer a link")
    func looksAtOnce() {
        let (peer, session) = bench.connect()
        for link in UInt32(1)...3 {
            var open = Open(role: .sink, topic: "$sys/server")
            open.demandEvents = 1
            bench.engine.open(session, link, open)
            for total in UInt64(2)...50 {
                bench.engine.demand(session, link, Ask(events: 1, total: total))
            }
        }
        _ = peer.take()
        bench.run()
        let words = peer.take()
        #expect(words.count == 6)
        for link in UInt32(1)...3 {
            let drained = Listener.Word.drained(link, delivered: 1, forfeited: 49, available: 0)
            #expect(words.contains(drained))
        }
    }

    @Test("What does not exist or cannot be read is refused")
    func refusals() {
        let (peer, session) = bench.connect()
        bench.openSink(session, 1, "$sys/nothing")
        bench.openSink(session, 2, "$sys/topics/none")
        bench.openSink(session, 3, "$sys/peek/none")
        bench.openSource(session, 4, "$sys/server")
        bench.openSink(session, 5, "$sys/ctl")
        #expect(
            peer.take() == [
                .refused(1, .notFound), .refused(2, .notFound), .refused(3, .notFound),
                .refused(4, .forbidden), .refused(5, .badOption),
            ]
        )
    }
}

@Suite struct ControlTests {
    private let bench = Bench()

    private static func json(_ op: String, _ topic: String = "t", _ more: String = "") -> String {
        "{\"op\":\"\(op)\",\"topic\":\"\(topic)\"\(more)}"
    }

    @Test("A topic is made with its settings, and not twice")
    func create() throws {
        let more = ",\"buffer\":7,\"ahead\":3,\"bufferBytes\":999,\"onFull\":\"drop-oldest\""
        #expect(try bench.request(Self.json("create-topic", "t", more)) == nil)
        let topic = try #require(
            try bench.documents("$sys/topics/t", as: Snapshot.Topic.self).first
        )
        #expect(topic.capacity == 7 && topic.ahead == 3 && topic.bufferBytes == 999)
        #expect(topic.onFull == "drop-oldest")
        #expect(try bench.request(Self.json("create-topic")) == .exists)
    }

    @Test("A topic shows what it allows, if that is less than the broker does")
    func limits() throws {
        let more =
            ",\"maxProducers\":1,\"maxConsumers\":2,\"maxGroups\":3,\"maxEventBytes\":4"
        #expect(try bench.request(Self.json("create-topic", "t", more)) == nil)
        let all = ",\"maxGroups\":1000,\"maxEventBytes\":1048000"
        #expect(try bench.request(Self.json("create-topic", "u", all)) == nil)
        let topics = try bench.documents("$sys/topics", as: Snapshot.Topic.self)
        let limited = try #require(topics.first { $0.topic == "t" })
        #expect(limited.maxProducers == 1 && limited.maxConsumers == 2)
        #expect(limited.maxGroups == 3 && limited.maxEventBytes == 4)
        let free = try #require(topics.first { $0.topic == "u" })
        #expect(free.maxProducers == nil && free.maxConsumers == nil)
        #expect(free.maxGroups == nil && free.maxEventBytes == nil)
    }

    @Test(
        "A topic is made with the rules of its default group, as far as they fit together",
        arguments: [
            (",\"dispatcher\":\"partition\",\"partitions\":8", true),
            (",\"dispatcher\":\"partition\"", false), (",\"partitions\":8", false),
            (",\"dispatcher\":\"partition\",\"partitions\":1025", false),
            (",\"dispatcher\":\"any\"", false), (",\"dispatcher\":\"broadcast\"", true),
            (",\"dispatcher\":\"independent\",\"lag\":\"drop-oldest\",\"maxLag\":5", true),
            (",\"dispatcher\":\"independent\",\"lag\":\"drop-oldest\"", false),
            (",\"dispatcher\":\"independent\",\"lag\":\"block\"", true),
            (",\"dispatcher\":\"independent\",\"lag\":\"block\",\"maxLag\":5", false),
            (",\"dispatcher\":\"independent\",\"maxLag\":5", false),
            (",\"lag\":\"block\"", false), (",\"rate\":5", true), (",\"rate\":0", false),
            (",\"rate\":5,\"burst\":1", true), (",\"burst\":1", false),
            (",\"isEphemeral\":true", true), (",\"isEphemeral\":1.5", false),
            (",\"maxProducers\":0", false), (",\"maxProducers\":4294967295", true),
            (",\"maxConsumers\":0", false), (",\"maxGroups\":0", false),
            (",\"maxGroups\":1001", false), (",\"maxEventBytes\":0", false),
            (",\"maxEventBytes\":1048001", false), (",\"maxEventBytes\":-1", false),
        ]
    )
    func groupRules(more: String, isLegal: Bool) throws {
        let code: CloseCode? = isLegal ? nil : .badOption
        #expect(try bench.request(Self.json("create-topic", "t", more)) == code)
    }

    @Test(
        "What is no request is refused",
        arguments: [
            "", "[]", "{}", "{\"op\":\"create-topic\"}", json("create-topic", ""),
            json("create-topic", "$mine"), json("create-topic", "a b"), json("fly"),
            json("create-topic", String(repeating: "n", count: 201)),
            json("create-topic", "t", ",\"onFull\":\"explode\""),
            json("create-topic", "t", ",\"buffer\":3,\"ahead\":4"),
            json("create-topic", "t", ",\"buffer\":18446744073709551615"),
            json("create-topic", "t", ",\"buffer\":-1"),
        ]
    )
    func refused(_ json: String) throws {
        #expect(try bench.request(json) == .badOption)
        #expect(try bench.documents("$sys/topics", as: Snapshot.Topic.self).isEmpty)
    }

    @Test(
        "What is not there is not found",
        arguments: [
            "change-topic", "remove-topic", "purge-topic", "pause-topic", "resume-topic",
            "create-group", "remove-group",
        ]
    )
    func notFound(_ op: String) throws {
        #expect(try bench.request(Self.json(op)) == .notFound)
    }

    @Test("An ephemeral topic goes with its last link, and waits for its first")
    func ephemeral() throws {
        #expect(try bench.request(Self.json("create-topic", "t", ",\"isEphemeral\":true")) == nil)
        #expect(try bench.documents("$sys/topics", as: Snapshot.Topic.self).count == 1)
        let (_, session) = bench.connect()
        bench.openSink(session, 1, "t", demand: 2)
        bench.openSource(session, 2, "t", available: 1)
        bench.engine.close(session, 1)
        #expect(try bench.documents("$sys/topics", as: Snapshot.Topic.self).count == 1)
        bench.engine.close(session, 2)
        #expect(try bench.documents("$sys/topics", as: Snapshot.Topic.self).isEmpty)
    }

    @Test("A group is moved within what is held, to a place that there is")
    func seek() throws {
        let (_, session) = bench.connect()
        bench.openSink(session, 1, "t", demand: 0)
        let there = ",\"start\":\"new\""
        #expect(try bench.request(Self.json("seek-group", "t", there)) == nil)
        #expect(try bench.request(Self.json("seek-group", "t", ",\"start\":\"-1\"")) == .badOption)
        #expect(try bench.request(Self.json("seek-group", "t", ",\"start\":\"+1\"")) == .badOption)
        #expect(try bench.request(Self.json("seek-group", "t")) == .badOption)
        let far = ",\"start\":\"99999999999999999999\""
        #expect(try bench.request(Self.json("seek-group", "t", far)) == nil)
        let unknown = there + ",\"group\":\"g\""
        #expect(try bench.request(Self.json("seek-group", "t", unknown)) == .notFound)
        #expect(try bench.request(Self.json("seek-group", "u", there)) == .notFound)
    }

    @Test("A group is made once, by rules that fit together, and shows that it does not end")
    func createGroup() throws {
        #expect(try bench.request(Self.json("create-topic")) == nil)
        func create(_ more: String) throws -> CloseCode? {
            try bench.request(Self.json("create-group", "t", more))
        }
        for wrong in [
            "", ",\"group\":\"\"", ",\"group\":\"a\\u0000b\"", ",\"group\":\"g\",\"start\":\"-1\"",
            ",\"group\":\"g\",\"dispatcher\":\"best\"", ",\"group\":\"g\",\"partitions\":4",
            ",\"group\":\"g\",\"dispatcher\":\"partition\",\"partitions\":0",
            ",\"group\":\"g\",\"dispatcher\":\"partition\",\"partitions\":1025",
            ",\"group\":\"g\",\"dispatcher\":\"independent\"",
        ] {
            #expect(try create(wrong) == .badOption, "\(wrong)")
        }
        let right =
            ",\"group\":\"g\",\"dispatcher\":\"partition\",\"partitions\":4,\"start\":\"first\""
        #expect(try create(right) == nil)
        #expect(try create(right) == .exists)
        let topic = try bench.documents("$sys/topics", as: Snapshot.Topic.self).first
        let group = try #require(topic?.groups.first)
        #expect(group.group == "g" && group.dispatcher == "partition" && group.members == 0)
        #expect(group.expireAfter == nil && group.expiresInSeconds == nil)
        #expect(group.aloneSeconds != nil)
    }

    @Test("Removing a topic closes its links, and the name is free again")
    func remove() throws {
        let (peer, session) = bench.connect()
        bench.openSink(session, 1, "t", demand: 2)
        bench.openSource(session, 2, "t", available: 1)
        _ = peer.take()
        #expect(try bench.request(Self.json("remove-topic")) == nil)
        #expect(Set(peer.take()) == [.closed(1, .topicDeleted), .closed(2, .topicDeleted)])
        bench.ask(session, 1, 1, total: 3)
        try bench.publish(session, 2, first: 1, ["late"])
        #expect(peer.take() == [])
        bench.openSink(session, 3, "t", demand: 1)
        #expect(peer.take() == [.opened(3, resumed: false, asked: 1)])
        #expect(try bench.documents("$sys/links", as: Snapshot.Link.self).map(\.link) == [3])
    }

    @Test("A purge is told as a gap, a pause keeps asks, a removed group closes its links")
    func others() throws {
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "t", available: 9)
        bench.openSink(session, 2, "t", group: "g")
        try bench.publish(session, 1, first: 1, ["a", "b"])
        _ = peer.take()
        #expect(try bench.request(Self.json("purge-topic")) == nil)
        bench.run()
        #expect(peer.take().contains(.gap(2, from: 0, to: 2, .purged)))
        #expect(try bench.request(Self.json("pause-topic")) == nil)
        bench.ask(session, 2, 5, total: 5)
        try bench.publish(session, 1, first: 3, ["c"])
        #expect(!peer.take().contains(.events(2, first: 1, ["c"])))
        #expect(try bench.request(Self.json("resume-topic")) == nil)
        bench.run()
        #expect(peer.take().contains(.events(2, first: 1, ["c"])))
        #expect(try bench.request(Self.json("remove-group", "t", ",\"group\":\"h\"")) == .notFound)
        #expect(try bench.request(Self.json("remove-group", "t", ",\"group\":\"g\"")) == nil)
        #expect(peer.take().contains(.closed(2, .groupRemoved)))
    }

    @Test("Requests are granted like events: what is announced, sixteen at once at most")
    func grants() throws {
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "$sys/ctl", available: 2)
        bench.openSource(session, 2, "$sys/ctl")
        bench.openSource(session, 3, "$sys/ctl", available: 40)
        #expect(
            peer.take().filter { if case .ask = $0 { true } else { false } } == [
                .ask(1, events: 2, flags: 0), .ask(2, events: 16, flags: 0),
                .ask(3, events: 16, flags: 0),
            ]
        )
        try bench.publish(session, 3, first: 1, ["{}", "{}", "{}"])
        #expect(peer.take().last == .ask(3, events: 3, flags: 0))
        var status = Status()
        status.asked = 2
        status.available = 5
        bench.engine.report(session, 1, status)
        #expect(peer.take() == [.ask(1, events: 5, flags: 0)])
        bench.engine.report(session, 1, status)
        #expect(peer.take() == [], "five of them were granted before it could see that")
        try bench.publish(session, 1, first: 1, Array(repeating: "{}", count: 8))
        #expect(peer.take().last == .closed(1, .creditOverrun))
    }
}
