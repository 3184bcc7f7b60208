import Logging
import Sluice
import SluiceNet
import SluiceServer
import SluiceTestKit
import Testing

/// What stages did, told by any task.
final class Log<Entry: Sendable>: Sendable {
    private let entries = Lock<[Entry]>([])

    var all: [Entry] { entries.withLock { $0 } }

    func add(_ entry: Entry) { entries.withLock { $0.append(entry) } }

    func add(contentsOf more: [Entry]) { entries.withLock { $0 += more } }

    /// Waits until there are so many.
    func wait(for count: Int) async throws { try await until { self.all.count >= count } }
}

/// Waits until `condition` holds.
func until(_ condition: () async throws -> Bool) async throws {
    while try await !condition() { try await Task.sleep(for: .milliseconds(1)) }
}

func options(_ max: Int, _ min: Int) -> SubscriptionOptions {
    SubscriptionOptions(demand: .automatic(max: max, min: min))
}

extension SluiceClient {
    /// Publishes numbers and waits until they are confirmed.
    func publish(_ range: Range<Int>, to topic: String) async throws {
        let producer = producer(for: topic)
        try await producer.send(contentsOf: numbered(range))
        try await producer.close()
    }
}

@Suite("Producer stages", .timeLimit(.minutes(5)))
struct ProducerStageTests {
    @Test("a sequence gives exactly as many elements as are asked for")
    func exact() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let taken = Log<Int>()
            let numbers = (0..<20).lazy.map { number in
                taken.add(number)
                return OutgoingEvent("\(number)")
            }
            let producer = client.producer(for: "t")
            async let running: Void = producer.run(contentsOf: numbers)
            let subscription = client.subscribe(
                to: "t",
                options: SubscriptionOptions(demand: .manual)
            )
            var iterator = subscription.makeAsyncIterator()
            var received: [Int] = []
            for count in [3, 4, 13] {
                subscription.ask(count)
                let goal = received.count + count
                while received.count < goal {
                    received += try #require(try await iterator.next()).map(number)
                }
                #expect(taken.all.count == goal)
            }
            subscription.ask(1)
            try await running
            #expect(received == Array(0..<20))
            #expect(producer.counts.confirmed == 20)
        }
    }

    @Test("an asynchronous sequence is read as it is asked for, and its elements go at once")
    func asynchronous() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let (stream, source) = AsyncStream.makeStream(of: OutgoingEvent.self)
            let producer = client.producer(for: "t")
            async let running: Void = producer.run(contentsOf: stream)
            let subscription = client.subscribe(to: "t", options: options(10, 5))
            var iterator = subscription.makeAsyncIterator()
            for number in 0..<30 {
                source.yield(OutgoingEvent("\(number)"))
                #expect(try await iterator.next()?.map(\.payloadString) == ["\(number)"])
            }
            source.finish()
            try await running
            #expect(producer.counts.confirmed == 30)
        }
    }

    private struct Countdown: ProducerStage {
        var left: Int
        let demands: Log<Int>

        /// Answers by halves: the library remembers what it owes.
        mutating func handleDemand(_ demand: Int) async throws -> [OutgoingEvent]? {
            demands.add(demand)
            guard left > 0 else { return nil }
            let count = min(left, max(1, demand / 2))
            defer { left -= count }
            return numbered((left - count)..<left).reversed()
        }
    }

    @Test("what is answered in part is asked for again")
    func debt() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let demands = Log<Int>()
            let stage = Stage.producer(
                "down",
                to: "t",
                making: {
                    Countdown(left: 64, demands: demands)
                }
            )
            async let running: Void = stage.run(on: client)
            let subscription = client.subscribe(
                to: "t",
                options: SubscriptionOptions(demand: .manual)
            )
            subscription.ask(64)
            var received: [Int] = []
            for try await batch in subscription {
                received += batch.map(number)
                if received.count == 64 { break }
            }
            #expect(received == (0..<64).reversed())
            #expect(demands.all == [64, 32, 16, 8, 4, 2, 1])
            subscription.ask(1)
            try await running
        }
    }

    @Test("drained it makes no more, and what it made is confirmed")
    func drained() async throws {
        try await Broker.withClient { _, client in
            let made = Log<Int>()
            let pipeline = Pipeline(
                client,
                [
                    .producer("source", to: "t") { _ in
                        made.add(1)
                        return [OutgoingEvent("x")]
                    }
                ]
            )
            async let running: Void = pipeline.run()
            try await made.wait(for: 10)
            pipeline.drain()
            try await running
            #expect(try await client.inspect("$sys/peek/t").count == made.all.count)
        }
    }

    @Test("drained while its sequence has nothing it ends")
    func drainedIdle() async throws {
        try await Broker.withClient { _, client in
            try await client.control(#"{"op":"create-topic","topic":"t"}"#)
            let (stream, source) = AsyncStream.makeStream(of: OutgoingEvent.self)
            let stage = Stage.producer("source", to: "t", sending: { stream })
            let pipeline = Pipeline(client, [stage])
            async let running: Void = pipeline.run()
            source.yield(OutgoingEvent("a"))
            try await until { try await client.inspect("$sys/peek/t").count == 1 }
            pipeline.drain()
            try await running
            // Its end is not the sequence's: what comes now is not taken.
            source.yield(OutgoingEvent("b"))
            #expect(try await client.inspect("$sys/peek/t").count == 1)
        }
    }
}

@Suite("Consumer stages", .timeLimit(.minutes(5)))
struct ConsumerStageTests {
    private struct Recorder: ConsumerStage {
        let log: Log<String>

        mutating func handleStart(_ stream: EventStream) async throws {
            log.add("start with \(stream.subscriptions.count)")
        }

