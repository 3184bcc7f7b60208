import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

@Suite("Groups that nobody comes back to, and their topics")
struct GroupExpiryTests {
    private let bench = Bench()

    private func request(_ op: String, _ topic: String, after seconds: String) throws -> CloseCode?
    {
        let json = #"{"op": "\#(op)-topic", "topic": "\#(topic)", "groupExpireAfter": \#(seconds)}"#
        return try bench.request(json)
    }

    /// Opens a group and goes.
    private func leave(_ topic: String, _ group: String) {
        let (_, session) = bench.connect()
        bench.openSink(session, 1, topic, group: group)
        bench.engine.close(session, 1)
        bench.run()
        bench.engine.end(session)
    }

    private func pass(seconds: UInt64) {
        bench.pass(milliseconds: seconds * 1_000)
        bench.run()
    }

    private func topic(_ name: String) throws -> Snapshot.Topic {
        try #require(try bench.documents("$sys/topics/\(name)", as: Snapshot.Topic.self).first)
    }

    @Test("A topic shows for how long it keeps groups, and each of them when it ends")
    func shown() throws {
        #expect(try request("create", "t", after: "60") == nil)
        leave("t", "g")
        leave("t", "")
        pass(seconds: 10)
        var shown = try topic("t")
        #expect(shown.groupExpireAfter == 60 && shown.expiredGroups == 0)
        var group = try #require(shown.groups.first { $0.group == "g" })
        #expect(group.expireAfter == 60)
        #expect(group.aloneSeconds == 10 && group.expiresInSeconds == 50)
        let other = try #require(shown.groups.first { $0.group.isEmpty })
        #expect(other.expireAfter == nil && other.expiresInSeconds == nil)
        #expect(other.aloneSeconds == 10)

        #expect(try request("change", "t", after: "30") == nil)
        group = try #require(try topic("t").groups.first { $0.group == "g" })
        #expect(group.expireAfter == 30 && group.expiresInSeconds == 20)
        pass(seconds: 20)
        shown = try topic("t")
        #expect(shown.groups.map(\.group) == [""] && shown.expiredGroups == 1)
        #expect(try request("change", "t", after: "0") == nil)
        #expect(try topic("t").groupExpireAfter == nil)
    }

    @Test("A topic names the group that has nearly filled it")
    func alarm() throws {
        #expect(try bench.request(#"{"op": "create-topic", "topic": "t", "buffer": 10}"#) == nil)
        leave("t", "g")
        try bench.publish(to: "t", ["1", "2", "3", "4", "5", "6", "7"])
        #expect(try topic("t").alarm == nil)
        try bench.publish(to: "t", ["8"])
        #expect(try topic("t").alarm == Snapshot.Alarm(group: "g", reason: "events"))
    }

    @Test("A group has a day if nobody says otherwise, and members stop its time")
    func day() throws {
        leave("t", "g")
        var group = try #require(try topic("t").groups.first)
        #expect(try topic("t").groupExpireAfter == 86_400)
        #expect(group.expiresInSeconds == 86_400)
        pass(seconds: 86_399)
        let (_, session) = bench.connect()
        bench.openSink(session, 1, "t", group: "g")
        group = try #require(try topic("t").groups.first)
        #expect(group.expiresInSeconds == nil && group.aloneSeconds == nil)
        pass(seconds: 10)
        #expect(try topic("t").groups.count == 1)
    }

    @Test(
        "More than a year, or less than nothing, is refused",
        arguments: [
            ("0", true), ("1", true), ("31536000", true), ("31536001", false), ("-1", false),
            ("1.5", false), ("18446744073709551615", false), ("18446744073709551616", false),
            ("\"1h\"", false),
        ]
    )
    func bounds(seconds: String, isLegal: Bool) throws {
        let code: CloseCode? = isLegal ? nil : .badOption
        #expect(try request("create", "t", after: seconds) == code)
        guard isLegal else { return }
        #expect(try request("change", "t", after: seconds) == nil)
    }

    @Test("Topics that wait long are looked at when the first of them wants it")
    func waking() throws {
        for (name, seconds) in [("a", 60), ("b", 20), ("c", 40)] {
            #expect(try request("create", name, after: "\(seconds)") == nil)
            leave(name, "g")
        }
        let start = bench.engine.now
        let next = { self.bench.engine.wakesAt.map { $0.milliseconds(since: start) } }
        #expect(next() == 20_000)
        pass(seconds: 20)
        #expect(try topic("a").groups.count == 1 && topic("b").groups.isEmpty)
        #expect(next() == 40_000)
        // Another time counts at once; a topic that is gone, or made anew, waits for nothing.
        #expect(try request("change", "a", after: "25") == nil)
        bench.run()
        #expect(next() == 25_000)
        #expect(try bench.request(#"{"op": "remove-topic", "topic": "c"}"#) == nil)
        #expect(try request("create", "c", after: "500") == nil)
        leave("c", "g")
        pass(seconds: 5)
        #expect(try topic("a").groups.isEmpty)
        pass(seconds: 50)
        #expect(try topic("c").groups.count == 1)
        pass(seconds: 450)
        #expect(try topic("c").groups.isEmpty)
        #expect(bench.engine.wakesAt == nil)
    }
}
