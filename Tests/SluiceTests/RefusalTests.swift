import Sluice
import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

@Suite("What a broker refuses, ends or gets wrong", .timeLimit(.minutes(5)))
struct RefusalTests {
    private static let patient = ReconnectPolicy(initialDelay: .milliseconds(5))

    @Test("a link that is refused for now is opened later: as BUSY, or with a time to come back")
    func busy() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("CLOSE 1 BUSY retry=1 reason=full")
            #expect(try line.hear("OPEN", 2).fields["demand"] == "1000")
            try line.say("CLOSE 2 BUSY")
            try line.hear("OPEN", 3)
            try line.say("CLOSE 3 LIMIT retry=1 reason=memory")
            try line.hear("OPEN", 4)
            try line.say("OPENED 4 next=1 head=0 asked=1000")
            try line.say("EVENTS 4 seq=1 offset=0 [a]")
            try line.say("CLOSE 4 COMPLETE")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(Self.patient)
            let subscription = client.subscribe(to: "t")
            var received: [String] = []
            for try await batch in subscription { received += batch.map(\.payloadString) }
            #expect(received == ["a"])
            #expect(subscription.counts.asked == 1_000)
            #expect(subscription.counts.delivered == 1)
            await client.close()
        }
    }

    @Test("BUSY is an error for who does not reconnect")
    func busyNever() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("CLOSE 1 BUSY retry=60000 reason=full")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            var iterator = client.subscribe(to: "t").makeAsyncIterator()
            let error = await #expect(throws: ClientError.self) { _ = try await iterator.next() }
            #expect(error?.code == .refused)
            #expect(error?.closeName == "BUSY")
            #expect(error?.retryAfter == .seconds(60))
            await client.close()
        }
    }

    @Test("a LIMIT without a time to come back is an error, however patient the client")
    func limit() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("CLOSE 1 LIMIT reason=full")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(Self.patient)
            var iterator = client.subscribe(to: "t").makeAsyncIterator()
            let error = await #expect(throws: ClientError.self) { _ = try await iterator.next() }
            #expect(error?.closeName == "LIMIT")
            #expect(error?.retryAfter == nil)
            await client.close()
        }
    }

    @Test("a stop does not wait for a link that the broker has put off")
    func busyStop() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("CLOSE 1 BUSY retry=3600000")
            let ping = try line.hear("PING")
            try line.say("PING \(ping.fields["opaque"] ?? "") PONG")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(Self.patient)
            let subscription = client.subscribe(to: "t")
            _ = try await client.ping()
            subscription.stop()
            for try await _ in subscription { Issue.record("nothing was sent") }
            await client.close()
        }
    }

    @Test("a service hears that its broker does not let it come back")
    func replaced() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.say("CLOSE 0 REPLACED reason=elsewhere")
        } _: {
            let client = broker.client(Self.patient)
            let error = await #expect(throws: ClientError.self) { try await client.run() }
            #expect(error?.closeName == "REPLACED")
            await client.close()
        }
    }

    @Test("a service that is closed elsewhere returns")
    func closedElsewhere() async throws {
        try await Broker.withClient { broker, _ in
            let client = broker.client()
            let running = Task { try await client.run() }
            try await client.connect()
            await client.close()
            await #expect(throws: Never.self) { try await running.value }
        }
    }

    @Test("what is left of a client's former life asks nothing of its new links")
    func formerLife() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let first = try broker.welcome()
            try first.hear("OPEN", 1)
            try first.say("CLOSE 0 INTERNAL")
            let second = try broker.welcome()
            // What is asked comes with it, or just behind.
            let asked = try second.hear("OPEN", 1).fields["demand"] ?? "0"
            if asked == "0" {
                #expect(try second.hear("DEMAND", 1).fields["total"] == "3")
            } else {
                #expect(asked == "3")
            }
            try second.say("OPENED 1 next=1 head=0 asked=3")
            try second.say("EVENTS 1 seq=1 offset=0 [a b c]")
            try second.say("CLOSE 1 COMPLETE")
            try second.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let options = SubscriptionOptions(demand: .manual)
            let former = client.subscribe(to: "t", options: options)
            await #expect(throws: ClientError.self) { for try await _ in former {} }
            let subscription = client.subscribe(to: "t", options: options)
            former.ask(40)
            subscription.ask(3)
            var count = 0
            for try await batch in subscription { count += batch.count }
            #expect(count == 3)
            #expect(subscription.counts.asked == 3)
            await client.close()
        }
    }

    @Test("gaps that follow on become one, so that they do not pile up")
    func gaps() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("OPENED 1 next=1 head=0 asked=1000")
            for start in 0..<100 {
                let gap = "from=\(start * 2) to=\(start * 2 + 2) count=1 reason=dropped"
                try line.say("EVENTS 1 GAP next=1 \(gap)")
            }
            try line.say("EVENTS 1 GAP next=1 from=300 to=301 count=1 reason=dropped")
            try line.say("CLOSE 1 COMPLETE")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(Self.patient)
            let subscription = client.subscribe(to: "t")
            while subscription.counts.missing < 101 {
                try await Task.sleep(for: .milliseconds(1))
            }
            var gaps: [EventGap] = []
            for try await batch in subscription { gaps += batch.gaps }
            #expect(gaps.map(\.offsets) == [0..<200, 300..<301])
            #expect(gaps.map(\.count) == [100, 1])
            await client.close()
        }
    }

    @Test("a broker that asks for answers and never reads them is left")
    func flood() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("OPENED 1 next=1 head=0 asked=0")
            let echo = "DEMAND 1 n=0 total=0 bytes=0 bytes_total=0 received=0 ECHO"
            let one = try #require(Sentence(parsing: echo)).encoded()
            let many = Array(repeatElement(one, count: 1_000).joined())
            var rounds = 0
            while rounds < 2_000, line.send(many) { rounds += 1 }
            #expect(rounds < 2_000)
        } _: {
            let client = broker.client(.never)
            let producer = client.producer(for: "t")
            let error = await #expect(throws: ClientError.self) { try await producer.send("x") }
            #expect(error?.code == .connectionLost)
            await client.close()
        }
    }

    @Test("more demand than can be counted is all there is")
    func endless() async throws {
        try await Broker.withClient { _, client in
            let producer = client.producer(for: "t")
            let options = SubscriptionOptions(demand: .manual)
            let subscription = client.subscribe(to: "t", options: options)
            for _ in 0..<4 { subscription.ask(.max) }
            try await producer.send("a")
            var iterator = subscription.makeAsyncIterator()
            #expect(try await iterator.next()?.count == 1)
            #expect(subscription.counts.asked >= Limits.demandMax)
            #expect(try await client.inspect("$sys/topics", max: 0).isEmpty)
        }
    }
}

