import SluiceCore
import SluiceTestKit
import Testing

/// Puts a consumer under a dispatcher.
private func by(_ kind: DispatcherKind) -> (inout ConsumerOpening) -> Void {
    { $0.wish.dispatcher = kind }
}

@Suite("A group whose members share")
struct SharingTests {
    @Test("gives each a delivery in turn, however wide their windows are")
    func turns() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 10_000)
        let other = harness.consumer(asks: 10_000)
        for member in [one, other] { harness.apply(.window(member, bytes: 1 << 20)) }
        _ = harness.look()
        harness.emit(1_000, bytes: 1 << 10)
        let sizes: [LinkID: [UInt64]] = harness.look().reduce(into: [:]) { sizes, effect in
            guard case .deliver(let id, let delivery) = effect else { return }
            sizes[id, default: []].append(delivery.bytes)
        }
        let full = UInt64(Limits.writeBurstBytes)
        #expect(sizes == [one: [full, full], other: [full, 1_024_000 - 3 * full]])
    }
}

@Suite("A broadcast group")
struct BroadcastTests {
    @Test("goes at the pace of the member that asks least")
    func pace() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer(asks: 10, by(.broadcast))
        #expect(harness.credit(producer) == 10)
        let other = harness.consumer(asks: 0, by(.broadcast))
        harness.publish(producer, 4)
        #expect(harness.given == [:])
        harness.ask(other, 3)
        #expect(harness.given == [one: [0, 1, 2], other: [0, 1, 2]])
        harness.ask(other, 20)
        #expect(harness.given == [one: [0, 1, 2, 3], other: [0, 1, 2, 3]])
        // The least is 6, as many as are out already.
        #expect(harness.credit(producer) == 6)
        #expect(harness.topic.violations() == [])
    }

    @Test("frees what a leaving member held up, and counts an event once")
    func leaver() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer(asks: 10, by(.broadcast))
        let other = harness.consumer(asks: 0, by(.broadcast))
        harness.publish(producer, 10)
        harness.apply(.close(other))
        #expect(harness.given[one]?.count == 10)
        #expect(harness.topic.group(0)?.delivered == 10)
        #expect(harness.topic.violations() == [])
        harness.apply(.close(one))
        let next = harness.consumer(asks: 2, by(.broadcast))
        harness.emit(2)
        #expect(harness.given[next] == [10, 11])
    }

    @Test("waits for a member that is away and goes on when it is back")
    func detached() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 10, by(.broadcast))
        let other = harness.consumer(asks: 10, by(.broadcast))
        harness.apply(.detach(other))
        harness.emit(3)
        #expect(harness.given == [:])
        let point = ResumePoint(asked: 10)
        harness.apply(.attachConsumer(other, point, eventBytesMax: Limits.eventBytesMax))
        #expect(harness.given == [one: [0, 1, 2], other: [0, 1, 2]])
    }

    @Test("is held by the member whose credit in bytes is too small, and says so")
    func bytes() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 10, by(.broadcast))
        let other = harness.consumer(asks: 10, bytes: 25, by(.broadcast))
        harness.emit(3)
        #expect(harness.given == [one: [0, 1], other: [0, 1]])
        #expect(harness.look().contains(.status(other, .blocked)))
        harness.ask(other, bytes: 5)
        #expect(harness.given == [one: [0, 1, 2], other: [0, 1, 2]])
        #expect(harness.topic.strandedEvents() == [])
    }

    @Test("is held by the member whose connection does not write")
    func room() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 100, by(.broadcast))
        let other = harness.consumer(asks: 100, by(.broadcast))
        harness.emit(8, bytes: 10_000)
        #expect(harness.given[one]?.count == 6)
        harness.apply(.wrote(one, bytes: 60_000))
        #expect(harness.given[one]?.count == 6)
        harness.apply(.wrote(other, bytes: 60_000))
        #expect(harness.given == [one: Array(0..<8), other: Array(0..<8)])
    }

    @Test("gives no session the same events twice")
    func twice() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 1) {
            by(.broadcast)(&$0)
            $0.owner = 7
        }
        let other = harness.consumer(asks: 1) {
            by(.broadcast)(&$0)
            $0.owner = 7
        }
        #expect(harness.code(one) == nil)
        #expect(harness.code(other) == .exists)
    }
}

