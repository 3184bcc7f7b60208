import Sluice
import SluiceTestKit
import Testing

/// What a drained stage that is behind others asks for.
@Suite("Rounds of a drain", .timeLimit(.minutes(5)))
struct DrainRoundTests {
    @Test("what waits beyond max demand is asked for when the tasks before it are done")
    func rounds() async throws {
        let broker = try ScriptedBroker()
        let (started, gate) = (Log<Int>(), Latch())
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("OPENED 1 next=1 head=6 asked=4")
            try line.say("EVENTS 1 seq=1 offset=0 [0 1 2 3]")
            #expect(try line.hear("DEMAND", 1).flags == ["DRAIN"])
            try line.say("STATUS 1 DRAINED asked=4 delivered=4 drained_to=4 available=2")
            try line.say("PING 1")
            try line.hear("PING")
            gate.open()
            #expect(try line.hear("DEMAND", 1).fields["total"] == "8")
            #expect(try line.hear("DEMAND", 1).flags == ["DRAIN"])
            try line.say("EVENTS 1 seq=5 offset=4 [4 5]")
            try line.say("STATUS 1 DRAINED asked=8 delivered=6 forfeited=2 drained_to=8")
            try line.hear("CLOSE", 1)
            try line.say("CLOSE 1 NORMAL")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let first = Stage("first") { _ in try await started.wait(for: 4) }
            let tasks = Stage.tasks("tasks", of: [Input("t", options: options(4, 2))]) { event in
                started.add(number(event))
                await gate.wait()
            }
            try await Pipeline(client, [first, tasks]).run()
            #expect(started.all.sorted() == Array(0..<6))
            await client.close()
        }
    }

    @Test("it does not go on for what others publish meanwhile")
    func bounded() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("OPENED 1 next=1 head=0 asked=2")
            try line.hear("DEMAND", 1)
            try line.say("EVENTS 1 seq=1 offset=0 [0 1]")
            try line.say("STATUS 1 DRAINED asked=2 delivered=2 drained_to=2 available=1")
            #expect(try line.hear("DEMAND", 1).fields["total"] == "4")
            try line.hear("DEMAND", 1)
            try line.say("EVENTS 1 seq=3 offset=2 [2 3]")
            try line.say("STATUS 1 DRAINED asked=4 delivered=4 drained_to=4 available=100")
            try line.hear("CLOSE", 1)
            try line.say("CLOSE 1 NORMAL")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let seen = Log<Int>()
            let sink = Stage.consumer("sink", of: [Input("t", options: options(2, 1))]) { batch in
                seen.add(contentsOf: batch.map(number))
            }
            try await Pipeline(client, [Stage("first") { _ in }, sink]).run()
            #expect(seen.all == Array(0..<4))
            await client.close()
        }
    }
}

@Suite("A consumer that minds its own subscriptions", .timeLimit(.minutes(5)))
struct OwnSubscriptionTests {
    /// Asks for two events at a time, and goes on to the next topic after four.
    private struct Manual: ConsumerStage {
        let client: SluiceClient
        let seen: Log<String>
        var stream: EventStream?
        /// Events of the current subscription.
        var count = 0
        var isMoved = false

        init(client: SluiceClient, seen: Log<String>) {
            self.client = client
            self.seen = seen
        }

        private func subscribe(_ topic: String) async throws -> Subscription {
            let options = SubscriptionOptions(demand: .manual)
            let subscription = client.subscribe(to: topic, options: options)
            try await subscription.opened()
            subscription.ask(2)
            return subscription
        }

        mutating func handleStart(_ stream: EventStream) async throws {
            self.stream = stream
            stream.add(try await subscribe("a"))
        }

        mutating func handleEvents(
            _ events: EventBatch,
            from subscription: Subscription
        ) async throws {
            for event in events { seen.add("\(subscription.topic)\(event.payloadString)") }
            count += events.count
            guard count.isMultiple(of: 2) else { return }
            if count == 4, !isMoved {
                isMoved = true
                stream?.replace(subscription, with: try await subscribe("b"))
            } else {
                subscription.ask(2)
            }
        }
    }

    @Test("it asks by hand, subscribes while it runs, and lets one take the place of another")
    func manual() async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<9, to: "a")
            try await client.publish(0..<5, to: "b")
            let seen = Log<String>()
            let stage = Stage.consumer(
                "manual",
                of: [],
                making: {
                    Manual(client: client, seen: seen)
                }
            )
            let pipeline = Pipeline(client, [stage])
            async let running: Void = pipeline.run()
            try await seen.wait(for: 9)
            pipeline.drain()
            try await running
            let expected = ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3", "b4"]
            #expect(seen.all == expected)
        }
    }
}
