import SluiceCore

/// A consumer that sends what it handled to a topic, as GenStage's `producer_consumer`.
///
/// What comes is parked, and handled message by message as `Parking` allows.
struct TraceProcessor {
    private enum Parked {
        case events([Int])
        case end(String)
        case marker(String)

        var kind: Parking.First {
            if case .events = self { .events } else { .word }
        }
    }

    private var input: TraceInput
    private var output: TraceTopic
    private var parked: [Parked] = []

    var broken: [String] { output.broken }

    init(_ scenario: Scenario, _ beginning: Scenario.Beginning) {
        input = TraceInput(beginning)
        output = TraceTopic(scenario, beginning)
    }

    mutating func run(_ action: Scenario.Action) {
        guard !input.hasStopped else { return }
        switch action {
        case .start, .askUpstream: output.lines += input.run(action)
        case .receive(let numbers):
            guard input.isSubscribed else { return }
            parked.append(.events(numbers))
        case .cancelUpstream(let reason):
            guard input.isSubscribed else { return }
            input.leave()
            take(.end(reason))
        case .mark(let text): take(.marker(text))
        default: output.run(action)
        }
        handle()
    }

    mutating func takeLines() -> [String] { output.takeLines() }

    /// What is no event and finds nothing parked is handled at once.
    private mutating func take(_ message: Parked) {
        if parked.isEmpty { handle(message) } else { parked.append(message) }
    }

    private mutating func handle() {
        while let first = parked.first?.kind, !input.hasStopped,
            Parking.wholeMessages.allowance(for: first, asked: output.topic.granted) != nil
        {
            handle(parked.removeFirst())
        }
    }

    private mutating func handle(_ message: Parked) {
        switch message {
        case .events(let numbers):
            for batch in input.split(numbers) {
                output.lines.append(TraceTopic.line("+ handled", batch.numbers))
                _ = output.take(batch.numbers)
                output.lines += input.asking(batch.ask)
            }
        case .end(let reason): output.lines += input.end(reason)
        case .marker(let text): output.mark(text)
        }
    }
}
