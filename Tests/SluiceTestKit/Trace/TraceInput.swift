import SluiceCore

/// What a consumer asks of the one subscription that a scenario gives it, and when it ends.
struct TraceInput {
    private var window: DemandWindow?
    private let cancel: CancelRule
    private let first: UInt64
    private(set) var isSubscribed = true
    private(set) var hasStopped = false

    init(_ beginning: Scenario.Beginning) {
        var window = DemandWindow(max: beginning.maxDemand, min: beginning.minDemand)
        first = beginning.isManual ? 0 : window.open()
        self.window = beginning.isManual ? nil : window
        cancel = beginning.cancel
    }

    /// What a step shows of a consumer that handles everything at once.
    mutating func run(_ action: Scenario.Action) -> [String] {
        guard !hasStopped else { return [] }
        switch action {
        case .start: return asking(first)
        case .askUpstream(let events): return asking(events)
        case .receive(let numbers):
            // Nothing comes of a subscription that has ended.
            guard isSubscribed else { return [] }
            return split(numbers).flatMap { batch in
                [TraceTopic.line("+ handled", batch.numbers)] + asking(batch.ask)
            }
        case .cancelUpstream(let reason):
            guard isSubscribed else { return [] }
            leave()
            return end(reason)
        case .count: return ["@ buffered 0"]
        default: return []
        }
    }

    /// The batches of what came at once, each with what is asked when it is done.
    mutating func split(_ numbers: [Int]) -> [(numbers: [Int], ask: UInt64)] {
        guard isSubscribed, let batches = window?.split(UInt64(numbers.count)) else {
            return [(numbers, 0)]
        }
        var rest = numbers[...]
        return batches.map { batch in
            defer { rest = rest.dropFirst(Int(batch.events)) }
            return (Array(rest.prefix(Int(batch.events))), batch.ask)
        }
    }

    func asking(_ events: UInt64) -> [String] { events > 0 ? ["^ ask \(events)"] : [] }

    /// The subscription is gone: nothing more is asked.
    mutating func leave() { isSubscribed = false }

    /// Handles the end of the subscription.
    mutating func end(_ reason: String) -> [String] {
        let isPeaceful = reason == "normal" || reason == "shutdown"
        hasStopped = cancel.ends(hasFailed: !isPeaceful)
        return ["% cancel cancel :\(reason) upstream"] + (hasStopped ? ["$ stopped"] : [])
    }
}
