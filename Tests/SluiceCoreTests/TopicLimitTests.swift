import SluiceCore
import SluiceTestKit
import Testing

@Suite("The limits of a topic")
struct TopicLimitTests {
    /// The code that a new producer is refused with.
    private static func produce(_ harness: inout TopicHarness) -> CloseCode? {
        let id = harness.producer(.events(1))
        return harness.code(id)
    }

    /// The code that a new consumer is refused with.
    private static func consume(_ group: Name, _ harness: inout TopicHarness) -> CloseCode? {
        let id = harness.consumer(group)
        return harness.code(id)
    }

    @Test("a producer or a consumer more than allowed is refused, until one has closed")
    func links() {
        var harness = TopicHarness { options in
            options.limits.producers = 1
            options.limits.consumers = 2
        }
        let producer = harness.producer(.events(1))
        #expect(Self.produce(&harness) == .limit)
        // A link that waits for its client to come back keeps its place.
        harness.apply(.detach(producer))
        #expect(Self.produce(&harness) == .limit)
        harness.apply(.close(producer))
        #expect(Self.produce(&harness) == nil)

        let consumer = harness.consumer("a")
        _ = harness.consumer("b")
        #expect(Self.consume("c", &harness) == .limit)
        #expect(harness.topic.groups.count == 2)
        harness.apply(.close(consumer))
        #expect(Self.consume("c", &harness) == nil)
        #expect(harness.broken() == [])
    }

    @Test("a group more than allowed is refused, members of those that are there are not")
    func groups() {
        var harness = TopicHarness { $0.limits.groups = 2 }
        _ = harness.consumer()
        let independent = harness.consumer { $0.wish.dispatcher = .independent }
        #expect(Self.consume("g", &harness) == .limit)
        #expect(Self.consume("", &harness) == nil)
        harness.apply(.close(independent))
        #expect(Self.consume("g", &harness) == nil)
        #expect(Self.consume("h", &harness) == .limit)
        #expect(harness.broken() == [])
    }

