import Sluice
import SluiceEngine
import SluiceServer
import SluiceTestKit
import Testing

@Suite("Inputs that subscribe anew", .timeLimit(.minutes(5)))
struct ResubscribeTests {
    private static let soon = ReconnectPolicy(
        initialDelay: .milliseconds(1),
        maximumDelay: .milliseconds(5)
    )

    private static func soon(attempts: Int) -> ReconnectPolicy {
        ReconnectPolicy(initialDelay: .milliseconds(1), attemptsMax: attempts)
    }

    private struct Recorder: ConsumerStage {
        let log: Log<String>

        mutating func handleEvents(
            _ events: EventBatch,
            from subscription: Subscription
        ) async throws {
            for event in events { log.add(event.payloadString) }
        }

        mutating func handleCancel(
            _ reason: CancelReason,
            of subscription: Subscription
        ) async throws {
            log.add("ended")
        }

        mutating func handleResubscribe(_ subscription: Subscription) async throws {
            log.add("anew")
        }
    }

    @Test("a topic that is missing is looked for until it is there, and again when it is removed")
    func missingTopic() async throws {
        try await Broker.withClient {
            $0.engine.createsTopics = false
        } _: { _, client in
            let log = Log<String>()
            let input = Input("t", cancel: .temporary, resubscribe: Self.soon)
            let stage = Stage.consumer("c", of: [input], making: { Recorder(log: log) })
            let pipeline = Pipeline(client, [stage])
            async let running: Void = pipeline.run()
            try await log.wait(for: 3)
            #expect(log.all.prefix(3) == ["ended", "anew", "ended"])
            for word in ["first", "second"] {
                try await client.control(#"{"op":"create-topic","topic":"t"}"#)
                try await client.producer(for: "t").send(OutgoingEvent(word))
                try await until { log.all.contains(word) }
                try await client.control(#"{"op":"remove-topic","topic":"t"}"#)
            }
            pipeline.drain()
            try await running
        }
    }

    @Test(
        "the cancel mode says after which ends it comes back",
        arguments: [
            (CancelMode.temporary, "COMPLETE", true), (.temporary, "INTERNAL", true),
            (.transient, "COMPLETE", true), (.transient, "INTERNAL", false),
        ]
    )
    func cancelModes(mode: CancelMode, code: String, returns: Bool) async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("OPENED 1 next=1 head=0 asked=1000")
            try line.say("CLOSE 1 \(code)")
            try line.hear("CLOSE", 1)
            if returns {
                try line.hear("OPEN", 2)
                try line.say("OPENED 2 next=1 head=0 asked=1000")
                try line.say("EVENTS 2 seq=1 offset=0 [a]")
            }
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let stream = client.stream(of: [
                Input("t", cancel: mode, resubscribe: Self.soon(attempts: 1))
            ])
            var received: [String] = []
            do {
                for try await delivery in stream {
                    received += delivery.batch.map(\.payloadString)
                    break
                }
                #expect(returns)
            } catch let error as ClientError {
                #expect(!returns && error.closeName == code)
            }
            #expect(received == (returns ? ["a"] : []))
            stream.cancel()
            await client.close()
        }
    }

