import Sluice
import SluiceCore
import SluiceEngine
import SluiceNet
import SluiceServer
import Testing

@Suite("Marks and the end", .timeLimit(.minutes(5)))
struct MarkTests {
    private static var stopping: SubscriptionOptions {
        var options = SubscriptionOptions()
        options.stopsAtEnd = true
        return options
    }

    private static func small(_ configuration: inout ServerConfiguration) {
        configuration.engine.topicDefaults.ahead = 100
    }

    /// What a subscription hands out, in its order.
    private static func story(of subscription: Subscription) async throws -> [String] {
        var story: [String] = []
        for try await batch in subscription {
            story += batch.marks.map(\.text)
            story += batch.map(\.payloadString)
        }
        return story
    }

    @Test(
        "a mark is heard behind all that was sent before, and the end ends",
        arguments: Road.allCases
    )
    func order(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let subscription = client.subscribe(to: "t", options: Self.stopping)
            let producer = client.producer(for: "t")
            try await producer.mark("begin")
            try await producer.send(contentsOf: numbered(0..<3))
            try await producer.mark("half")
            try await producer.send(contentsOf: numbered(3..<5))
            try await producer.end()
            try await producer.close()
            let story = try await Self.story(of: subscription)
            #expect(
                story == ["begin at 0", "0", "1", "2", "half at 3", "3", "4", "end at 5"]
            )
            #expect(subscription.counts.delivered == 5)
        }
    }

    @Test("without stopsAtEnd the end is told and nothing ends")
    func told() async throws {
        try await Broker.withClient { _, client in
            let subscription = client.subscribe(to: "t")
            let producer = client.producer(for: "t")
            try await producer.send("a")
            try await producer.end()
            try await producer.send("b")
            try await producer.flush()
            var story: [String] = []
            for try await batch in subscription {
                story += batch.marks.map(\.text)
                story += batch.map(\.payloadString)
                if story.count == 3 { break }
            }
            #expect(story == ["a", "end at 1", "b"])
        }
    }

    @Test("who comes after the end hears it, behind what waits", arguments: Road.allCases)
    func late(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let producer = client.producer(for: "t")
            try await producer.send(contentsOf: numbered(0..<2))
            try await producer.end()
            try await producer.close()
            let first = client.subscribe(to: "t", options: Self.stopping)
            #expect(try await Self.story(of: first) == ["0", "1", "end at 2"])
        }
    }

    @Test("the end comes when the last producer leaves that has not said it")
    func leaves() async throws {
        try await Broker.withClient { _, client in
            let one = client.producer(for: "t")
            let other = client.producer(for: "t")
            for producer in [one, other] {
                try await producer.send("a")
                try await producer.flush()
            }
            try await one.end()
            try await one.close()
            try await other.send("b")
            try await other.close()
            let subscription = client.subscribe(to: "t", options: Self.stopping)
            #expect(try await Self.story(of: subscription) == ["a", "a", "b", "end at 3"])
        }
    }

    @Test("a mark waits for the events before it, which wait for demand")
    func demand() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let producer = client.producer(for: "t")
            let sender = Task {
                try await producer.send(contentsOf: numbered(0..<10))
                try await producer.end()
                try await producer.close()
            }
            var options = Self.stopping
            options.demand = .manual
            let subscription = client.subscribe(to: "t", options: options)
            var iterator = subscription.makeAsyncIterator()
            subscription.ask(4)
            var received: [Int] = []
            while received.count < 4, let batch = try await iterator.next() {
                #expect(batch.marks.isEmpty)
                received += batch.map(number)
            }
            subscription.ask(6)
            var marks: [String] = []
            while let batch = try await iterator.next() {
                received += batch.map(number)
                marks += batch.marks.map(\.text)
            }
            #expect(received == Array(0..<10))
            #expect(marks == ["end at 10"])
            try await sender.value
        }
    }

    @Test("a stage that is done says the end, one that is drained does not")
    func stage() async throws {
        // As many as it may be granted come to wait.
        try await Broker.withClient(Self.small) { _, client in
            try await client.control(#"{"op":"create-topic","topic":"t"}"#)
            let drained = Pipeline(client, [.producer("source", to: "t") { _ in numbered(0..<1) }])
            async let running: Void = drained.run()
            try await until { try await client.inspect("$sys/peek/t").count > 0 }
            drained.drain()
            try await running
            let made = try await client.inspect("$sys/peek/t").count
            let finite = [
                Stage.producer("sequence", to: "t", sending: { Events(numbered(0..<2)) }),
                Stage.producer("maker", to: "t") { [done = Log<Int>()] _ in
                    done.add(1)
                    return done.all.count == 1 ? numbered(2..<3) : nil
                },
            ]
            for stage in finite { try await Pipeline(client, [stage]).run() }
            let subscription = client.subscribe(to: "t")
            subscription.drain()
            let marks = try await Self.story(of: subscription).filter { $0.contains("at") }
            #expect(marks == ["end at \(made + 2)", "end at \(made + 3)"])
        }
    }

    @Test("flush waits for marks as it does for events", arguments: Road.allCases)
    func flush(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let subscription = client.subscribe(to: "t")
            try await subscription.opened()
            let producer = client.producer(for: "t")
            try await producer.mark("alone")
            try await producer.flush()
            let batch = try await subscription.makeAsyncIterator().nextBatch()
            #expect(batch?.marks.map(\.text) == ["alone at 0"])
            #expect(batch?.isEmpty == true)
        }
    }

    @Test("a text without bytes or with more than 1,024 is not said")
    func limits() async throws {
        try await Broker.withClient { _, client in
            let producer = client.producer(for: "t")
            for text in ["", String(repeating: "x", count: 1_025)] {
                let error = await #expect(throws: ClientError.self) {
                    try await producer.mark(text)
                }
                #expect(error?.code == .invalidArgument)
            }
            try await producer.mark(String(repeating: "x", count: 1_024))
            try await producer.close()
            let error = await #expect(throws: ClientError.self) { try await producer.end() }
            #expect(error?.code == .clientClosed)
        }
    }

    @Test("a mark more than a topic keeps unheard ends the producer's link")
    func tooMany() async throws {
        try await Broker.withClient { _, client in
            let producer = client.producer(for: "t")
            let error = await #expect(throws: ClientError.self) {
                for number in 0...1_024 { try await producer.mark("\(number)") }
                try await producer.flush()
            }
            #expect(error?.code == .linkClosed)
            #expect(error?.closeName == "LIMIT")
        }
    }

    @Test("of the marks that nobody takes a subscription keeps the last, and the end")
    func nobodyTakes() async throws {
        try await Broker.withClient { _, client in
            let subscription = client.subscribe(to: "t")
            try await subscription.opened()
            let producer = client.producer(for: "t")
            try await producer.end()
            for start in stride(from: 0, to: 1_100, by: 100) {
                for number in start..<start + 100 { try await producer.mark("\(number)") }
                try await producer.flush()
            }
            try await until { subscription.counts.missedMarks >= 77 }
            let batch = try await subscription.makeAsyncIterator().nextBatch()
            let marks = batch?.marks.map(\.text) ?? []
            #expect(marks == ["end at 0"] + (77..<1_100).map { "\($0) at 0" })
            #expect(subscription.counts.missedMarks == 77)
        }
    }

    @Test("a member that lost its connection is told again what it may have missed")
    func memberCuts() async throws {
        try await Broker.withProxy { client, far, proxy in
            let subscription = far.subscribe(to: "t", options: Self.stopping)
            try await subscription.opened()
            let producer = client.producer(for: "t")
            await proxy.cut()
            try await producer.mark("missed")
            try await producer.end()
            try await producer.close()
            let story = try await Self.story(of: subscription)
            #expect(story == ["missed at 0", "end at 0"])
        }
    }

    @Test("many marks come over cuts, in their order")
    func manyCuts() async throws {
        try await Broker.withProxy { client, far, proxy in
            let producer = far.producer(for: "t")
            try await producer.send("first")
            try await producer.flush()
            let subscription = client.subscribe(to: "t", options: Self.stopping)
            let listener = Task { try await Self.story(of: subscription) }
            let total = 800
            let sender = Task {
                for number in 0..<total {
                    try await producer.mark("\(number)")
                    if number % 300 == 100 { await proxy.cut() }
                }
                try await producer.end()
                try await producer.close()
            }
            try await sender.value
            let story = try await listener.value
            // They may be heard twice; what came first is in its place.
            var heard = Set<String>()
            let first = story.filter { heard.insert($0).inserted }
            #expect(first == ["first"] + (0..<total).map { "\($0) at 1" } + ["end at 1"])
        }
    }

    @Test("marks keep their place among events over cuts")
    func cuts() async throws {
        try await Broker.withProxy { client, far, proxy in
            let producer = far.producer(for: "t")
            let sender = Task {
                for start in stride(from: 0, to: 20_000, by: 100) {
                    try await producer.send(contentsOf: numbered(start..<(start + 100)))
                    try await producer.mark("\(start + 100)")
                    if start % 2_000 == 1_000 { await proxy.cut() }
                }
                try await producer.end()
                try await producer.close()
            }
            let subscription = client.subscribe(to: "t", options: Self.stopping)
            var received: [Int] = []
            var heard = Set<Int>()
            for try await batch in subscription {
                for mark in batch.marks {
                    guard case .marker(let text) = mark.kind else { continue }
                    #expect(UInt64(text) == mark.offset)
                    if heard.insert(Int(text) ?? -1).inserted {
                        #expect(Int(text) == received.count, "between what it was said between")
                    }
                }
                received += batch.map(number)
            }
            try await sender.value
            #expect(received == Array(0..<20_000))
            #expect(heard == Set(stride(from: 100, through: 20_000, by: 100)))
            #expect(producer.counts.resumed > 0)
        }
    }
}

extension EventMark {
    fileprivate var text: String {
        switch kind {
        case .marker(let text): "\(text) at \(offset)"
        case .end: "end at \(offset)"
        }
    }
}
