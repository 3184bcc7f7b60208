import Logging
import ServiceLifecycle
import Sluice
import SluiceServer
import Testing

@Suite("The life of a client", .timeLimit(.minutes(5)))
struct LifeTests {
    @Test(
        "a cancelled consumer stops, hands out what came, and leaves the rest to others",
        arguments: Road.allCases
    )
    func cancellation(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let producer = client.producer(for: "t")
            try await producer.send(contentsOf: numbered(0..<3_000))
            try await producer.flush()
            let subscription = client.subscribe(to: "t")
            let consumer = Task {
                var received: [Int] = []
                for try await batch in subscription {
                    received += batch.map(number)
                    withUnsafeCurrentTask { $0?.cancel() }
                }
                return received
            }
            let received = try await consumer.value
            #expect(received == Array(0..<received.count))
            let counts = subscription.counts
            #expect(counts.delivered == UInt64(received.count))
            #expect(counts.credit == 0)
            let rest = client.subscribe(to: "t")
            rest.drain()
            var others: [Int] = []
            for try await batch in rest {
                others += batch.map(number)
                if received.count + others.count == 3_000 { break }
            }
            #expect(others.first ?? 3_000 == received.count)
        }
    }

    @Test("a cancelled send gives its place to the next", arguments: Road.allCases)
    func cancelledSend(road: Road) async throws {
        try await Broker.withClient(over: road, Broker.strict) { _, client in
            let producer = client.producer(for: "t")
            let first = Task { try await producer.send("first") }
            let inspected = Task { try await client.inspect("$sys/topics") }
            _ = try await inspected.value
            first.cancel()
            let error = await #expect(throws: ClientError.self) { try await first.value }
            #expect(error?.code == .cancelled)
            async let second: Void = producer.send("second")
            let subscription = client.subscribe(to: "t")
            let batch = try await subscription.makeAsyncIterator().nextBatch()
            try await second
            #expect(batch?.map(\.payloadString) == ["second"])
            #expect(producer.counts.delivered == 1)
        }
    }

    @Test("handleDemand is given what consumers asked, and fills it", arguments: Road.allCases)
    func handleDemand(road: Road) async throws {
        try await Broker.withClient(over: road, Broker.strict) { _, client in
            let producer = client.producer(for: "t")
            let running = Task {
                var next = 0
                var demands: [Int] = []
                try await producer.run { demand in
                    demands.append(demand)
                    guard next < 250 else { return nil }
                    let count = min(demand, 250 - next)
                    defer { next += count }
                    return numbered(next..<(next + count))
                }
                return demands
            }
            let options = SubscriptionOptions(demand: .automatic(max: 100, min: 50))
            // Kept: let go it would take back the demand that the producer's run ends with.
            let subscription = client.subscribe(to: "t", options: options)
            var received: [Int] = []
            for try await batch in subscription {
                #expect(batch.count <= 50)
                received += batch.map(number)
                if received.count == 250 { break }
            }
            #expect(received == Array(0..<250))
            let demands = try await running.value
            #expect(demands.allSatisfy { (1...100).contains($0) })
            #expect(subscription.counts.forfeited == 0)
        }
    }

    @Test(
        "a processor with manual demand asks upstream only for what was asked of it",
        arguments: Road.allCases
    )
    func processor(road: Road) async throws {
        try await Broker.withClient(over: road, Broker.strict) { _, client in
            let producer = client.producer(for: "in")
            let sender = Task { try await producer.send(contentsOf: numbered(0..<100)) }
            let processor = Task {
                let options = SubscriptionOptions(demand: .manual)
                try await client.process(from: "in", to: "out", options: options) { batch in
                    batch.map { OutgoingEvent("\(number($0) * 2)") }
                }
            }
            let output = client.subscribe(
                to: "out",
                options: SubscriptionOptions(demand: .manual)
            )
            output.ask(12)
            var received: [Int] = []
            for try await batch in output {
                received += batch.map(number)
                if received.count == 12 { output.ask(5) }
                if received.count == 17 { break }
            }
            #expect(received == (0..<17).map { $0 * 2 })
            #expect(producer.counts.delivered == 17)
            sender.cancel()
            processor.cancel()
            _ = await processor.result
            _ = await sender.result
        }
    }

    @Test("closing a client sends and confirms what was handed over", arguments: Road.allCases)
    func close(road: Road) async throws {
        try await Broker.withClient(over: road) { broker, client in
            let other = broker.client()
            let producer = other.producer(for: "t")
            try await producer.send(contentsOf: numbered(0..<1_000))
            await other.close()
            #expect(producer.counts.confirmed == 1_000)
            let error = await #expect(throws: ClientError.self) { try await producer.send("x") }
            #expect(error?.code == .clientClosed)
            #expect(try await client.inspect("$sys/peek/t").count == 1_000)
        }
    }

    @Test("as a service it drains on a graceful shutdown", arguments: Road.allCases)
    func service(road: Road) async throws {
        try await Broker.withClient(over: road) { broker, _ in
            let client = broker.client()
            let subscription = client.subscribe(to: "t")
            let group = ServiceGroup(services: [client], logger: Logger(label: "test"))
            let running = Task { try await group.run() }
            try await client.connect()
            await group.triggerGracefulShutdown()
            try await running.value
            for try await _ in subscription { Issue.record("nothing was published") }
            #expect(subscription.counts.credit == 0)
        }
    }

    @Test("a server that is not there is an error that says what to do")
    func unreachable() async throws {
        let client = SluiceClient(
            configuration: ClientConfiguration(servers: ["127.0.0.1:1"], reconnect: .never)
        )
        let error = await #expect(throws: ClientError.self) { try await client.ping() }
        #expect(error?.code == .unreachable)
        #expect(error?.hint.isEmpty == false)
        var iterator = client.subscribe(to: "t").makeAsyncIterator()
        await #expect(throws: ClientError.self) { _ = try await iterator.next() }
        await client.close()
    }

    @Test("what breaks a limit is refused before anything is sent")
    func invalid() async throws {
        let client = SluiceClient()
        var iterator = client.subscribe(to: "a b").makeAsyncIterator()
        let error = await #expect(throws: ClientError.self) { _ = try await iterator.next() }
        #expect(error?.code == .invalidArgument)
        let producer = client.producer(for: "")
        await #expect(throws: ClientError.self) { try await producer.send("x") }
        #expect(throws: ClientError.self) {
            _ = try OutgoingBatch([OutgoingEvent([UInt8](repeating: 0, count: 1_048_000))])
        }
    }

    @Test("a topic that is removed ends its links with the broker's code", arguments: Road.allCases)
    func removed(road: Road) async throws {
        try await Broker.withClient(over: road) { _, client in
            let subscription = client.subscribe(to: "t")
            let producer = client.producer(for: "t")
            try await producer.send("a")
            var iterator = subscription.makeAsyncIterator()
            #expect(try await iterator.next()?.count == 1)
            try await client.control(#"{"op":"remove-topic","topic":"t"}"#)
            let error = await #expect(throws: ClientError.self) { _ = try await iterator.next() }
            #expect(error?.code == .linkClosed)
            #expect(error?.closeName == "TOPIC_DELETED")
        }
    }
}
