import SluiceCore

extension SubscriptionOptions {
    /// How a group hands its events to its members.
    public enum Dispatcher: String, Sendable, Hashable, CaseIterable {
        /// To the member with the most credit.
        case demand
        /// To members with credit in turn, in proportion to their `weight`.
        case fair
        /// To all members, in lockstep: the slowest sets the pace.
        case broadcast
        /// To the members that own the partition of the event's key.
        case partition
        /// To one active member; the others stand by.
        case exclusive
        /// To this subscription alone, at its own pace; see `lag`.
        case independent
    }

    /// What happens when too many events wait for an independent subscription.
    public enum Lag: Sendable, Hashable {
        /// Producers wait for it: nothing is lost.
        case block
        /// With more than so many it loses the oldest, announced as gaps.
        case dropOldest(events: Int)
        /// With more than so many it loses what comes, announced as gaps.
        case dropNewest(events: Int)
        /// With more than so many its link is closed with LAGGED.
        case detach(events: Int)
    }

    /// Deliveries that wait until they are worth it.
    public struct Batching: Sendable, Hashable {
        /// Events of one delivery at most, 1 to 4,294,967,295; with so many there is no waiting.
        public var eventsMax: Int
        /// How long the first event of a delivery may wait for more; counted in milliseconds.
        public var wait: Duration

        /// Makes a rule.
        public init(eventsMax: Int, wait: Duration) {
            self.eventsMax = eventsMax
            self.wait = wait
        }
    }

    /// How many events may come: nothing is dropped, the rest waits.
    public struct Rate: Sendable, Hashable {
        /// 1 to 4,294,967,295.
        public var eventsPerSecond: Int
        /// Events that may come at once after a time of rest, 1 to 4,294,967,295.
        public var burst: Int

        /// Makes a rate.
        public init(eventsPerSecond: Int, burst: Int) {
            self.eventsPerSecond = eventsPerSecond
            self.burst = burst
        }
    }

    /// What a subscription wishes of its group; the first to open the group decides.
    ///
    /// What is nil agrees with any group, and is for a new one as the topic has it. What the group
    /// has otherwise closes the link with BAD_OPTION.
    public struct GroupRules: Sendable, Hashable {
        /// How the group hands out events.
        public var dispatcher: Dispatcher?
        /// With `partition`: how many there are, 1 to 1,024; a new group needs it.
        public var partitions: Int?
        /// With `independent`: how far this subscription may fall behind.
        public var lag: Lag?
        /// Whether the group ends with its last link.
        public var isEphemeral: Bool?
        /// With `broadcast`: how long a member may have no credit while others wait for it.
        ///
        /// Then its link is closed with LAGGED. At least a millisecond; nil lets the others wait.
        public var patience: Duration?

        /// Makes rules that agree with any group.
        public init() {}
    }

    /// What a subscription says of its own place in the group.
    public struct Membership: Sendable, Hashable {
        /// With `fair`: the share is in proportion to it, 1 to 65,535; nil counts as 1.
        public var weight: Int?
        /// Members with a higher one are served first, 0 to 255.
        public var priority = 0
        /// With `partition`: those it wants, each once, from 0.
        ///
        /// Nil is an even share of what nobody claims.
        public var claims: [Int]?
        /// The events it wants; others spend none of its demand.
        public var filter: EventFilter?
        /// One in so many events, 1 to 4,294,967,295; 1 for all.
        public var sampleOneIn = 1
        /// How deliveries wait for more; nil delivers at once.
        public var batching: Batching?
        /// How many events may come; nil sets no limit.
        public var rate: Rate?

        /// Makes the place of a member like any other.
        public init() {}
    }
}

/// A condition on the key and the headers of events, which the broker evaluates.
public struct EventFilter: Sendable, Hashable, CustomStringConvertible {
    let filter: Filter

    /// Reads a text such as `key ^= "eu-" and not header.kind in ("a", "b")`.
    ///
    /// Tests are `=`, `^=` (begins with), `in (…)` and `exists`, of `key` and `header.NAME`; they
    /// are joined by `not`, `and`, `or` and parentheses. A header that occurs twice fits if one of
    /// its values does; what an event does not have fits no test. At most 4,096 bytes, 16 levels
    /// and 256 tests and values. Throws `invalidArgument`, which says where the text breaks.
    public init(_ text: String) throws(ClientError) {
        do {
            filter = try Filter(Condition(text))
        } catch {
            throw ClientError(.invalidArgument, "the filter does not read: \(error)")
        }
    }

    /// A text that reads back as the same filter.
    public var description: String { filter.condition.description }
}

