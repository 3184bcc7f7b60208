import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import Testing

/// Links that a client left behind when it came back.
@Suite struct LeftLinkTests {
    private let window = UInt64(Limits.resumeWindowMilliseconds)

    private func bench(_ arrangement: Arrangement) throws -> PeerBench {
        arrangement.bench(for: try Conversation(name: "t", text: "C: OPEN 1 sink topic=t"))
    }

    private func greeted(_ bench: PeerBench, session: String = "") throws -> (BenchClient, String) {
        let client = bench.connect()
        let said = try client.say("HELLO versions=1..1 name=t session=\(session)")
        #expect(said.first?.flags.contains("RESUMED") == !session.isEmpty)
        return (client, said.first?.fields["session"] ?? "")
    }

    /// Sets the clocks of all engines, and lets each look at what only time brings.
    private func wait(until milliseconds: UInt64, _ bench: PeerBench) {
        for engine in bench.engines {
            engine.now = Instant(nanoseconds: (1_000 + milliseconds) * 1_000_000)
            engine.tick()
        }
        bench.work()
    }

    private func types(_ client: BenchClient) -> [String] {
        client.run()
        return client.take().map { "\($0.type) \($0.link)" }
    }

    @Test(
        "A link that its client does not open again ends with the window, its session does not",
        arguments: Arrangement.allCases
    )
    func leftBehind(_ arrangement: Arrangement) throws {
        let bench = try bench(arrangement)
        let (away, token) = try greeted(bench)
        try away.say("OPEN 1 sink topic=t group=g dispatcher=broadcast demand=5")
        try away.say("OPEN 2 sink topic=t group=h demand=5")
        let (other, _) = try greeted(bench)
        try other.say("OPEN 1 sink topic=t group=g demand=5")
        away.peer.lost()
        let (back, _) = try greeted(bench, session: token)
        try back.say("OPEN 2 sink topic=t group=h resume position=0 asked=5")
        let (source, _) = try greeted(bench)
        try source.say("OPEN 1 source topic=t available=1")
        try source.say("EVENTS 1 seq=1 [a]")
        wait(until: window - 1, bench)
        #expect(types(other).isEmpty, "the broadcast waits for the link that may come back")
        wait(until: window, bench)
        #expect(types(other) == ["EVENTS 1"])
        #expect(types(back) == ["EVENTS 2"], "the link that was opened again goes on")
        let said = try back.say("OPEN 1 sink topic=t group=g resume position=0 asked=5")
        #expect(said.map { $0.fields["code"] } == ["NOT_FOUND"])
    }

    @Test("Its window begins with the cut that took its connection, however many follow")
    func everAgain() throws {
        let bench = PeerBench()
        let (away, token) = try greeted(bench)
        try away.say("OPEN 1 sink topic=t group=g dispatcher=broadcast demand=5")
        try away.say("OPEN 2 sink topic=t group=h")
        let (other, _) = try greeted(bench)
        try other.say("OPEN 1 sink topic=t group=g demand=5")
        away.peer.lost()
        wait(until: window / 2, bench)
        let (back, next) = try greeted(bench, session: token)
        try back.say("OPEN 2 sink topic=t group=h resume position=0")
        wait(until: window - 2, bench)
        back.peer.lost()
        let (source, _) = try greeted(bench)
        try source.say("OPEN 1 source topic=t available=1")
        try source.say("EVENTS 1 seq=1 [a]")
        wait(until: window - 1, bench)
        #expect(types(other).isEmpty)
        wait(until: window, bench)
        #expect(types(other) == ["EVENTS 1"])
        let (again, _) = try greeted(bench, session: next)
        let said = try again.say("OPEN 2 sink topic=t group=h resume position=0")
        #expect(said.first?.flags.contains("RESUMED") == true, "the other link's window goes on")
    }
}
