package import ArgumentParser
package import Sluice
package import SluiceCore

/// How a group hands out events, by its name.
package struct KindArgument: ExpressibleByArgument, Sendable {
    package let kind: SubscriptionOptions.Dispatcher

    package init?(argument: String) {
        guard let kind = SubscriptionOptions.Dispatcher(rawValue: argument) else { return nil }
        self.kind = kind
    }

    package static var allValueStrings: [String] {
        SubscriptionOptions.Dispatcher.allCases.map(\.rawValue)
    }
}

/// How far a consumer may fall behind, as people write it: `block`, or `drop-oldest:1000`.
package struct LagArgument: ExpressibleByArgument, Sendable {
    package let limit: LagLimit

    package init?(argument: String) {
        guard let limit = LagLimit(argument) else { return nil }
        self.limit = limit
    }

    package static var allValueStrings: [String] { LagPolicy.allCases.map(\.name) }

    package var lag: SubscriptionOptions.Lag {
        switch limit.policy {
        case .block: .block
        case .dropOldest: .dropOldest(events: Int(limit.events))
        case .dropNewest: .dropNewest(events: Int(limit.events))
        case .detach: .detach(events: Int(limit.events))
        }
    }
}

/// Partitions as people write them: `0,3`.
package struct ClaimArgument: ExpressibleByArgument, Sendable {
    package let partitions: [Int]

    package init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        partitions = parts.compactMap { Int($0) }
        guard partitions.count == parts.count else { return nil }
    }
}

/// A filter as people write it; what is wrong with it is said when it is looked at.
package struct FilterArgument: ExpressibleByArgument, Sendable {
    package let text: String

    package init?(argument: String) { text = argument }

    func filter() throws -> EventFilter {
        do {
            return try EventFilter(text)
        } catch {
            throw ValidationError("--filter: \(error.message)")
        }
    }
}

/// The flags of `sluice sub` that say how it joins its group.
package struct MembershipFlags: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How its group hands out events: demand, fair, broadcast, partition, exclusive or "
                + "independent (default: as the topic has it).",
            valueName: "kind"
        )
    )
    package var dispatcher: KindArgument?
    @Option(help: ArgumentHelp("Its share in a fair group, against 1 of others.", valueName: "n"))
    package var weight: Int?
    @Option(help: ArgumentHelp("Higher ones are served first, 0 to 255.", valueName: "n"))
    package var priority: Int?
    @Option(
        help: ArgumentHelp(
            "When it falls behind, alone: block, drop-oldest:N, drop-newest:N or detach:N.",
            valueName: "policy"
        )
    )
    package var lag: LagArgument?
    @Option(help: ArgumentHelp("How many partitions a new group has.", valueName: "n"))
    package var partitions: Int?
    @Option(help: ArgumentHelp("The partitions that it wants, such as 0,3.", valueName: "list"))
    package var claim: ClaimArgument?
    @Option(
        help: ArgumentHelp(
            "Only events such as: key ^= \"eu-\" and not header.kind in (\"a\", \"b\").",
            valueName: "condition"
        )
    )
    package var filter: FilterArgument?
    @Option(help: ArgumentHelp("Only one in so many events.", valueName: "n"))
    package var sample: EventCount?
    @Option(help: ArgumentHelp("Let events wait until so many go at once.", valueName: "n"))
    package var batchMax: EventCount?
    @Option(help: ArgumentHelp("How long they may wait (default: 100ms).", valueName: "time"))
    package var batchWait: TimeSpan?
    @OptionGroup package var pace: RateFlags
    @Flag(help: "The group ends with its last link.")
    package var ephemeral = false
    @Option(
        help: ArgumentHelp(
            "Put a member of the broadcast out that keeps others waiting so long.",
            valueName: "time"
        )
    )
    package var patience: TimeSpan?

    package init() {}

    package func validate() throws {
        guard batchWait == nil || batchMax != nil else {
            throw ValidationError("--batch-wait needs --batch-max")
        }
        _ = try filter?.filter()
    }

    var groupRules: SubscriptionOptions.GroupRules {
        var rules = SubscriptionOptions.GroupRules()
        rules.dispatcher = dispatcher?.kind
        rules.partitions = partitions
        rules.lag = lag?.lag
        rules.isEphemeral = ephemeral ? true : nil
        rules.patience = patience?.duration
        return rules
    }

    func membership() throws -> SubscriptionOptions.Membership {
        var membership = SubscriptionOptions.Membership()
        membership.weight = weight
        membership.priority = priority ?? 0
        membership.claims = claim?.partitions
        membership.filter = try filter?.filter()
        membership.sampleOneIn = sample?.value ?? 1
        membership.batching = batchMax.map { most in
            SubscriptionOptions.Batching(
                eventsMax: most.value,
                wait: batchWait?.duration ?? .milliseconds(100)
            )
        }
        membership.rate = pace.limit.map { limit in
            SubscriptionOptions.Rate(
                eventsPerSecond: Int(limit.eventsPerSecond),
                burst: Int(limit.burst)
            )
        }
        return membership
    }
}
