import InMemoryTracing
import Logging
import Sluice
import SluiceTestKit
import Synchronization
import Testing
import Tracing

@Suite("A client that is traced", .timeLimit(.minutes(5)))
struct TracingTests {
    private let tracer = InMemoryTracer()

    private func withClient(_ body: (SluiceClient) async throws -> Void) async throws {
        try await Broker.withClient { broker, _ in
            var logger = Logger(label: "client")
            logger.logLevel = .critical
            let client = SluiceClient(
                configuration: ClientConfiguration(
                    servers: [broker.address],
                    name: "one",
                    tracer: tracer
                ),
                logger: logger
            )
            try await body(client)
            await client.close()
        }
    }

    private func spans(_ name: String) -> [FinishedInMemorySpan] {
        tracer.finishedSpans.filter { $0.operationName == name }
    }

    private func take(_ client: SluiceClient, _ count: Int) async throws -> [Event] {
        var events: [Event] = []
        for try await batch in client.subscribe(to: "t", options: .init(group: "g")) {
            events += batch
            if events.count == count { break }
        }
        return events
    }

    @Test("tells what it sends, as a part of what the program does, and marks each event with it")
    func send() async throws {
        try await withClient { client in
            let producer = client.producer(for: "t")
            let outer = tracer.startSpan("outer")
            try await InstrumentationContext.$current.withValue(outer.context) {
                try await producer.send("one")
                let header = EventHeader(name: "h", value: "v")
                let events = ["two", "three"].map { OutgoingEvent($0, key: "k", headers: [header]) }
                try await producer.send(contentsOf: events)
            }
            outer.end()
            let sent = spans("send t")
            try #require(sent.count == 2)
            for span in sent {
                #expect(span.kind == .producer)
                #expect(span.parentSpanID == outer.spanID)
                #expect(span.traceID == outer.traceID)
                #expect(span.attributes.get("messaging.system") == .string("sluice"))
                #expect(span.attributes.get("messaging.destination.name") == .string("t"))
                #expect(span.attributes.get("messaging.operation.type") == .string("send"))
                #expect(span.attributes.get("messaging.client.id") == .string("one"))
            }
            #expect(sent[0].attributes.get("messaging.batch.message_count") == nil)
            #expect(sent[1].attributes.get("messaging.batch.message_count") == .int64(2))
            let events = try await take(client, 3)
            let ids = events.map { event in
                event.headers.first { $0.name == InMemoryTracer.spanIDKey }
                    .map { String(decoding: $0.value, as: UTF8.self) }
            }
            #expect(ids == [sent[0].spanID, sent[1].spanID, sent[1].spanID])
            #expect(events.map(\.payloadString) == ["one", "two", "three"])
            #expect(events.map { $0.key?.string } == [nil, "k", "k"])
            #expect(events.map { $0.headers.first?.name == "h" } == [false, true, true])
        }
    }

    @Test("tells what it takes with links to who sent it, and handles an event as its child")
    func process() async throws {
        try await withClient { client in
            let producer = client.producer(for: "t")
            try await producer.send("one")
            let inner = Mutex<InMemorySpanContext?>(nil)
            let subscription = client.subscribe(to: "t", options: .init(group: "g"))
            for try await batch in subscription {
                for event in batch {
                    try await subscription.process(event) {
                        try await client.producer(for: "u").send("made of it")
                        inner.withLock { $0 = InstrumentationContext.current?.inMemorySpanContext }
                    }
                }
                break
            }
            let sent = try #require(spans("send t").first)
            let received = try #require(spans("receive t").first)
            #expect(received.kind == .consumer)
            #expect(received.links.map(\.context.inMemorySpanContext?.spanID) == [sent.spanID])
            let processed = try #require(spans("process t").first)
            #expect(processed.kind == .consumer)
            #expect(processed.parentSpanID == sent.spanID)
            #expect(processed.traceID == sent.traceID)
            #expect(processed.attributes.get("messaging.consumer.group.name") == .string("g"))
            #expect(inner.withLock { $0 }?.spanID == processed.spanID)
            #expect(spans("send u").first?.parentSpanID == processed.spanID)
        }
    }

    @Test("leaves the context that an event brings, and tells what went wrong")
    func untouched() async throws {
        try await withClient { client in
            let own = [
                EventHeader(name: InMemoryTracer.traceIDKey, value: "theirs"),
                EventHeader(name: InMemoryTracer.spanIDKey, value: "7"),
            ]
            let producer = client.producer(for: "t")
            try await producer.send(OutgoingEvent("one", headers: own))
            struct Refused: Error {}
            let subscription = client.subscribe(to: "t")
            for try await batch in subscription {
                #expect(batch.first?.headers == own)
                await #expect(throws: Refused.self) {
                    try await subscription.process(batch) { throw Refused() }
                }
                break
            }
            let failed = try #require(spans("process t").first)
            #expect(failed.links.map(\.context.inMemorySpanContext?.traceID) == ["theirs"])
            #expect(failed.status?.code == .error)
            #expect(failed.attributes.get("error.type") == .string("Refused"))
            #expect(failed.errors.count == 1)
        }
    }

    @Test("keeps what a processor makes of a batch in the span of handling it")
    func processor() async throws {
        try await withClient { client in
            try await client.producer(for: "s").send("one")
            let work = Task {
                try await client.process(from: "s", to: "t") { batch in
                    batch.map { OutgoingEvent($0.payloadString + " more") }
                }
            }
            let events = try await take(client, 1)
            #expect(events.map(\.payloadString) == ["one more"])
            work.cancel()
            try await work.value
            let processed = try #require(spans("process s").first)
            #expect(spans("send t").map(\.parentSpanID) == [processed.spanID])
            let links = processed.links.map(\.context.inMemorySpanContext?.spanID)
            #expect(links == spans("send s").map(\.spanID))
        }
    }

    @Test("says nothing of what the broker tells of itself")
    func system() async throws {
        try await withClient { client in
            _ = try await client.inspect("$sys/server")
            #expect(tracer.finishedSpans.isEmpty)
        }
    }

    @Test("is nobody if no one traces: events go as they are")
    func silent() async throws {
        try await Broker.withClient { _, client in
            try await client.producer(for: "t").send("one")
            let subscription = client.subscribe(to: "t")
            for try await batch in subscription {
                let found = await subscription.process(batch) { batch.map(\.headers) }
                #expect(found == [[]])
                break
            }
        }
    }
}
