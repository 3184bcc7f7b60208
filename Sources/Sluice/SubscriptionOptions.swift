/// How a subscription joins a topic and when it asks.
public struct SubscriptionOptions: Sendable {
    /// When a subscription asks for events.
    public enum Demand: Sendable, Hashable {
        /// By GenStage's rule: `max` at first, then the difference whenever no more than `min`
        /// are outstanding; a batch counts as processed when the next one is asked for.
        case automatic(max: Int, min: Int)
        /// Only what `ask` asks.
        case manual
    }

    /// Where a group that is new begins to read.
    public enum Start: Sendable, Hashable {
        /// What is published from now on.
        case new
        /// The oldest event that the topic still holds.
        case first
        /// This offset.
        case offset(UInt64)
        /// The first event taken at or after this, in microseconds since 1970 (UTC).
        case time(UInt64)
    }

    /// The group to join, whose members share the events; nil for the topic's default group.
    ///
    /// At most 200 bytes, without spaces, control and invisible characters, as all names.
    public var group: String?
    /// Where the group begins if it is new; nil leaves it to the broker.
    public var start: Start?
    /// When events are asked for; 1000 and 500 by default.
    public var demand: Demand
    /// Bytes of records that may be outstanding at one time, 1 to 1,073,741,824; nil sets no limit.
    public var maxDemandBytes: Int?
    /// Whether the sequence ends with the topic's end, when producers have said `Producer.end`.
    ///
    /// It ends behind the last event; what was sent since the end and is on its way is handed out
    /// too. `false` by default: the end is only told, in `EventBatch.marks`.
    public var stopsAtEnd = false
    /// The name under which the broker lists the link; at most 200 bytes.
    public var name: String?
    /// What it wishes of the group: the dispatcher, and what belongs to that.
    public var groupRules = GroupRules()
    /// What it says of its place in the group: a filter, a rate, a weight.
    public var membership = Membership()

    /// Makes options.
    public init(
        group: String? = nil,
        start: Start? = nil,
        demand: Demand = .automatic(max: 1_000, min: 500),
        maxDemandBytes: Int? = nil,
        name: String? = nil
    ) {
        self.group = group
        self.start = start
        self.demand = demand
        self.maxDemandBytes = maxDemandBytes
        self.name = name
    }
}

/// What became of what a subscription asked for.
///
/// It counts on over lost connections, also when the broker has forgotten the link and what was
/// outstanding is asked for anew.
public struct SubscriptionCounts: Hashable, Sendable {
    /// Events asked for on the link.
    public var asked: UInt64 = 0
    /// Events received on the link.
    public var delivered: UInt64 = 0
    /// Events asked for that the broker declared it will not deliver.
    public var forfeited: UInt64 = 0
    /// Events announced in gaps.
    public var missing: UInt64 = 0
    /// Events received and thrown away because the subscription was cancelled.
    public var discarded: UInt64 = 0
    /// Marks thrown away because 1,024 waited to be taken: the oldest go, markers before ends.
    public var missedMarks: UInt64 = 0
    /// Times the link went on after a lost connection.
    public var resumed: UInt64 = 0

    /// Asked for and neither delivered nor forfeited.
    public var credit: UInt64 { asked - delivered - forfeited }
}
