import Sluice
import SluiceEngine
import SluiceServer
import SluiceTestKit
import Testing

@Suite("Several subscriptions as one stream", .timeLimit(.minutes(5)))
struct EventStreamTests {
    private static func options(_ max: Int, _ min: Int) -> SubscriptionOptions {
        SubscriptionOptions(demand: .automatic(max: max, min: min))
    }

    /// Publishes to each topic so many numbers, confirmed.
    private static func fill(_ counts: [String: Int], _ client: SluiceClient) async throws {
        for (topic, count) in counts {
            let producer = client.producer(for: topic)
            try await producer.send(contentsOf: numbered(0..<count))
            try await producer.close()
        }
    }

    @Test("it hands out what all of them bring, each in its order and in its turn")
    func merged() async throws {
        try await Broker.withClient { _, client in
            try await Self.fill(["a": 100, "b": 100], client)
            let inputs = ["a", "b"].map { Input($0, options: Self.options(10, 5)) }
            let stream = client.stream(of: inputs)
            var received: [String: [Int]] = [:]
            for try await delivery in stream {
                #expect(delivery.batch.count <= 5)
                received[delivery.topic, default: []] += delivery.batch.map(number)
                if received.values.allSatisfy({ $0.count == 100 }), received.count == 2 { break }
            }
            #expect(received["a"] == Array(0..<100))
            #expect(received["b"] == Array(0..<100))
        }
    }

