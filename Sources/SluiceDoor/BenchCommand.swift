package import ArgumentParser
import SluiceCore

/// `sluice bench`: how fast is it here.
package struct BenchCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure this broker from this machine, on a topic of its own.",
        discussion: """
            pub: producers alone, into a topic that drops its oldest events. sub: consumers \
            alone, out of a topic that was filled before. pipeline: both at once. latency: from \
            before the send to after the receipt, at a steady rate. It runs on the client \
            library as it is public, on the thread that reads and writes \
            (`SluiceClient.executor`).
            """,
        subcommands: [BenchPub.self, BenchSub.self, BenchPipeline.self, BenchLatency.self]
    )

    package init() {}
}

/// What the measurements have in common.
package struct BenchOptions: ParsableArguments {
    @Option(help: "How many events in all, such as 5M (or --duration).")
    package var events: EventCount?
    @Option(help: ArgumentHelp("How long (or --events).", valueName: "time"))
    package var duration: TimeSpan?
    @Option(help: "Bytes of a payload.") package var size = ByteCount(128)
    @Option(help: "What each consumer asks for at a time.")
    package var maxDemand = EventCount(10_000)
    @Option(help: "Events that a producer hands over together (default: 256 KiB of them).")
    package var batch: EventCount?
    @Option(help: "How many producers, each on a connection.") package var producers = 1
    @Option(help: "How many consumers, each on a connection.") package var consumers = 1
    @Flag(help: "Print the result as JSON, as -o json does.") package var json = false
    @Flag(help: "No progress bar.") package var noProgress = false
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func validate() throws {
        guard events == nil || duration == nil else {
            throw ValidationError("--events and --duration exclude each other")
        }
        guard producers > 0, consumers > 0, (batch?.value ?? 1) > 0, maxDemand.value > 1,
            (events?.value ?? 1) > 0
        else { throw ValidationError("numbers must be above 0, and --max-demand above 1") }
    }

    var isJSON: Bool { json || global.output == .json || global.output == .jsonl }
    var showsProgress: Bool { !noProgress && !global.quiet && Notice.isTerminal }

    /// How far to go where neither number nor time was given.
    func goal(events fallback: Int) -> BenchGoal {
        if let duration { return .time(duration.duration) }
        return .events(events?.value ?? fallback)
    }
}

package struct BenchPub: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "pub",
        abstract: "Producers alone."
    )
    @OptionGroup package var options: BenchOptions

    package init() {}

    package func run() async throws {
        var plan = BenchPlan(kind: "pub", options: options, goal: options.goal(events: 20_000_000))
        plan.onFull = .dropOldest
        plan.consumes = false
        try await BenchRun(plan).run()
    }
}

package struct BenchSub: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "sub",
        abstract: "Consumers alone."
    )
    @OptionGroup package var options: BenchOptions

    package init() {}

    package func validate() throws {
        guard options.duration == nil else {
            throw ValidationError("bench sub takes --events: it fills the topic before")
        }
    }

    package func run() async throws {
        var plan = BenchPlan(kind: "sub", options: options, goal: options.goal(events: 1_000_000))
        plan.fillsFirst = true
        try await BenchRun(plan).run()
    }
}

package struct BenchPipeline: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "pipeline",
        abstract: "Producers and consumers at once."
    )
    @OptionGroup package var options: BenchOptions

    package init() {}

    package func run() async throws {
        let goal = options.goal(events: 20_000_000)
        try await BenchRun(BenchPlan(kind: "pipeline", options: options, goal: goal)).run()
    }
}

package struct BenchLatency: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "latency",
        abstract: "The time from before the send to after the receipt."
    )
    @Option(help: ArgumentHelp("Events a second.", valueName: "n")) package var rate = 10_000.0
    @OptionGroup package var options: BenchOptions

    package init() {}

    package func validate() throws {
        guard rate > 0 else { throw ValidationError("--rate must be above 0") }
        guard options.size.value >= 8 else {
            throw ValidationError("--size must be at least 8: a payload carries its time")
        }
    }

    package func run() async throws {
        let goal = options.goal(events: Int(bounded: rate * 5))
        var plan = BenchPlan(kind: "latency", options: options, goal: goal)
        plan.rate = rate
        try await BenchRun(plan).run()
    }
}
