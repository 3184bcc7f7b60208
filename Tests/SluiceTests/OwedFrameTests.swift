import Sluice
import SluiceTestKit
import Testing

/// What a client owes, seen by a PING behind it: one that forgot it answers, or asks, that first.
@Suite("What a client may not forget to say", .timeLimit(.minutes(5)))
struct OwedFrameTests {
    @Test("a mark that may be lost is said again at a resume, though nothing else is to be sent")
    func mark() async throws {
        let broker = try ScriptedBroker()
        let soon = ReconnectPolicy(
            initialDelay: .milliseconds(1),
            maximumDelay: .milliseconds(5)
        )
        let heard = Log<String>()
        try await broker.play { broker in
            try Self.loseMark(broker)
            try Self.hearMark(broker, heard)
        } _: {
            let client = broker.client(soon)
            let producer = client.producer(for: "t")
            try await producer.mark("half")
            // Ended by the broker if the mark was not heard.
            try? await producer.close()
            await client.close()
        }
        #expect(heard.all.contains("MARKER"), "the mark is forgotten")
    }

    private static func loseMark(_ broker: ScriptedBroker) throws {
        let line = try broker.welcome()
        try line.hear("OPEN", 1)
        try line.say("OPENED 1 next=1 head=0 asked=0")
        #expect(try line.hear("EVENTS", 1).flags == ["MARKER"])
    }

    private static func hearMark(_ broker: ScriptedBroker, _ heard: Log<String>) throws {
        let line = try broker.welcome(resumed: true)
        try line.hear("OPEN", 1)
        try line.say("OPENED 1 RESUMED next=1 head=0 asked=0")
        // What is due is written with the first answer at the latest, so before the second.
        for ping in ["1", "2"] where !heard.all.contains("MARKER") {
            try line.say("PING \(ping)")
            while Set(heard.all).isDisjoint(with: ["MARKER", ping]) {
                let next = try line.hear()
                heard.add(contentsOf: next.flags.filter { $0 != "PONG" })
                if let opaque = next.fields["opaque"] { heard.add(opaque) }
            }
        }
        guard heard.all.contains("MARKER") else { return try line.say("CLOSE 1 INTERNAL") }
        var ping = try line.hear("PING")
        while ping.flags == ["PONG"] { ping = try line.hear("PING") }
        try line.say("PING \(ping.fields["opaque"] ?? "") PONG")
        try line.hear("CLOSE", 1)
        try line.say("CLOSE 1 NORMAL")
        try line.hearTheEnd()
    }

    /// Ways to take events, each of which gives back the demand of those taken before.
    enum Way: CaseIterable {
        case subscription
        case stream
        case batches
    }

    @Test("the demand of a processed event is asked again at once", arguments: Way.allCases)
    func demand(way: Way) async throws {
        let broker = try ScriptedBroker()
        let heard = Log<String>()
        try await broker.play { broker in
            let line = try broker.welcome()
            #expect(try line.hear("OPEN", 1).fields["demand"] == "2")
            try line.say("OPENED 1 next=1 head=2 asked=2")
            try line.say("EVENTS 1 seq=1 offset=0 [0 1]")
            // Behind it comes the PING of a program that has asked for the second event.
            var next = try line.hear()
            heard.add("\(next.type) \(next.fields["total"] ?? "")")
            if next.type == "DEMAND" { next = try line.hear("PING") }
            try line.say("PING \(next.fields["opaque"] ?? "") PONG")
            try line.say("CLOSE 1 COMPLETE")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            try await Self.take(way, from: client)
            await client.close()
        }
        #expect(heard.all == ["DEMAND 3"], "the demand is not given back")
    }

    /// Takes two events one by one, and then waits for what the broker has had until then.
    private static func take(_ way: Way, from client: SluiceClient) async throws {
        let input = Input("t", options: options(2, 1))
        switch way {
        case .subscription:
            var iterator = client.subscribe(to: "t", options: input.options).makeAsyncIterator()
            for _ in 0..<2 { #expect(try await iterator.next()?.count == 1) }
            _ = try await client.ping()
            #expect(try await iterator.next() == nil)
        case .stream:
            var iterator = client.stream(of: [input]).makeAsyncIterator()
            for _ in 0..<2 { #expect(try await iterator.next()?.batch.count == 1) }
            _ = try await client.ping()
            #expect(try await iterator.next() == nil)
        case .batches:
            let batches = client.stream(of: [input])
                .batches(of: 1, within: .seconds(3_600), by: { _ in 0 })
            var iterator = batches.makeAsyncIterator()
            for _ in 0..<2 { #expect(try await iterator.next()?.events.count == 1) }
            _ = try await client.ping()
            #expect(try await iterator.next() == nil)
        }
    }
}
