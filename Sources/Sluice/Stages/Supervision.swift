/// Whether a stage, or the task of an event, begins anew after it has ended.
public enum Restart: Hashable, Sendable, CaseIterable {
    /// Always: it is never done.
    case permanent
    /// If it failed; if it returned it is done.
    case transient
    /// Never.
    case temporary

    func applies(afterFailure isFailure: Bool) -> Bool {
        switch self {
        case .permanent: true
        case .transient: isFailure
        case .temporary: false
        }
    }
}

/// How many restarts are borne before it is the supervisor that fails: OTP's intensity and period.
public struct RestartLimit: Hashable, Sendable {
    /// Restarts within one period; one more is too many.
    public var intensity: Int
    /// How long a restart counts.
    public var period: Duration

    /// Makes a limit; 3 restarts within 5 seconds, as Elixir's supervisors have it.
    public init(intensity: Int = 3, period: Duration = .seconds(5)) {
        self.intensity = intensity
        self.period = period
    }
}

/// Counts restarts against their limit.
package struct RestartCount: Sendable {
    private let limit: RestartLimit
    /// When those of the running period were.
    private var times: [ContinuousClock.Instant] = []

    package init(_ limit: RestartLimit) { self.limit = limit }

    /// Enters a restart; false if it is one too many.
    package mutating func add(at now: ContinuousClock.Instant) -> Bool {
        times.removeAll { now - $0 > limit.period }
        times.append(now)
        return times.count <= limit.intensity
    }
}

/// What a supervisor does when a child ends or when it is told to end itself, as a value.
// due ∩ running = ∅; nothing is started while a child of a restart is still stopping
package struct Supervision: Sendable {
    /// How the children depend on each other.
    package enum Shape: Sendable {
        /// Each on those before it: OTP's `rest_for_one`.
        case chain
        /// Not at all: OTP's `one_for_one`.
        case peers
    }

    /// What is to be done with the child of this number.
    package enum Effect: Hashable, Sendable {
        case start(Int)
        case drain(Int)
        case stop(Int)
    }

    private enum Phase {
        /// Next: `draining`, `stopping`.
        case running
        /// Nobody is restarted. Next: `stopping`.
        case draining
        /// For good.
        case stopping
    }

    private enum Child {
        case running
        /// Told to come to its end.
        case draining
        /// To begin anew, or for good.
        case stopping
        case ended
    }

    private let shape: Shape
    private let policies: [Restart]
    private var restarts: RestartCount
    private var phase = Phase.running
    private var children: [Child]
    /// Those that begin anew as soon as all that must have stopped.
    private var due: Set<Int> = []
    /// Whether there were more restarts than the limit allows.
    package private(set) var hasGivenUp = false

    package init(_ shape: Shape, _ policies: [Restart], _ limit: RestartLimit) {
        self.shape = shape
        self.policies = policies
        restarts = RestartCount(limit)
        children = policies.map { _ in .ended }
    }

    /// Whether no child is left.
    package var isOver: Bool { due.isEmpty && children.allSatisfy { $0 == .ended } }

    /// Whether the children come to their ends one after the other, or at once.
    package var isDraining: Bool { phase == .draining }

    /// The children that have not ended.
    package var living: [Int] { children.indices.filter { children[$0] != .ended } }
}

extension Supervision {
    /// Begins with all children.
    package mutating func start() -> [Effect] {
        due = Set(children.indices)
        return startDue()
    }

    package mutating func ended(
        _ child: Int,
        failed: Bool,
        at now: ContinuousClock.Instant
    ) -> [Effect] {
        let was = children[child]
        children[child] = .ended
        guard phase == .running else { return drainNext() }
        if was == .stopping { return startDue() }
        // Who was told to come to its end and did is done, whatever its policy.
        guard failed || was != .draining, policies[child].applies(afterFailure: failed) else {
            return drainNext()
        }
        guard restarts.add(at: now) else {
            hasGivenUp = true
            return stop()
        }
        due.insert(child)
        return stopDependents(of: child) + startDue()
    }

    /// Has all children come to their end: those of a chain one after the other, peers at once.
    package mutating func drain() -> [Effect] {
        guard phase == .running else { return [] }
        phase = .draining
        due = []
        return drainNext()
    }

    /// Stops all children.
    package mutating func stop() -> [Effect] {
        phase = .stopping
        due = []
        return stop(children.indices)
    }

    private mutating func stopDependents(of child: Int) -> [Effect] {
        guard shape == .chain else { return [] }
        let dependents = (child + 1)..<children.count
        // What they had done is to be done anew: OTP starts those again that had ended, too.
        due.formUnion(dependents.filter { policies[$0] != .temporary })
        return stop(dependents)
    }

    private mutating func stop(_ range: Range<Int>) -> [Effect] {
        range.compactMap { index in
            guard children[index] == .running || children[index] == .draining else { return nil }
            children[index] = .stopping
            return .stop(index)
        }
    }

    private mutating func startDue() -> [Effect] {
        guard !children.contains(.stopping) else { return [] }
        let starting = due.sorted()
        due = []
        for index in starting { children[index] = .running }
        return starting.map { .start($0) } + drainNext()
    }

    /// A child of a chain comes to its end when those before it have.
    private mutating func drainNext() -> [Effect] {
        guard phase != .stopping else { return [] }
        let next: Range<Int>
        switch shape {
        case .chain:
            guard due.isEmpty, let first = children.firstIndex(where: { $0 != .ended }),
                first > 0 || phase == .draining
            else { return [] }
            next = first..<(first + 1)
        case .peers:
            guard phase == .draining else { return [] }
            next = children.indices
        }
        return next.compactMap { index in
            guard children[index] == .running else { return nil }
            children[index] = .draining
            return .drain(index)
        }
    }
}
