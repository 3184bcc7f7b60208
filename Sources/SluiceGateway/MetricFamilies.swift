package import SluiceWire

// The families; `Protocol/metrics.md` describes each.

extension MetricsText {
    /// Topics and their groups, with the labels of their samples as text, made a few at a time.
    private final class Rows {
        let topics: [Snapshot.Topic]
        private(set) var topicLabels: [String] = []
        private(set) var groups: [(group: Snapshot.Group, labels: String)] = []

        init(_ topics: [Snapshot.Topic]) { self.topics = topics }

        func prepare(_ index: Int) {
            let topic = topics[index]
            topicLabels.append(SampleWriter.text(of: [("topic", topic.topic)]))
            for group in topic.groupsByName {
                let labels = [("topic", topic.topic), ("group", group.group)]
                groups.append((group, SampleWriter.text(of: labels)))
            }
        }
    }

    /// All that a scrape is told.
    package static func page(
        _ form: Form,
        _ server: Snapshot.Server?,
        _ topics: [Snapshot.Topic]
    ) -> Self {
        var text = Self(form)
        if let server { text.add(server) }
        let rows = Rows(topics)
        text.prepare(steps: topics.count, rows.prepare)
        text.addTopics(rows)
        text.addGroups(rows)
        text.addHolds(rows)
        text.addLatency(rows)
        return text
    }

