import SluiceCore
import SluiceTestKit
import Testing

@Suite("Gaps that a cut may have swallowed")
struct GapTests {
    /// A topic of three events that drops the oldest, and a consumer of it that has asked for some.
    private static func topic(asks: UInt32) -> (harness: TopicHarness, consumer: LinkID) {
        var harness = TopicHarness { options in
            options.onFull = .dropOldest
            options.capacity = 3
        }
        let consumer = harness.consumer(asks: asks)
        return (harness, consumer)
    }

    private static func resume(
        _ consumer: LinkID,
        at position: UInt64,
        asked: UInt64,
        gaps: UInt64,
        _ harness: inout TopicHarness
    ) -> [Gap] {
        harness.apply(.detach(consumer))
        _ = harness.look()
        harness.attach(consumer, received: position, asked: asked, gaps: gaps)
        return Self.gaps(among: harness.look())
    }

    fileprivate static func gaps(among effects: some Sequence<Effect>) -> [Gap] {
        effects.compactMap { effect in
            if case .gap(_, let gap, _) = effect { gap } else { nil }
        }
    }

    @Test("one that the consumer has not had is told again, one that it has had is not")
    func again() {
        var (harness, consumer) = Self.topic(asks: 0)
        harness.emit(5)
        harness.emit(2)
        let first = Gap(from: 0, to: 2, count: 2, reason: .dropped)
        let second = Gap(from: 2, to: 4, count: 2, reason: .dropped)
        #expect(harness.gaps(consumer) == [first, second])
        #expect(Self.resume(consumer, at: 0, asked: 0, gaps: 1, &harness) == [second])
        #expect(Self.resume(consumer, at: 0, asked: 0, gaps: 1, &harness) == [second])
        #expect(Self.resume(consumer, at: 0, asked: 0, gaps: 2, &harness) == [])
    }

    @Test("one that says nothing of its gaps is told all of them that it may lack")
    func silent() {
        var (harness, consumer) = Self.topic(asks: 0)
        harness.emit(5)
        let gap = Gap(from: 0, to: 2, count: 2, reason: .dropped)
        #expect(Self.resume(consumer, at: 0, asked: 0, gaps: 0, &harness) == [gap])
        harness.ask(consumer, 3)
        #expect(harness.given[consumer] == [2, 3, 4])
        let cut = Gap(from: 3, to: 5, count: 2, reason: .cut)
        // Behind the gap it had an event: it cannot lack it.
        #expect(Self.resume(consumer, at: 1, asked: 3, gaps: 0, &harness) == [cut])
    }

    @Test("they are told in their places among what else was cut off")
    func places() {
        var (harness, consumer) = Self.topic(asks: 2)
        harness.emit(2)
        harness.emit(5)
        harness.ask(consumer, 3)
        #expect(harness.given[consumer] == [0, 1, 4, 5, 6])
        let told = Self.resume(consumer, at: 1, asked: 5, gaps: 0, &harness)
        let gaps = [
            Gap(from: 1, to: 2, count: 1, reason: .cut),
            Gap(from: 2, to: 4, count: 2, reason: .dropped),
            Gap(from: 4, to: 7, count: 3, reason: .cut),
        ]
        #expect(told == gaps)
        // What was told again may be cut off again.
        #expect(Self.resume(consumer, at: 1, asked: 5, gaps: 1, &harness) == Array(gaps[1...]))
        #expect(harness.topic.violations() == [])
    }

    @Test("they are told behind the marks that were said before them")
    func marks() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let consumer = harness.consumer(asks: 4)
        harness.publish(producer, 2)
        harness.apply(.mark(producer, .marker(Array("half".utf8))))
        harness.publish(producer, 2)
        #expect(harness.stories[consumer] == ["0", "1", "half@2", "2", "3"])
        harness.apply(.detach(consumer))
        _ = harness.look()
        harness.attach(consumer, received: 2, asked: 4)
        let told = harness.look().filter { effect in
            switch effect {
            case .gap, .mark: true
            default: false
            }
        }
        let cut = Gap(from: 2, to: 4, count: 2, reason: .cut)
        let mark = Mark.marker(Array("half".utf8))
        #expect(
            told == [
                .mark(consumer, mark, offset: 2, nextSequence: 3),
                .gap(consumer, cut, nextSequence: 3),
            ]
        )
    }

    @Test("a consumer that claims gaps that nobody told is closed")
    func mismatch() {
        var (harness, consumer) = Self.topic(asks: 0)
        #expect(Self.resume(consumer, at: 0, asked: 0, gaps: 1, &harness) == [])
        #expect(harness.topic.consumer(consumer) == nil)
    }

    @Test("beyond the limit the oldest become one, which may be told to one that had a part of it")
    func limit() {
        var (harness, consumer) = Self.topic(asks: 0)
        let count = UInt64(Limits.cutRangesMax) + 2
        harness.emit(3)
        for _ in 0..<count {
            harness.apply(.wrote(consumer, bytes: Limits.gapWindowBytes))
            harness.emit(1)
        }
        #expect(harness.gaps(consumer).count == Int(count))
        var told = Self.resume(consumer, at: 0, asked: 0, gaps: 2, &harness)
        #expect(told.count == Limits.writeWindowBytes / Limits.gapWindowBytes, "a full window")
        while told.count < Limits.cutRangesMax {
            harness.apply(.wrote(consumer, bytes: Limits.gapWindowBytes * 100))
            told += Self.gaps(among: harness.look())
        }
        #expect(told.count == Limits.cutRangesMax)
        #expect(told.first == Gap(from: 0, to: 3, count: 3, reason: .dropped))
        #expect(told.reduce(0) { $0 + $1.count } == count)
    }
}

