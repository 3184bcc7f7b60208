import Sluice
import SluiceServer
import SluiceTestKit
import Testing

@Suite("What a batcher gathers")
struct BatcherTests {
    private let now = ContinuousClock.now

    private func describe(_ batch: Batcher<String, Int>.Closed?) -> String? {
        batch.map { "\($0.key) \($0.elements) \($0.reason)" }
    }

    @Test("a batch of a key is closed when it is full, in the order of its elements")
    func size() {
        var batcher = Batcher<String, Int>(size: 3, within: .seconds(1))
        #expect(batcher.add(1, key: "a", at: now) == nil)
        #expect(batcher.add(2, key: "b", at: now) == nil)
        #expect(batcher.add(3, key: "a", at: now) == nil)
        #expect(describe(batcher.add(4, key: "a", at: now)) == "a [1, 3, 4] size")
        #expect(describe(batcher.flush()) == "b [2] flush")
        #expect(batcher.flush() == nil)
        #expect(batcher.deadline == nil)
    }

    @Test("a batch is closed so long after its first element, the oldest first")
    func timeout() {
        var batcher = Batcher<String, Int>(size: 10, within: .seconds(5))
        _ = batcher.add(1, key: "a", at: now)
        _ = batcher.add(2, key: "b", at: now + .seconds(2))
        _ = batcher.add(3, key: "a", at: now + .seconds(4))
        #expect(batcher.deadline == now + .seconds(5))
        #expect(batcher.due(at: now + .seconds(4)) == nil)
        #expect(describe(batcher.due(at: now + .seconds(9))) == "a [1, 3] timeout")
        #expect(batcher.deadline == now + .seconds(7))
        #expect(describe(batcher.due(at: now + .seconds(9))) == "b [2] timeout")
        #expect(batcher.due(at: now + .seconds(9)) == nil)
    }

    @Test("the time of a key begins anew with its next batch")
    func anew() {
        var batcher = Batcher<String, Int>(size: 2, within: .seconds(5))
        _ = batcher.add(1, key: "b", at: now)
        _ = batcher.add(2, key: "a", at: now)
        #expect(batcher.add(3, key: "a", at: now) != nil)
        _ = batcher.add(4, key: "a", at: now + .seconds(3))
        #expect(describe(batcher.due(at: now + .seconds(6))) == "b [1] timeout")
        #expect(batcher.deadline == now + .seconds(8))
        #expect(describe(batcher.flush()) == "a [4] flush")
    }

    @Test("nothing is lost, doubled or put in another order")
    func random() {
        var generator = SeededGenerator.replayable("batcher")
        for _ in 0..<20 {
            let size = Int.random(in: 1...6, using: &generator)
            var batcher = Batcher<Int, Int>(size: size, within: .seconds(3))
            var seen: [Int: [Int]] = [:]
            func take(_ batch: Batcher<Int, Int>.Closed?) {
                guard let batch else { return }
                #expect((1...size).contains(batch.elements.count))
                #expect((batch.reason == .size) == (batch.elements.count == size))
                seen[batch.key, default: []] += batch.elements
            }
            for element in 0..<500 {
                let time = now + .seconds(element)
                let key = Int.random(in: 0..<5, using: &generator)
                take(batcher.due(at: time))
                take(batcher.add(element, key: key, at: time))
                if Int.random(in: 0..<20, using: &generator) == 0 { take(batcher.flush()) }
            }
            while let batch = batcher.flush() { take(batch) }
            #expect(seen.values.reduce(0) { $0 + $1.count } == 500)
            #expect(seen.values.allSatisfy { $0 == $0.sorted() })
        }
    }
}

@Suite("Batches of a stream", .timeLimit(.minutes(5)))
struct BatchStageTests {
    private static let parity: @Sendable (Event) -> Int = { number($0) % 2 }
    private static let long = Duration.seconds(3_600)