    private mutating func add(_ server: Snapshot.Server) {
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
            server.faces.flatMap { face in
                [
                    ([("face", face.face), ("state", "attached")], Double(face.connections)),
                    ([("face", face.face), ("state", "detached")], Double(face.detachedSessions)),
                ]
            }
        )
        add(
            "sluice_send_queue_bytes",
            .gauge,
            "Bytes that wait until peers read.",
            server.faces.map { ([("face", $0.face)], Double($0.queuedBytes)) }
        )
        addComplaints(server.faces)
        addProcess(server)
    }

    private mutating func addComplaints(_ faces: [Snapshot.Face]) {
        func samples(
            _ label: String,
            _ counts: (Snapshot.Face) -> [String: UInt64]
        ) -> [(labels: [Label], value: Double)] {
            faces.flatMap { face in
                counts(face).sorted { $0.key < $1.key }.map { key, count in
                    ([("face", face.face), (label, key)], Double(count))
                }
            }
        }
        add(
            "sluice_connection_rejects_total",
            .counter,
            "Connections that were turned away before they could ask for anything.",
            samples("reason", \.rejects)
        )
        add(
            "sluice_protocol_errors_total",
            .counter,
            "Connections and links that ended because the client broke the protocol.",
            samples("code", \.protocolErrors)
        )
    }

    private mutating func addProcess(_ server: Snapshot.Server) {
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
        add(
            "process_virtual_memory_bytes",
            .gauge,
            "Virtual memory of the broker.",
            Double(server.virtualBytes)
        )
        let memory: [(String, String, UInt64?)] = [
            ("sluice_memory_limit_bytes", "What the broker may take.", server.memoryLimitBytes),
            (
                "sluice_memory_budget_bytes",
                "What of the limit may be counted for events, grants, topics and links.",
                server.memoryBudgetBytes
            ),
            ("sluice_memory_used_bytes", "What of it is counted now.", server.memoryUsedBytes),
            (
                "sluice_memory_reserved_bytes",
                "What of that is granted and has not come.",
                server.memoryReservedBytes
            ),
        ]
        for (name, help, bytes) in memory {
            if let bytes { add(name, .gauge, help, Double(bytes)) }
        }
        add(
            "process_open_fds",
            .gauge,
            "Descriptors that the broker has open.",
            Double(server.openDescriptors)
        )
        add(
            "process_max_fds",
            .gauge,
            "Descriptors that the broker may open.",
            Double(server.maxDescriptors)
        )
        add(
            "process_start_time_seconds",
            .gauge,
            "When the broker began, since 1970 (UTC).",
            server.startSeconds
        )
    }

    private mutating func addTopics(_ rows: Rows) {
        typealias Family = (String, Kind, String, (Snapshot.Topic) -> UInt64)
        let families: [Family] = [
            (
                "sluice_events_published_total", .counter,
                "Events that producers brought and the topic took.", { $0.head }
            ),
            (
                "sluice_producer_demand_sent_total", .counter,
                "Events that producers were asked for.", { $0.producerAsked }
            ),
            (
                "sluice_producer_demand_forfeited_total", .counter,
                "Events that producers were asked for and gave up.", { $0.producerForfeited }
            ),
            (
                "sluice_producer_demand_outstanding", .gauge,
                "Credit that producers have and have not used.", { $0.grantedEvents }
            ),
            (
                "sluice_buffer_events", .gauge,
                "Events that the topic holds for consumers.", { $0.bufferedEvents }
            ),
            (
                "sluice_buffer_bytes", .gauge,
                "Memory that the events of the topic hold.", { $0.retainedBytes }
            ),
            (
                "sluice_buffer_capacity_events", .gauge,
                "Events that the topic may hold.", { $0.capacity }
            ),
            (
                "sluice_buffer_capacity_bytes", .gauge,
                "Memory that the events of the topic may hold.", { $0.bufferBytes }
            ),
            (
                "sluice_events_discarded_total", .counter,
                "Events that the full topic threw away.", { $0.discardedEvents }
            ),
            (
                "sluice_events_cut_total", .counter,
                "Events that were delivered and lost with a connection.", { $0.cutEvents }
            ),
            (
                "sluice_events_too_large_total", .counter,
                "Events that were refused for their size.", { $0.tooLargeEvents }
            ),
            (
                "sluice_topic_alarm", .gauge,
                "1 while a group has nearly filled the topic.", { $0.alarm == nil ? 0 : 1 }
            ),
            (
                "sluice_groups_expired_total", .counter,
                "Groups that ended as nobody came back to them.", { $0.expiredGroups }
            ),
            (
                "sluice_ledger_errors_total", .counter,
                "Links that broke their account.", { $0.ledgerErrors }
            ),
        ]
        for (name, kind, help, value) in families {
            add(name, kind, help, rows: rows.topics.count) { row, writer in
                writer.add(name, rows.topicLabels[row], Double(value(rows.topics[row])))
            }
        }
        addLinks(rows)
    }

    private mutating func addLinks(_ rows: Rows) {
        let links = "sluice_topic_links"
        add(links, .gauge, "Links on the topic.", rows: rows.topics.count) { row, writer in
            let (topic, labels) = (rows.topics[row], rows.topicLabels[row])
            writer.add(links, labels + ",role=\"producer\"", Double(topic.producers))
            writer.add(links, labels + ",role=\"consumer\"", Double(topic.consumers))
        }
    }

    private mutating func addGroups(_ rows: Rows) {
        typealias Family = (String, Kind, String, (Snapshot.Group) -> UInt64)
        let families: [Family] = [
            (
                "sluice_demand_asked_total", .counter,
                "Events that consumers asked for.", { $0.asked }
            ),
            (
                "sluice_events_dispatched_total", .counter,
                "Events delivered to consumers.", { $0.deliveries }
            ),
            (
                "sluice_demand_forfeited_total", .counter,
                "Events that were asked for and given up undelivered.", { $0.forfeited }
            ),
            (
                "sluice_demand_outstanding", .gauge,
                "Credit: asked for, not delivered and not given up.", { $0.credit }
            ),
            (
                "sluice_demand_deliverable", .gauge,
                "The part of the credit that could be met at once.", { $0.deliverable }
            ),
            (
                "sluice_group_lag_events", .gauge,
                "Events that wait for the group.", { $0.waiting }
            ),
            (
                "sluice_group_members", .gauge,
                "Consumers of the group.", { UInt64($0.members) }
            ),
            (
                "sluice_group_events_discarded_total", .counter,
                "Events that the group lost by a policy.", { $0.discarded }
            ),
            (
                "sluice_group_events_refused_total", .counter,
                "Events that no member of the group takes.", { $0.refused }
            ),
        ]
        for (name, kind, help, value) in families {
            add(name, kind, help, rows: rows.groups.count) { row, writer in
                let (group, labels) = rows.groups[row]
                writer.add(name, labels, Double(value(group)))
            }
        }
    }

    private mutating func addHolds(_ rows: Rows) {
        func write(
            _ name: String,
            _ labels: String,
            _ held: [String: Double],
            _ writer: inout SampleWriter
        ) {
            for (reason, seconds) in held.sorted(by: { $0.key < $1.key }) {
                writer.add(name, labels + ",reason=\"\(Self.reason(reason))\"", seconds)
            }
        }
        let consumers = "sluice_consumer_blocked_seconds_total"
        add(
            consumers,
            .counter,
            "Time that events waited for the group and none of its consumers could take them.",
            rows: rows.groups.count
        ) { row, writer in
            let (group, labels) = rows.groups[row]
            write(consumers, labels, group.heldSeconds, &writer)
        }
        let producers = "sluice_producer_blocked_seconds_total"
        add(
            producers,
            .counter,
            "Time that producers had events and no credit for them.",
            rows: rows.topics.count
        ) { row, writer in
            let held = rows.topics[row].producerHeldSeconds
            write(producers, rows.topicLabels[row], held, &writer)
        }
    }

    /// The word of `blockedBy` as other labels are written.
    private static func reason(_ word: String) -> String {
        word.map { $0.isUppercase ? "-\($0.lowercased())" : "\($0)" }.joined()
    }

    private mutating func addLatency(_ rows: Rows) {
        let name = "sluice_dispatch_latency_seconds"
        add(
            name,
            .histogram,
            "Age of the oldest event of each delivery when it was handed out.",
            rows: rows.topics.count
        ) { row, writer in
            let (latency, labels) = (rows.topics[row].latency, rows.topicLabels[row])
            guard !latency.counts.isEmpty else { return }
            var sum: UInt64 = 0
            for (count, bound) in zip(latency.counts, Snapshot.Latency.bounds) {
                sum += count
                writer.add(name + "_bucket", labels + ",le=\"\(bound)\"", Double(sum))
            }
            let count = Double(latency.counts.reduce(0, +))
            writer.add(name + "_bucket", labels + ",le=\"+Inf\"", count)
            writer.add(name + "_sum", labels, latency.seconds)
            writer.add(name + "_count", labels, count)
        }
    }
}
