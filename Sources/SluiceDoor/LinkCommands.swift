package import ArgumentParser
import Sluice
import SluiceWire

/// `sluice conn`: the connections of a broker.
package struct ConnCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "conn",
        abstract: "List and end connections.",
        subcommands: [ConnList.self, ConnKick.self]
    )

    package init() {}
}

package struct ConnList: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List the connections, and the sessions that wait to be resumed."
    )

    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        try await global.withClient { client in
            let list = try await Listing<Snapshot.Connection>("$sys/connections", client, global)
            try list.print(
                as: global.form(piped: .jsonl),
                to: StandardOutput(),
                paint: global.paint,
                empty: "no connections"
            ) { connections in
                var table = Table([
                    ("CONNECTION", .right), ("NAME", .left), ("PEER", .left), ("STATE", .left),
                    ("LINKS", .right), ("IN", .right), ("OUT", .right), ("QUEUED", .right),
                    ("SINCE", .right),
                ])
                for row in connections.sorted(by: { $0.connection < $1.connection }) {
                    table.add([
                        String(row.connection), row.name.isEmpty ? "-" : row.name, row.peer,
                        row.isAttached ? "connected" : "detached", row.links.grouped,
                        ByteCount(Int(clamping: row.bytesIn)).text,
                        ByteCount(Int(clamping: row.bytesOut)).text,
                        ByteCount(row.queuedBytes).text,
                        TimeSpan(seconds: row.connectedSeconds).text,
                    ])
                }
                return table
            }
        }
    }
}

/// `sluice producer`: the links on which events come in.
package struct ProducerCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "producer",
        abstract: "List and end producers.",
        subcommands: [ProducerList.self, ProducerKick.self]
    )

    package init() {}
}

package struct ProducerList: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List the producers with the account of each link.",
        discussion: "asked = delivered + forfeited + credit; credit is what it may still send."
    )

    @Argument(help: "Of this topic alone.") package var topic: String?
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        try await LinkList(role: "producer", topic: topic).print(global)
    }
}

/// `sluice consumer`: the links on which events go out.
package struct ConsumerCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "consumer",
        abstract: "List and end consumers.",
        subcommands: [ConsumerList.self, ConsumerKick.self]
    )

    package init() {}
}

package struct ConsumerList: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List the consumers with the account of each link.",
        discussion: "asked = delivered + forfeited + credit; credit is what may still come."
    )

    @Argument(help: "Of this topic alone.") package var topic: String?
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        try await LinkList(role: "consumer", topic: topic).print(global)
    }
}

/// The links of one role, with both entries of their ledgers.
private struct LinkList {
    let role: String
    let topic: String?

    func print(_ options: GlobalOptions) async throws {
        try await options.withClient { client in
            let path = topic.map { "$sys/links/\($0)" } ?? "$sys/links"
            let all = try await Listing<Snapshot.Link>(path, client, options)
            let mine = try all.filter { $0.role == role && !$0.topic.hasPrefix("$sys/") }
            try mine.print(
                as: options.form(piped: .jsonl),
                to: StandardOutput(),
                paint: options.paint,
                empty: "no \(role)s" + (topic.map { " of \($0)" } ?? "")
            ) { role == "producer" ? producers($0) : consumers($0) }
        }
    }

    private func consumers(_ links: [Snapshot.Link]) -> Table {
        var table = Table([
            ("TOPIC", .left), ("GROUP", .left), ("CONSUMER", .left), ("LINK", .left),
            ("ASKED", .right), ("DELIVERED", .right), ("FORFEITED", .right), ("CREDIT", .right),
            ("LAST ASK", .right), ("LAST EVENT", .right), ("PARTITIONS", .left),
            ("HELD BY", .left),
        ])
        for link in links.inOrder {
            let group = link.group.flatMap { $0.isEmpty ? nil : $0 } ?? "(default)"
            table.add(
                [link.topic, group, link.shownName, link.number] + link.account + [
                    link.sinceAskMilliseconds.span, link.sinceEventsMilliseconds.span,
                    link.shownPartitions, link.shownBlock,
                ]
            )
        }
        return table
    }

    private func producers(_ links: [Snapshot.Link]) -> Table {
        var table = Table([
            ("TOPIC", .left), ("PRODUCER", .left), ("LINK", .left), ("ASKED", .right),
            ("DELIVERED", .right), ("FORFEITED", .right), ("CREDIT", .right), ("WAITING", .right),
            ("LAST GRANT", .right), ("LAST EVENT", .right), ("HELD BY", .left),
        ])
        for link in links.inOrder {
            table.add(
                [link.topic, link.shownName, link.number] + link.account + [
                    link.available.map { $0.grouped } ?? "?", link.sinceAskMilliseconds.span,
                    link.sinceEventsMilliseconds.span, link.shownBlock,
                ]
            )
        }
        return table
    }
}

extension [Snapshot.Link] {
    var inOrder: Self {
        sorted { ($0.topic, $0.connection, $0.link) < ($1.topic, $1.connection, $1.link) }
    }
}

extension Snapshot.Link {
    /// Who it is, for people: its name and where it is.
    var shownName: String {
        let place = "\(peer)#\(link)"
        guard let name, !name.isEmpty else { return place }
        return isAttached ? "\(name) \(place)" : "\(name) \(place) (detached)"
    }

    /// The partitions that it has, in ranges: `0-3,7`; `-` for none.
    var shownPartitions: String {
        var ranges: [ClosedRange<Int>] = []
        for partition in (partitions ?? []).sorted() {
            if let last = ranges.last, last.upperBound &+ 1 == partition {
                ranges[ranges.count - 1] = last.lowerBound...partition
            } else {
                ranges.append(partition...partition)
            }
        }
        let texts = ranges.map {
            $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
        }
        return texts.isEmpty ? "-" : texts.joined(separator: ",")
    }

    /// What `kick` calls it: the number of its connection, and its own there.
    var number: String { "\(connection)/\(link)" }

    var account: [String] { [asked.grouped, delivered.grouped, forfeited.grouped, credit.grouped] }

    /// What holds it, in words: `noDemand` is "no demand".
    var shownBlock: String {
        guard blockedBy != "nothing" else { return "-" }
        return blockedBy.map { $0.isUppercase ? " \($0.lowercased())" : "\($0)" }.joined()
    }
}