// MARK: - For the wire

extension SubscriptionOptions {
    /// What goes with OPEN; throws `invalidArgument` for a number outside its range.
    func wish() throws(ClientError) -> GroupWish {
        var wish = GroupWish()
        wish.dispatcher = groupRules.dispatcher?.kind
        wish.partitions = try Self.given(groupRules.partitions, "partitions")
        wish.lag = try groupRules.lag?.limit()
        wish.isEphemeral = groupRules.isEphemeral
        wish.patienceMilliseconds = try Self.given(
            groupRules.patience.map { max(1, $0.wholeMilliseconds) },
            "patience in milliseconds"
        )
        if let partitions = wish.partitions, partitions > Limits.partitionsMax {
            let text = "a group has at most \(Limits.partitionsMax) partitions, not \(partitions)"
            throw ClientError(.invalidArgument, text)
        }
        return wish
    }

    /// As `wish`.
    func member() throws(ClientError) -> MemberOptions {
        var member = MemberOptions()
        member.weight = try Self.given(membership.weight, "weight")
        member.priority = try Self.number(membership.priority, "priority", from: 0)
        if let claims = membership.claims {
            member.claims = try Self.partitions(claims)
        }
        member.filter = membership.filter?.filter
        member.sampleOneIn = try Self.number(membership.sampleOneIn, "sample")
        if let batching = membership.batching {
            member.batch = BatchRule(
                eventsMax: try Self.number(batching.eventsMax, "batch"),
                waitMilliseconds: try Self.number(
                    batching.wait.wholeMilliseconds,
                    "wait of a batch in milliseconds",
                    from: 0
                )
            )
        }
        member.rate = try membership.rate?.limit()
        return member
    }

    private static func partitions(_ claims: [Int]) throws(ClientError) -> [UInt16] {
        var known: Set<Int> = []
        var partitions: [UInt16] = []
        for claim in claims {
            guard (0..<Int(Limits.partitionsMax)).contains(claim), known.insert(claim).inserted
            else {
                let last = Limits.partitionsMax - 1
                let text = "the claim \(claim) is twice there, or outside 0 to \(last)"
                throw ClientError(.invalidArgument, text)
            }
            partitions.append(UInt16(claim))
        }
        guard !partitions.isEmpty else {
            throw ClientError(.invalidArgument, "a claim names at least one partition")
        }
        return partitions
    }

    private static func given<Value: FixedWidthInteger>(
        _ number: Int?,
        _ what: String
    ) throws(ClientError) -> Value? {
        guard let number else { return nil }
        let value: Value = try Self.number(number, what)
        return value
    }

    fileprivate static func number<Value: FixedWidthInteger>(
        _ number: Int,
        _ what: String,
        from least: Int = 1
    ) throws(ClientError) -> Value {
        guard number >= least, let value = Value(exactly: number) else {
            let text = "the \(what) is \(number), outside \(least) to \(Value.max)"
            throw ClientError(.invalidArgument, text)
        }
        return value
    }
}

extension SubscriptionOptions.Dispatcher {
    fileprivate var kind: DispatcherKind {
        switch self {
        case .demand: .demand
        case .fair: .fair
        case .broadcast: .broadcast
        case .partition: .partition
        case .exclusive: .exclusive
        case .independent: .independent
        }
    }
}

extension SubscriptionOptions.Rate {
    func limit() throws(ClientError) -> RateLimit {
        RateLimit(
            eventsPerSecond: try SubscriptionOptions.number(eventsPerSecond, "rate"),
            burst: try SubscriptionOptions.number(burst, "burst")
        )
    }
}

extension SubscriptionOptions.Lag {
    fileprivate func limit() throws(ClientError) -> LagLimit {
        let (policy, events): (LagPolicy, Int) =
            switch self {
            case .block: (.block, 0)
            case .dropOldest(let events): (.dropOldest, events)
            case .dropNewest(let events): (.dropNewest, events)
            case .detach(let events): (.detach, events)
            }
        guard policy != .block else { return .block }
        return LagLimit(policy, events: try SubscriptionOptions.number(events, "lag"))
    }
}

extension Duration {
    /// The next whole number of milliseconds, as far as an `Int` goes.
    fileprivate var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        let parts = attoseconds / 1_000_000_000_000_000
        let rest: Int64 = attoseconds % 1_000_000_000_000_000 > 0 ? 1 : 0
        let (whole, isMore) = seconds.multipliedReportingOverflow(by: 1_000)
        return isMore ? .max : Int(clamping: whole) + Int(parts + rest)
    }
}
