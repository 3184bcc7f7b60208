import Sluice
import SluiceTestKit
import Testing

@Suite("Words that a processor passes on", .timeLimit(.minutes(5)))
struct PassedMarkTests {
    private static var stopping: SubscriptionOptions {
        var options = SubscriptionOptions()
        options.stopsAtEnd = true
        return options
    }

    /// What a subscription hands out, in its order.
    private static func story(of subscription: Subscription) async throws -> [String] {
        var story: [String] = []
        for try await batch in subscription {
            for mark in batch.marks {
                switch mark.kind {
                case .marker(let text): story.append(text)
                case .end: story.append("end")
                }
            }
            story += batch.map(\.payloadString)
        }
        return story
    }

    private static func copy(
        _ inputs: [Input],
        to topic: String,
        marks: PassedMarks = .end
    ) -> Stage {
        .processor("copy", from: inputs, to: topic, marks: marks) { batch in
            batch.map { OutgoingEvent($0.payloadString) }
        }
    }

    @Test("a pipeline whose source is finite ends the topics behind it, each after its last event")
    func wholePipeline() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let source = Stage.producer("source", to: "a", sending: { Events(numbered(0..<300)) })
            let pipeline = Pipeline(
                client,
                [source, Self.copy(["a"], to: "b"), Self.copy(["b"], to: "c")]
            )
            async let running: Void = pipeline.run()
            let reader = client.subscribe(to: "c", options: Self.stopping)
            let story = try await Self.story(of: reader)
            #expect(story == (0..<300).map { "\($0)" } + ["end"])
            try await running
        }
    }

    @Test("the end is passed on though nobody asks for an event")
    func withoutDemand() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let pipeline = Pipeline(client, [Self.copy(["a"], to: "b")])
            async let running: Void = pipeline.run()
            let producer = client.producer(for: "a")
            try await producer.end()
            try await producer.close()
            var options = Self.stopping
            options.demand = .manual
            for try await batch in client.subscribe(to: "b", options: options) {
                #expect(batch.isEmpty)
            }
            pipeline.drain()
            try await running
        }
    }

    @Test(
        "markers are passed on in their place, the end alone, or nothing, as it is told",
        arguments: PassedMarks.allCases
    )
    func modes(marks: PassedMarks) async throws {
        try await Broker.withClient { _, client in
            let producer = client.producer(for: "a")
            try await producer.send(contentsOf: numbered(0..<2))
            try await producer.mark("half")
            try await producer.send(contentsOf: numbered(2..<4))
            try await producer.end()
            try await producer.close()
            // It ends with its input, and has said by then what it says.
            let input = Input("a", options: Self.stopping)
            try await Self.copy([input], to: "b", marks: marks).run(on: client)
            let reader = client.subscribe(to: "b")
            reader.drain()
            let story = try await Self.story(of: reader)
            let expected: [String] =
                switch marks {
                case .none: []
                case .end: ["end"]
                case .all: ["half", "end"]
                }
            #expect(story.filter { Int($0) != nil } == ["0", "1", "2", "3"])
            #expect(story.filter { Int($0) == nil } == expected)
            let half = story.firstIndex(of: "half") ?? story.endIndex
            #expect(story[..<half].contains("1"))
        }
    }

    @Test("with several inputs the end is passed on when all have said it")
    func several() async throws {
        try await Broker.withClient { _, client in
            let pipeline = Pipeline(client, [Self.copy(["a", "b"], to: "c")])
            async let running: Void = pipeline.run()
            let first = client.producer(for: "a")
            try await first.send("a")
            try await first.end()
            try await first.close()
            let reader = client.subscribe(to: "c", options: options(10, 5))
            var iterator = reader.makeAsyncIterator()
            #expect(try await iterator.next()?.map(\.payloadString) == ["a"])
            let second = client.producer(for: "b")
            try await second.send("b")
            try await second.end()
            try await second.close()
            // Had the first end been passed on, it would come before this event.
            let batch = try #require(try await iterator.next())
            #expect(batch.marks.isEmpty && batch.map(\.payloadString) == ["b"])
            #expect(try await iterator.next()?.marks.map(\.kind) == [.end])
            pipeline.drain()
            try await running
        }
    }

    @Test("an input that goes on takes its end back, and may say it again")
    func again() async throws {
        try await Broker.withClient { _, client in
            let pipeline = Pipeline(client, [Self.copy(["a"], to: "b")])
            async let running: Void = pipeline.run()
            var iterator = client.subscribe(to: "b").makeAsyncIterator()
            for word in ["first", "second"] {
                let producer = client.producer(for: "a")
                try await producer.send(OutgoingEvent(word))
                try await producer.end()
                try await producer.close()
                #expect(try await iterator.next()?.map(\.payloadString) == [word])
                #expect(try await iterator.next()?.marks.map(\.kind) == [.end])
            }
            pipeline.drain()
            try await running
        }
    }

    @Test("drained before its input ends it says no end")
    func drained() async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<5, to: "a")
            try await client.control(#"{"op":"create-topic","topic":"b"}"#)
            let pipeline = Pipeline(client, [Self.copy(["a"], to: "b")])
            async let running: Void = pipeline.run()
            try await until { try await client.inspect("$sys/peek/b").count == 5 }
            pipeline.drain()
            try await running
            let reader = client.subscribe(to: "b")
            reader.drain()
            for try await batch in reader { #expect(batch.marks.isEmpty) }
        }
    }
}
