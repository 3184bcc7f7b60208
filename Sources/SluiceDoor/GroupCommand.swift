package import ArgumentParser
import Sluice
import SluiceCore
import SluiceWire

/// `sluice group`: the groups of a topic.
package struct GroupCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "group",
        abstract: "Make, move and remove groups; 'sluice topic info' lists them.",
        subcommands: [GroupCreate.self, GroupSeek.self, GroupRemove.self]
    )

    package init() {}
}

package struct GroupCreate: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Make a group before anybody joins it; it stays until it is removed.",
        discussion: """
            From where it begins on it holds what is published for its consumers. A group that \
            the first 'sluice sub' makes ends when it has had no consumer for as long as its \
            topic's --group-expire-after says; one that is made so never does.
            """
    )

    @Argument(help: "The topic.") package var topic: String
    @Argument(help: "The group.") package var group: String
    @Option(
        help: ArgumentHelp(
            "Where it begins: first, new or an offset (default: as its first consumer would).",
            valueName: "place"
        )
    )
    package var from: String?
    @Option(
        help: ArgumentHelp(
            "How it hands out events: demand, fair, broadcast, partition or exclusive "
                + "(default: as the topic has it).",
            valueName: "kind"
        )
    )
    package var dispatcher: KindArgument?
    @Option(help: ArgumentHelp("How many partitions it has, 1 to 1024.", valueName: "n"))
    package var partitions: UInt16?
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func validate() throws {
        if let from { try GroupSeek.check(from) }
        guard dispatcher?.kind != .independent else {
            throw ValidationError("an independent consumer has no group: none can be made for it")
        }
        guard (dispatcher?.kind == .partition) == (partitions != nil) else {
            throw ValidationError("--dispatcher partition and --partitions go together")
        }
    }

    package func run() async throws {
        var request = Snapshot.Request(op: "create-group", topic: topic)
        request.group = group
        request.start = from
        request.dispatcher = dispatcher?.kind.rawValue
        request.partitions = partitions
        try await global.request(request, done: "created \(group) of \(topic)")
    }
}

package struct GroupRemove: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove a group and its cursor, so that it holds nothing any more."
    )

    @Argument(help: "The topic.") package var topic: String
    @Argument(help: "The group.") package var group: String
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        var request = Snapshot.Request(op: "remove-group", topic: topic)
        request.group = group
        try await global.request(request, done: "removed \(group) of \(topic)")
    }
}

package struct GroupSeek: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "seek",
        abstract: "Let a group go on elsewhere, within the events that are held.",
        discussion: """
            What it passes over it never gets; what it goes back to it gets again. A group \
            whose events are sorted, by partition, filter or lag, goes forwards only.
            """
    )

    @Argument(help: "The topic.") package var topic: String
    @Argument(help: "Where: 'first' (the oldest event held), 'new' or an offset.")
    package var start: String
    @Option(name: [.short, .long], help: "The group; without it the default group.")
    package var group: String?
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func validate() throws { try Self.check(start) }

    static func check(_ place: String) throws {
        guard Start(place) != nil else {
            throw ValidationError("'\(place)' is no place: say first, new or an offset")
        }
    }

    package func run() async throws {
        var request = Snapshot.Request(op: "seek-group", topic: topic)
        request.group = group
        request.start = start
        let name = group.map { "group \($0)" } ?? "the default group"
        try await global.request(request, done: "moved \(name) of \(topic) to \(start)")
    }
}