@Suite("An exclusive group")
struct ExclusiveTests {
    @Test("serves the first and hands over at once when it leaves or dies")
    func takeover() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer(asks: 10, by(.exclusive))
        let two = harness.consumer(asks: 5, by(.exclusive))
        let three = harness.consumer(asks: 5) {
            by(.exclusive)(&$0)
            $0.member.priority = 1
        }
        #expect(harness.credit(producer) == 10)
        harness.publish(producer, 2)
        #expect(harness.given == [one: [0, 1]])
        harness.apply(.detach(one))
        harness.publish(producer, 2)
        #expect(harness.given == [one: [0, 1], three: [2, 3]])
        harness.apply(.close(three))
        harness.publish(producer, 2)
        #expect(harness.given == [one: [0, 1], three: [2, 3], two: [4, 5]])
        #expect(harness.topic.violations() == [])
    }

    @Test("lets a member that came back stand by")
    func returns() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 10, by(.exclusive))
        let two = harness.consumer(asks: 10, by(.exclusive))
        harness.apply(.detach(one))
        let point = ResumePoint(asked: 10)
        harness.apply(.attachConsumer(one, point, eventBytesMax: Limits.eventBytesMax))
        harness.emit(2)
        #expect(harness.given == [two: [0, 1]])
        #expect(harness.topic.violations() == [])
    }
}

@Suite("The members of a group")
struct MemberTests {
    @Test("share by weight in a fair group, whatever they ask")
    func weights() {
        var harness = TopicHarness()
        let light = harness.consumer(asks: 100_000) {
            by(.fair)(&$0)
            $0.member.weight = 1
        }
        let heavy = harness.consumer(asks: 10_000) {
            by(.fair)(&$0)
            $0.member.weight = 3
        }
        for _ in 0..<40 { harness.emit(100) }
        let counts = (harness.given[light]?.count ?? 0, harness.given[heavy]?.count ?? 0)
        #expect(counts.0 + counts.1 == 4_000)
        #expect(abs(counts.1 - 3_000) <= 100, "\(counts)")
    }

    @Test("that rested get no more than their share afterwards")
    func rested() {
        var harness = TopicHarness()
        let steady = harness.consumer(asks: 100_000, by(.fair))
        let rested = harness.consumer(asks: 0, by(.fair))
        harness.emit(1_000)
        harness.ask(rested, 100_000)
        for _ in 0..<10 { harness.emit(100) }
        #expect(abs((harness.given[rested]?.count ?? 0) - 500) <= 32)
        #expect(harness.given[steady]?.count ?? 0 >= 1_000)
    }

    @Test("that work at different speeds, one job asked for at a time, end within 5 % of the ideal")
    func makespan() {
        let jobs = 10_000
        let service: [UInt64] = [40, 10, 10, 10]
        var harness = TopicHarness(ahead: UInt64(jobs))
        let workers = service.map { _ in harness.consumer(asks: 1) }
        harness.emit(jobs)
        // When each has done its job, on a clock of the test.
        var done = service
        var seen = [Int](repeating: 0, count: workers.count)
        while let next = workers.indices.filter({
            harness.given[workers[$0], default: []].count > seen[$0]
        }).min(by: { done[$0] < done[$1] }) {
            seen[next] += 1
            let now = done[next]
            harness.ask(workers[next], 1)
            done[next] = now + service[next]
        }
        let isWorking = zip(done, service).map { $0 - $1 }
        let ideal = Double(jobs) / service.reduce(0) { $0 + 1 / Double($1) }
        #expect(seen.reduce(0, +) == jobs)
        #expect(Double(isWorking.max() ?? 0) <= 1.05 * ideal)
    }

    @Test("with a higher priority are served first")
    func priority() {
        var harness = TopicHarness()
        let low = harness.consumer(asks: 100)
        let high = harness.consumer(asks: 3) { $0.member.priority = 9 }
        harness.emit(5)
        #expect(harness.given == [high: [0, 1, 2], low: [3, 4]])
    }

