package import ArgumentParser
import SluiceWire

/// `sluice group`: the groups of a topic.
package struct GroupCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "group",
        abstract: "Move and remove groups; 'sluice topic info' lists them.",
        subcommands: [GroupSeek.self, GroupRemove.self]
    )

    package init() {}
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

    package func validate() throws {
        guard ["first", "new"].contains(start) || UInt64(start) != nil else {
            throw ValidationError("'\(start)' is no place: say first, new or an offset")
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
