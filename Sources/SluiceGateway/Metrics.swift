import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceWire

/// The text that Prometheus reads, in either of its forms.
struct MetricsText {
    enum Form {
        /// Prometheus' text format 0.0.4.
        case plain
        /// OpenMetrics 1.0.0.
        case open

        var contentType: String {
            switch self {
            case .plain: "text/plain; version=0.0.4; charset=utf-8"
            case .open: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }
    }

    enum Kind: String {
        case counter
        case gauge
    }

    typealias Label = (name: String, value: String)

    let form: Form
    private(set) var bytes: [UInt8] = []

    init(_ form: Form) { self.form = form }

    /// Adds a family: what it is, and its samples.
    ///
    /// A counter's name ends in `_total`.
    mutating func add(
        _ name: String,
        _ kind: Kind,
        _ help: String,
        _ samples: [(labels: [Label], value: Double)]
    ) {
        var family = name
        if form == .open, kind == .counter { family = String(name.dropLast("_total".count)) }
        bytes += Array("# HELP \(family) \(help)\n# TYPE \(family) \(kind.rawValue)\n".utf8)
        for sample in samples {
            bytes += Array(name.utf8)
            if !sample.labels.isEmpty {
                let labels = sample.labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }
                bytes += Array("{\(labels.joined(separator: ","))}".utf8)
            }
            bytes += Array(" \(Self.text(sample.value))\n".utf8)
        }
    }

    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
        add(name, kind, help, [([], value)])
    }

    mutating func finish() { if form == .open { bytes += Array("# EOF\n".utf8) } }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && value.magnitude < 1e15 ? "\(Int64(value))" : "\(value)"
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}

extension Gateway {
    /// Tells of the broker, and of as many topics as a scrape may be about.
    func answerMetrics(_ exchange: HTTPExchange) {
        let accept = exchange.request["accept"] ?? ""
        let form: MetricsText.Form =
            accept.contains("application/openmetrics-text") ? .open : .plain
        collect("$sys/server", most: 1, exchange) { [unowned self] servers in
            let server = servers.first.flatMap {
                try? JSONDecoder().decode(Snapshot.Server.self, from: Data($0))
            }
            exchange.handler?.end()
            collect("$sys/topics", most: Limits.metricsTopicsMax, exchange) { topics in
                let topics = topics.compactMap {
                    try? JSONDecoder().decode(Snapshot.Topic.self, from: Data($0))
                }
                var text = MetricsText(form)
                if let server { text.add(server) }
                text.add(topics)
                text.addGroups(topics)
                text.finish()
                exchange.respond(
                    ResponseHead(200, [Header("content-type", form.contentType)]),
                    .bytes(text.bytes)
                )
            }
        }
    }
}

extension MetricsText {
    mutating func add(_ server: Snapshot.Server) {
        add(
            "sluice_build_info",
            .gauge,
            "Which broker this is; always 1.",
            [([("version", server.version)], 1)]
        )
        add("sluice_uptime_seconds", .gauge, "Time since the start.", server.uptimeSeconds)
        add("sluice_topics", .gauge, "Topics that there are.", Double(server.topics))
        add("sluice_links", .gauge, "Links on topics.", Double(server.links))
        add(
            "sluice_connections",
            .gauge,
            "Clients that are connected, and sessions that wait to be resumed.",
            [
                ([("state", "attached")], Double(server.connections)),
                ([("state", "detached")], Double(server.detachedSessions)),
            ]
        )
        add(
            "sluice_events_published_total",
            .counter,
            "Events taken from producers.",
            Double(server.eventsIn)
        )
        add(
            "sluice_events_dispatched_total",
            .counter,
            "Events delivered to consumers.",
            Double(server.eventsOut)
        )
        add(
            "process_cpu_seconds_total",
            .counter,
            "Processor time of the broker, user and system.",
            server.cpuSeconds
        )
        add(
            "process_resident_memory_bytes",
            .gauge,
            "Resident memory of the broker.",
            Double(server.residentBytes)
        )
    }

    mutating func add(_ topics: [Snapshot.Topic]) {
        func each(_ value: (Snapshot.Topic) -> Double) -> [(labels: [Label], value: Double)] {
            topics.map { ([("topic", $0.topic)], value($0)) }
        }
        add(
            "sluice_topic_events_published_total",
            .counter,
            "Events that came to the topic.",
            each { Double($0.head) }
        )
        add(
            "sluice_buffer_events",
            .gauge,
            "Events that the topic holds for consumers.",
            each { Double($0.bufferedEvents) }
        )
        add(
            "sluice_buffer_bytes",
            .gauge,
            "Memory that the events of the topic hold.",
            each { Double($0.retainedBytes) }
        )
        add(
            "sluice_granted_events",
            .gauge,
            "Credit that producers of the topic have and have not used.",
            each { Double($0.grantedEvents) }
        )
        add(
            "sluice_events_discarded_total",
            .counter,
            "Events that the full topic threw away.",
            each { Double($0.discardedEvents) }
        )
        add(
            "sluice_ledger_errors_total",
            .counter,
            "Links that broke their account.",
            each { Double($0.ledgerErrors) }
        )
        add(
            "sluice_topic_links",
            .gauge,
            "Links on the topic.",
            topics.flatMap { topic in
                [
                    (
                        [("topic", topic.topic), ("role", "producer")],
                        Double(topic.producers)
                    ),
                    (
                        [("topic", topic.topic), ("role", "consumer")],
                        Double(topic.consumers)
                    ),
                ]
            }
        )
    }

    mutating func addGroups(_ topics: [Snapshot.Topic]) {
        func each(_ value: (Snapshot.Group) -> Double) -> [(labels: [Label], value: Double)] {
            topics.flatMap { topic in
                topic.groups.map { group in
                    ([("topic", topic.topic), ("group", group.group)], value(group))
                }
            }
        }
        add(
            "sluice_group_events_dispatched_total",
            .counter,
            "Events delivered to the group.",
            each { Double($0.delivered) }
        )
        add(
            "sluice_demand_outstanding",
            .gauge,
            "Events that the group's members asked for and have not received.",
            each { Double($0.credit) }
        )
        add(
            "sluice_demand_deliverable",
            .gauge,
            "The part of the outstanding demand that could be met at once.",
            each { Double($0.deliverable) }
        )
        add(
            "sluice_group_lag_events",
            .gauge,
            "Events that wait for the group.",
            each { Double($0.waiting) }
        )
        add(
            "sluice_group_members",
            .gauge,
            "Consumers of the group.",
            each { Double($0.members) }
        )
    }
}
