import SluiceCore

/// What Sluice's pure core does with a scenario, in the grammar of the recordings.
package struct Trace {
    /// What each step showed.
    package private(set) var steps: [[String]] = []
    /// The laws that were broken on the way, or what is not run.
    package private(set) var broken: [String] = []

    private let scenario: Scenario

    package init(of scenario: Scenario) {
        self.scenario = scenario
        guard let beginning = scenario.beginning, beginning.kind != .consumer else { return }
        var stage = TraceTopic(scenario, beginning)
        for step in scenario.steps {
            stage.run(step.action)
            stage.finishStep()
            steps.append(stage.lines)
            stage.lines = []
        }
        broken = stage.broken
    }

    /// The scenario with what it showed, as the recordings are written.
    package var text: String {
        var lines = ["", "scenario \(scenario.title)"]
        for (step, shown) in zip(scenario.steps, steps) {
            lines.append("> \(step.text)")
            lines += shown.map { "  \($0)" }
        }
        return lines.joined(separator: "\n")
    }
}

extension TraceTopic {
    mutating func run(_ action: Scenario.Action) {
        switch action {
        case .subscribe(let name, let member): subscribe(name, member)
        case .ask(let name, let events): ask(name, events)
        case .cancel(let name, let reason): cancel(name, "cancel", reason)
        case .kill(let name): kill(name)
        case .emit(let numbers): emit(numbers)
        case .accumulate(let accumulates): accumulate(accumulates)
        case .count: count()
        case .resubscribe(let old, let name, let member): resubscribe(old, name, member)
        case .mark(let text): mark(text)
        case .start, .receive, .cancelUpstream, .askUpstream: return
        }
    }
}
