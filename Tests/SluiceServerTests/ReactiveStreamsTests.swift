import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

/// The rules of Reactive Streams that mean something on a wire, each by its number.
///
/// A publisher is the source of a link, a subscriber its sink, a subscription the link itself;
/// `request` is DEMAND, `cancel` CLOSE. `Protocol/reactive-streams.md` has the same table, which a
/// test of the house holds against this file.
@Suite("Reactive Streams over the network", .timeLimit(.minutes(5)))
struct ReactiveStreamsTests {
    /// A topic without room ahead, so that producers are asked what consumers ask.
    private func withStrictServer(
        _ body: @escaping @Sendable (RawClient) throws -> Void
    ) async throws {
        try await withServer {
            $0.engine.topicDefaults.ahead = 0
        } _: { address in
            let client = try RawClient(address)
            try client.greet()
            try body(client)
        }
    }

    private func withClient(
        _ body: @escaping @Sendable (RawClient) throws -> Void
    ) async throws {
        try await withServer { address in
            let client = try RawClient(address)
            try client.greet()
            try body(client)
        }
    }

    @Test("1.1 never more events than were asked for")
    func neverMore() async throws {
        try await withClient { client in
            try client.publish(50)
            try client.say("OPEN 2 sink topic=t demand=3")
            #expect(try client.take(3, on: 2).count == 3)
            var total: UInt64 = 3
            for more: UInt64 in [1, 7, 2] {
                let before = try client.account(2, total: total)
                #expect(before.events.isEmpty)
                #expect(before.status["delivered"] == total)
                total += more
                try client.say("DEMAND 2 n=\(more) total=\(total)")
                #expect(try client.take(Int(more), on: 2).count == Int(more))
            }
            // The other end of a topic is held to the same.
            try client.say("OPEN 3 source topic=other available=2")
            try client.hear("DEMAND", 3)
            try client.say("EVENTS 3 seq=1 [a b c d e f g h]")
            #expect(try client.hear("CLOSE", 3).fields["code"] == "CREDIT_OVERRUN")
        }
    }

    @Test("1.2 a source may deliver fewer than were asked for, and end")
    func fewer() async throws {
        try await withClient { client in
            try client.publish(3)
            try client.say("OPEN 2 sink topic=t demand=10")
            #expect(try client.take(3, on: 2).count == 3)
            try client.remove("t")
            let end = try client.hear("the end") { $0.link == 2 }
            #expect(end.type == "CLOSE" && end.fields["code"] == "TOPIC_DELETED")
        }
    }

    @Test("1.9 OPENED comes before anything else on a link, or CLOSE alone")
    func openedFirst() async throws {
        try await withClient { client in
            try client.publish(3)
            try client.say("OPEN 2 sink topic=t demand=2")
            #expect(try client.hear("a frame") { $0.link == 2 }.type == "OPENED")
            #expect(try client.hear("a frame") { $0.link == 2 }.type == "EVENTS")
            try client.say("OPEN 3 sink topic=t group=g start=new demand=\(Limits.demandMax + 1)")
            #expect(try client.hear("a frame") { $0.link == 3 }.type == "CLOSE")
            try client.sync()
            #expect(try client.hearWhatIsThere().allSatisfy { $0.link != 3 })
        }
    }

    @Test("2.8 who has ended a link is prepared for events that were on their way")
    func afterCancel() async throws {
        try await withClient { client in
            // The broker is the sink: events cross the CLOSE of the topic that was removed.
            try client.say("OPEN 1 source topic=t available=5")
            try client.hear("DEMAND", 1)
            try client.remove("t")
            #expect(try client.hear("CLOSE", 1).fields["code"] == "TOPIC_DELETED")
            try client.say("EVENTS 1 seq=1 [a b c]")
            try client.sync()
            #expect(try client.hearWhatIsThere().isEmpty)
        }
        // The client is: what comes behind its CLOSE is skipped, and nothing is wrong.
        var session = ClientSession()
        var written = FrameWriter()
        var told: [ClientEvent] = []
        func hear(_ text: String) throws {
            let bytes = try #require(Sentence(parsing: text)).encoded()
            _ = session.receive(bytes.span.bytes, from: 0, into: &written, events: &told)
        }
        session.connected(at: Instant(nanoseconds: 0), into: &written)
        try hear("WELCOME version=1 keepalive=10 max_demand=1000")
        let key = session.open(Open(role: .sink, topic: "t"), asking: 5, into: &written)
        try hear("OPENED 1 next=1 asked=5")
        session.close(key, into: &written)
        told = []
        try hear("EVENTS 1 seq=1 offset=0 [a b c]")
        #expect(told.isEmpty)
        #expect(session.state == .open && session.skippedFrames == 1)
    }

