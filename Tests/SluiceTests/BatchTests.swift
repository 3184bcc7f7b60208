import Glibc
import Sluice
import SluiceTestKit
import Testing

@Suite("Batches", .timeLimit(.minutes(5)))
struct BatchTests {
    @Test(
        "a batch that changes after it was sent leaves what was sent",
        arguments: [1, 3_000, 90_000]
    )
    func changing(size: Int) async throws {
        try await Broker.withClient(Broker.strict) { _, client in
            let event = { (letter: String) in
                [UInt8](repeating: letter.utf8.first ?? 0, count: size)
            }
            let producer = client.producer(for: "t")
            var batch = OutgoingBatch()
            try batch.append(payload: event("a"))
            try batch.append(payload: event("b"))
            // Nobody asks yet: these wait in `send` while the batch changes.
            let sent = [batch, try batch.with(event("c"))]
            let senders = sent.map { batch in Task { try await producer.send(batch) } }
            batch.removeAll()
            try batch.append(payload: event("d"))
            var copy = batch
            try copy.append(payload: event("e"))
            try batch.append(payload: event("f"))
            let subscription = client.subscribe(to: "t")
            for sender in senders { try await sender.value }
            try await producer.send(batch)
            batch.removeAll()
            try batch.append(payload: event("g"))
            try await producer.send(copy)
            try await producer.send(batch)
            var received = ""
            for try await batch in subscription {
                for event in batch {
                    #expect(event.payload.count == size)
                    #expect(Set(event.payload).count == 1)
                    received += event.payloadString.prefix(1)
                }
                if received.count == 10 { break }
            }
            #expect(["ababc", "abcab"].contains(received.prefix(5)))
            #expect(received.dropFirst(5) == "dfdeg")
        }
    }

    @Test(
        "events of all sizes come as they were sent, and stay while their batch is held",
        arguments: Road.allCases
    )
    func sizes(road: Road) async throws {
        var random = SeededGenerator.replayable("sizes of events")
        let sizes = (0..<2_000).map { _ in
            let most = [10, 1_000, 50_000][Int.random(in: 0..<3, using: &random)]
            return Int.random(in: 0...most, using: &random)
        }
        let payloads = sizes.enumerated().map { index, size in
            [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: size)
        }
        try await Broker.withClient(over: road) { broker, client in
            let other = broker.client()
            let producer = other.producer(for: "t")
            let sender = Task {
                var batch = OutgoingBatch()
                for payload in payloads {
                    try batch.append(payload: payload)
                    guard batch.byteCount > 100_000 else { continue }
                    try await producer.send(batch)
                    batch.removeAll()
                }
                try await producer.send(batch)
            }
            var batches: [EventBatch] = []
            for try await batch in client.subscribe(to: "t") {
                batches.append(batch)
                if batches.reduce(0, { $0 + $1.count }) == payloads.count { break }
            }
            try await sender.value
            #expect(batches.flatMap { $0.map { Array($0.payload) } } == payloads)
            await other.close()
        }
    }

