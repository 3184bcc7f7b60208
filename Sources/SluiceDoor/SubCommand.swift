package import ArgumentParser
package import Sluice

/// Where a new group begins, as people write it.
package struct StartArgument: ExpressibleByArgument, Sendable {
    package let start: SubscriptionOptions.Start

    package init?(argument: String) {
        switch argument {
        case "new": start = .new
        case "first": start = .first
        default:
            guard let offset = UInt64(argument) else { return nil }
            start = .offset(offset)
        }
    }
}

/// `sluice sub`: consumes by demand until it is stopped.
package struct SubCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "sub",
        abstract: "Consume events of a topic, by demand.",
        discussion: """
            Asks for --max-demand events, and for more whenever no more than --min-demand are \
            outstanding. In a pipe the payloads come bare, a newline after each; \
            --format '%s' leaves the newline out.

            --format: %t topic, %o offset, %k key, %s payload, %h headers, %T time, %n newline, \
            %% percent; \\n, \\t, \\0, \\\\.

            A marker of a producer, and the end of the stream, are told on standard error in \
            their place; --until-end ends there.

            --exec runs its command once an event, with the payload on standard input and \
            EVENT_TOPIC, EVENT_OFFSET, EVENT_KEY in the environment; the next event is asked for \
            when the command has ended with 0.
            """
    )

    @Argument(help: "The topic.") package var topic: String
    @Option(name: [.short, .long], help: "Join this group (default: the topic's own).")
    package var group: String?
    @Option(help: "Ask for at most so many at a time (default: 1000, with --exec 1).")
    package var maxDemand: EventCount?
    @Option(help: "Ask again when so many are outstanding (default: half of --max-demand).")
    package var minDemand: EventCount?
    @Option(name: [.customShort("n"), .long], help: "End after so many; never asks for more.")
    package var count: EventCount?
    @Option(
        help: ArgumentHelp("Where a new group begins: new, first or an offset.", valueName: "at")
    )
    package var from: StartArgument?
    @Option(name: [.short, .long], help: "Print events like this.")
    package var format: String?
    @Option(help: ArgumentHelp("Run this for each event.", valueName: "command"))
    package var exec: String?
    @Flag(help: "End when nothing waits any more (DRAIN).")
    package var exitAtEnd = false
    @Flag(help: "End when all producers have said that nothing more comes (END).")
    package var untilEnd = false
    @Option(help: ArgumentHelp("End when nothing came for so long.", valueName: "time"))
    package var idleTimeout: TimeSpan?
    @Flag(help: "Connect again when the connection is lost, for as long as it takes.")
    package var reconnect = false
    @OptionGroup(title: "How it joins its group") package var flags: MembershipFlags
    @OptionGroup package var global: GlobalOptions

    package init() {}

    private var mostDemand: Int { maxDemand?.value ?? (exec == nil ? 1_000 : 1) }
    private var leastDemand: Int { minDemand?.value ?? mostDemand / 2 }

    package func validate() throws {
        guard mostDemand > 0 else { throw ValidationError("--max-demand must be above 0") }
        guard leastDemand < mostDemand else {
            throw ValidationError("--min-demand must be below --max-demand")
        }
        guard (count?.value ?? 1) > 0 else { throw ValidationError("--count must be above 0") }
        guard !exitAtEnd || !untilEnd else {
            throw ValidationError("--exit-at-end and --until-end exclude each other")
        }
        guard format == nil || exec == nil else {
            throw ValidationError("--format and --exec exclude each other")
        }
    }

    package func run() async throws {
        var consumption = Consumption(
            topic: topic,
            group: group,
            start: from?.start,
            maxDemand: mostDemand,
            minDemand: leastDemand,
            count: count?.value,
            exitAtEnd: exitAtEnd,
            idleTimeout: idleTimeout
        )
        consumption.untilEnd = untilEnd
        consumption.groupRules = flags.groupRules
        consumption.membership = try flags.membership()
        try await consumption.print(
            format: format,
            exec: exec,
            reconnect: reconnect ? ReconnectPolicy() : .never,
            options: global
        )
    }
}

/// `sluice demand`: asks for exactly so many events.
package struct DemandCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "demand",
        abstract: "Ask for exactly N events, print them, and end.",
        discussion: "Waits until all have come, however long that takes, or for --idle-timeout."
    )

    @Argument(help: "The topic.") package var topic: String
    @Argument(help: "How many.") package var events: EventCount
    @Option(name: [.short, .long], help: "Join this group (default: the topic's own).")
    package var group: String?
    @Option(name: [.short, .long], help: "Print events like this; see 'sluice help sub'.")
    package var format: String?
    @Option(help: ArgumentHelp("End when nothing came for so long.", valueName: "time"))
    package var idleTimeout: TimeSpan?
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func validate() throws {
        guard events.value > 0 else { throw ValidationError("ask for at least one event") }
    }

    package func run() async throws {
        let consumption = Consumption(
            topic: topic,
            group: group,
            maxDemand: events.value,
            minDemand: 0,
            count: events.value,
            idleTimeout: idleTimeout,
            name: "sluice-demand"
        )
        try await consumption.print(format: format, exec: nil, options: global)
    }
}

extension Consumption {
    /// Connects, reads, and prints or runs a command for each event.
    func print(
        format: String?,
        exec: String?,
        reconnect: ReconnectPolicy = .never,
        options: GlobalOptions
    ) async throws {
        let writer = try EventWriter(topic: topic, format: format, options: options)
        try await options.withClient(reconnect: reconnect) { client in
            do {
                try await run(client, note: options.note) { batch in
                    guard let exec else { return try writer.write(batch) }
                    for event in batch {
                        try await ExecutedCommand(line: exec).run(event, topic: topic)
                    }
                }
            } catch let failure as Failure where failure.exit != .brokenPipe {
                try writer.finish()
                throw failure
            }
            try writer.finish()
        }
    }
}
