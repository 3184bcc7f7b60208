import SluiceCore
import SluiceTestKit
import Testing

/// A member that wants only events with one of these keys.
private func wants(_ keys: String...) throws -> (inout ConsumerOpening) -> Void {
    let filter = try Filter(.isOneOf(.key, keys.map { Array($0.utf8) }))
    return { $0.member.filter = filter }
}

@Suite("A consumer with a filter")
struct PickingTests {
    @Test("is given what it accepts, and the rest costs it no demand")
    func alone() throws {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer("g", asks: 2, try wants("a"))
        harness.emit(keys: ["a", "b", "b", "a", "a"])
        #expect(harness.given == [one: [0, 3]])
        #expect(harness.topic.group(0)?.refused == 2)
        #expect(harness.credit(producer) == 2)
        harness.ask(one, 3)
        #expect(harness.given == [one: [0, 3, 4]])
        #expect(harness.broken() == [])
    }

    @Test("that accepts nothing neither stalls nor spins, and lets producers go on")
    func nothing() throws {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer("g", asks: 5, try wants("never"))
        for _ in 0..<20 {
            #expect(harness.credit(producer) == 5)
            harness.publish(producer, 5)
        }
        #expect(harness.given[one] == nil)
        #expect(harness.topic.group(0)?.refused == 100)
        #expect(harness.topic.buffered == 0)
        #expect(harness.broken() == [])
    }

    @Test("lets others have what it does not accept, past what waits for it")
    func together() throws {
        var harness = TopicHarness()
        let picky = harness.consumer("g", asks: 1, try wants("a"))
        let other = harness.consumer("g", asks: 2, try wants("b"))
        harness.emit(keys: ["a", "a", "b", "c", "b", "b"])
        #expect(harness.given == [picky: [0], other: [2, 4]])
        #expect(harness.topic.group(0)?.refused == 1)
        harness.ask(picky, 5)
        #expect(harness.given[picky] == [0, 1])
        harness.ask(other, 5)
        #expect(harness.given[other] == [2, 4, 5])
        #expect(harness.topic.buffered == 0)
        #expect(harness.broken() == [])
    }

    @Test("judges no more in a step than one may look at, however long filters and headers are")
    func dear() throws {
        // One header in sixteen thousand, by name or by value, and 255 conditions for each member.
        let headers = (0..<16_000).map { number in
            (name: number % 2 == 0 ? "n" : String(number, radix: 36), value: "")
        }
        let record = recordBytes(headers: headers.suffix(9_000), payload: "")
        let names = (0..<254).map { Condition.exists(.header("x\($0)")) }
        let filter = try Filter(.any(names))
        var topic = Topic(name: "t")
        var effects = Effects()
        let now = Instant(nanoseconds: 1)
        for _ in 0..<100 {
            var opening = ConsumerOpening(group: "g", events: 100)
            opening.member.filter = filter
            topic.apply(.openConsumer(topic.nextLink(), opening), at: now, into: &effects)
        }
        while topic.advance(at: now, into: &effects) { continue }
        for _ in 0..<20 {
            let slab = Slab(capacity: record.count)
            let place = slab.append(record.span.bytes)
            let run = Run(slab: slab, bytes: place, count: 1)
            _ = topic.emit([run], events: 1, time: 1)
        }
        var turns = 0
        while topic.advance(at: now, into: &effects) {
            // Within the bound one event more may begin, which costs up to 35,000.
            #expect(topic.work < 2 * Limits.workPerStepMax + 45_000)
            turns += 1
        }
        #expect(turns > 2)
        #expect(topic.group(0)?.refused == 20)
        #expect(topic.violations() + topic.strandedEvents() == [])
    }

    @Test("is refused where its group has more conditions than an event may be judged by")
    func crowd() throws {
        var harness = TopicHarness()
        let values = (0..<250).map { Array("\($0)".utf8) }
        let filter = try Filter(.isOneOf(.key, values))
        for _ in 0..<(Limits.filterPartsPerGroupMax / 251) {
            _ = harness.consumer("g") { $0.member.filter = filter }
        }
        let late = harness.consumer("g") { $0.member.filter = filter }
        #expect(harness.code(late) == .limit)
        let small = harness.consumer("g", try wants("a"))
        #expect(harness.topic.consumer(small) != nil)
        let elsewhere = harness.consumer("h") { $0.member.filter = filter }
        #expect(harness.topic.consumer(elsewhere) != nil)
        #expect(harness.broken() == [])
    }

    @Test("looks through 1,024 events for one that it accepts, and no further")
    func lookAhead() throws {
        var harness = TopicHarness()
        _ = harness.consumer("g", asks: 0, try wants("a"))
        let other = harness.consumer("g", asks: 5, try wants("b"))
        harness.emit(keys: Array(repeating: "a", count: 1_024) + ["b"])
        #expect(harness.given[other] == nil)
        #expect(harness.topic.violations() == [])
        var shorter = TopicHarness()
        _ = shorter.consumer("g", asks: 0, try wants("a"))
        let next = shorter.consumer("g", asks: 5, try wants("b"))
        shorter.emit(keys: Array(repeating: "a", count: 1_023) + ["b"])
        #expect(shorter.given[next] == [1_023])
    }

