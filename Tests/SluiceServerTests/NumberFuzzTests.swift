import SluiceCore
import SluiceEngine
import SluiceTestKit
import SluiceWire
import Testing

/// Every number that a client may say, in sessions that have a past.
@Suite("Fuzz: extreme numbers") struct NumberFuzzTests {
    /// Steps of all worlds together; `SLUICE_FUZZ_CASES` asks for more.
    static let steps = Int(clamping: Environment.number("SLUICE_FUZZ_CASES") ?? 20_000)

    @Test("end no more than a link or a connection, and break no law", arguments: [1, 3])
    func numbers(shards: Int) {
        let first = SeededGenerator.replayable("extreme numbers, \(shards) shards").seed
        var (steps, changes, seed) = (0, 0, first)
        while steps < Self.steps {
            let world = NumberWorld(seed: seed, shards: shards)
            for _ in 0..<min(500, Self.steps - steps) where world.violations.isEmpty {
                world.step()
                steps += 1
            }
            changes += world.changes
            #expect(world.violations == [], "SLUICE_SEED=\(seed)")
            guard world.violations.isEmpty else { return }
            seed &+= 1
        }
        print("extreme numbers, \(shards) shards: \(steps) steps, \(changes) numbers changed")
        #expect(changes > steps / 20)
    }
}

/// Some clients whose numbers are changed on the way, and a good one beside them.
private final class NumberWorld {
    private static let topics = ["a", "b", "c", "d"]

    private let bench: PeerBench
    private var random: SeededGenerator
    private let hostile: [HostileClient]
    private let good: HostileClient
    private var steps = 0
    private(set) var violations: [String] = []

    var changes: Int { hostile.reduce(0) { $0 + $1.changes } }

    init(seed: UInt64, shards: Int) {
        var random = SeededGenerator(seed: seed)
        bench = PeerBench(shards: shards) {
            $0.resumeWindowMilliseconds = [1_000, 30_000, .max].randomElement(using: &random) ?? 0
            $0.topicDefaults.ahead = [0, 5, 1_000].randomElement(using: &random) ?? 0
            $0.topicDefaults.onFull = FullPolicy.allCases.randomElement(using: &random) ?? .block
            $0.topicDefaults.capacity = 1_000
        }
        let bench = bench
        hostile = (0..<3).map { index in
            let changesIn = [2, 5, 20].randomElement(using: &random) ?? 2
            return HostileClient(bench, changesIn: changesIn, isSilent: index == 0)
        }
        good = HostileClient(bench, changesIn: 0, isSilent: false)
        self.random = random
        good.connect(isNew: true, using: &self.random)
        good.open(Open(role: .sink, topic: "good"), asking: 100, bytes: 0)
        good.open(Open(role: .source, topic: "good"), asking: 0, bytes: 0)
        good.exchange(using: &self.random)
    }