@Suite("More gaps to be told again than a step has effects")
struct ManyGapsTests {
    private static let count: UInt64 = 600
    /// What the consumer is to be told that was given every other event.
    private static let gaps = (0..<count).map { place in
        Gap(from: 2 * place, to: 2 * place + 1, count: 1, reason: .cut)
    }

    /// A consumer that was cut off from so many stretches, and has asked for two events more.
    private static func harness() -> (TopicHarness, consumer: LinkID, producer: LinkID) {
        var harness = TopicHarness(ahead: 10_000)
        let producer = harness.producer(.unknown)
        let consumer = harness.consumer()
        let other = harness.consumer()
        for _ in 0..<count {
            harness.ask(consumer, 1)
            harness.publish(producer, 1)
            harness.ask(other, 1)
            harness.publish(producer, 1)
        }
        harness.ask(consumer, 2)
        harness.apply(.detach(consumer))
        _ = harness.look()
        return (harness, consumer, producer)
    }

    /// Brings the consumer back, and returns the effects of the command and of some steps.
    private static func resume(
        _ consumer: LinkID,
        gaps: UInt64,
        steps: Int,
        _ topic: inout Topic
    ) -> [[Effect]] {
        let point = ResumePoint(position: 0, asked: count + 2, gaps: gaps)
        let largest = Limits.eventBytesMax
        var effects = Effects()
        let now = Instant(nanoseconds: 1)
        var isUnfinished = topic.apply(
            .attachConsumer(consumer, point, eventBytesMax: largest),
            at: now,
            into: &effects
        )
        var seen = [effects.list]
        while isUnfinished, seen.count <= steps {
            effects.removeAll()
            isUnfinished = topic.advance(at: now, into: &effects)
            seen.append(effects.list)
        }
        return seen
    }

    private static func told(_ seen: [[Effect]]) -> [Gap] { GapTests.gaps(among: seen.joined()) }

    @Test("are told over several, in order, each once, and before any event")
    func bounded() throws {
        var (harness, consumer, producer) = Self.harness()
        harness.publish(producer, 2)
        let seen = Self.resume(consumer, gaps: 0, steps: 100, &harness.topic)
        for step in seen { #expect(step.count <= Limits.effectsPerStepMax + 1) }
        #expect(Self.told(seen) == Self.gaps)
        let all = Array(seen.joined())
        let lastGap = all.lastIndex { if case .gap = $0 { true } else { false } }
        let event = all.firstIndex { if case .deliver = $0 { true } else { false } }
        #expect(try #require(event) > #require(lastGap))
        #expect(harness.broken() == [])
    }

    @Test("are told from the first that did not arrive when the wire breaks in their midst")
    func cutAgain() {
        var (harness, consumer, _) = Self.harness()
        let seen = Self.resume(consumer, gaps: 0, steps: 1, &harness.topic)
        #expect(Self.told(seen) == Array(Self.gaps.prefix(Limits.effectsPerStepMax)))
        harness.apply(.detach(consumer))
        #expect(harness.look() == [], "nothing for one that is away")
        let again = Self.resume(consumer, gaps: 100, steps: 100, &harness.topic)
        for step in again { #expect(step.count <= Limits.effectsPerStepMax + 1) }
        #expect(Self.told(again) == Array(Self.gaps[100...]))
        // All were counted: it may say that it has had them.
        harness.apply(.detach(consumer))
        let count = UInt64(Self.gaps.count)
        #expect(Self.told(Self.resume(consumer, gaps: count, steps: 9, &harness.topic)) == [])
        #expect(harness.topic.consumer(consumer) != nil)
    }

    @Test("that nobody has told yet nobody can have had")
    func claimed() {
        var (harness, consumer, _) = Self.harness()
        _ = Self.resume(consumer, gaps: 0, steps: 1, &harness.topic)
        harness.apply(.detach(consumer))
        let claimed = UInt64(Limits.effectsPerStepMax) + 1
        _ = Self.resume(consumer, gaps: claimed, steps: 9, &harness.topic)
        #expect(harness.topic.consumer(consumer) == nil)
    }

    @Test("keep their place before marks that are said meanwhile, and before the answer to a DRAIN")
    func meanwhile() throws {
        var (harness, consumer, producer) = Self.harness()
        _ = Self.resume(consumer, gaps: 0, steps: 1, &harness.topic)
        harness.apply(.mark(producer, .marker(Array("late".utf8))))
        harness.ask(consumer, flags: .drain)
        let rest = harness.look()
        #expect(Self.told([rest]) == Array(Self.gaps[Limits.effectsPerStepMax...]))
        let last = try #require(rest.lastIndex { if case .gap = $0 { true } else { false } })
        let mark = Mark.marker(Array("late".utf8))
        let said = Effect.mark(consumer, mark, offset: 2 * Self.count, nextSequence: 1)
        #expect(try #require(rest.firstIndex(of: said)) > last)
        #expect(try #require(rest.firstIndex(of: .status(consumer, .drained))) > last)
    }

    @Test("end with their link")
    func closed() {
        var (harness, consumer, _) = Self.harness()
        _ = Self.resume(consumer, gaps: 0, steps: 1, &harness.topic)
        harness.apply(.close(consumer))
        #expect(Self.told([harness.look()]) == [])
        #expect(harness.broken() == [])
    }
}