    @Test("3.2 one may ask before OPENED has come, and in answer to each EVENTS")
    func askFromWithin() async throws {
        try await withClient { client in
            try client.publish(50)
            try client.send(
                try ["OPEN 2 sink topic=t", "DEMAND 2 n=1 total=1"].flatMap {
                    try #require(Sentence(parsing: $0)).encoded()
                }
            )
            for total in 1...50 {
                let events = try client.hear("EVENTS", 2).events
                #expect(events.map(\.payload) == ["e\(total - 1)"])
                guard total < 50 else { break }
                try client.say("DEMAND 2 n=1 total=\(total + 1) received=\(total)")
            }
        }
    }

    @Test("3.3 what one frame sets off is bounded, and the rest comes in later turns")
    func bounded() throws {
        let links = 4 * Limits.effectsPerStepMax
        let bench = PeerBench()
        let consumer = bench.connect()
        try consumer.say("HELLO versions=1..1 keepalive=10 name=t")
        for link in 1...links { try consumer.say("OPEN \(link) sink topic=t demand=1") }
        let producer = bench.connect()
        try producer.say("HELLO versions=1..1 keepalive=10 name=t")
        try producer.say("OPEN 1 source topic=t available=\(links)")
        let payloads = Array(repeating: "x", count: links).joined(separator: " ")
        producer.send(try #require(Sentence(parsing: "EVENTS 1 seq=1 [\(payloads)]")).encoded())
        // A copy of the topic takes the first step.
        var topic = try #require(bench.engine.cores.first)
        var effects = Effects()
        let hasMore = topic.advance(at: bench.engine.now, into: &effects)
        #expect(hasMore)
        #expect((1...Limits.effectsPerStepMax + 1).contains(effects.list.count))
        consumer.run()
        #expect(consumer.take().filter { $0.type == "EVENTS" }.count == links)
    }

    @Test("3.5 CLOSE is answered at once, once, however often it is said")
    func cancelIsIdempotent() async throws {
        try await withClient { client in
            try client.say("OPEN 1 sink topic=t demand=1000")
            try client.hear("OPENED", 1)
            for _ in 0..<3 { try client.say("CLOSE 1 CANCELLED") }
            try client.say("PING 9")
            let said = try client.untilPong(9)
            #expect(said.map(\.type) == ["CLOSE"])
            #expect(said.first?.fields["code"] == "NORMAL")
        }
    }

    @Test("3.6 to ask after CLOSE does nothing, and is no error")
    func askAfterCancel() async throws {
        try await withStrictServer { client in
            try client.say("OPEN 1 source topic=t available=5")
            try client.say("OPEN 2 sink topic=t")
            try client.hear("OPENED", 2)
            try client.say("CLOSE 2 NORMAL")
            try client.say("DEMAND 2 n=5 total=5")
            try client.say("DEMAND 2 n=0 total=77")
            try client.say("PING 9")
            // No grant for the producer, no word about the wrong total.
            #expect(try client.untilPong(9).map { "\($0.type) \($0.link)" } == ["CLOSE 2"])
            try client.say("OPEN 3 sink topic=t demand=2")
            #expect(try client.hear("DEMAND", 1)["total"] == 2)
        }
    }

    @Test("3.7 CLOSE after a CLOSE of either side does nothing")
    func cancelAfterCancel() async throws {
        try await withClient { client in
            try client.say("OPEN 1 sink topic=t demand=1")
            try client.say("DEMAND 1 n=0 total=1")
            #expect(try client.hear("CLOSE", 1).fields["code"] == "BAD_DEMAND")
            try client.say("CLOSE 1 NORMAL")
            try client.say("CLOSE 1 NORMAL")
            try client.say("OPEN 2 sink topic=t demand=4")
            try client.say("CLOSE 1 CANCELLED")
            try client.say("PING 9")
            #expect(try client.untilPong(9).map { "\($0.type) \($0.link)" } == ["OPENED 2"])
            #expect(try client.account(2, total: 4).status["asked"] == 4)
        }
    }

    @Test("3.8 what is asked adds up, up to the producers")
    func additive() async throws {
        try await withStrictServer { client in
            try client.say("OPEN 1 source topic=t available=50")
            try client.say("OPEN 2 sink topic=t demand=3")
            try client.say("DEMAND 2 n=4 total=7")
            try client.say("DEMAND 2 n=5 total=12")
            let grant = try client.hear("all of it") {
                $0.type == "DEMAND" && $0.link == 1 && $0["total"] == 12
            }
            #expect(grant["received"] == 0)
            let account = try client.account(2, total: 12).status
            #expect(account["asked"] == 12 && account["delivered"] == 0)
        }
    }

    @Test("3.9 to ask for nothing is an error that says so")
    func askForNothing() async throws {
        try await withClient { client in
            try client.say("OPEN 1 sink topic=t demand=3")
            try client.hear("OPENED", 1)
            try client.say("DEMAND 1 n=0 total=3")
            let close = try client.hear("CLOSE", 1)
            #expect(close.fields["code"] == "BAD_DEMAND")
            #expect(close.fields["reason"]?.isEmpty == false)
            try client.sync()
        }
    }

    @Test("3.12 after CLOSE is answered nothing more comes, whatever was asked for")
    func cancelEnds() async throws {
        try await withClient { client in
            try client.say("OPEN 2 sink topic=t demand=1000000")
            try client.say("OPEN 3 source topic=t available=30")
            try client.hear("DEMAND", 3)
            try client.say("EVENTS 3 seq=1 [a b]")
            try client.say("CLOSE 2 NORMAL")
            try client.say("EVENTS 3 seq=3 [c d]")
            try client.hear("CLOSE", 2)
            try client.say("EVENTS 3 seq=5 [e f]")
            try client.say("PING 9")
            #expect(try client.untilPong(9).allSatisfy { $0.link != 2 })
            // They are there for whoever asks next.
            try client.say("OPEN 4 sink topic=t demand=30")
            var last: String?
            while last != "f" { last = try client.take(1, on: 4).last }
        }
    }

    @Test("3.13 a link that was closed is nowhere any more")
    func cancelForgets() async throws {
        try await withClient { client in
            for link in 1...100 { try client.say("OPEN \(link) sink topic=t demand=5") }
            #expect(try client.serverDocument(101).contains(#""links":100,"#))
            for link in 1...100 { try client.say("CLOSE \(link) CANCELLED") }
            #expect(try client.serverDocument(102).contains(#""links":0,"#))
            try client.say("OPEN 103 sink topic=$sys/topics/t demand=1")
            let topic = try #require(try client.hear("EVENTS", 103).events.first?.payload)
            #expect(topic.contains(#""consumers":0,"#) && topic.contains(#""credit":0,"#))
        }
    }

    @Test("3.14 a topic goes on when its last consumer has left, and asks for nothing meanwhile")
    func lastCancel() async throws {
        try await withStrictServer { client in
            try client.say("OPEN 1 source topic=t available=50")
            try client.say("OPEN 2 sink topic=t demand=2")
            try client.hear("DEMAND", 1)
            try client.say("EVENTS 1 seq=1 [a b]")
            #expect(try client.take(2, on: 2) == ["a", "b"])
            try client.say("CLOSE 2 NORMAL")
            try client.hear("CLOSE", 2)
            try client.say("PING 9")
            #expect(try client.untilPong(9).allSatisfy { $0.type != "DEMAND" })
            try client.say("OPEN 3 sink topic=t demand=1")
            #expect(try client.hear("OPENED", 3)["head"] == 2)
            #expect(try client.hear("DEMAND", 1)["total"] == 3)
            try client.say("EVENTS 1 seq=3 [c]")
            #expect(try client.take(1, on: 3) == ["c"])
        }
    }

    @Test("3.15 CLOSE is never an error, whenever it comes and whatever it says")
    func cancelReturns() async throws {
        try await withClient { client in
            try client.publish(3)
            var link = 1
            for code in CloseCode.known.map(\.name) {
                for open in ["sink topic=t group=g demand=1", "source topic=t available=9"] {
                    link += 1
                    try client.say("OPEN \(link) \(open)")
                    try client.say("CLOSE \(link) \(code)")
                    let answer = try client.hear("CLOSE", UInt32(link))
                    #expect(answer.fields["code"] == "NORMAL", "to \(code)")
                }
            }
            try client.sync()
        }
    }

    @Test("3.16 DEMAND has no answer but what it asks for, and a wrong one costs its link alone")
    func askReturns() async throws {
        try await withClient { client in
            try client.say("OPEN 1 sink topic=t")
            try client.say("OPEN 2 sink topic=t")
            try client.hear("OPENED", 2)
            for total in 1...1_000 { try client.say("DEMAND 1 n=1 total=\(total)") }
            try client.say("PING 9")
            #expect(try client.untilPong(9).isEmpty)
            try client.say("DEMAND 2 n=1 total=2")
            #expect(try client.hear("CLOSE", 2).fields["code"] == "CREDIT_MISMATCH")
            #expect(try client.account(1, total: 1_000).status["asked"] == 1_000)
        }
    }

    @Test("3.17 one may ask without end: totals have 64 bits and are exact in each")
    func unbounded() async throws {
        try await withClient { client in
            try client.say("OPEN 1 sink topic=t")
            // What is outstanding is bounded, what was ever asked is not.
            var total: UInt64 = 0
            for _ in 0..<5_000 {
                total += Limits.demandMax
                try client.say("DEMAND 1 n=\(Limits.demandMax) total=\(total) STOP")
            }
            try client.say("DEMAND 1 n=2 total=\(total + 2)")
            try client.publish(5, on: 2)
            #expect(try client.take(2, on: 1) == ["e0", "e1"])
            let account = try client.account(1, total: total + 2).status
            #expect(account["asked"] == total + 2 && account["forfeited"] == total)
            // One more than may be outstanding is refused, not cut short.
            let more = Limits.demandMax + 1
            try client.say("DEMAND 1 n=\(more) total=\(total + 2 + more)")
            #expect(try client.hear("CLOSE", 1).fields["code"] == "LIMIT")
        }
        // Beyond what can be asked in a test, the account of a source, as a resume takes it up.
        let asked = UInt64(Int64.max)
        var ledger = Ledger()
        try ledger.resumeAsSource(asked: asked, askedBytes: 0, received: 0, receivedBytes: 0)
        try ledger.apply(Ask(events: 3, total: asked + 3))
        ledger.deliver(events: 2, bytes: 0)
        #expect(ledger.asked == asked + 3 && ledger.credit == 1)
    }
}

extension RawClient {
    /// Puts so many events into `t`: "e0", "e1" and so on.
    fileprivate func publish(_ count: Int, on link: UInt32 = 1) throws {
        try say("OPEN \(link) source topic=t available=\(count)")
        try hear("a grant of all") {
            $0.type == "DEMAND" && $0.link == link && ($0["total"] ?? 0) >= UInt64(count)
        }
        let payloads = (0..<count).map { "e\($0)" }.joined(separator: " ")
        try say("EVENTS \(link) seq=1 [\(payloads)]")
    }