    @Test("each have all events when they are independent, and their group goes with them")
    func independent() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 10, by(.independent))
        let other = harness.consumer(asks: 2, by(.independent))
        harness.emit(4)
        #expect(harness.given == [one: [0, 1, 2, 3], other: [0, 1]])
        #expect(harness.topic.buffered == 2)
        harness.apply(.close(other))
        #expect(harness.topic.buffered == 0)
        #expect(harness.topic.groups.compactMap { $0 }.count == 1)
        #expect(harness.topic.violations() == [])
    }

    @Test("take an ephemeral group along when the last leaves")
    func ephemeral() {
        var harness = TopicHarness()
        let one = harness.consumer("g") { $0.wish.isEphemeral = true }
        harness.apply(.close(one))
        #expect(harness.topic.groups.compactMap { $0 }.isEmpty)
        _ = harness.consumer("h") { $0.wish.isEphemeral = true }
        harness.apply(.removeGroup("h"))
        #expect(harness.topic.groups.compactMap { $0 }.isEmpty)
        #expect(harness.topic.consumers == 0)
    }

    @Test("are as their topic has it, with a name and without, as far as nobody says otherwise")
    func inherited() {
        var harness = TopicHarness {
            $0.group.dispatcher = .partition
            $0.group.partitions = 4
        }
        for name in ["", "workers"] as [Name] {
            let one = harness.consumer(name, asks: 4)
            let other = harness.consumer(name, asks: 4)
            #expect(harness.topic.lanes(ofConsumer: one) == [0, 1])
            #expect(harness.topic.lanes(ofConsumer: other) == [2, 3])
        }
        let finer = harness.consumer("finer") { $0.wish.partitions = 5 }
        #expect(harness.topic.lanes(ofConsumer: finer) == [0, 1, 2, 3, 4])
        _ = harness.consumer("by turns") { $0.wish.dispatcher = .fair }
        #expect(harness.topic.group(3)?.rules.dispatcher == .fair)
        #expect(harness.topic.group(3)?.rules.partitions == 0)
        let wrong = harness.consumer("wrong") {
            $0.wish.dispatcher = .fair
            $0.wish.partitions = 4
        }
        #expect(harness.code(wrong) == .badOption)
    }

    @Test("inherit patience, and whether they end with their last link only without a name")
    func inheritedRules() {
        var harness = TopicHarness {
            $0.group.dispatcher = .broadcast
            $0.group.patienceMilliseconds = 20
            $0.group.isEphemeral = true
        }
        _ = harness.consumer()
        _ = harness.consumer("g")
        #expect(harness.topic.groups.map { $0?.rules.patienceMilliseconds } == [20, 20])
        #expect(harness.topic.groups.map { $0?.rules.isEphemeral } == [true, false])
    }

    @Test("share by demand if they have a name and their topic is independent")
    func unnamed() {
        var harness = TopicHarness {
            $0.group.dispatcher = .independent
            $0.group.lag = LagLimit(.detach, events: 1)
        }
        let one = harness.consumer(asks: 1)
        let other = harness.consumer(asks: 1)
        let named = harness.consumer("g", asks: 1)
        let next = harness.consumer("g", asks: 1)
        harness.emit(2)
        #expect(harness.given == [one: [0], other: [0], named: [0], next: [1]])
    }

    @Test(
        "are refused when they contradict their group",
        arguments: [
            { $0.wish.dispatcher = .exclusive },
            { $0.wish.partitions = 3 },
            { $0.wish.isEphemeral = true },
            { $0.wish.lag = LagLimit(.dropOldest, events: 1) },
            { $0.wish.patienceMilliseconds = 1 },
            { $0.member.weight = 2 },
            { $0.member.claims = [0] },
        ] as [@Sendable (inout ConsumerOpening) -> Void]
    )
    func contradiction(_ change: @Sendable (inout ConsumerOpening) -> Void) {
        var harness = TopicHarness()
        _ = harness.consumer("g")
        let second = harness.consumer("g", asks: 1, change)
        #expect(harness.code(second) == .badOption)
        #expect(harness.topic.consumer(second) == nil)
        // Alone in a group of its own it is refused as well, but for what makes a group.
        let alone = harness.consumer("h", asks: 1, change)
        let isRefused = harness.code(alone) == .badOption
        let made = harness.topic.groups.compactMap { $0 }.count
        #expect(made == (isRefused ? 1 : 2))
    }
}

@Suite("A group that is moved")
struct SeekTests {
    @Test("gets what it goes back to again, and never what it passes over")
    func seek() {
        var harness = TopicHarness()
        let holding = harness.consumer("holding")
        let moved = harness.consumer("moved", asks: 4)
        harness.emit(6)
        #expect(harness.given[moved] == [0, 1, 2, 3])
        harness.apply(.seek("moved", .offset(2)))
        harness.ask(moved, 1)
        #expect(harness.given[moved] == [0, 1, 2, 3, 2])
        harness.apply(.seek("moved", .offset(5)))
        harness.ask(moved, 2)
        #expect(harness.given[moved] == [0, 1, 2, 3, 2, 5])
        harness.apply(.seek("moved", .first))
        harness.ask(moved, 1)
        #expect(harness.given[moved]?.suffix(2) == [0, 1])
        harness.apply(.seek("moved", .new))
        #expect(harness.topic.waiting(forConsumer: moved) == 0)
        #expect(harness.topic.waiting(forConsumer: holding) == 6)
        #expect(harness.broken() == [])
    }

    @Test("goes forwards only if its events are sorted")
    func lanes() {
        var harness = TopicHarness()
        let one = harness.consumer("g", asks: 1) { opening in
            opening.wish.dispatcher = .partition
            opening.wish.partitions = 1
        }
        harness.emit(5)
        harness.apply(.seek("g", .offset(3)))
        harness.apply(.seek("g", .first))
        harness.ask(one, 9)
        #expect(harness.given[one] == [0, 3, 4])
        #expect(harness.broken() == [])
    }
}
