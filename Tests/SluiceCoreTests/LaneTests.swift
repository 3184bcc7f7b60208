import SluiceCore
import SluiceTestKit
import Testing

/// Keys of each of four partitions, found by the hash itself.
private let keys: [[String]] = {
    var found = [[String]](repeating: [], count: 4)
    for number in 0..<200 {
        let key = "k\(number)"
        let partition = Array(key.utf8).withUnsafeBytes {
            KeyHash.partition(ofKey: $0.bytes, among: 4)
        }
        found[Int(partition)].append(key)
    }
    return found
}()

private func partitioned(
    _ claims: [UInt16]? = nil,
    partitions: UInt16 = 4
) -> (inout ConsumerOpening) -> Void {
    { opening in
        opening.wish.dispatcher = .partition
        opening.wish.partitions = partitions
        opening.member.claims = claims
    }
}

/// Opens so many groups by partition, for tests that look at each step; only the last asks.
private func openGroups(
    _ count: Int,
    partitions: UInt16 = 4,
    lastAsks: UInt32 = 0,
    of topic: inout Topic,
    at now: Instant
) {
    var effects = Effects()
    for number in 0..<count {
        let asks = number == count - 1 ? lastAsks : 0
        var opening = ConsumerOpening(group: "g\(number)", events: asks)
        partitioned(partitions: partitions)(&opening)
        topic.apply(.openConsumer(topic.nextLink(), opening), at: now, into: &effects)
    }
    while topic.advance(at: now, into: &effects) { continue }
}

