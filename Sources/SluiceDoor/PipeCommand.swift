package import ArgumentParser
import Sluice

/// `sluice pipe`: makes a command a processor from one topic to another.
package struct PipeCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "pipe",
        abstract: "Make any command a processor between two topics, driven by demand.",
        usage: "sluice pipe [OPTIONS] FROM TO -- COMMAND [ARGUMENT ...]",
        discussion: """
            Events of FROM go to the command's standard input, a line each; each line of its \
            standard output is published to TO. FROM is asked for no more than consumers of TO \
            asked for and the command takes: if it stops reading, or nobody wants its output, \
            nothing more is asked. Between the two there are the pipes of the system (64 KiB \
            each), one piece of output on its way, and what the command keeps to itself.

              sluice pipe words loud -- tr a-z A-Z
              sluice pipe log errors --group errors -- grep --line-buffered ERROR
              sluice pipe numbers sorted --exit-at-end -- sort -n
              sluice pipe photos small --fresh -- convert - -resize 50% -

            Most commands keep output back until there is much of it: stdbuf -oL, or a switch of \
            their own, has them write each line at once.

            --fresh runs the command anew for each event, with the payload alone on its standard \
            input and EVENT_TOPIC, EVENT_OFFSET, EVENT_KEY in the environment; all it writes is \
            one event, with the key and the headers of the one that it was given.

            The end of FROM (sluice pub --end) is passed on: with --until-end or --exit-at-end \
            behind all that the command wrote, with --fresh in its place. Markers of producers are \
            passed on with --fresh; without, nobody knows which output belongs before them.

            Each event is given to the command at most once. What it was given and has not \
            answered when it, this program or the broker dies is lost; so is what was on its way \
            when the command ends early (at most --max-demand and a pipe full), and what of \
            that is known is told.

            Ctrl-C and SIGTERM ask for no more, end the command's input, publish the rest and \
            exit; a second one ends at once. If the command fails, what it wrote is published, \
            and the exit code is 9.
            """
    )

    @Argument(help: ArgumentHelp("The topic to read.", valueName: "from"))
    package var source: String
    @Argument(help: ArgumentHelp("The topic to publish to.", valueName: "to"))
    package var target: String
    @Argument(
        parsing: .postTerminator,
        help: ArgumentHelp("The command, after '--', with its arguments.", valueName: "command")
    )
    package var command: [String] = []

    @Option(name: [.short, .long], help: "Join this group of FROM (default: the topic's own).")
    package var group: String?
    @Option(help: "Ask for at most so many at a time (default: 1000, with --fresh 1).")
    package var maxDemand: EventCount?
    @Option(name: [.customShort("n"), .long], help: "End after so many; never asks for more.")
    package var count: EventCount?
    @Option(
        help: ArgumentHelp("Where a new group begins: new, first or an offset.", valueName: "at")
    )
    package var from: StartArgument?
    @Flag(help: "End when nothing waits any more (DRAIN).")
    package var exitAtEnd = false
    @Flag(help: "End when all producers of FROM have said that nothing more comes (END).")
    package var untilEnd = false
    @Option(
        name: [.short, .long],
        help: "Write events like this; see 'sluice help sub' (default: %s and what --each ends)."
    )
    package var format: String?
    @Option(help: "What of the output is one event: line (default), nul, eof (with --fresh).")
    package var each: Each?
    @Flag(help: "Run the command anew for each event.")
    package var fresh = false
    @Flag(help: "Connect again when the connection is lost, for as long as it takes.")
    package var reconnect = false
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func validate() throws {
        guard !command.isEmpty else { throw ValidationError("name a command, after --") }
        guard (maxDemand?.value ?? 1) > 0 else {
            throw ValidationError("--max-demand must be above 0")
        }
        guard (count?.value ?? 1) > 0 else { throw ValidationError("--count must be above 0") }
        guard !exitAtEnd || !untilEnd else {
            throw ValidationError("--exit-at-end and --until-end exclude each other")
        }
        guard each != .file else { throw ValidationError("--each takes line, nul or eof here") }
    }

    private var piece: Each { each ?? (fresh ? .eof : .line) }

    /// By default the input is cut as the output is; a command that is fresh has it all.
    private var inputFormat: String {
        if let format { return format }
        if fresh { return "%s" }
        return piece == .nul ? #"%s\0"# : "%s%n"
    }

    package func run() async throws {
        let pipe = Pipe(
            source: source,
            target: target,
            command: command,
            format: try EventFormat(inputFormat),
            each: piece,
            group: group,
            start: from?.start,
            mostDemand: maxDemand?.value ?? (fresh ? 1 : 1_000),
            count: count?.value,
            exitAtEnd: exitAtEnd,
            untilEnd: untilEnd
        )
        try await global.withClient(reconnect: reconnect ? ReconnectPolicy() : .never) { client in
            if fresh {
                try await pipe.runFresh(client)
            } else {
                try await pipe.run(client, note: global.note)
            }
        }
    }
}
