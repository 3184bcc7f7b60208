// Options as people write them, on the command line and in requests.

extension LagPolicy {
    package var name: String {
        switch self {
        case .block: "block"
        case .dropOldest: "drop-oldest"
        case .dropNewest: "drop-newest"
        case .detach: "detach"
        }
    }

    package init?(name: some StringProtocol) {
        guard let policy = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = policy
    }
}

extension LagLimit: CustomStringConvertible {
    /// `block`, or the policy and the events: `drop-oldest:1000`.
    package var description: String {
        policy == .block ? policy.name : "\(policy.name):\(events)"
    }

    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let policy = LagPolicy(name: parts[0]) else { return nil }
        if policy == .block, parts.count == 1 {
            self = .block
            return
        }
        guard policy != .block, parts.count == 2, let events = UInt32(parts[1]), events > 0 else {
            return nil
        }
        self.init(policy, events: events)
    }
}

extension DispatcherKind {
    package init?(name: some StringProtocol) {
        guard let kind = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
        self = kind
    }
}
