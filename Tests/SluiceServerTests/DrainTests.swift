import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import Testing

@Suite struct DrainTests {
    private typealias Report = Drain.Report

    private static func quiet(_ sent: UInt64 = 0, _ received: UInt64 = 0) -> Report {
        Report(isDrained: true, sent: sent, received: received)
    }

    private static func busy(_ sent: UInt64 = 0, _ received: UInt64 = 0) -> Report {
        Report(isDrained: false, sent: sent, received: received)
    }

    /// Lets each shard report once, in order; what the last was told.
    private func wave(_ drain: Drain, _ reports: [Report]) -> Bool {
        var isOver = false
        for (index, report) in reports.enumerated() { isOver = drain.note(index) { report } }
        return isOver
    }

    @Test("A shard alone may leave with its first report that it is drained")
    func alone() {
        let drain = Drain(shards: 1)
        #expect(!drain.note(0) { Self.busy() })
        #expect(!drain.note(0) { Self.busy() })
        #expect(drain.note(0) { Self.quiet() })
    }

    @Test("Several may leave when two waves of reports in a row say the same")
    func twoWaves() {
        let drain = Drain(shards: 3)
        #expect(!wave(drain, [Self.quiet(4, 1), Self.quiet(0, 3), Self.quiet(1, 1)]))
        #expect(!drain.note(0) { Self.quiet(4, 1) })
        #expect(!drain.note(1) { Self.quiet(0, 3) })
        #expect(drain.note(2) { Self.quiet(1, 1) })
    }