    @Test("one that has much does not keep the others waiting")
    func turns() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            for link in [1, 2] as [UInt32] {
                try line.hear("OPEN", link)
                try line.say("OPENED \(link) next=1 head=0 asked=4")
            }
            try line.say("EVENTS 1 seq=1 offset=0 [a b c d]")
            try line.say("EVENTS 2 seq=1 offset=0 [e f g h]")
            for link in [1, 2] as [UInt32] { try line.say("CLOSE \(link) COMPLETE") }
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let inputs = ["x", "y"].map { Input($0, options: Self.options(4, 3)) }
            let stream = client.stream(of: inputs)
            for subscription in stream.subscriptions {
                while subscription.counts.delivered < 4 {
                    try await Task.sleep(for: .milliseconds(1))
                }
            }
            var received: [String] = []
            for try await delivery in stream { received += delivery.batch.map(\.payloadString) }
            #expect(received == ["a", "e", "b", "f", "c", "g", "d", "h"])
            await client.close()
        }
    }

    @Test("each asks again only when its own batch is processed")
    func demand() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let producer = client.producer(for: "a")
            let sender = Task { try await producer.send(contentsOf: numbered(0..<100)) }
            let stream = client.stream(of: [
                Input("a", options: Self.options(4, 2)), Input("b", options: Self.options(4, 2)),
            ])
            let subscription = try #require(stream.subscriptions.first { $0.topic == "a" })
            var iterator = stream.makeAsyncIterator()
            #expect(try await iterator.next()?.batch.count == 2)
            #expect(subscription.counts.asked == 4)
            #expect(try await iterator.next()?.batch.count == 2)
            while subscription.counts.asked < 6 { try await Task.sleep(for: .milliseconds(1)) }
            #expect(subscription.counts.asked == 6)
            sender.cancel()
            _ = await sender.result
        }
    }

    @Test(
        "the end of one ends the others as its cancel mode says",
        arguments: [
            (CancelMode.permanent, "COMPLETE", true), (.permanent, "INTERNAL", true),
            (.transient, "COMPLETE", false), (.transient, "INTERNAL", true),
            (.temporary, "COMPLETE", false), (.temporary, "INTERNAL", false),
        ]
    )
    func cancelModes(mode: CancelMode, code: String, isEnd: Bool) async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            for link in [1, 2] as [UInt32] {
                try line.hear("OPEN", link)
                try line.say("OPENED \(link) next=1 head=0 asked=1000")
            }
            try line.say("CLOSE 1 \(code)")
            try line.hear("CLOSE", 1)
            if isEnd {
                try line.hear("DEMAND", 2)
                try line.say("STATUS 2 DRAINED asked=1000 forfeited=1000 stopped_to=1000")
                try line.hear("CLOSE", 2)
                try line.say("CLOSE 2 NORMAL")
            } else {
                try line.say("EVENTS 2 seq=1 offset=0 [a]")
                try line.say("CLOSE 2 COMPLETE")
            }
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let stream = client.stream(of: [Input("x", cancel: mode), Input("y", cancel: mode)])
            var received = 0
            if isEnd, code == "INTERNAL" {
                let error = await #expect(throws: ClientError.self) {
                    for try await _ in stream {}
                }
                #expect(error?.closeName == "INTERNAL")
            } else {
                for try await delivery in stream { received += delivery.batch.count }
                #expect(received == (isEnd ? 0 : 1))
            }
            await client.close()
        }
    }

    @Test("subscriptions come, go and take the place of others while it is iterated")
    func changing() async throws {
        try await Broker.withClient { _, client in
            try await Self.fill(["a": 3, "b": 3], client)
            let stream = EventStream()
            let first = client.subscribe(to: "a")
            stream.add(first)
            var iterator = stream.makeAsyncIterator()
            #expect(try await iterator.next()?.topic == "a")
            let second = client.subscribe(to: "b")
            stream.replace(first, with: second)
            #expect(try await iterator.next()?.topic == "b")
            #expect(stream.subscriptions.map(\.topic) == ["b"])
            stream.add(client.subscribe(to: "a"), cancel: .temporary)
            stream.stop()
            #expect(try await iterator.next() == nil)
            let late = client.subscribe(to: "c")
            stream.add(late)
            for try await _ in late { Issue.record("it came too late") }
        }
    }

    @Test("a rate holds for all subscriptions together, and can be lifted")
    func rate() async throws {
        try await Broker.withClient { _, client in
            try await Self.fill(["a": 20, "b": 20], client)
            let stream = client.stream(of: ["a", "b"])
            stream.limitRate(to: 1_000, burst: 2)
            var received = 0
            var isLifted = false
            for try await delivery in stream {
                #expect(isLifted || delivery.batch.count <= 2)
                received += delivery.batch.count
                if received >= 20, !isLifted {
                    isLifted = true
                    stream.limitRate(to: 1)
                    stream.limitRate(to: nil)
                }
                if received == 40 { break }
            }
            #expect(received == 40)
        }
    }

    @Test("a stream in a task that is cancelled hands out what came, and ends")
    func cancelled() async throws {
        try await Broker.withClient { _, client in
            try await Self.fill(["a": 3_000], client)
            let stream = client.stream(of: ["a", "b"])
            let received = try await Task {
                var received: [Int] = []
                for try await delivery in stream {
                    received += delivery.batch.map(number)
                    withUnsafeCurrentTask { $0?.cancel() }
                }
                return received
            }.value
            #expect(!received.isEmpty)
            #expect(received == Array(0..<received.count))
            #expect(stream.subscriptions.isEmpty)
        }
    }

    @Test("opened() returns when the broker has opened the link, and throws if it does not")
    func opened() async throws {
        try await Broker.withClient {
            $0.engine.createsTopics = false
        } _: { _, client in
            try await client.control(#"{"op":"create-topic","topic":"t"}"#)
            let subscription = client.subscribe(to: "t")
            try await subscription.opened()
            let links = try await client.inspect("$sys/links")
            let isListed = links.contains { String(decoding: $0, as: UTF8.self).contains(#""t""#) }
            #expect(isListed)
            let error = await #expect(throws: ClientError.self) {
                try await client.subscribe(to: "missing").opened()
            }
            #expect(error?.closeName == "NOT_FOUND")
        }
    }

    @Test("the broker hears why a subscription was cancelled")
    func reason() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("OPENED 1 next=1 head=0 asked=1000")
            try line.hear("DEMAND", 1)
            try line.say("STATUS 1 DRAINED asked=1000 forfeited=1000 stopped_to=1000")
            let close = try line.hear("CLOSE", 1)
            #expect(close.fields["reason"] == "enough")
            try line.say("CLOSE 1 NORMAL")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let subscription = client.subscribe(to: "t")
            try await subscription.opened()
            subscription.cancel(.shutdown("enough"))
            for try await _ in subscription { Issue.record("nothing was sent") }
            await client.close()
        }
    }
}
