package import ArgumentParser
import SluiceWire

/// The number of a link, as the lists of links show it: `12/3`.
package struct LinkNumber: ExpressibleByArgument, Sendable {
    let connection: UInt64
    let link: UInt32

    package init?(argument: String) {
        let parts = argument.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let connection = UInt64(parts[0]), let link = UInt32(parts[1])
        else { return nil }
        self.connection = connection
        self.link = link
    }

    var kick: Snapshot.Kick { Snapshot.Kick(connection: connection, link: link) }
    var text: String { "\(connection)/\(link)" }
}

package struct ConnKick: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "kick",
        abstract: "End a connection with all its links; its client is told KICKED, and stays away."
    )

    @Argument(help: "The number that 'sluice conn ls' shows.") package var connection: UInt64
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        try await global.request(
            Snapshot.Kick(connection: connection),
            done: "ended connection \(connection)"
        )
    }
}

package struct ProducerKick: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "kick",
        abstract: "End a producer's link; its client is told KICKED, and keeps its other links."
    )

    @Argument(help: "The link that 'sluice producer ls' shows, such as 12/3.")
    package var link: LinkNumber
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        try await global.request(link.kick, done: "ended link \(link.text)")
    }
}

package struct ConsumerKick: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "kick",
        abstract: "End a consumer's link; its client is told KICKED, and keeps its other links."
    )

    @Argument(help: "The link that 'sluice consumer ls' shows, such as 12/3.")
    package var link: LinkNumber
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        try await global.request(link.kick, done: "ended link \(link.text)")
    }
}