    @Test("A wave is not whole before every shard has reported, however often the others do")
    func wholeWave() {
        let drain = Drain(shards: 3)
        for _ in 0..<10 {
            #expect(!drain.note(0) { Self.quiet() })
            #expect(!drain.note(2) { Self.quiet() })
        }
        #expect(!drain.note(1) { Self.quiet() }, "the first is whole")
        for _ in 0..<10 { #expect(!drain.note(1) { Self.quiet() }) }
        #expect(!drain.note(2) { Self.quiet() })
        #expect(drain.note(0) { Self.quiet() })
    }

    @Test("Of a shard that reports twice in a wave the later report counts")
    func latestReport() {
        let drain = Drain(shards: 2)
        #expect(!wave(drain, [Self.quiet(), Self.quiet()]))
        #expect(!drain.note(0) { Self.quiet() })
        #expect(!drain.note(0) { Self.busy() })
        #expect(!drain.note(1) { Self.quiet() })
    }

    @Test("As long as one shard is not drained none leaves", arguments: 0..<3)
    func oneIsBusy(_ late: Int) {
        let drain = Drain(shards: 3)
        let held = (0..<3).map { $0 == late ? Self.busy() : Self.quiet() }
        for _ in 0..<5 { #expect(!wave(drain, held)) }
        let free = Array(repeating: Self.quiet(), count: 3)
        #expect(!wave(drain, free))
        #expect(wave(drain, free))
    }

    @Test("As long as a message is on its way none leaves")
    func underWay() {
        let drain = Drain(shards: 2)
        for _ in 0..<5 { #expect(!wave(drain, [Self.quiet(3, 1), Self.quiet(1, 2)])) }
        #expect(!wave(drain, [Self.quiet(3, 1), Self.quiet(1, 3)]))
        #expect(wave(drain, [Self.quiet(3, 1), Self.quiet(1, 3)]))
    }

    @Test("Messages that came and went between two waves make a third one needed")
    func movedBetween() {
        let drain = Drain(shards: 2)
        #expect(!wave(drain, [Self.quiet(1, 2), Self.quiet(2, 1)]))
        #expect(!wave(drain, [Self.quiet(2, 3), Self.quiet(3, 2)]))
        #expect(wave(drain, [Self.quiet(2, 3), Self.quiet(3, 2)]))
    }

    @Test("Two waves that say the same are not enough if one between them said otherwise")
    func notInARow() {
        let drain = Drain(shards: 2)
        #expect(!wave(drain, [Self.quiet(), Self.quiet()]))
        #expect(!wave(drain, [Self.quiet(), Self.busy()]))
        #expect(!wave(drain, [Self.quiet(), Self.quiet()]))
    }

    @Test("The end is told to every shard, whatever it reports then")
    func isFinal() {
        let drain = Drain(shards: 2)
        _ = wave(drain, [Self.quiet(), Self.quiet()])
        #expect(wave(drain, [Self.quiet(), Self.quiet()]))
        #expect(drain.note(0) { Self.busy(9, 8) })
        #expect(drain.note(1) { Self.quiet() })
    }

    @Test("While a client is on its way to another shard none leaves", arguments: [false, true])
    func moving(_ isGreeted: Bool) throws {
        let bench = PeerBench(shards: 2)
        let client = bench.connect()
        let names = (0...).lazy.map { "t\($0)" }
        let away = names.first { bench.engine.place.home(of: Name($0)) == 1 } ?? ""
        let nobody = String(repeating: "ab", count: 16)
        if isGreeted { try client.say("HELLO versions=1..1 keepalive=10 name=t") }
        let text =
            isGreeted
            ? "OPEN 1 sink topic=\(away)" : "HELLO versions=1..1 keepalive=10 session=\(nobody)"
        let frame = try #require(Sentence(parsing: text)).encoded()
        let slab = Slab(capacity: frame.count)
        _ = slab.append(frame.span.bytes)
        _ = client.peer.receive(slab, from: 0)
        client.peer.depart()
        for engine in bench.engines { engine.wind() }
        let drain = Drain(shards: 2)
        func isOver() -> Bool {
            var isOver = false
            for _ in 0..<3 {
                let reports = bench.engines.map { engine in
                    let (sent, received) = engine.postCounts
                    return Report(isDrained: engine.isDrained, sent: sent, received: received)
                }
                isOver = wave(drain, reports)
            }
            return isOver
        }
        #expect(!isOver())
        client.peer.arrive(at: bench.engines[1])
        if client.peer.departure != nil {
            client.peer.depart()
            #expect(!isOver(), "it asks on")
            client.peer.arrive(at: bench.engines[0])
        }
        #expect(isOver())
    }

    @Test("Random histories end when nothing moves any more, and never before")
    func histories() {
        var random = SeededGenerator.replayable("DrainTests")
        let first = Environment.number("SLUICE_SEED") ?? random.next()
        for seed in 0..<UInt64(2_000) {
            var world = DrainWorld(seed: first &+ seed)
            while !world.isOver, world.steps < 10_000 { world.step() }
            #expect(world.isOver, "it did not end, SLUICE_SEED=\(first &+ seed)")
            #expect(world.isQuiet, "it ended too early, SLUICE_SEED=\(first &+ seed)")
            guard world.isOver, world.isQuiet else { return }
        }
    }
}

/// Shards that work, tell each other of it and report, in any order.
private struct DrainWorld {
    private var random: SeededGenerator
    private let drain: Drain
    private var isDrained: [Bool]
    private var sent: [UInt64]
    private var received: [UInt64]
    /// The receivers of the messages on their way.
    private var post: [Int] = []
    /// What is still to be said: without an end to that, there is none to the history.
    private var words: Int
    private(set) var isOver = false
    private(set) var steps = 0

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        let shards = Int.random(in: 2...4, using: &random)
        drain = Drain(shards: shards)
        isDrained = Array(repeating: false, count: shards)
        sent = Array(repeating: 0, count: shards)
        received = sent
        words = Int.random(in: 0...20, using: &random)
    }

    var isQuiet: Bool { post.isEmpty && isDrained.allSatisfy { $0 } }

    mutating func step() {
        steps += 1
        let shard = Int.random(in: isDrained.indices, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: deliver()
        // A shard that is drained has nothing to say before it hears something.
        case 1 where !isDrained[shard]: say(from: shard)
        case 2: isDrained[shard] = true
        default: report(shard)
        }
    }

    private mutating func deliver() {
        guard !post.isEmpty else { return }
        let shard = post.remove(at: Int.random(in: post.indices, using: &random))
        received[shard] += 1
        isDrained[shard] = false
    }

    private mutating func say(from shard: Int) {
        guard words > 0 else { return }
        words -= 1
        sent[shard] += 1
        let others = isDrained.indices.filter { $0 != shard }
        if let other = others.randomElement(using: &random) { post.append(other) }
    }

    private mutating func report(_ shard: Int) {
        isOver = drain.note(shard) {
            Drain.Report(
                isDrained: isDrained[shard],
                sent: sent[shard],
                received: received[shard]
            )
        }
    }
}
