package import ArgumentParser

/// The root of the command line.
package struct SluiceCommand: AsyncParsableCommand {
    package static let version = "0.1.0"

    package static let configuration = CommandConfiguration(
        commandName: "sluice",
        abstract: "A message broker in which nothing moves until someone asks for it.",
        discussion: """
            Data goes to standard output, everything else to standard error. Output is a table \
            on a terminal; in a pipe it is JSON Lines for lists and the bare payload for events.

            Each flag has a twin in the environment: --max-demand is SLUICE_MAX_DEMAND. \
            A flag wins over its twin.

            Exit codes:
              0    done
              1    an error that has no code of its own
              3    no broker, no answer in time, or the connection was lost
              4    not allowed
              5    no such topic or group
              6    it exists already
              7    refused by a limit or a full buffer
              8    fewer events than --count asked for came in time
              9    the command of 'sluice pipe' failed
              10   the broker is there but not well
              64   wrong usage
              130  interrupted (Ctrl-C)
              141  the reader of the output went away (quietly, as after '| head -1')
              143  terminated (SIGTERM)
            """,
        version: version,
        subcommands: [
            ServeCommand.self, PubCommand.self, SubCommand.self, DemandCommand.self,
            PipeCommand.self, WhyCommand.self, TopicCommand.self, GroupCommand.self,
            ConnCommand.self, ProducerCommand.self, ConsumerCommand.self, PingCommand.self,
            BenchCommand.self,
        ]
    )

    package init() {}
}
