import Logging
import Sluice
import SluiceEmbedded
import SluiceTestKit
import Testing

/// What is its own about an embedded broker; `Road.memory` runs the other tests through it.
@Suite("An embedded broker", .timeLimit(.minutes(5)))
struct EmbeddedTests {
    private let quiet = Logger(label: "embedded", factory: { _ in SwiftLogNoOpLogHandler() })

    @Test("producers and consumers of one process find each other, at the pace that is asked")
    func flow() async throws {
        let broker = try EmbeddedBroker(topics: .init(buffer: 0), logger: quiet)
        let client = broker.client(name: "one")
        let producer = client.producer(for: "t")
        let sender = Task { try await producer.send(contentsOf: numbered(0..<1_000)) }
        let other = broker.client(name: "other")
        let subscription = other.subscribe(to: "t", options: .init(demand: .manual))
        subscription.ask(7)
        var received: [Int] = []
        for try await batch in subscription {
            received += batch.map(number)
            if received.count == 7 { subscription.ask(993) }
            if received.count == 1_000 { break }
        }
        #expect(received == Array(0..<1_000))
        try await sender.value
        #expect(producer.counts.delivered == 1_000)
        let connections = try await client.inspect("$sys/connections")
        #expect(connections.count == 2)
        await client.close()
        await other.close()
        await broker.close()
    }

    @Test("large events and small ones come as they were, whatever they are cut into")
    func bytes() async throws {
        let seed = Environment.number("SLUICE_SEED") ?? UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        let all = (0..<900_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
        let events = (0..<300).map { _ in
            let size = Int.random(in: 0...9, using: &random) == 0 ? all.count : 2_000
            return OutgoingEvent(Array(all.suffix(Int.random(in: 0...size, using: &random))))
        }
        let broker = try EmbeddedBroker(logger: quiet)
        let client = broker.client()
        let producer = client.producer(for: "t")
        let sender = Task {
            try await producer.send(contentsOf: events)
            try await producer.flush()
        }
        var next = 0
        for try await batch in client.subscribe(to: "t") {
            for event in batch {
                let isSame = Array(event.payload) == events[next].payload
                #expect(isSame, "event \(next), seed \(seed)")
                next += 1
            }
            if next == events.count { break }
        }
        try await sender.value
        await client.close()
        await broker.close()
    }

    @Test("closing delivers what was asked for, and then the broker is away for good")
    func close() async throws {
        let broker = try EmbeddedBroker(logger: quiet)
        let client = broker.client()
        let producer = client.producer(for: "t")
        try await producer.send(contentsOf: numbered(0..<100))
        try await producer.flush()
        let subscription = client.subscribe(to: "t", options: .init(demand: .manual))
        subscription.ask(150)
        // Behind the demand: the broker has heard it when it answers.
        _ = try await client.ping()
        await broker.close()
        var received: [Int] = []
        let error = await #expect(throws: ClientError.self) {
            for try await batch in subscription { received += batch.map(number) }
        }
        #expect(received == Array(0..<100))
        #expect(error?.code == .unreachable)
        await #expect(throws: ClientError.self) { try await broker.client().connect() }
        await client.close()
    }

    @Test("a client keeps its broker, and a broker without clients ends")
    func life() async throws {
        weak var broker: EmbeddedBroker?
        do {
            let client = try {
                let made = try EmbeddedBroker(logger: quiet)
                broker = made
                return made.client()
            }()
            try await client.producer(for: "t").send("kept")
            #expect(broker != nil)
            await client.close()
        }
        // The client's loop lets go of it in its own time.
        while broker != nil { await Task.yield() }
    }

    @Test(
        "a default that breaks a limit is refused, with what it may be",
        arguments: [
            .init(buffer: -1), .init(buffer: 1_000_000_001), .init(buffer: 5, ahead: 6),
            .init(bufferBytes: -1),
        ] as [EmbeddedBroker.TopicDefaults]
    )
    func limits(defaults: EmbeddedBroker.TopicDefaults) {
        let error = #expect(throws: ClientError.self) { try EmbeddedBroker(topics: defaults) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("it takes 0 to") == true)
    }

    @Test("a topic has the limits of the broker's defaults, and its rate")
    func topicLimits() async throws {
        var defaults = EmbeddedBroker.TopicDefaults()
        defaults.maxProducers = 1
        defaults.maxEventBytes = 20
        defaults.rate = .init(eventsPerSecond: 1_000, burst: 10)
        let broker = try EmbeddedBroker(topics: defaults)
        let client = broker.client()
        let producer = client.producer(for: "t")
        try await producer.send("small")
        await #expect(throws: ClientError.self) {
            try await producer.send("larger than is allowed here")
            try await producer.flush()
        }
        await #expect(throws: ClientError.self) {
            try await client.producer(for: "t").send("one too many")
        }
        await client.close()
        await broker.close()
    }

    @Test("a limit that cannot be is refused")
    func wrongLimits() {
        for change in [
            { $0.maxProducers = 0 }, { $0.maxConsumers = -1 }, { $0.maxGroups = 1_001 },
            { $0.maxEventBytes = 1_048_001 }, { $0.groupExpireAfter = -1 },
            { $0.groupExpireAfter = 31_536_001 }, { $0.rate = .init(eventsPerSecond: 0, burst: 1) },
        ] as [(inout EmbeddedBroker.TopicDefaults) -> Void] {
            var defaults = EmbeddedBroker.TopicDefaults()
            change(&defaults)
            let error = #expect(throws: ClientError.self) {
                try EmbeddedBroker(topics: defaults)
            }
            #expect(error?.code == .invalidArgument)
        }
    }
}