    @Test("in a broadcast is waited for, though what it does not want costs it no demand")
    func broadcast() throws {
        var harness = TopicHarness()
        let picky = harness.consumer("g", asks: 1) { opening in
            opening.wish.dispatcher = .broadcast
            opening.member.filter = try? Filter(.equals(.key, Array("a".utf8)))
        }
        let all = harness.consumer("g", asks: 10) { $0.wish.dispatcher = .broadcast }
        harness.emit(keys: ["b", "a", "b", "a", "b"])
        #expect(harness.given == [picky: [1], all: [0, 1]])
        harness.ask(picky, 1)
        #expect(harness.given == [picky: [1, 3], all: [0, 1, 2, 3]])
        harness.ask(picky, 1)
        #expect(harness.given == [picky: [1, 3], all: [0, 1, 2, 3, 4]])
        #expect(harness.topic.group(0)?.delivered == 5)
        #expect(harness.broken() == [])
    }

    @Test("takes the group back to the plain road when it leaves")
    func leaves() throws {
        var harness = TopicHarness()
        let picky = harness.consumer("g", asks: 1, try wants("a"))
        let plain = harness.consumer("g", asks: 1)
        harness.emit(keys: ["b", "b", "a", "a"])
        #expect(harness.given == [plain: [0], picky: [2]])
        harness.apply(.close(picky))
        harness.ask(plain, 10)
        #expect(harness.given[plain] == [0, 1, 3])
        #expect(harness.topic.group(0)?.lanes.isEmpty == true)
        harness.emit(2)
        #expect(harness.given[plain] == [0, 1, 3, 4, 5])
        #expect(harness.broken() == [])
    }

    @Test("answers a drain when it had what it accepts of what waited")
    func drain() throws {
        var harness = TopicHarness()
        let picky = harness.consumer("g", asks: 0, try wants("a"))
        let other = harness.consumer("g", asks: 0, try wants("b"))
        harness.emit(keys: ["a", "b", "a"])
        harness.ask(picky, 10, flags: .drain)
        #expect(harness.given == [picky: [0, 2]])
        #expect(harness.look().contains(.status(picky, .drained)))
        #expect(harness.topic.consumer(picky)?.ledger.credit == 0)
        harness.ask(other, 1)
        #expect(harness.given[other] == [1])
    }

    @Test("samples one event in so many")
    func sample() {
        var harness = TopicHarness()
        let one = harness.consumer("g", asks: 100) { $0.member.sampleOneIn = 10 }
        harness.emit(35)
        #expect(harness.given == [one: [0, 10, 20, 30]])
        #expect(harness.broken() == [])
    }
}

@Suite("A consumer that is served by the clock")
struct TimingTests {
    @Test("has its batch when that is full, or when the first event waited long enough")
    func batch() {
        var harness = TopicHarness()
        let one = harness.consumer("g", asks: 100) {
            $0.member.batch = BatchRule(eventsMax: 5, waitMilliseconds: 50)
        }
        harness.emit(3)
        #expect(harness.given == [:])
        harness.emit(4)
        #expect(harness.given == [one: [0, 1, 2, 3, 4]])
        harness.pass(milliseconds: 49)
        #expect(harness.given[one]?.count == 5)
        harness.pass(milliseconds: 1)
        #expect(harness.given[one]?.count == 7)
        #expect(harness.broken() == [])
    }

    @Test("does not let a batch wait for events that nobody is asked for")
    func batchDemand() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer("g", asks: 3) {
            $0.member.batch = BatchRule(eventsMax: 10, waitMilliseconds: 50)
        }
        #expect(harness.credit(producer) == 3)
        harness.publish(producer, 2)
        #expect(harness.given == [:])
        harness.publish(producer, 1)
        #expect(harness.given == [one: [0, 1, 2]])
    }

    @Test("gets as many events a second as its rate says, and no more are asked for")
    func rate() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer("g", asks: 1_000) {
            $0.member.rate = RateLimit(eventsPerSecond: 100, burst: 5)
        }
        #expect(harness.credit(producer) == 5)
        harness.publish(producer, 5)
        #expect(harness.given[one]?.count == 5)
        #expect(harness.credit(producer) == 0)
        harness.pass(milliseconds: 10)
        #expect(harness.credit(producer) == 1)
        harness.publish(producer, 1)
        #expect(harness.given[one]?.count == 6)
        harness.pass(milliseconds: 1_000)
        #expect(harness.credit(producer) == 5)
        #expect(harness.broken() == [])
    }

    @Test("is let go when the others of a broadcast waited too long for it to ask")
    func patience() {
        var harness = TopicHarness()
        let one = harness.consumer("g", asks: 10) {
            $0.wish.dispatcher = .broadcast
            $0.wish.patienceMilliseconds = 1_000
        }
        let silent = harness.consumer("g", asks: 0) { $0.wish.dispatcher = .broadcast }
        harness.emit(2)
        harness.pass(milliseconds: 999)
        #expect(harness.given == [:])
        harness.pass(milliseconds: 1)
        #expect(harness.code(silent) == .lagged)
        #expect(harness.given == [one: [0, 1]])
        #expect(harness.broken() == [])
    }

    @Test("keeps the topic to its rate by what producers are granted")
    func topicRate() {
        var harness = TopicHarness(ahead: 1_000) {
            $0.rate = RateLimit(eventsPerSecond: 1_000, burst: 10)
        }
        let producer = harness.producer(.events(500))
        #expect(harness.credit(producer) == 10)
        harness.publish(producer, 10)
        #expect(harness.credit(producer) == 0)
        harness.pass(milliseconds: 5)
        #expect(harness.credit(producer) == 5)
        #expect(harness.broken() == [])
    }
}
