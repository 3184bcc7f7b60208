import Sluice
import SluiceNet
import SluiceServer
import SluiceTestKit
import Testing

@Suite("Processors", .timeLimit(.minutes(5)))
struct ProcessorTests {
    private static let manual = SubscriptionOptions(demand: .manual)

    private static func doubled(_ batch: EventBatch) -> [OutgoingEvent] {
        batch.map { OutgoingEvent("\(number($0) * 2)") }
    }

    @Test("it fetches max demand ahead, and handles no more than is asked of it")
    func prefetch() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let producer = client.producer(for: "in")
            async let sending: Void = producer.send(contentsOf: numbered(0..<100))
            let handled = Log<Int>()
            let input = Input("in", options: options(10, 5))
            let stage = Stage.processor("double", from: [input], to: "out") { batch in
                handled.add(contentsOf: batch.map(number))
                return Self.doubled(batch)
            }
            let pipeline = Pipeline(client, [stage])
            async let running: Void = pipeline.run()
            try await until { producer.counts.delivered == 10 }
            let output = client.subscribe(to: "out", options: Self.manual)
            try await output.opened()
            #expect(handled.all.isEmpty)
            var iterator = output.makeAsyncIterator()
            var received: [Int] = []
            for count in [3, 1, 11] {
                output.ask(count)
                let goal = received.count + count
                while received.count < goal {
                    received += try #require(try await iterator.next()).map(number)
                }
                #expect(handled.all.count == goal)
                #expect(producer.counts.delivered <= UInt64(goal + 10))
            }
            #expect(received == (0..<15).map { $0 * 2 })
            output.ask(100)
            try await sending
            pipeline.drain()
            try await running
        }
    }

    @Test("a batch that becomes more events than are asked for waits with them")
    func expands() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let producer = client.producer(for: "in")
            async let sending: Void = producer.send(contentsOf: numbered(0..<6))
            let handled = Log<Int>()
            let stage = Stage.processor("triple", from: ["in"], to: "out") { batch in
                handled.add(contentsOf: batch.map(number))
                return batch.flatMap { event in
                    (0..<3).map { OutgoingEvent("\(number(event) * 3 + $0)") }
                }
            }
            let pipeline = Pipeline(client, [stage])
            async let running: Void = pipeline.run()
            try await sending
            let output = client.subscribe(to: "out", options: Self.manual)
            var iterator = output.makeAsyncIterator()
            var received: [Int] = []
            output.ask(2)
            while received.count < 2 {
                received += try #require(try await iterator.next()).map(number)
            }
            // Two were asked for, so that two were handled, of which four events wait in `send`.
            #expect(handled.all == [0, 1])
            output.ask(16)
            while received.count < 18 {
                received += try #require(try await iterator.next()).map(number)
            }
            #expect(received == Array(0..<18))
            pipeline.drain()
            try await running
        }
    }

    @Test("several inputs share the demand for the output")
    func several() async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<50, to: "a")
            try await client.publish(100..<150, to: "b")
            let stage = Stage.processor("join", from: ["a", "b"], to: "out") { batch in
                batch.map { OutgoingEvent($0.payloadString) }
            }
            let pipeline = Pipeline(client, [stage])
            async let running: Void = pipeline.run()
            var received: [Int] = []
            for try await batch in client.subscribe(to: "out", options: options(10, 5)) {
                received += batch.map(number)
                if received.count == 100 { break }
            }
            #expect(received.filter { $0 < 100 } == Array(0..<50))
            #expect(received.filter { $0 >= 100 } == Array(100..<150))
            pipeline.drain()
            try await running
        }
    }

    @Test("an input that ends is heard of though nobody asks")
    func endWithoutDemand() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            try await client.control(#"{"op":"create-topic","topic":"in"}"#)
            let stage = Stage.processor("idle", from: ["in"], to: "out") { _ in [] }
            let running = Task { try await stage.run(on: client) }
            try await until { try await client.inspect("$sys/links/in").count == 1 }
            try await client.control(#"{"op":"remove-topic","topic":"in"}"#)
            let error = await #expect(throws: ClientError.self) { try await running.value }
            #expect(error?.closeName == "TOPIC_DELETED")
        }
    }

    @Test("a pipeline whose source is done handles everything to the last event, and ends")
    func wholePipeline() async throws {
        try await Broker.withClient { _, client in
            let seen = Log<Int>()
            let source = Stage.producer("source", to: "a", sending: { Events(numbered(0..<5_000)) })
            let input = Input("a", options: options(50, 25))
            let double = Stage.processor("double", from: [input], to: "b") { Self.doubled($0) }
            let sink = Stage.consumer("sink", of: [Input("b", options: options(30, 10))]) {
                seen.add(contentsOf: $0.map(number))
            }
            let pipeline = Pipeline(client, [source, double, sink])
            try await pipeline.run()
            #expect(seen.all == (0..<5_000).map { $0 * 2 })
            for topic in ["a", "b"] {
                try await until { try await client.inspect("$sys/links/\(topic)").isEmpty }
            }
        }
    }

    @Test(
        "a pipeline without an end that is told to drain handles all that its source has made",
        arguments: Road.allCases
    )
    func drainedPipeline(road: Road) async throws {
        try await Broker.withClient(over: road, Broker.strict) { _, client in
            let (made, seen) = (Lock(0), Log<Int>())
            let source = Stage.producer("source", to: "a") { demand in
                made.withLock { count in
                    defer { count += demand }
                    return numbered(count..<(count + demand))
                }
            }
            let input = Input("a", options: options(20, 10))
            let double = Stage.processor("double", from: [input], to: "b") { Self.doubled($0) }
            let work = Stage.tasks("work", of: [Input("b", options: options(5, 2))]) { event in
                seen.add(number(event))
            }
            let pipeline = Pipeline(client, drainTimeout: .seconds(300), [source, double, work])
            async let running: Void = pipeline.run()
            try await seen.wait(for: 100)
            pipeline.drain()
            try await running
            #expect(seen.all.sorted() == (0..<made.withLock { $0 }).map { $0 * 2 })
        }
    }

    @Test("tasks of a drained pipeline are waited for, to the last event")
    func wholeTasks() async throws {
        try await Broker.withClient { _, client in
            let seen = Log<Int>()
            let pipeline = Pipeline(
                client,
                [
                    .producer("source", to: "t", sending: { Events(numbered(0..<300)) }),
                    .tasks("work", of: [Input("t", options: options(7, 3))]) { event in
                        await Task.yield()
                        seen.add(number(event))
                    },
                ]
            )
            try await pipeline.run()
            #expect(seen.all.sorted() == Array(0..<300))
        }
    }
}
