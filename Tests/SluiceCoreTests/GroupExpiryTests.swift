import SluiceCore
import SluiceTestKit
import Testing

@Suite("Groups that nobody comes back to")
struct GroupExpiryTests {
    private static func harness(ahead: UInt64 = 10, after seconds: UInt64) -> TopicHarness {
        TopicHarness(ahead: ahead) { $0.groupExpiry.afterSeconds = seconds }
    }

    private static func names(_ harness: TopicHarness) -> [Name?] {
        harness.topic.groups.map { $0?.name }
    }

    private static func change(_ harness: inout TopicHarness, after seconds: UInt64) {
        var change = TopicChange(harness.topic.options)
        change.groupExpiry.afterSeconds = seconds
        harness.apply(.change(change))
        harness.pass(milliseconds: 0)
    }

    @Test("end when their time is over, and let their topic's producers go on")
    func end() {
        var harness = Self.harness(after: 60)
        let producer = harness.producer(.events(1_000))
        harness.apply(.close(harness.consumer("left")))
        harness.publish(producer, 10)
        #expect(harness.credit(producer) == 0)
        #expect(harness.topic.expiry(ofGroup: 0) == harness.now.advanced(milliseconds: 60_000))
        harness.pass(milliseconds: 59_999)
        #expect(Self.names(harness) == ["left"] && harness.credit(producer) == 0)
        harness.pass(milliseconds: 1)
        #expect(Self.names(harness) == [nil])
        #expect(harness.look().contains(.expired(group: "left", waiting: 10)))
        #expect(harness.topic.counters.expiredGroups == 1)
        // What nobody was given waits for who comes next.
        let consumer = harness.consumer("left", asks: 10)
        #expect(harness.given[consumer] == Array(0..<10))
        #expect(harness.credit(producer) > 0)
        #expect(harness.broken() == [])
    }

    @Test("let go of what waited for them alone")
    func letGo() {
        var harness = Self.harness(after: 60)
        let producer = harness.producer(.events(1_000))
        harness.apply(.close(harness.consumer("left")))
        let consumer = harness.consumer("here", asks: 1_000)
        harness.publish(producer, 10)
        #expect(harness.given[consumer] == Array(0..<10))
        #expect(harness.topic.buffered == 10 && harness.credit(producer) == 0)
        harness.pass(milliseconds: 60_000)
        #expect(harness.topic.buffered == 0 && harness.topic.retainedBytes == 0)
        #expect(harness.credit(producer) > 0)
        #expect(harness.broken() == [])
    }

    @Test("do not end if a request made them, and hold for who comes what came since")
    func kept() {
        var harness = Self.harness(after: 60)
        let producer = harness.producer(.events(1_000))
        harness.apply(.createGroup("kept", GroupWish(), nil))
        #expect(Self.names(harness) == ["kept"])
        harness.publish(producer, 10)
        #expect(harness.credit(producer) == 0, "what came is held for it")
        harness.pass(milliseconds: 3_600_000)
        #expect(Self.names(harness) == ["kept"] && harness.topic.expiry(ofGroup: 0) == nil)
        let consumer = harness.consumer("kept", asks: 10)
        #expect(harness.given[consumer] == Array(0..<10))
        harness.apply(.close(consumer))
        harness.pass(milliseconds: 3_600_000)
        #expect(Self.names(harness) == ["kept"], "nor when its members are gone")
        harness.apply(.removeGroup("kept"))
        #expect(Self.names(harness) == [nil])
        #expect(harness.broken() == [])
    }

    @Test("that a request made among others hold what is theirs")
    func among() {
        var harness = Self.harness(after: 60)
        let producer = harness.producer(.events(1_000))
        harness.apply(.createGroup("first", GroupWish(), nil))
        harness.publish(producer, 2)
        harness.apply(.createGroup("late", GroupWish(), .offset(1)))
        let first = harness.consumer("first", asks: 2)
        #expect(harness.given[first] == [0, 1])
        let late = harness.consumer("late", asks: 2)
        #expect(harness.given[late] == [1])
        #expect(harness.broken() == [])
    }

