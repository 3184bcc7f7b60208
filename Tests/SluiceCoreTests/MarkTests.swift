import SluiceCore
import SluiceTestKit
import Testing

private let hello = Mark.marker(Array("hello".utf8))

@Suite("A mark")
struct MarkTests {
    @Test("comes behind all that came before it and before all that came after, in each group")
    func order() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let slow = harness.consumer("slow", asks: 1)
        harness.publish(producer, 3)
        harness.apply(.mark(producer, hello))
        harness.emit(2)
        let fast = harness.consumer("fast", asks: 10, start: .first)
        #expect(harness.stories[fast] == ["1", "2", "hello@3", "3", "4"])
        #expect(harness.stories[slow] == ["0"])
        harness.ask(slow, 1)
        #expect(harness.stories[slow] == ["0", "1"])
        harness.ask(slow, 5)
        #expect(harness.stories[slow] == ["0", "1", "2", "hello@3", "3", "4"])
        #expect(harness.topic.waitingMarks == 0)
        #expect(harness.broken() == [])
    }

    @Test("keeps its place among many, at one offset and at several")
    func many() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        for text in ["a", "b"] { harness.apply(.mark(producer, .marker(Array(text.utf8)))) }
        harness.publish(producer, 2)
        for text in ["c", "d"] { harness.apply(.mark(producer, .marker(Array(text.utf8)))) }
        harness.publish(producer, 1)
        harness.apply(.mark(producer, .end))
        let consumer = harness.consumer(asks: 10)
        #expect(
            harness.stories[consumer] == ["a@0", "b@0", "0", "1", "c@2", "d@2", "2", "end@3"]
        )
    }

    @Test("says which event is next on the link, also in the middle of a step")
    func sequence() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        harness.publish(producer, 3)
        harness.apply(.mark(producer, hello))
        harness.emit(4)
        let consumer = harness.consumer(asks: 10)
        #expect(harness.given[consumer]?.count == 7)
        #expect(harness.look().contains(.mark(consumer, hello, offset: 3, nextSequence: 4)))
    }

    @Test("takes no demand, and is told to all members at once")
    func members() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        let one = harness.consumer("g")
        let other = harness.consumer("g")
        harness.apply(.mark(producer, hello))
        #expect(harness.marks(one) == [0])
        #expect(harness.marks(other) == [0])
    }

    @Test(
        "is told to each member of a group when all before it went out to the group",
        arguments: [DispatcherKind.demand, .fair, .exclusive, .broadcast]
    )
    func group(kind: DispatcherKind) {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        harness.emit(4)
        harness.apply(.mark(producer, hello))
        harness.emit(4)
        let one = harness.consumer("g", asks: 3) { $0.wish.dispatcher = kind }
        let other = harness.consumer("g")
        #expect(harness.marks(one) + harness.marks(other) == [])
        for _ in 0..<5 {
            harness.ask(one, 1)
            harness.ask(other, 1)
        }
        harness.ask(other, 10)
        for id in [one, other] {
            let story = harness.stories[id] ?? []
            let place = story.firstIndex(of: "hello@4") ?? story.count
            #expect(story.prefix(place).allSatisfy { (Int($0) ?? 9) < 4 }, "\(story)")
            #expect(story.dropFirst(place + 1).allSatisfy { (Int($0) ?? 0) >= 4 }, "\(story)")
            #expect(story.count { $0 == "hello@4" } == 1, "\(story)")
        }
        #expect(harness.broken() == [])
    }

    @Test("waits behind what waits in the partitions of a member, and for no other's")
    func partition() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        func opens(_ lane: UInt16) -> (inout ConsumerOpening) -> Void {
            { opening in
                opening.wish.dispatcher = .partition
                opening.wish.partitions = 2
                opening.member.claims = [lane]
            }
        }
        // Without keys they take turns.
        let even = harness.consumer("g", asks: 0, opens(0))
        let odd = harness.consumer("g", asks: 9, opens(1))
        harness.emit(4)
        harness.apply(.mark(producer, hello))
        harness.emit(4)
        #expect(harness.stories[odd] == ["1", "3", "hello@4", "5", "7"])
        #expect(harness.marks(even) == [])
        harness.ask(even, 1)
        #expect(harness.stories[even] == ["0"])
        harness.ask(even, 9)
        #expect(harness.stories[even] == ["0", "2", "hello@4", "4", "6"])
        #expect(harness.topic.waitingMarks == 0)
        #expect(harness.broken() == [])
    }

    @Test("is told again to who takes over a partition with events from before it")
    func takeOver() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let change: (inout ConsumerOpening) -> Void = { opening in
            opening.wish.dispatcher = .partition
            opening.wish.partitions = 2
        }
        let one = harness.consumer("g", asks: 2, change)
        let other = harness.consumer("g", asks: 0, change)
        harness.emit(4)
        harness.apply(.mark(producer, hello))
        #expect(harness.stories[one]?.last == "hello@4")
        harness.apply(.close(other))
        harness.emit(2)
        harness.ask(one, 9)
        let story = harness.stories[one] ?? []
        #expect(story.count == 8)
        let again = story.lastIndex(of: "hello@4") ?? 0
        #expect(story[3..<again].allSatisfy { (Int($0) ?? 9) < 4 }, "\(story)")
        #expect(story[(again + 1)...].allSatisfy { (Int($0) ?? 0) >= 4 }, "\(story)")
    }

    @Test("waits for what a member's filter lets through, and for nothing else")
    func filter() throws {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        func picks(_ key: String) throws -> (inout ConsumerOpening) -> Void {
            let filter = try Filter(.equals(.key, Array(key.utf8)))
            return { $0.member.filter = filter }
        }
        let one = harness.consumer("g", asks: 9, try picks("a"))
        let other = harness.consumer("g", asks: 0, try picks("b"))
        harness.emit(keys: ["a", "b", "a"])
        harness.apply(.mark(producer, hello))
        harness.emit(keys: ["b", "a"])
        #expect(harness.stories[one] == ["0", "2", "hello@3", "4"])
        #expect(harness.marks(other) == [])
        harness.ask(other, 9)
        #expect(harness.stories[other] == ["1", "hello@3", "3"])
        #expect(harness.broken() == [])
    }

    @Test("waits for the batch that the events before it wait for")
    func batch() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let consumer = harness.consumer(asks: 9) { opening in
            opening.member.batch = BatchRule(eventsMax: 3, waitMilliseconds: 50)
        }
        harness.emit(2)
        harness.apply(.mark(producer, hello))
        #expect(harness.stories[consumer] == nil)
        harness.pass(milliseconds: 60)
        #expect(harness.stories[consumer] == ["0", "1", "hello@2"])
    }

    @Test("comes behind the loss of what came before it", arguments: [LagPolicy.dropOldest])
    func lag(policy: LagPolicy) {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let consumer = harness.consumer { opening in
            opening.wish.dispatcher = .independent
            opening.wish.lag = LagLimit(policy, events: 2)
        }
        harness.emit(3)
        harness.apply(.mark(producer, hello))
        harness.emit(3)
        let gap = Gap(from: 0, to: 4, count: 4, reason: .lagged)
        var told = harness.look().filter { $0 != .opened(consumer, resumed: false) }
        harness.ask(consumer, 9)
        told += harness.look()
        let gaps = told.compactMap { effect in
            if case .gap(_, let gap, _) = effect { gap } else { nil }
        }
        #expect(gaps.reduce(0) { $0 + $1.count } == gap.count)
        #expect(harness.stories[consumer] == ["hello@3", "4", "5"])
    }

    @Test("said before anybody consumed is kept in its place")
    func early() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        harness.publish(producer, 2)
        harness.apply(.mark(producer, hello))
        harness.publish(producer, 2)
        let consumer = harness.consumer(asks: 10)
        #expect(harness.stories[consumer] == ["0", "1", "hello@2", "2", "3"])
    }

    @Test("that lies where a group begins is told to it, unless it begins with what is new")
    func beginning() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        harness.apply(.mark(producer, hello))
        harness.publish(producer, 1)
        harness.apply(.mark(producer, hello))
        let first = harness.consumer("first", asks: 10, start: .first)
        #expect(harness.stories[first] == ["hello@0", "0", "hello@1"])
        _ = harness.consumer("holds", start: .offset(1))
        harness.apply(.mark(producer, hello))
        let there = harness.consumer("there", start: .offset(1))
        #expect(harness.marks(there) == [])
        let new = harness.consumer("new", start: .new)
        #expect(harness.marks(new) == [])
    }

    @Test("that a group still waits for is told to a group that begins there")
    func held() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let slow = harness.consumer("slow")
        harness.publish(producer, 2)
        harness.apply(.mark(producer, hello))
        let other = harness.consumer("other", asks: 9, start: .offset(2))
        #expect(harness.stories[other] == ["hello@2"])
        harness.ask(slow, 9)
        #expect(harness.stories[slow] == ["0", "1", "hello@2"])
    }

    @Test("above the limit ends the link that says it")
    func limit() {
        var harness = TopicHarness()
        let producer = harness.producer(.unknown)
        for _ in 0..<Limits.marksMax { harness.apply(.mark(producer, hello)) }
        #expect(harness.code(producer) == nil)
        harness.apply(.mark(producer, hello))
        #expect(harness.code(producer) == .limit)
        #expect(harness.topic.waitingMarks == Limits.marksMax)
    }

    @Test("above the limit takes the place of the oldest in a topic that drops the oldest")
    func limitThatDrops() {
        var harness = TopicHarness { $0.onFull = .dropOldest }
        let producer = harness.producer(.unknown)
        for number in 0..<Limits.marksMax + 5 {
            harness.apply(.mark(producer, .marker(Array("\(number)".utf8))))
        }
        #expect(harness.code(producer) == nil)
        let consumer = harness.consumer()
        harness.apply(.window(consumer, bytes: 1 << 20))
        #expect(harness.stories[consumer]?.first == "5@0")
        #expect(harness.stories[consumer]?.count == Limits.marksMax)
    }

    @Test("that a member does not read counts against no producer")
    func unread() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let stuck = harness.consumer("g")
        harness.apply(.window(stuck, bytes: 0))
        for number in 0..<Limits.marksMax + 5 {
            harness.apply(.mark(producer, .marker(Array("\(number)".utf8))))
        }
        harness.apply(.mark(producer, .end))
        #expect(harness.code(producer) == nil)
        #expect(harness.stories[stuck] == nil)
        harness.publish(producer, 1)
        harness.ask(stuck, 1)
        harness.apply(.window(stuck, bytes: 1 << 20))
        let story = harness.stories[stuck] ?? []
        #expect(story.count == Limits.marksMax + 1)
        #expect(story.first == "6@0")
        #expect(story.suffix(2) == ["end@0", "0"])
    }

    @Test("is told again to a member that may have lost it with its connection")
    func resume() {
        var harness = TopicHarness(ahead: 100)
        let producer = harness.producer(.unknown)
        let consumer = harness.consumer(asks: 10)
        harness.publish(producer, 1)
        harness.apply(.mark(producer, .marker(Array("a".utf8))))
        harness.publish(producer, 1)
        harness.apply(.mark(producer, .marker(Array("b".utf8))))
        harness.apply(.detach(consumer))
        harness.apply(.mark(producer, .end))
        #expect(harness.stories[consumer] == ["0", "a@1", "1", "b@2"])
        harness.attach(consumer, received: 2, asked: 10)
        #expect(harness.stories[consumer]?.dropFirst(4) == ["b@2", "end@2"])
    }
}
