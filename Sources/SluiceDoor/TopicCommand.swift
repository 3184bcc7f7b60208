package import ArgumentParser
import FoundationEssentials
import Sluice
import SluiceCore
import SluiceWire

/// `sluice topic`: the topics of a broker.
package struct TopicCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "topic",
        abstract: "List, look at, create, change and remove topics.",
        subcommands: [
            TopicList.self, TopicInfo.self, TopicCreate.self, TopicSet.self, TopicRemove.self,
            TopicPeek.self, TopicPurge.self, TopicPause.self, TopicResume.self,
        ]
    )

    package init() {}
}

package struct TopicList: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List the topics."
    )

    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        try await global.withClient { client in
            let list = try await Listing<Snapshot.Topic>("$sys/topics", client, global)
            try list.print(
                as: global.form(piped: .jsonl),
                to: StandardOutput(),
                paint: global.paint,
                empty: "no topics yet: they are made by first use, or by 'sluice topic create'"
            ) { topics in
                var table = Table([
                    ("TOPIC", .left), ("HEAD", .right), ("BUFFERED", .right), ("BYTES", .right),
                    ("AHEAD", .right), ("PRODUCERS", .right), ("GRANTED", .right),
                    ("CONSUMERS", .right), ("DEMAND", .right), ("IDLE", .right), ("STATE", .left),
                ])
                for topic in topics.sorted(by: { Name($0.topic) < Name($1.topic) }) {
                    table.add([
                        topic.topic, topic.head.grouped, topic.bufferedEvents.grouped,
                        ByteCount(Int(clamping: topic.retainedBytes)).text, topic.ahead.grouped,
                        topic.producers.grouped, topic.grantedEvents.grouped,
                        topic.consumers.grouped, topic.demand.grouped,
                        topic.idleMilliseconds.span, topic.isPaused ? "paused" : topic.onFull,
                    ])
                }
                return table
            }
        }
    }
}

extension Snapshot.Topic {
    /// What the groups' members asked for and have not received.
    var demand: UInt64 { groups.reduce(0) { $0.addingSaturated($1.credit) } }
}

package struct TopicInfo: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Show all there is to know of one topic."
    )

    @Argument(help: "The topic.") package var topic: String
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        try await global.withClient { client in
            let found = try await Listing<Snapshot.Topic>.one(topic, client, global)
            try found.printOne(
                as: global.form(piped: .json),
                to: StandardOutput(),
                lines: { lines($0, global.paint) }
            )
        }
    }

    private func lines(_ topic: Snapshot.Topic, _ paint: Paint) -> [String] {
        let bytes = { (count: UInt64) in ByteCount(Int(clamping: count)).text }
        var facts = Table([("FACT", .left), ("VALUE", .left)])
        facts.add(["state", topic.isPaused ? "paused" : "open, \(topic.onFull) when full"])
        let oldest = topic.groups.filter { $0.waiting > 0 }.map(\.position).min() ?? topic.first
        let held = topic.bufferedEvents > 0 ? "held from offset \(oldest) on" : "none held"
        facts.add(["events", "\(topic.head.grouped) came so far, \(held)"])
        facts.add([
            "buffered",
            "\(topic.bufferedEvents.grouped) of \(topic.capacity.grouped) events, "
                + "\(bytes(topic.retainedBytes)) of \(bytes(topic.bufferBytes))",
        ])
        if let alarm = topic.alarm {
            facts.add(["alarm", "nearly full of \(alarm.reason) for group \(alarm.shownName)"])
        }
        facts.add([
            "peak",
            "\(topic.peakBufferedEvents.grouped) events, \(bytes(topic.peakRetainedBytes))",
        ])
        facts.add(["ahead", "\(topic.ahead.grouped) events beyond what consumers want"])
        if !topic.limits.isEmpty {
            facts.add(["at most", topic.limits.joined(separator: ", ")])
        }
        if let seconds = topic.groupExpireAfter {
            facts.add(["groups", "named ones end after \(span(seconds)) without consumers"])
        }
        facts.add([
            "producers",
            "\(topic.producers.grouped), granted \(topic.grantedEvents.grouped) events",
        ])
        if let rate = topic.rate {
            let burst = (topic.burst ?? rate).grouped
            facts.add(["rate", "\(rate.grouped) events a second, \(burst) at once after a rest"])
        }
        facts.add(["consumers", "\(topic.consumers.grouped), by default in \(topic.dispatcher)"])
        let last = topic.idleMilliseconds.map { "\(Optional($0).span) ago" } ?? "never"
        facts.add(["last event", last])
        facts.add([
            "lost",
            "\(topic.discardedEvents.grouped) discarded, \(topic.cutEvents.grouped) cut, "
                + "\(topic.tooLargeEvents.grouped) too large, "
                + "\(topic.ledgerErrors.grouped) ledger errors",
        ])
        var groups = Table([
            ("GROUP", .left), ("DISPATCHER", .left), ("NEXT", .right), ("WAITING", .right),
            ("DELIVERED", .right), ("DISCARDED", .right), ("MEMBERS", .right), ("DEMAND", .right),
            ("ENDS IN", .right),
        ])
        for group in topic.groups {
            groups.add([
                group.shownName, group.dispatcher, group.position.grouped, group.waiting.grouped,
                group.delivered.grouped, group.discarded.grouped, group.members.grouped,
                group.credit.grouped, group.expiresInSeconds.map(span) ?? "-",
            ])
        }
        return [paint.bold(topic.topic)] + facts.lines.dropFirst()
            + (topic.groups.isEmpty ? [] : part(groups, paint))
            + topic.groups.flatMap { $0.partitions == nil ? [] : part(partitions($0), paint) }
    }

    private func span(_ seconds: UInt64) -> String {
        TimeSpan(seconds: Double(seconds)).text
    }

    private func part(_ table: Table, _ paint: Paint) -> [String] {
        let lines = table.lines
        return ["", paint.bold(lines[0])] + lines.dropFirst()
    }

    private func partitions(_ group: Snapshot.Group) -> Table {
        var table = Table([("GROUP", .left), ("PARTITION", .right), ("WAITING", .right)])
        for (partition, waiting) in (group.partitions ?? []).enumerated() {
            table.add([group.shownName, String(partition), waiting.grouped])
        }
        return table
    }
}