    /// Removes a topic, on link 900.
    fileprivate func remove(_ topic: String) throws {
        try say("OPEN 900 source topic=$sys/ctl available=1")
        try hear("DEMAND", 900)
        try say(#"EVENTS 900 seq=1 [{"op":"remove-topic","topic":"\#(topic)"}]"#)
    }

    /// Waits for so many events on a link.
    fileprivate func take(_ count: Int, on link: UInt32) throws -> [String] {
        var events: [String] = []
        while events.count < count {
            events += try hear("EVENTS", link).events.compactMap(\.payload)
        }
        return events
    }

    /// The broker's account of a link, and the events that came before it.
    fileprivate func account(
        _ link: UInt32,
        total: UInt64
    ) throws -> (events: [String], status: Sentence) {
        try say("DEMAND \(link) total=\(total) ECHO")
        var events: [String] = []
        while true {
            let said = try hear("STATUS") { $0.link == link }
            if said.flags.contains("ECHO") { return (events, said) }
            events += said.events.compactMap(\.payload)
        }
    }

    /// What comes before the answer to a PING, settlements left out.
    fileprivate func untilPong(_ opaque: UInt64) throws -> [Sentence] {
        var said: [Sentence] = []
        while true {
            let next = try hear("PONG") { _ in true }
            if next.type == "PING", next["opaque"] == opaque { return said }
            if next.type != "SETTLE" { said.append(next) }
        }
    }
}