@Suite("A group by partition")
struct PartitionTests {
    @Test("gives each member the events of its partitions, each partition's in order")
    func claims() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 10, partitioned([0, 1]))
        let other = harness.consumer(asks: 10, partitioned([2, 3]))
        harness.emit(keys: [keys[0][0], keys[3][0], keys[1][0], keys[0][0], keys[2][1]])
        #expect(harness.given == [one: [0, 3, 2], other: [4, 1]])
        #expect(harness.broken() == [])
    }

    @Test("lets events wait for the next owner, and a cold partition hold up no other")
    func successor() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 10, partitioned([0]))
        let other = harness.consumer(asks: 10, partitioned([1]))
        harness.apply(.close(one))
        harness.emit(keys: [keys[0][0], keys[0][1], keys[1][0]])
        #expect(harness.given == [other: [2]])
        #expect(harness.topic.buffered == 2)
        for _ in 0..<3 { harness.emit(keys: [keys[1][0]]) }
        #expect(harness.topic.log.retainedBytes == 0)
        let next = harness.consumer(asks: 1, partitioned([0]))
        #expect(harness.given[next] == [0])
        harness.ask(next, 5)
        #expect(harness.given == [other: [2, 3, 4, 5], next: [0, 1]])
        #expect(harness.broken() == [])
    }

    @Test("shares what nobody claims evenly, and again when somebody comes or goes")
    func sharing() {
        var harness = TopicHarness()
        let first = harness.consumer(asks: 0, partitioned())
        #expect(harness.topic.lanes(ofConsumer: first) == [0, 1, 2, 3])
        let second = harness.consumer(asks: 0, partitioned())
        #expect(harness.topic.lanes(ofConsumer: first).count == 2)
        #expect(harness.topic.lanes(ofConsumer: second).count == 2)
        let claiming = harness.consumer(asks: 0, partitioned([3]))
        #expect(harness.topic.lanes(ofConsumer: claiming) == [3])
        let kept = harness.topic.lanes(ofConsumer: first)
        harness.apply(.close(second))
        #expect(harness.topic.lanes(ofConsumer: first) == [0, 1, 2])
        #expect(kept.allSatisfy { harness.topic.lanes(ofConsumer: first).contains($0) })
        harness.apply(.close(claiming))
        #expect(harness.topic.lanes(ofConsumer: first) == [0, 1, 2, 3])
        var spare: [LinkID] = []
        for _ in 0..<5 { spare.append(harness.consumer(asks: 1, partitioned())) }
        let having = spare.filter { !harness.topic.lanes(ofConsumer: $0).isEmpty }
        #expect(having.count == 3)
        #expect(harness.broken() == [])
    }

    @Test("finds out once who has what, however many come and go before its turn")
    func rush() {
        var harness = TopicHarness()
        _ = harness.consumer(asks: 1, partitioned())
        var topic = harness.topic
        var effects = Effects()
        var members: [LinkID] = []
        for number in 0..<4_000 {
            var opening = ConsumerOpening(events: 1)
            partitioned()(&opening)
            let id = topic.nextLink()
            topic.apply(.openConsumer(id, opening), at: harness.now, into: &effects)
            members.append(id)
            // One leaves for two that come, and others take its place in the table of links.
            if number % 2 == 1 {
                topic.apply(.close(members.remove(at: number / 4)), at: harness.now, into: &effects)
            }
        }
        #expect(topic.violations() == [])
        #expect(members.allSatisfy { topic.lanes(ofConsumer: $0).isEmpty })
        while topic.advance(at: harness.now, into: &effects) { continue }
        // Each of the four partitions has an owner, and the one that had all keeps one.
        #expect(members.count { !topic.lanes(ofConsumer: $0).isEmpty } == 3)
        #expect(topic.violations() + topic.strandedEvents() == [])
    }

    @Test("lets no more members claim a partition than can be looked at for each event")
    func crowd() {
        var harness = TopicHarness()
        for _ in 0..<Limits.partitionOwnersMax { _ = harness.consumer(asks: 1, partitioned([2])) }
        let late = harness.consumer(asks: 1, partitioned([1, 2]))
        #expect(harness.code(late) == .limit)
        #expect(harness.topic.consumers == Limits.partitionOwnersMax)
        let other = harness.consumer(asks: 1, partitioned([1]))
        #expect(harness.topic.lanes(ofConsumer: other) == [1])
        #expect(harness.broken() == [])
    }

    @Test("takes memory for the partitions that hold something alone")
    func emptyLanes() {
        var harness = TopicHarness()
        let many: (inout ConsumerOpening) -> Void = {
            $0.wish.dispatcher = .partition
            $0.wish.partitions = Limits.partitionsMax
        }
        let only = harness.consumer("g", many)
        harness.emit(keys: ["a", "b", "c"])
        #expect(harness.topic.group(0)?.lanes.busy.count == 3)
        #expect(harness.topic.group(0)?.lanes.memoryBytes ?? .max < 16_384)
        harness.ask(only, 3)
        #expect(harness.topic.group(0)?.lanes.busy.isEmpty == true)
        harness.apply(.close(only))
        #expect(harness.topic.group(0)?.lanes.memoryBytes ?? .max < 4_096)
        let next = harness.consumer("g", many)
        harness.emit(keys: (0..<4_000).map { "k\($0)" })
        harness.ask(next, 4_000)
        harness.apply(.close(next))
        #expect(harness.topic.group(0)?.lanes.memoryBytes == 0)
        #expect(harness.broken() == [])
    }

    @Test("is sorted over several turns if more comes than one may look at")
    func manyEvents() {
        var topic = Topic(name: "t")
        var effects = Effects()
        let now = Instant(nanoseconds: 1)
        openGroups(4, lastAsks: 100_000, of: &topic, at: now)
        let runs = TopicHarness.records(50_000, bytes: 4)
        _ = topic.emit(runs, events: 50_000, time: 1)
        var turns = 0
        var delivered: UInt64 = 0
        var hasMore = true
        while hasMore {
            effects.removeAll()
            hasMore = topic.advance(at: now, into: &effects)
            turns += 1
            #expect(topic.work < Limits.workPerStepMax + 10_000)
            for case .deliver(_, let delivery) in effects.list { delivered += delivery.events }
        }
        #expect(turns > 2)
        #expect(topic.groups.allSatisfy { $0?.cursor.offset == 50_000 })
        #expect(delivered > 0)
        #expect(topic.violations() + topic.strandedEvents() == [])
    }

    @Test("leaves the memory that came with it over several turns if very many keep it")
    func manyKeepers() {
        var topic = Topic(name: "t")
        var effects = Effects()
        let now = Instant(nanoseconds: 1)
        openGroups(100, partitions: 2, of: &topic, at: now)
        weak var slab: Slab?
        do {
            let fresh = Slab(capacity: 1 << 20)
            let record = recordBytes(payload: String(repeating: "x", count: 60_000))
            let run = Run(slab: fresh, bytes: fresh.append(record.span.bytes), count: 1)
            slab = fresh
            _ = topic.emit([run], events: 1, time: 1)
        }
        #expect(slab != nil)
        var turns = 0
        var work = 0
        while topic.advance(at: now, into: &effects) {
            #expect(topic.work < Limits.workPerStepMax + 10_000)
            turns += 1
            work += topic.work
        }
        // 6 MB are moved, a megabyte in a turn.
        #expect(turns >= 5)
        #expect(work > 100_000)
        #expect(slab == nil)
        #expect(topic.violations() + topic.strandedEvents() == [])
    }

    @Test("loses the oldest events over several turns if very many partitions hold them")
    func manyDropped() {
        var options = TopicOptions()
        options.capacity = 1_024
        options.onFull = .dropOldest
        var topic = Topic(name: "t", options: options)
        var effects = Effects()
        let now = Instant(nanoseconds: 1)
        openGroups(60, partitions: 1_024, of: &topic, at: now)
        func rest(_ between: (inout Topic) -> Void) -> Int {
            var turns = 0
            while topic.advance(at: now, into: &effects) {
                #expect(topic.work < Limits.workPerStepMax + 10_000)
                between(&topic)
                turns += 1
            }
            return turns
        }
        for count: UInt64 in [1_024, 900, 5] {
            _ = topic.emit(TopicHarness.records(Int(count), bytes: 10), events: count, time: 1)
            var isFirst = true
            // More comes while some groups have lost what they have to lose.
            let turns = rest { topic in
                guard isFirst, topic.groups.contains(where: { $0?.discarded ?? 0 > 0 }) else {
                    return
                }
                isFirst = false
                _ = topic.emit(TopicHarness.records(7, bytes: 10), events: 7, time: 1)
            }
            #expect(turns > 1)
            let held = topic.groups.compactMap { $0?.firstWaiting }
            #expect(Set(held) == [topic.log.head - 1_024])
        }
        #expect(topic.groups.allSatisfy { $0?.queued == 1_024 })
        #expect(topic.counters.discarded == topic.log.head - 1_024)
        #expect(topic.violations() + topic.strandedEvents() == [])
    }

    @Test("hands a partition over when its last owner has received what it was given")
    func handOver() {
        var harness = TopicHarness()
        let first = harness.consumer(asks: 10, partitioned())
        harness.emit(keys: [keys[0][0], keys[1][0], keys[2][0], keys[3][0]])
        let second = harness.consumer(asks: 10, partitioned())
        let moved = harness.topic.lanes(ofConsumer: second)
        #expect(moved.count == 2)
        harness.emit(keys: moved.map { keys[$0][1] })
        #expect(harness.given[second] == nil)
        #expect(harness.topic.violations() == [])
        harness.receive(first, 4)
        harness.ask(first, 1)
        #expect(harness.given[second] == [4, 5])
        #expect(harness.broken() == [])
    }

    @Test("asks the last owner once to show what it has received, and hands over when it has")
    func proof() {
        var harness = TopicHarness()
        let first = harness.consumer(asks: 10, partitioned())
        harness.emit(keys: [keys[0][0], keys[1][0], keys[2][0], keys[3][0]])
        _ = harness.look()
        let second = harness.consumer(asks: 10, partitioned())
        #expect(harness.look().count { $0 == .prove(first) } == 1)
        let moved = harness.topic.lanes(ofConsumer: second)
        harness.emit(keys: moved.map { keys[$0][1] })
        #expect(harness.topic.holder(ofConsumer: second) == .partition)
        let place = moved[0] == 0 || moved[1] == 0 ? 4 : 3
        harness.apply(.received(first, UInt64(place - 1)))
        #expect(harness.given[second]?.count ?? 0 < 2)
        harness.apply(.received(first, 1_000))
        #expect(harness.given[second] == [4, 5])
        // An ask that was under way knows less: what was shown stays shown.
        harness.ask(first, 1)
        #expect(harness.topic.consumer(first)?.received == 4)
        #expect(harness.broken() == [])
    }

    @Test("waits for a silent owner no longer than its client may take to answer")
    func ownPatience() {
        var harness = TopicHarness()
        let first = harness.consumer(asks: 10, partitioned())
        harness.apply(.answersWithin(first, milliseconds: 2_000))
        harness.emit(keys: [keys[0][0], keys[1][0], keys[2][0], keys[3][0]])
        let second = harness.consumer(asks: 10, partitioned())
        harness.emit(keys: [keys[harness.topic.lanes(ofConsumer: second)[0]][0]])
        harness.pass(milliseconds: 1_999)
        #expect(harness.given[second] == nil)
        harness.pass(milliseconds: 1)
        #expect(harness.given[second] == [4])
    }

    @Test("hands a partition over after two keepalives to wait for a silent owner")
    func silentOwner() {
        var harness = TopicHarness()
        _ = harness.consumer(asks: 10, partitioned())
        harness.emit(keys: [keys[0][0], keys[1][0], keys[2][0], keys[3][0]])
        let second = harness.consumer(asks: 10, partitioned())
        let lane = harness.topic.lanes(ofConsumer: second)[0]
        harness.emit(keys: [keys[lane][0]])
        #expect(harness.given[second] == nil)
        harness.pass(milliseconds: harness.topic.options.recallMilliseconds)
        #expect(harness.given[second] == [4])
    }

    @Test("takes an empty key for a key like any, and spreads what has no key")
    func emptyKey() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer(asks: 4, partitioned([0, 1]))
        let two = harness.consumer(asks: 4, partitioned([2, 3]))
        harness.emit(keys: ["", nil, "", nil, nil, nil])
        // The hash of no bytes is 0, which is of the first partition.
        #expect(harness.given == [one: [0, 2, 4, 1], two: [3]])
        harness.ask(one, 4)
        #expect(harness.given == [one: [0, 2, 4, 1, 5], two: [3]])
        #expect(harness.topic.counters.refused == 0)
        #expect(harness.credit(producer) >= 4)
        #expect(harness.broken() == [])
    }

    @Test("bounds what may wait for a cold partition by what all members asked")
    func skew() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let hot = harness.consumer(asks: 5, partitioned([0]))
        let cold = harness.consumer(asks: 5, partitioned([1]))
        #expect(harness.credit(producer) == 10)
        harness.apply(.close(hot))
        harness.emit(keys: Array(repeating: keys[0][0], count: 10))
        #expect(harness.given[cold] == nil)
        let before = harness.credit(producer)
        harness.ask(cold, 3)
        // 10 wait and 8 were asked: nothing more may come.
        #expect(harness.credit(producer) == before)
        #expect(harness.topic.violations() == [])
    }

    @Test("lets several members share a partition by demand")
    func shared() {
        var harness = TopicHarness()
        let one = harness.consumer(asks: 3, partitioned([0]))
        let other = harness.consumer(asks: 1, partitioned([0]))
        harness.emit(keys: Array(repeating: keys[0][0], count: 6))
        #expect(harness.given == [one: [0, 1, 2], other: [3]])
        #expect(harness.broken() == [])
    }

    @Test("refuses a partition that does not exist, and a group without a number of them")
    func badClaim() {
        var harness = TopicHarness()
        let bad = harness.consumer(asks: 0, partitioned([4]))
        #expect(harness.code(bad) == .badOption)
        let without = harness.consumer { $0.wish.dispatcher = .partition }
        #expect(harness.code(without) == .badOption)
        #expect(harness.topic.groups.compactMap { $0 }.isEmpty)
    }

    @Test("tells what a purge and a full topic took from all partitions")
    func losses() {
        var harness = TopicHarness { options in
            options.onFull = .dropOldest
            options.capacity = 3
        }
        let one = harness.consumer(asks: 0, partitioned([0]))
        let other = harness.consumer(asks: 0, partitioned([1]))
        harness.emit(keys: (0..<6).map { keys[$0 % 2][0] })
        #expect(harness.topic.buffered == 3)
        #expect(harness.gaps(one).map(\.count).reduce(0, +) == 3)
        harness.apply(.purge)
        #expect(harness.topic.buffered == 0)
        #expect(harness.topic.retainedBytes == 0)
        harness.ask(other, 5)
        harness.emit(keys: [keys[1][0]])
        #expect(harness.given == [other: [6]])
        #expect(harness.broken() == [])
    }
}