    @Test("an event that is too large is refused alone, and told in its place")
    func events() {
        var harness = TopicHarness(ahead: 100) { $0.limits.eventBytes = 10 }
        let consumer = harness.consumer(asks: 10)
        let producer = harness.producer(.events(6))
        _ = harness.look()
        let runs = [10, 10, 11, 12, 9].flatMap { TopicHarness.records(1, bytes: $0) }
        let publication = Publication(
            firstSequence: 1,
            events: 5,
            bytes: 52,
            runs: runs,
            time: 1
        )
        harness.apply(.publish(producer, publication))
        let told = harness.look().filter { effect in
            switch effect {
            case .accept, .reject, .close: true
            default: false
            }
        }
        #expect(
            told == [
                .accept(producer, from: 1, count: 1, offset: 0),
                .accept(producer, from: 2, count: 1, offset: 1),
                .reject(producer, from: 3, count: 1, .eventTooLarge),
                .reject(producer, from: 4, count: 1, .eventTooLarge),
                .accept(producer, from: 5, count: 1, offset: 2),
            ]
        )
        #expect(harness.given[consumer] == [0, 1, 2])
        #expect(harness.topic.counters.tooLarge == 2)
        #expect(harness.broken() == [])
    }

    @Test("large ones in one run with small ones are found too")
    func mixedRun() throws {
        var harness = TopicHarness(ahead: 100) { $0.limits.eventBytes = 12 }
        let consumer = harness.consumer(asks: 10)
        let producer = harness.producer(.events(6))
        let slab = Slab(capacity: 100)
        for size in [8, 13, 13, 12, 40] {
            let record = try #require(TopicHarness.records(1, bytes: size).first)
            _ = record.slab.withBytes { slab.append($0.extracting(record.bytes)) }
        }
        let publication = Publication(
            firstSequence: 1,
            events: 5,
            bytes: UInt64(slab.filled),
            run: Run(slab: slab, bytes: 0..<slab.filled, count: 5),
            time: 1
        )
        _ = harness.look()
        harness.apply(.publish(producer, publication))
        let told = harness.look()
        #expect(told.contains(.accept(producer, from: 1, count: 1, offset: 0)))
        #expect(told.contains(.reject(producer, from: 2, count: 2, .eventTooLarge)))
        #expect(told.contains(.accept(producer, from: 4, count: 1, offset: 1)))
        #expect(told.contains(.reject(producer, from: 5, count: 1, .eventTooLarge)))
        #expect(harness.given[consumer] == [0, 1])
        #expect(harness.givenBytes[consumer] == 20)
    }

    @Test("what a refused event was granted for is granted again")
    func grantAgain() {
        var harness = TopicHarness { $0.limits.eventBytes = 10 }
        let consumer = harness.consumer(asks: 1)
        let producer = harness.producer(.events(2))
        harness.publish(producer, 1, bytes: 11)
        #expect(harness.credit(producer) == 1)
        harness.publish(producer, 1, bytes: 10)
        #expect(harness.given[consumer] == [0])
        #expect(harness.broken() == [])
    }

    /// Records by turns small and too large, in one run.
    private static func mixed(_ count: Int) throws -> Run {
        let small = try #require(TopicHarness.records(1, bytes: 8).first)
        let large = try #require(TopicHarness.records(1, bytes: 20).first)
        let slab = Slab(capacity: count * 20)
        for number in 0..<count {
            let record = number % 2 == 0 ? small : large
            _ = record.slab.withBytes { slab.append($0.extracting(record.bytes)) }
        }
        return Run(slab: slab, bytes: 0..<slab.filled, count: UInt32(count))
    }

    private static func publish(_ run: Run, _ harness: inout TopicHarness) -> (LinkID, Command) {
        let producer = harness.producer(.events(5_000))
        let publication = Publication(
            firstSequence: 1,
            events: UInt64(run.count),
            bytes: UInt64(run.byteCount),
            run: run,
            time: 1
        )
        return (producer, .publish(producer, publication))
    }

    @Test("answers beyond those of one step are given in the next ones, in their order")
    func manyAnswers() throws {
        var harness = TopicHarness(ahead: 5_000) { $0.limits.eventBytes = 10 }
        let (producer, publish) = Self.publish(try Self.mixed(1_001), &harness)
        var told: [Effect] = []
        var effects = Effects()
        var isDue = harness.topic.apply(publish, at: harness.now, into: &effects)
        while true {
            #expect(effects.list.count <= Limits.effectsPerStepMax + 1)
            told += effects.list
            guard isDue else { break }
            effects.removeAll()
            isDue = harness.topic.advance(at: harness.now, into: &effects)
        }
        let answers = told.filter { if case .ask = $0 { false } else { true } }
        let expected = (0..<1_001).map { number -> Effect in
            let sequence = UInt64(number) + 1
            return number % 2 == 0
                ? .accept(producer, from: sequence, count: 1, offset: UInt64(number / 2))
                : .reject(producer, from: sequence, count: 1, .eventTooLarge)
        }
        #expect(answers == expected)
        #expect(harness.broken() == [])
    }

    @Test("answers that were left over go to nobody else when the producer is gone")
    func answersForNobody() throws {
        for command in [Command.close, Command.detach] {
            var harness = TopicHarness(ahead: 5_000) { $0.limits.eventBytes = 10 }
            let (producer, publish) = Self.publish(try Self.mixed(1_000), &harness)
            var effects = Effects()
            harness.topic.apply(publish, at: harness.now, into: &effects)
            effects.removeAll()
            harness.topic.apply(command(producer), at: harness.now, into: &effects)
            if harness.topic.producer(producer) == nil { _ = harness.producer(.events(0)) }
            while harness.topic.advance(at: harness.now, into: &effects) { continue }
            let answers = effects.list.filter { if case .ask = $0 { false } else { true } }
            #expect(answers == [])
            #expect(harness.topic.log.head == 500)
        }
    }
}