/// Confirmations, which the broker may hold back for company.
@Suite("What is confirmed", .timeLimit(.minutes(5)))
struct ConfirmationTests {
    @Test("a program that waits for it asks by PING, behind what it sent")
    func asksForIt() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.say("OPENED 1 next=1 head=0 asked=0")
            try line.say("DEMAND 1 n=1 total=1 bytes=100 bytes_total=100 received=0")
            var heard: [String] = []
            while heard.last != "PING" { heard.append(try line.hear().type) }
            #expect(heard.contains("EVENTS"))
            try line.say("SETTLE 1 accept 1..1")
            try line.hear("CLOSE", 1)
            try line.say("CLOSE 1 NORMAL")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let producer = client.producer(for: "out")
            try await producer.send("a")
            try await producer.flush()
            try await producer.close()
            await client.close()
        }
    }
}

/// A processor at its ends.
@Suite("The end of a processor", .timeLimit(.minutes(5)))
struct ProcessorEndTests {
    @Test("it ends with the error of the topic that it writes to")
    func refusedTarget() async throws {
        try await Broker.withClient {
            $0.engine.createsTopics = false
        } _: { _, client in
            try await client.control(#"{"op":"create-topic","topic":"in"}"#)
            let error = await #expect(throws: ClientError.self) {
                try await client.process(from: "in", to: "out") { _ in [] }
            }
            #expect(error?.closeName == "NOT_FOUND")
        }
    }

    @Test("one that is cancelled waits until what it made is confirmed")
    func cancelled() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            let line = try broker.welcome()
            try line.hear("OPEN", 1)
            try line.hear("OPEN", 2)
            try line.say("OPENED 1 next=1 head=1 asked=0")
            try line.say("OPENED 2 next=1 head=0 asked=0")
            try line.say("DEMAND 2 n=1 total=1 bytes=100 bytes_total=100 received=0")
            try line.hear("DEMAND", 1)
            try line.say("EVENTS 1 seq=1 offset=0 [a]")
            // The STOP may overtake the event.
            #expect(Set([try line.hear().type, try line.hear().type]) == ["EVENTS", "DEMAND"])
            try line.say("STATUS 1 DRAINED asked=1 delivered=1 forfeited=0 stopped_to=1")
            try line.hear("CLOSE", 1)
            try line.say("CLOSE 1 NORMAL")
            try line.say("SETTLE 2 accept 1..1")
            #expect(try line.hear("CLOSE", 2).fields["code"] == "NORMAL")
            try line.say("CLOSE 2 NORMAL")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            let processor = Task {
                let options = SubscriptionOptions(demand: .manual)
                try await client.process(from: "in", to: "out", options: options) { batch in
                    withUnsafeCurrentTask { $0?.cancel() }
                    return batch.map { OutgoingEvent($0.payloadString) }
                }
            }
            try await processor.value
            await client.close()
        }
    }
}

/// Demand that a cut took away.
@Suite("A window of demand over cuts", .timeLimit(.minutes(5)))
struct ForfeitTests {
    @Test("opens again after each cut, and after the broker has forgotten it")
    func window() async throws {
        let broker = try ScriptedBroker()
        try await broker.play { broker in
            for id in [1, 2] as [UInt32] {
                try Self.begin(broker, id)
                try Self.resume(broker, id)
            }
        } _: {
            let client = broker.client(ReconnectPolicy(initialDelay: .milliseconds(5)))
            let options = SubscriptionOptions(demand: .automatic(max: 4, min: 0))
            let subscription = client.subscribe(to: "t", options: options)
            for try await _ in subscription {}
            #expect(subscription.counts.asked == 12)
            #expect(subscription.counts.forfeited == 8)
            #expect(subscription.counts.resumed == 2)
            await client.close()
        }
    }

    /// The broker knows nothing of the client, and loses it.
    private static func begin(_ broker: ScriptedBroker, _ id: UInt32) throws {
        let line = try broker.welcome()
        #expect(try line.hear("OPEN", id).fields["demand"] == "4")
        try line.say("OPENED \(id) next=1 head=0 asked=4")
        try line.say("PING 1")
        try line.hear("PING")
    }

    /// All that was asked is forfeited on resume; the client asks for as much again.
    private static func resume(_ broker: ScriptedBroker, _ id: UInt32) throws {
        let line = try broker.welcome(resumed: true)
        #expect(try line.hear("OPEN", id).words.contains("resume"))
        try line.say("OPENED \(id) RESUMED next=1 head=0 asked=4 forfeited=4")
        #expect(try line.hear("DEMAND", id).fields["total"] == "8")
        guard id == 2 else { return }
        try line.say("CLOSE \(id) COMPLETE")
        try line.hearTheEnd()
    }
}
