import Sluice
import SluiceCore
import SluiceEngine
import SluiceServer
import Testing

@Suite("Flow through a broker", .timeLimit(.minutes(5)))
struct FlowTests {
    @Test(
        "what a producer sends is what a consumer receives, once and in order",
        arguments: Road.allCases
    )
    func straight(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let subscription = client.subscribe(to: "t")
            let producer = client.producer(for: "t")
            let sender = Task {
                try await producer.send(contentsOf: numbered(0..<5_000))
                try await producer.flush()
            }
            var next = 0
            for try await batch in subscription {
                #expect(batch.count <= 500)
                #expect(batch.gaps.isEmpty)
                for event in batch {
                    #expect(number(event) == next)
                    #expect(event.offset == UInt64(next))
                    next += 1
                }
                if next == 5_000 { break }
            }
            try await sender.value
            #expect(producer.counts.confirmed == 5_000)
            #expect(producer.counts.delivered == 5_000)
        }
    }

    @Test(
        "what waits for a slow consumer is no more than its window in bytes",
        arguments: Road.allCases
    )
    func byteWindow(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let producer = client.producer(for: "t")
            try await producer.send(contentsOf: numbered(100..<1_000))
            try await producer.flush()
            // Records of 7 bytes: 10 of them use it up to the last one.
            var options = SubscriptionOptions()
            options.maxDemandBytes = 70
            let subscription = client.subscribe(to: "t", options: options)
            try await subscription.opened()
            // An answer comes behind what was asked for before: each time one event more could.
            for _ in 0..<30 { _ = try await client.ping() }
            #expect(subscription.counts.delivered == 10)
            var next = 100
            for try await batch in subscription {
                for event in batch {
                    #expect(number(event) == next)
                    next += 1
                }
                if next == 1_000 { break }
            }
        }
    }

    @Test("key, headers, time and attempt come with the event", arguments: Road.allCases)
    func parts(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let producer = client.producer(for: "t")
            let event = OutgoingEvent(
                [1, 2, 3],
                key: [9],
                headers: [EventHeader(name: "a", value: "b"), EventHeader(name: "c", value: [])]
            )
            try await producer.send(event)
            try await producer.flush()
            let subscription = client.subscribe(to: "t")
            let batch = try #require(try await subscription.makeAsyncIterator().nextBatch())
            let received = try #require(batch.first)
            #expect(Array(received.payload) == [1, 2, 3])
            #expect(received.key.map(Array.init) == [9])
            #expect(received.headers == event.headers)
            #expect(received.time > 1_600_000_000_000_000)
            #expect(received.attempt == 1)
        }
    }

    @Test("without room ahead, producers send exactly what consumers ask", arguments: Road.allCases)
    func strict(road: Road) async throws {
        try await Broker.withClient(over: road, Broker.strict) { _, client in
            let producer = client.producer(for: "t")
            let sender = Task { try await producer.send(contentsOf: numbered(0..<100)) }
            let subscription = client.subscribe(
                to: "t",
                options: SubscriptionOptions(demand: .manual)
            )
            subscription.ask(7)
            var received: [Int] = []
            for try await batch in subscription {
                received += batch.map(number)
                if received.count == 7 { break }
            }
            #expect(received == Array(0..<7))
            #expect(producer.counts.delivered == 7)
            #expect(producer.counts.asked == 7)
            sender.cancel()
            await #expect(throws: ClientError.self) { try await sender.value }
        }
    }

    @Test("a drain hands out what waits and ends", arguments: Road.allCases)
    func drain(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let producer = client.producer(for: "t")
            try await producer.send(contentsOf: numbered(0..<20))
            try await producer.flush()
            let subscription = client.subscribe(to: "t")
            subscription.drain()
            var received: [Int] = []
            for try await batch in subscription { received += batch.map(number) }
            #expect(received == Array(0..<20))
            let counts = subscription.counts
            #expect(counts.asked == 1_000)
            #expect(counts.forfeited == 980)
            #expect(counts.credit == 0)
        }
    }

    @Test("inspection, requests and signs of life", arguments: Road.allCases)
    func operating(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            try await client.control(#"{"op":"create-topic","topic":"made"}"#)
            let topics = try await client.inspect("$sys/topics")
            #expect(topics.count == 1)
            #expect(String(decoding: try #require(topics.first), as: UTF8.self).contains("made"))
            let error = await #expect(throws: ClientError.self) {
                try await client.control(#"{"op":"create-topic","topic":"made"}"#)
            }
            #expect(error?.code == .eventRejected)
            #expect(error?.closeName == "EXISTS")
            #expect(try await client.ping() > .zero)
        }
    }
}

extension Subscription.AsyncIterator {
    /// The next batch, for tests that want only one.
    func nextBatch() async throws(ClientError) -> EventBatch? {
        var iterator = self
        return try await iterator.next()
    }
}