    @Test("every way through a batch meets the same events", arguments: Road.allCases)
    func walking(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let producer = client.producer(for: "t")
            let headers = [EventHeader(name: "a", value: "b")]
            let events = [
                OutgoingEvent("one"), OutgoingEvent(""), OutgoingEvent("two", key: "k"),
                OutgoingEvent("three", headers: headers),
                OutgoingEvent("", key: "k", headers: headers),
            ]
            try await producer.send(contentsOf: events)
            try await producer.send("last")
            try await producer.flush()
            let batch = try #require(
                try await client.subscribe(to: "t").makeAsyncIterator().nextBatch()
            )
            let all = events + [OutgoingEvent("last")]
            #expect(
                batch.map(\.payloadString)
                    == all.map { String(decoding: $0.payload, as: UTF8.self) }
            )
            #expect(batch.indices.map { batch[$0].key?.string } == [nil, nil, "k", nil, "k", nil])
            #expect(batch.map(\.headers) == all.map(\.headers))
            var walked: [String] = []
            batch.forEachPayload { offset, payload in
                walked.append("\(offset) \(payload.byteCount)")
            }
            #expect(walked == all.enumerated().map { "\($0.offset) \($0.element.payload.count)" })
            var again = OutgoingBatch()
            for event in batch { try again.append(event) }
            try await producer.send(again)
            try await producer.flush()
            let options = SubscriptionOptions(group: "copies", start: .offset(6))
            let copies = try #require(
                try await client.subscribe(to: "t", options: options).makeAsyncIterator()
                    .nextBatch()
            )
            #expect(copies.map(\.payload) == batch.map(\.payload))
            #expect(copies.map { $0.key?.string } == batch.map { $0.key?.string })
            #expect(copies.map(\.headers) == batch.map(\.headers))
        }
    }

    @Test("an event above its limit is refused, and the batch is as it was")
    func limits() throws {
        var batch = OutgoingBatch()
        try batch.append(payload: [1])
        #expect(throws: ClientError.self) {
            try batch.append(payload: [UInt8](repeating: 0, count: 1_048_000))
        }
        #expect(throws: ClientError.self) {
            try batch.append(OutgoingEvent([], key: [UInt8](repeating: 0, count: 1_025)))
        }
        #expect(batch.count == 1)
        #expect(batch.byteCount == 5)
    }
}

@Suite("The executor of a client", .timeLimit(.minutes(5)))
struct ExecutorTests {
    @Test("tasks send, wait for demand, receive and end on one thread", arguments: Road.allCases)
    func oneThread(road: Road) async throws {
        try await Broker.withClient(over: road, Broker.strict) { _, client in
            try await withTaskExecutorPreference(client.executor) {
                async let sender = { () async throws -> Set<UInt> in
                    let producer = client.producer(for: "t")
                    var threads: Set<UInt> = []
                    for start in stride(from: 0, to: 20_000, by: 500) {
                        try await producer.send(contentsOf: numbered(start..<(start + 500)))
                        threads.insert(UInt(pthread_self()))
                    }
                    try await producer.close()
                    return threads
                }()
                var received: [Int] = []
                var threads: Set<UInt> = []
                let subscription = client.subscribe(to: "t")
                for try await batch in subscription {
                    threads.insert(UInt(pthread_self()))
                    received += batch.map(number)
                    if received.count == 20_000 { subscription.drain() }
                }
                #expect(received == Array(0..<20_000))
                #expect(threads.count == 1)
                #expect(try await sender == threads)
            }
        }
    }

    @Test("a task that is cancelled stops waiting there too", arguments: Road.allCases)
    func cancelling(road: Road) async throws {
        try await Broker.withClient(over: road, Broker.strict) { _, client in
            let executor = client.executor
            let consumer = Task(executorPreference: executor) {
                for try await _ in client.subscribe(to: "t") {}
            }
            let producer = Task(executorPreference: executor) {
                let producer = client.producer(for: "u")
                try await producer.send("nobody asks")
            }
            _ = try await client.ping()
            consumer.cancel()
            producer.cancel()
            try await consumer.value
            let error = await #expect(throws: ClientError.self) { try await producer.value }
            #expect(error?.code == .cancelled)
        }
    }

    @Test(
        "a producer that always has more is granted what is asked, though nothing waits",
        arguments: Road.allCases
    )
    func endless(road: Road) async throws {
        try await Broker.withClient(over: road, Broker.strict) { _, client in
            let producer = client.producer(for: "t", options: ProducerOptions(backlog: .endless))
            let subscription = client.subscribe(
                to: "t",
                options: SubscriptionOptions(demand: .manual)
            )
            subscription.ask(500)
            var granted = 0
            for try await demand in producer.demand {
                granted += demand
                if granted >= 500 { break }
            }
            #expect(granted == 500)
            try await producer.close()
        }
    }
}

extension OutgoingBatch {
    /// A copy with one more event.
    fileprivate func with(_ payload: [UInt8]) throws -> Self {
        var copy = self
        try copy.append(payload: payload)
        return copy
    }
}