@Suite("An independent consumer")
struct LagTests {
    private func lagging(
        _ policy: LagPolicy,
        _ events: UInt32
    ) -> (inout ConsumerOpening) -> Void {
        { opening in
            opening.wish.dispatcher = .independent
            opening.wish.lag = LagLimit(policy, events: events)
        }
    }

    @Test("that may lose the oldest holds nobody up and is told exactly what it lost")
    func dropOldest() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let fast = harness.consumer(asks: 100, lagging(.block, 0))
        let slow = harness.consumer(asks: 2, lagging(.dropOldest, 3))
        #expect(harness.credit(producer) == 100)
        harness.emit(10)
        #expect(harness.given == [fast: Array(0..<10), slow: [0, 1]])
        #expect(harness.gaps(slow) == [Gap(from: 2, to: 7, count: 5, reason: .lagged)])
        harness.ask(slow, 10)
        #expect(harness.given[slow] == [0, 1, 7, 8, 9])
        #expect(harness.topic.counters.discarded == 5)
        #expect(harness.broken() == [])
    }

    @Test("that may lose the newest keeps what waits and is told of the rest behind it")
    func dropNewest() {
        var harness = TopicHarness()
        let slow = harness.consumer(asks: 2, lagging(.dropNewest, 3))
        harness.emit(10)
        #expect(harness.given[slow] == [0, 1])
        harness.ask(slow, 2)
        harness.emit(2)
        #expect(harness.gaps(slow) == [])
        harness.ask(slow, 5)
        #expect(harness.given[slow] == [0, 1, 2, 3, 4])
        #expect(harness.gaps(slow) == [Gap(from: 5, to: 12, count: 7, reason: .lagged)])
        harness.emit(2)
        #expect(harness.given[slow] == [0, 1, 2, 3, 4, 12, 13])
        #expect(harness.broken() == [])
    }

    @Test("that lags too far is let go if that is its policy")
    func detach() {
        var harness = TopicHarness()
        let slow = harness.consumer(asks: 2, lagging(.detach, 3))
        harness.emit(5)
        #expect(harness.code(slow) == nil)
        harness.emit(1)
        #expect(harness.code(slow) == .lagged)
        #expect(harness.topic.groups.compactMap { $0 }.isEmpty)
        #expect(harness.topic.laneBytes == 0)
        #expect(harness.broken() == [])
    }

    @Test("that may lose events drives producers when nobody else does")
    func alone() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let only = harness.consumer(asks: 5, lagging(.dropOldest, 3))
        #expect(harness.credit(producer) == 5)
        harness.publish(producer, 5)
        #expect(harness.given[only]?.count == 5)
        #expect(harness.credit(producer) == 0)
    }

    @Test("lets the slab go that its events came in")
    func memory() {
        var harness = TopicHarness()
        _ = harness.consumer(asks: 0, lagging(.dropOldest, 3))
        harness.emit(10, bytes: 100)
        #expect(harness.topic.laneBytes < 1_000)
        #expect(harness.topic.log.retainedBytes == 0)
    }
}