    @Test("when so many in a row were not opened the input has ended for good")
    func givesUp() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            for link in 1...5 as ClosedRange<UInt32> {
                try line.hear("OPEN", link)
                // One that was opened begins a new row.
                if link == 2 { try line.say("OPENED 2 next=1 head=0 asked=1000") }
                try line.say("CLOSE \(link) \(link == 2 ? "COMPLETE" : "NOT_FOUND")")
                if link == 2 { try line.hear("CLOSE", 2) }
            }
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let input = Input("t", cancel: .temporary, resubscribe: Self.soon(attempts: 3))
            for try await _ in client.stream(of: [input]) { Issue.record("nothing was sent") }
            await client.close()
        }
    }

    @Test("what this side wanted, or the topic's end with stopsAtEnd, is no reason to come back")
    func ownEnd() async throws {
        try await Broker.withClient { _, client in
            let producer = client.producer(for: "t")
            try await producer.send("a")
            try await producer.end()
            try await producer.close()
            var input = Input("t", cancel: .temporary, resubscribe: Self.soon)
            input.options.stopsAtEnd = true
            var received: [String] = []
            for try await delivery in client.stream(of: [input]) {
                received += delivery.batch.map(\.payloadString)
            }
            #expect(received == ["a"])
            input.options.stopsAtEnd = false
            let stream = client.stream(of: [input])
            stream.subscriptions.first?.cancel()
            for try await _ in stream { Issue.record("it was cancelled") }
        }
    }

    @Test("a stream that is stopped meanwhile does not wait for it")
    func stopped() async throws {
        try await Broker.withClient {
            $0.engine.createsTopics = false
        } _: { _, client in
            let hour = Duration.seconds(3_600)
            let never = ReconnectPolicy(initialDelay: hour, maximumDelay: hour)
            let log = Log<String>()
            let input = Input("t", cancel: .temporary, resubscribe: never)
            let stage = Stage.consumer("c", of: [input], making: { Recorder(log: log) })
            let pipeline = Pipeline(client, [stage])
            async let running: Void = pipeline.run()
            try await log.wait(for: 1)
            pipeline.drain()
            try await running
            #expect(log.all == ["ended"])
        }
    }

    @Test("a processor asks what is asked of it on the link that it has now")
    func manualDemand() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            var links: [String: UInt32] = [:]
            for _ in 0..<2 {
                let open = try line.hear()
                let topic = try #require(open.fields["topic"])
                links[topic] = open.link
                let next = topic == "in" ? " next=1 head=0" : ""
                try line.say("OPENED \(open.link)\(next)")
            }
            let input = try #require(links["in"])
            let output = try #require(links["out"])
            try line.say("DEMAND \(output) n=3 total=3")
            #expect(try line.hear("DEMAND", input).fields["n"] == "3")
            try line.say("CLOSE \(input) COMPLETE")
            try line.hear("CLOSE", input)
            let anew = try line.hear("OPEN", 3)
            #expect(anew.fields["topic"] == "in")
            try line.say("OPENED 3 next=1 head=0")
            #expect(try line.hear("DEMAND", 3).fields["n"] == "3")
        } _: {
            let client = broker.client(.never)
            let options = SubscriptionOptions(demand: .manual)
            let input = Input("in", options: options, cancel: .temporary, resubscribe: Self.soon)
            let stage = Stage.processor("p", from: [input], to: "out") { _ in [] }
            let running = Task { try await stage.run(on: client) }
            _ = await running.result
            await client.close()
        }
    }

    @Test("a permanent input cannot come back, and says so")
    func permanent() async throws {
        let client = SluiceClient()
        let stage = Stage.consumer("c", of: [Input("t", resubscribe: Self.soon)]) { _ in }
        let error = await #expect(throws: ClientError.self) { try await stage.run(on: client) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.hint.isEmpty == false)
    }

    @Test("the wait doubles with each that was not opened, and begins anew behind one that was")
    func waits() {
        let client = SluiceClient()
        let policy = ReconnectPolicy(
            initialDelay: .milliseconds(16),
            maximumDelay: .milliseconds(64)
        )
        var revival = Revival(policy) { client.subscribe(to: "t") }
        for most in [16, 32, 64, 64] {
            let pause = revival.pause(wasOpened: false) ?? .zero
            #expect((.milliseconds(most / 2) ... .milliseconds(most)).contains(pause))
        }
        let pause = revival.pause(wasOpened: true) ?? .zero
        #expect((.milliseconds(8) ... .milliseconds(16)).contains(pause))
    }

    @Test("it gives up after as many in a row as are borne")
    func givesUp() {
        let client = SluiceClient()
        var revival = Revival(Self.soon(attempts: 3)) { client.subscribe(to: "t") }
        let opened = [false, false, true, false, false, false]
        let goesOn = opened.map { revival.pause(wasOpened: $0) != nil }
        #expect(goesOn == [true, true, true, true, true, false])
    }
}
