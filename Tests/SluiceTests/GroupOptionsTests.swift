import Sluice
import SluiceNet
import SluiceTestKit
import Testing

@Suite("Options of groups and members", .timeLimit(.minutes(5)))
struct GroupOptionsTests {
    @Test("all of them go with OPEN")
    func onTheWire() async throws {
        var options = SubscriptionOptions(group: "g", demand: .manual)
        options.groupRules.dispatcher = .partition
        options.groupRules.partitions = 8
        options.groupRules.lag = .dropOldest(events: 1_000)
        options.groupRules.isEphemeral = true
        options.groupRules.patience = .milliseconds(1_500)
        options.membership.weight = 2
        options.membership.priority = 5
        options.membership.claims = [0, 3]
        options.membership.filter = try EventFilter(#"key^="eu-" and(not header.a exists)"#)
        options.membership.sampleOneIn = 10
        options.membership.batching = .init(eventsMax: 100, wait: .microseconds(49_001))
        options.membership.rate = .init(eventsPerSecond: 1_000, burst: 100)
        let fields = try await fields(of: options)
        let expected = [
            "group": "g", "dispatcher": "partition", "partitions": "8", "lag": "drop-oldest:1000",
            "ephemeral": "yes", "patience": "1500", "weight": "2", "priority": "5",
            "claim": "0,3", "filter": #"[key ^= "eu-" and not header.a exists]"#, "sample": "10",
            "batch": "100:50ms", "rate": "1000:100",
        ]
        for (name, value) in expected { #expect(fields[name] == value, "\(name)") }
    }

    @Test("what is not set is not said")
    func silence() async throws {
        let fields = try await fields(of: SubscriptionOptions(demand: .manual))
        #expect(Set(fields.keys) == ["topic", "demand", "bytes"])
    }

    @Test(
        "a policy of lag is said by name",
        arguments: [
            (.block, "block"), (.dropNewest(events: 7), "drop-newest:7"),
            (.detach(events: 1), "detach:1"),
        ] as [(SubscriptionOptions.Lag, String)]
    )
    func lag(lag: SubscriptionOptions.Lag, text: String) async throws {
        var options = SubscriptionOptions(demand: .manual)
        options.groupRules.dispatcher = .independent
        options.groupRules.lag = lag
        let fields = try await fields(of: options)
        #expect(fields["lag"] == text)
        #expect(fields["dispatcher"] == "independent")
    }

    /// What the OPEN of a subscription says.
    private func fields(of options: SubscriptionOptions) async throws -> [String: String] {
        let broker = try ScriptedBroker()
        let found = Lock<[String: String]>([:])
        try await broker.play { broker in
            let line = try broker.welcome()
            let fields = try line.hear("OPEN", 1).fields
            found.withLock { $0 = fields }
            try line.say("OPENED 1 next=1 head=0 asked=0")
            try line.say("CLOSE 1 COMPLETE")
            try line.hearTheEnd()
        } _: {
            let client = broker.client(.never)
            for try await _ in client.subscribe(to: "t", options: options) { continue }
            await client.close()
        }
        return found.withLock { $0 }
    }

    @Test(
        "what is out of range is an error before anything is sent",
        arguments: wrongOptions.indices
    )
    func wrong(index: Int) async throws {
        let (text, change) = wrongOptions[index]
        var options = SubscriptionOptions()
        change(&options)
        let client = SluiceClient(configuration: ClientConfiguration())
        var iterator = client.subscribe(to: "t", options: options).makeAsyncIterator()
        let error = await #expect(throws: ClientError.self) { _ = try await iterator.next() }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(text) == true, "\(error?.message ?? "")")
        await client.close()
    }

    @Test("a filter says where its text breaks")
    func filter() throws {
        let error = #expect(throws: ClientError.self) { try EventFilter("key = eu") }
        #expect(error?.code == .invalidArgument)
        let message = "column 7: expected a value in double quotes, found `eu`"
        #expect(error?.message.contains(message) == true)
        #expect(try EventFilter("( key exists )").description == "key exists")
    }
}

private let wrongOptions: [(String, @Sendable (inout SubscriptionOptions) -> Void)] = [
    ("weight is 0", { $0.membership.weight = 0 }),
    ("weight is 65536", { $0.membership.weight = 65_536 }),
    ("priority is 256", { $0.membership.priority = 256 }),
    ("priority is -1", { $0.membership.priority = -1 }),
    ("at least one partition", { $0.membership.claims = [] }),
    ("claim 3 is twice", { $0.membership.claims = [3, 1, 3] }),
    ("claim 1024", { $0.membership.claims = [1_024] }),
    ("sample is 0", { $0.membership.sampleOneIn = 0 }),
    ("batch is 0", { $0.membership.batching = .init(eventsMax: 0, wait: .zero) }),
    ("wait of a batch", { $0.membership.batching = .init(eventsMax: 1, wait: .seconds(-1)) }),
    ("rate is 0", { $0.membership.rate = .init(eventsPerSecond: 0, burst: 1) }),
    ("burst is 0", { $0.membership.rate = .init(eventsPerSecond: 1, burst: 0) }),
    ("partitions is 0", { $0.groupRules.partitions = 0 }),
    ("at most 1024 partitions", { $0.groupRules.partitions = 1_025 }),
    ("lag is 0", { $0.groupRules.lag = .dropOldest(events: 0) }),
    ("patience", { $0.groupRules.patience = .seconds(5_000_000) }),
]