    @Test("are made by a request as their first member would find them, or not at all")
    func creation() {
        var harness = Self.harness(after: 60)
        let producer = harness.producer(.events(1_000))
        harness.publish(producer, 5)
        var wish = GroupWish()
        wish.dispatcher = .partition
        #expect(harness.topic.refusal(ofGroup: "p", wish) == .badOption, "how many?")
        wish.partitions = 3
        #expect(harness.topic.refusal(ofGroup: "p", wish) == nil)
        #expect(harness.topic.refusal(ofGroup: "", wish) == .badOption)
        harness.apply(.createGroup("p", wish, .offset(3)))
        #expect(harness.topic.refusal(ofGroup: "p", GroupWish()) == .exists)
        #expect(harness.topic.group(0)?.rules.partitions == 3)
        let consumer = harness.consumer("p", asks: 10)
        #expect(harness.given[consumer] == [3, 4])
        wish = GroupWish()
        wish.dispatcher = .independent
        #expect(harness.topic.refusal(ofGroup: "i", wish) == .badOption)
        harness.apply(.createGroup("i", wish, nil))
        #expect(Self.names(harness) == ["p"])
        var change = TopicChange(harness.topic.options)
        change.limits.groups = 1
        harness.apply(.change(change))
        #expect(harness.topic.refusal(ofGroup: "more", GroupWish()) == .limit)
        #expect(harness.broken() == [])
    }

    @Test("begin their time anew when a member comes, also one that is cut off and not gone")
    func comeBack() {
        var harness = Self.harness(after: 60)
        harness.apply(.close(harness.consumer("g")))
        harness.pass(milliseconds: 59_000)
        let member = harness.consumer("g")
        #expect(harness.topic.expiry(ofGroup: 0) == nil)
        harness.apply(.detach(member))
        harness.pass(milliseconds: 100_000)
        #expect(Self.names(harness) == ["g"])
        harness.apply(.close(member))
        harness.pass(milliseconds: 59_999)
        #expect(Self.names(harness) == ["g"])
        harness.pass(milliseconds: 1)
        #expect(Self.names(harness) == [nil])
    }

    @Test("are those with names alone: the default group stays, an ephemeral one ends at once")
    func exempt() {
        var harness = Self.harness(after: 60)
        harness.apply(.close(harness.consumer("")))
        let other = harness.consumer("short") { $0.wish.isEphemeral = true }
        #expect(harness.topic.wakesAt == nil)
        harness.pass(milliseconds: 1_000_000)
        #expect(Self.names(harness) == ["", "short"])
        harness.apply(.close(other))
        #expect(Self.names(harness) == ["", nil])
        #expect(harness.topic.counters.expiredGroups == 0)
    }

    @Test("are kept for ever if their topic says so, and for 24 hours if nobody says")
    func settings() throws {
        var harness = Self.harness(after: 0)
        harness.apply(.close(harness.consumer("g")))
        #expect(harness.topic.wakesAt == nil && harness.topic.expiry(ofGroup: 0) == nil)
        let rules = try #require(harness.topic.group(0)?.rules)
        let usual = TopicOptions().groupExpiry
        #expect(usual.seconds(of: "g", rules, isKept: false) == 86_400)
        #expect(usual.seconds(of: "g", rules, isKept: true) == nil)
    }

    @Test("end by another time as soon as it is set, from when the last member went")
    func changed() {
        var harness = Self.harness(after: 0)
        harness.apply(.close(harness.consumer("g")))
        harness.pass(milliseconds: 10_000)
        Self.change(&harness, after: 20)
        #expect(Self.names(harness) == ["g"])
        Self.change(&harness, after: 100)
        harness.pass(milliseconds: 10_000)
        #expect(Self.names(harness) == ["g"])
        Self.change(&harness, after: 15)
        #expect(Self.names(harness) == [nil])
    }

    @Test("end sixteen in a step, and all at once otherwise")
    func many() {
        var harness = Self.harness(after: 60)
        let groups = 40
        for number in 0..<groups {
            harness.apply(.close(harness.consumer(Name("g\(number)"))))
        }
        harness.pass(milliseconds: 59_999)
        #expect(harness.topic.counters.expiredGroups == 0)
        let later = harness.now.advanced(milliseconds: 1)
        var effects = Effects()
        #expect(harness.topic.advance(at: later, into: &effects))
        #expect(harness.topic.counters.expiredGroups == UInt64(Limits.groupsExpiredPerStepMax))
        harness.pass(milliseconds: 1)
        #expect(harness.topic.counters.expiredGroups == UInt64(groups))
        #expect(harness.topic.wakesAt == nil)
        #expect(harness.broken() == [])
    }
}
