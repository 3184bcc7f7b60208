import SluiceCore

/// What Sluice's pure core does with a scenario, in the grammar of the recordings.
package struct Trace {
    /// What each step showed.
    package private(set) var steps: [[String]] = []
    /// The laws that were broken on the way.
    package private(set) var broken: [String] = []

    private let scenario: Scenario

    package init(of scenario: Scenario) {
        self.scenario = scenario
        guard let beginning = scenario.beginning else { return }
        switch beginning.kind {
        case .bare, .stage:
            var stage = TraceTopic(scenario, beginning)
            for step in scenario.steps {
                stage.run(step.action)
                steps.append(stage.takeLines())
            }
            broken = stage.broken
        case .processor:
            var processor = TraceProcessor(scenario, beginning)
            for step in scenario.steps {
                processor.run(step.action)
                steps.append(processor.takeLines())
            }
            broken = processor.broken
        case .consumer:
            var input = TraceInput(beginning)
            steps = scenario.steps.map { input.run($0.action) }
        }
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