extension Snapshot.Alarm {
    fileprivate var shownName: String { Snapshot.Group(group: group).shownName }
}

extension Snapshot.Group {
    /// The name for people; the default group has none.
    var shownName: String { group.isEmpty ? "(default)" : group }
}

extension Listing where Document == Snapshot.Topic {
    /// The one document of a topic; a broker without it is asked for nothing more.
    static func one(
        _ topic: String,
        _ client: SluiceClient,
        _ options: GlobalOptions
    ) async throws -> Self {
        let unknown = Failure(
            .notFound,
            "no topic '\(topic)' (NOT_FOUND)",
            hint: "see what there is: sluice topic ls; or make it: sluice topic create \(topic)"
        )
        do {
            let found = try await Self("$sys/topics/\(topic)", client, options)
            guard !found.documents.isEmpty else { throw unknown }
            return found
        } catch let error as ClientError where error.closeName == "NOT_FOUND" {
            throw unknown
        }
    }
}

package struct TopicRemove: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove a topic, what it holds, and every link to it."
    )

    @Argument(help: "The topic.") package var topic: String
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        let request = Snapshot.Request(op: "remove-topic", topic: topic)
        try await global.request(request, done: "removed \(topic)")
    }
}

package struct TopicPurge: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "purge",
        abstract: "Throw away all that a topic holds; its consumers are told."
    )

    @Argument(help: "The topic.") package var topic: String
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        let request = Snapshot.Request(op: "purge-topic", topic: topic)
        try await global.request(request, done: "purged \(topic)")
    }
}

package struct TopicPause: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Deliver nothing until it is resumed; asks are kept, none are passed up."
    )

    @Argument(help: "The topic.") package var topic: String
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        let request = Snapshot.Request(op: "pause-topic", topic: topic)
        try await global.request(request, done: "paused \(topic)")
    }
}

package struct TopicResume: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Let a paused topic go on."
    )

    @Argument(help: "The topic.") package var topic: String
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        let request = Snapshot.Request(op: "resume-topic", topic: topic)
        try await global.request(request, done: "resumed \(topic)")
    }
}

package struct TopicPeek: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "peek",
        abstract: "Print what a topic holds, oldest first, and consume nothing."
    )

    @Argument(help: "The topic.") package var topic: String
    @Option(name: [.customShort("n"), .long], help: "At most so many.")
    package var count = EventCount(10)
    @Option(name: [.short, .long], help: "Print events like this; see 'sluice help sub'.")
    package var format: String?
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func validate() throws {
        guard count.value > 0 else { throw ValidationError("--count must be above 0") }
    }

    package func run() async throws {
        let writer = try EventWriter(topic: topic, format: format, options: global)
        try await global.withClient { client in
            _ = try await Listing<Snapshot.Topic>.one(topic, client, global)
            let subscription = client.subscribe(
                to: "$sys/peek/\(topic)",
                options: SubscriptionOptions(demand: .manual, name: "sluice-peek")
            )
            subscription.ask(count.value)
            subscription.drain()
            var missing = count.value
            for try await batch in subscription {
                try writer.write(batch)
                missing -= batch.count
                guard missing > 0 else {
                    subscription.cancel()
                    break
                }
            }
            try writer.finish()
        }
    }
}
