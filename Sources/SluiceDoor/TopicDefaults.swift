package import ArgumentParser
package import Sluice
import SluiceCore
import SluiceWire

/// The dispatcher of a topic's groups, as people write it: `demand`, or `partition:8`.
package struct DispatcherArgument: ExpressibleByArgument, Sendable {
    package let kind: SubscriptionOptions.Dispatcher
    /// With `partition` only, and always.
    package let partitions: UInt16?

    package init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        guard let kind = SubscriptionOptions.Dispatcher(rawValue: String(parts[0])) else {
            return nil
        }
        self.kind = kind
        guard kind == .partition else {
            guard parts.count == 1 else { return nil }
            partitions = nil
            return
        }
        guard parts.count == 2, let count = UInt16(parts[1]), count > 0,
            count <= Limits.partitionsMax
        else { return nil }
        partitions = count
    }

    package static var allValueStrings: [String] {
        SubscriptionOptions.Dispatcher.allCases.map { kind in
            kind == .partition ? "partition:" : kind.rawValue
        }
    }
}

/// The flags of `sluice topic create` on new groups and on rates.
package struct TopicDefaults: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How a new group shares it that does not say: demand (default), fair, broadcast, "
                + "partition:N, exclusive, or independent (with a name: demand).",
            valueName: "kind"
        )
    )
    package var dispatcher: DispatcherArgument?
    @Option(
        help: ArgumentHelp(
            "When an independent consumer falls behind: block, drop-oldest:N, drop-newest:N or "
                + "detach:N.",
            valueName: "policy"
        )
    )
    package var lag: LagArgument?
    @OptionGroup package var pace: RateFlags
    @Flag(help: "The topic ends with its last link.")
    package var ephemeral = false

    package init() {}

    package func validate() throws {
        guard lag == nil || dispatcher?.kind == .independent else {
            throw ValidationError("--lag needs --dispatcher independent")
        }
    }

    func enter(into request: inout Snapshot.Request) {
        request.dispatcher = dispatcher?.kind.rawValue
        request.partitions = dispatcher?.partitions
        request.lag = lag?.limit.policy.name
        request.maxLag = lag.flatMap { $0.limit.policy == .block ? nil : $0.limit.events }
        request.rate = pace.limit?.eventsPerSecond
        request.burst = pace.limit?.burst
        request.isEphemeral = ephemeral ? true : nil
    }
}