    private func roll(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &random) }

    private func extreme() -> UInt64 { ExtremeNumber.draw(near: 7, using: &random) }

    /// A number of the usual size, or an extreme one.
    private func some(_ usual: Int) -> UInt32 {
        roll(3) > 0 ? UInt32(1 + roll(usual)) : UInt32(clamping: extreme())
    }

    func step() {
        steps += 1
        let client = hostile[roll(hostile.count)]
        if !client.isConnected {
            client.connect(isNew: roll(4) == 0, using: &random)
        } else {
            act(client)
        }
        letTimePass()
        client.exchange(reads: roll(6) > 0, using: &random)
        if steps.isMultiple(of: 10) { goOn() }
        check()
    }

    private func act(_ client: HostileClient) {
        switch roll(20) {
        case 0..<2: openSink(client)
        case 2..<4:
            var open = Open(role: .source, topic: Self.topics[roll(4)])
            if roll(2) == 0 { open.available = roll(2) == 0 ? extreme() : UInt64(roll(50)) }
            client.open(open, asking: 0, bytes: 0)
        case 4..<8:
            let flags = roll(6) == 0 ? AskFlags(rawValue: UInt8(1 + roll(7))) : []
            client.ask(some(50), bytes: some(2_000), flags: flags, using: &random)
        case 8..<12: client.produce(1 + roll(roll(4) == 0 ? 300 : 10), using: &random)
        case 12: client.announce(extreme(), using: &random)
        case 13: client.mark(using: &random)
        case 14: if roll(4) == 0 { client.close(using: &random) } else { client.ping() }
        case 15: client.lose()
        case 16: openSystem(client)
        default: client.request(request(), using: &random)
        }
    }

    private func openSink(_ client: HostileClient) {
        var open = Open(role: .sink, topic: Self.topics[roll(4)])
        if roll(3) > 0 { open.group = "g\(roll(3))" }
        open.start = [nil, .first, .new, .offset(extreme()), .time(extreme())][roll(5)]
        switch roll(8) {
        case 0:
            open.wish.dispatcher = .partition
            open.wish.partitions = UInt16(1 + roll(8))
        case 1:
            open.group = nil
            open.wish.dispatcher = .independent
            if roll(2) == 0 { open.wish.lag = LagLimit(.dropOldest, events: max(1, some(20))) }
        case 2:
            open.wish.dispatcher = .broadcast
            open.wish.patienceMilliseconds = max(1, some(100))
        case 3:
            open.wish.dispatcher = .fair
            open.member.weight = UInt16(clamping: max(1, some(5)))
        case 4:
            let rate = RateLimit(eventsPerSecond: max(1, some(9)), burst: max(1, some(9)))
            open.member.rate = rate
        case 5:
            let batch = BatchRule(eventsMax: max(1, some(9)), waitMilliseconds: some(99))
            open.member.batch = batch
        case 6: open.member.sampleOneIn = max(1, some(4))
        default: open.member.priority = UInt8(truncatingIfNeeded: extreme())
        }
        let events = min(some(100), UInt32(Limits.demandMax))
        let bytes = roll(3) == 0 ? min(some(5_000), UInt32(Limits.demandBytesMax)) : 0
        client.open(open, asking: events, bytes: bytes)
    }

    private func openSystem(_ client: HostileClient) {
        guard roll(3) > 0 else {
            let names = ["server", "topics", "links", "connections", "peek/a", "topics/b"]
            let open = Open(role: .sink, topic: "$sys/\(names[roll(names.count)])")
            let events = min(some(10), UInt32(Limits.demandMax))
            return client.open(open, asking: events, bytes: roll(2) == 0 ? some(4_000) : 0)
        }
        client.open(Open(role: .source, topic: "$sys/ctl"), asking: 0, bytes: 0)
    }

    /// A request with numbers of any size.
    private func request() -> String {
        let topic = Self.topics[roll(4)]
        let number = ExtremeNumber.json(using: &random)
        switch roll(9) {
        case 0..<3:
            let start = roll(2) == 0 ? "\"first\"" : "\"\(roll(30))\""
            let place = roll(4) == 0 ? "\"\(extreme())\"" : start
            return """
                {"op":"seek-group","topic":"\(topic)","group":"g\(roll(3))","start":\(place)}
                """
        case 3:
            return """
                {"op":"create-group","topic":"\(topic)","group":"g\(roll(3))",\
                "start":"\(extreme())","dispatcher":"partition","partitions":\(number)}
                """
        case 4..<6:
            let names = [
                "buffer", "bufferBytes", "ahead", "rate", "burst", "maxProducers", "maxConsumers",
                "maxGroups", "maxEventBytes", "groupExpireAfter",
            ]
            let name = names[roll(names.count)]
            return "{\"op\":\"change-topic\",\"topic\":\"\(topic)\",\"\(name)\":\(number)}"
        case 6: return "{\"op\":\"kick\",\"connection\":\(number),\"link\":\(number)}"
        case 7:
            let ops = ["purge", "pause", "resume", "resume", "resume", "remove"]
            return "{\"op\":\"\(ops[roll(ops.count)])-topic\",\"topic\":\"\(topic)\"}"
        default:
            return """
                {"op":"create-topic","topic":"\(topic)","dispatcher":"partition",\
                "partitions":\(number),"maxLag":\(number)}
                """
        }
    }

    /// The clock goes on, seldom by far; that of the world may stand anywhere.
    private func letTimePass() {
        let milliseconds: UInt64 =
            switch roll(200) {
            case 0: extreme() % (1 << 42)
            case 1..<5: 45_000
            case 5..<30: UInt64(roll(2_000))
            default: UInt64(roll(3))
            }
        let time = roll(20) == 0 ? extreme() : bench.engine.time
        for engine in bench.engines {
            engine.now = engine.now.advanced(milliseconds: milliseconds)
            engine.time = time
            engine.wake()
            if milliseconds > 100 { engine.tick() }
        }
    }

    /// The good client's work goes on, whatever the others say.
    private func goOn() {
        if !good.isConnected {
            violations.append("the good client's connection was ended")
            return
        }
        good.produce(1, using: &random)
        good.ask(1, bytes: 0, flags: [], using: &random)
        good.exchange(using: &random)
        violations += good.complaints
    }

    private func check() {
        bench.work()
        guard steps.isMultiple(of: 16) else { return }
        for engine in bench.engines {
            for core in engine.cores {
                violations += core.violations() + core.strandedEvents()
            }
        }
    }
}