        mutating func handleEvents(
            _ events: EventBatch,
            from subscription: Subscription
        ) async throws {
            log.add("\(subscription.topic): \(events.map(\.payloadString).joined(separator: " "))")
        }

        mutating func handleCancel(
            _ reason: CancelReason,
            of subscription: Subscription
        ) async throws {
            log.add("\(subscription.topic) ended: \(reason)")
        }
    }

    @Test("it hears of its start, of batches of at most max − min, and of the end of each topic")
    func callbacks() async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<4, to: "a")
            let log = Log<String>()
            let stage = Stage.consumer(
                "recorder",
                of: [Input("a", options: options(4, 2), cancel: .transient), "b"],
                making: { Recorder(log: log) }
            )
            let pipeline = Pipeline(client, [stage])
            async let running: Void = pipeline.run()
            try await log.wait(for: 3)
            pipeline.drain()
            try await running
            #expect(log.all.prefix(3) == ["start with 2", "a: 0 1", "a: 2 3"])
            #expect(Set(log.all.dropFirst(3)) == ["a ended: shutdown", "b ended: shutdown"])
        }
    }

    @Test("one that fails is restarted and goes on with what comes then")
    func restarted() async throws {
        struct Mishap: Error {}
        try await Broker.withClient { _, client in
            let seen = Log<Int>()
            let pipeline = Pipeline(
                client,
                [
                    .consumer("c", of: [Input("t", options: options(1, 0))]) { batch in
                        seen.add(contentsOf: batch.map(number))
                        if seen.all.count == 1 { throw Mishap() }
                    }
                ]
            )
            async let running: Void = pipeline.run()
            try await client.publish(0..<3, to: "t")
            // The one that was being handled is lost, as GenStage's.
            try await seen.wait(for: 2)
            pipeline.drain()
            try await running
            #expect(seen.all.first == 0)
            #expect(seen.all.dropFirst().allSatisfy { $0 > 0 })
        }
    }
}

@Suite("Tasks of events", .timeLimit(.minutes(5)))
struct TaskStageTests {
    @Test("at most max demand run at a time, and as many as are done are asked for by min")
    func bounded() async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<30, to: "t")
            let (running, peak) = (Lock(0), Lock(0))
            let (started, gate) = (Log<Int>(), Latch())
            let stage = Stage.tasks("work", of: [Input("t", options: options(6, 2))]) { event in
                let count = running.withLock { count in
                    count += 1
                    return count
                }
                peak.withLock { $0 = max($0, count) }
                started.add(number(event))
                await gate.wait()
                running.withLock { $0 -= 1 }
            }
            let pipeline = Pipeline(client, [stage])
            async let result: Void = pipeline.run()
            try await started.wait(for: 6)
            gate.open()
            try await started.wait(for: 30)
            pipeline.drain()
            try await result
            #expect(Set(started.all) == Set(0..<30))
            #expect(peak.withLock { $0 } == 6)
        }
    }

    @Test("min demand is how many are asked for together")
    func asks() async throws {
        let broker = try ScriptedBroker()
        let (started, gates) = (Log<Int>(), [Latch(), Latch(), Latch(), Latch()])
        try await broker.play { broker in
            let line = try broker.welcome()
            #expect(try line.hear("OPEN", 1).fields["demand"] == "4")
            try line.say("OPENED 1 next=1 head=0 asked=4")
            try line.say("EVENTS 1 seq=1 offset=0 [0 1 2 3]")
            #expect(try line.hear("DEMAND", 1).fields["n"] == "3")
            try line.say("CLOSE 1 COMPLETE")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let stage = Stage.tasks("work", of: [Input("t", options: options(4, 3))]) { event in
                started.add(number(event))
                await gates[number(event)].wait()
            }
            async let running: Void = stage.run(on: client)
            try await started.wait(for: 4)
            for gate in gates { gate.open() }
            try await running
            await client.close()
        }
    }

    @Test("a transient task that fails is run again with its event; too often, the stage fails")
    func transient() async throws {
        struct Mishap: Error {}
        try await Broker.withClient { _, client in
            try await client.publish(0..<3, to: "t")
            let runs = Log<Int>()
            let limit = RestartLimit(intensity: 4, period: .seconds(3_600))
            let stage = Stage.tasks("work", of: ["t"], task: .transient, limit: limit) { event in
                runs.add(number(event))
                guard number(event) != 2 else { throw Mishap() }
            }
            let error = await #expect(throws: ClientError.self) {
                try await stage.run(on: client)
            }
            #expect(error?.code == .restartsExceeded)
            #expect(runs.all.count { $0 == 2 } == 5)
        }
    }

    @Test("a temporary task that fails frees its place")
    func temporary() async throws {
        struct Mishap: Error {}
        try await Broker.withClient { _, client in
            try await client.publish(0..<10, to: "t")
            let runs = Log<Int>()
            let stage = Stage.tasks("work", of: [Input("t", options: options(1, 0))]) { event in
                runs.add(number(event))
                throw Mishap()
            }
            let pipeline = Pipeline(client, [stage])
            async let running: Void = pipeline.run()
            try await runs.wait(for: 10)
            pipeline.drain()
            try await running
            #expect(runs.all == Array(0..<10))
        }
    }

    @Test("what cannot be is refused")
    func refused() async throws {
        let client = SluiceClient()
        for stage in [
            Stage.tasks("a", of: ["t"], task: .permanent) { _ in },
            Stage.tasks("b", of: [Input("t", options: .init(demand: .manual))]) { _ in },
        ] {
            let error = await #expect(throws: ClientError.self) {
                try await stage.run(on: client)
            }
            #expect(error?.code == .invalidArgument)
        }
    }
}
