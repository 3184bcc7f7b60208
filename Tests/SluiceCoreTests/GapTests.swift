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
        return harness.look().compactMap { effect in
            if case .gap(consumer, let gap, _) = effect { gap } else { nil }
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
        let told = Self.resume(consumer, at: 0, asked: 0, gaps: 2, &harness)
        #expect(told.count == Limits.cutRangesMax)
        #expect(told.first == Gap(from: 0, to: 3, count: 3, reason: .dropped))
        #expect(told.reduce(0) { $0 + $1.count } == count)
    }
}
