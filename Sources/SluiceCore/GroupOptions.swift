/// What a consumer that lags too far behind the head of its topic has to expect.
package enum LagPolicy: UInt8, Sendable, CaseIterable {
    /// Producers wait for it: nothing is lost.
    case block = 0
    /// It loses the oldest of what waits for it.
    case dropOldest = 1
    /// It loses what comes while too much waits for it.
    case dropNewest = 2
    /// Its link is closed with LAGGED.
    case detach = 3
}

/// How far an independent consumer may lag, and what happens then.
package struct LagLimit: Hashable, Sendable {
    package var policy: LagPolicy
    /// Events that may wait for it; 0 with `block`.
    package var events: UInt32

    package init(_ policy: LagPolicy, events: UInt32 = 0) {
        self.policy = policy
        self.events = events
    }

    package static let block = LagLimit(.block)
}

/// Events per second that may pass, withheld as demand and never dropped.
package struct RateLimit: Hashable, Sendable {
    package var eventsPerSecond: UInt32
    /// Events that may pass at once after a time of rest; at least 1.
    package var burst: UInt32

    package init(eventsPerSecond: UInt32, burst: UInt32) {
        self.eventsPerSecond = eventsPerSecond
        self.burst = burst
    }
}

/// Deliveries that wait until they are worth it.
package struct BatchRule: Hashable, Sendable {
    /// Events of one delivery at most; with so many there is no waiting.
    package var eventsMax: UInt32
    /// How long the first event of a delivery may wait for more.
    package var waitMilliseconds: UInt32

    package init(eventsMax: UInt32, waitMilliseconds: UInt32) {
        self.eventsMax = eventsMax
        self.waitMilliseconds = waitMilliseconds
    }
}

/// What a consumer wishes of the group that it joins: the first to open it decides.
///
/// What is nil is as the topic has it, and agrees with any group.
package struct GroupWish: Hashable, Sendable {
    package var dispatcher: DispatcherKind?
    /// Only with `partition`.
    package var partitions: UInt16?
    /// Only with `independent`.
    package var lag: LagLimit?
    /// The group ends with its last link.
    package var isEphemeral: Bool?
    /// Only with `broadcast`: how long a member may have no credit while others wait for it.
    package var patienceMilliseconds: UInt32?

    package init() {}
}

/// What a consumer says of its own place among the members.
package struct MemberOptions: Hashable, Sendable {
    /// Only with `fair`: its share is in proportion.
    package var weight: UInt16?
    /// Members with a higher one are served first.
    package var priority: UInt8 = 0
    /// Only with `partition`: those it wants; nil for an even share of what nobody claims.
    package var claims: [UInt16]?
    /// What it wants; the others are refused at no cost.
    package var filter: Filter?
    /// One in so many events, the others are refused at no cost.
    package var sampleOneIn: UInt32 = 1
    package var batch: BatchRule?
    package var rate: RateLimit?

    package init() {}
}