    @Test("they are full, of one key, and of what is left at the end")
    func byKey() async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<25, to: "t")
            let stream = client.stream(of: ["t"])
            var seen: [String] = []
            for try await batch in stream.batches(of: 10, within: Self.long, by: Self.parity) {
                #expect(batch.events.allSatisfy { number($0) % 2 == batch.key })
                seen.append("\(batch.key): \(batch.events.count) \(batch.reason)")
                if seen.count == 2 { stream.stop() }
            }
            #expect(seen == ["0: 10 size", "1: 10 size", "0: 3 flush", "1: 2 flush"])
        }
    }

    @Test("one that waits for more is closed in time")
    func timeout() async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<5, to: "t")
            let stream = client.stream(of: ["t"])
            let batches = stream.batches(of: 100, within: .milliseconds(1), by: { _ in 0 })
            var received: [Int] = []
            for try await batch in batches {
                #expect(batch.reason == .timeout)
                received += batch.events.map(number)
                if received.count == 5 { break }
            }
            #expect(received == Array(0..<5))
        }
    }

    /// Gathers from `stream` until a batch is given or, after `count` events, the task sleeps and
    /// `isWrong` says that it should not.
    private static func sleeps(
        _ stream: EventStream,
        within time: Duration,
        after count: Int,
        wrongly isWrong: @escaping (_ until: ContinuousClock.Instant?) -> Bool
    ) async throws -> Bool {
        let gathered = Log<Int>()
        let isGiven = Log<Bool>()
        let batches = stream.batches(of: 100, within: time) { event in
            gathered.add(number(event))
            return 0
        }
        let task = Task {
            for try await _ in batches { isGiven.add(true) }
        }
        defer { task.cancel() }
        var isAsleep = false
        // Whoever woke the task for the last event did so before it was gathered.
        try await until {
            if gathered.all.count == count {
                let sleep = stream.sleep
                isAsleep = sleep.isAsleep && isWrong(sleep.until) && isGiven.all.isEmpty
            }
            return isAsleep || !isGiven.all.isEmpty
        }
        return isAsleep
    }

    @Test("the task that holds an open batch never sleeps without an alarm")
    func alarm() async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<1, to: "t")
            let stream = client.stream(of: ["t"])
            let isAsleep = try await Self.sleeps(
                stream,
                within: .milliseconds(1),
                after: 1,
                wrongly: { $0 == nil }
            )
            #expect(!isAsleep, "a batch waits for ever: nothing wakes its task in time")
        }
    }

    @Test("the task whose batches hold all that may be asked for does not sleep at all")
    func noSleep() async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<8, to: "t")
            let stream = client.stream(of: [Input("t", options: options(8, 4))])
            let isAsleep = try await Self.sleeps(
                stream,
                within: Self.long,
                after: 8,
                wrongly: { _ in true }
            )
            #expect(!isAsleep, "a batch waits for ever: only it can bring more")
        }
    }

    @Test("when all that may be asked for waits in batches, the oldest is closed")
    func stuck() async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let producer = client.producer(for: "t")
            let sender = Task { try await producer.send(contentsOf: numbered(0..<40)) }
            let stream = client.stream(of: [Input("t", options: options(8, 4))])
            let subscription = try #require(stream.subscriptions.first)
            var seen: [Int] = []
            for try await batch in stream.batches(of: 100, within: Self.long, by: Self.parity) {
                #expect(batch.reason == .flush)
                // What waits in batches, in the task's hand and on its way was all asked for.
                #expect(subscription.counts.asked <= UInt64(seen.count + 8))
                seen += batch.events.map(number)
                if seen.count >= 24 { stream.stop() }
            }
            #expect(seen.count >= 24)
            #expect(seen.sorted() == Array(0..<seen.count))
            sender.cancel()
            _ = await sender.result
        }
    }

    @Test("a stage of batches is drained to its last event")
    func stage() async throws {
        try await Broker.withClient { _, client in
            let seen = Log<String>()
            let events = numbered(0..<2_500)
            let pipeline = Pipeline(
                client,
                [
                    .producer("source", to: "t", sending: { Events(events) }),
                    .batches(
                        "sink",
                        of: [Input("t", options: options(100, 50))],
                        size: 40,
                        within: Self.long,
                        by: { number($0) % 3 },
                        { batch in seen.add(contentsOf: batch.events.map(\.payloadString)) }
                    ),
                ]
            )
            try await pipeline.run()
            #expect(seen.all.count == 2_500)
            #expect(Set(seen.all).count == 2_500)
        }
    }
}

/// A sequence as an asynchronous one.
struct Events: AsyncSequence, Sendable {
    let events: [OutgoingEvent]

    init(_ events: [OutgoingEvent]) { self.events = events }

    struct AsyncIterator: AsyncIteratorProtocol {
        var base: IndexingIterator<[OutgoingEvent]>

        mutating func next() async -> OutgoingEvent? { base.next() }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: events.makeIterator()) }
}
