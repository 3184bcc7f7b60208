package import SluiceWire

// The families; `Protocol/metrics.md` describes each.

extension MetricsText {
    /// Stands for the topics that a scrape does not tell of one by one.
    static let other = "_other"

    /// All that a scrape is told.
    package static func page(
        _ form: Form,
        _ server: Snapshot.Server?,
        _ topics: [Snapshot.Topic]
    ) -> Self {
        var text = Self(form)
        if let server { text.add(server) }
        text.add(topics)
        let groups = topics.flatMap { topic in
            topic.groupsByName.map { (topic: topic.topic, group: $0) }
        }
        text.add(groups)
        text.addHolds(topics, groups)
        text.addLatency(topics)
        text.finish()
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

    private mutating func add(_ topics: [Snapshot.Topic]) {
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
                "sluice_ledger_errors_total", .counter,
                "Links that broke their account.", { $0.ledgerErrors }
            ),
        ]
        for (name, kind, help, value) in families {
            let samples = topics.map { (labels: [("topic", $0.topic)], value: Double(value($0))) }
            add(name, kind, help, samples)
        }
        add(
            "sluice_topic_links",
            .gauge,
            "Links on the topic.",
            topics.flatMap { topic in
                [
                    ([("topic", topic.topic), ("role", "producer")], Double(topic.producers)),
                    ([("topic", topic.topic), ("role", "consumer")], Double(topic.consumers)),
                ]
            }
        )
    }

    private mutating func add(_ groups: [(topic: String, group: Snapshot.Group)]) {
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
            let samples = groups.map { topic, group in
                (
                    labels: [("topic", topic), ("group", group.group)],
                    value: Double(value(group))
                )
            }
            add(name, kind, help, samples)
        }
    }

    private mutating func addHolds(
        _ topics: [Snapshot.Topic],
        _ groups: [(topic: String, group: Snapshot.Group)]
    ) {
        func samples(
            _ labels: [Label],
            _ held: [String: Double]
        ) -> [(labels: [Label], value: Double)] {
            held.sorted { $0.key < $1.key }.map { reason, seconds in
                (labels + [("reason", Self.reason(reason))], seconds)
            }
        }
        add(
            "sluice_consumer_blocked_seconds_total",
            .counter,
            "Time that events waited for the group and none of its consumers could take them.",
            groups.flatMap { topic, group in
                samples([("topic", topic), ("group", group.group)], group.heldSeconds)
            }
        )
        add(
            "sluice_producer_blocked_seconds_total",
            .counter,
            "Time that producers had events and no credit for them.",
            topics.flatMap { samples([("topic", $0.topic)], $0.producerHeldSeconds) }
        )
    }

    /// The word of `blockedBy` as other labels are written.
    private static func reason(_ word: String) -> String {
        word.map { $0.isUppercase ? "-\($0.lowercased())" : "\($0)" }.joined()
    }

    private mutating func addLatency(_ topics: [Snapshot.Topic]) {
        let name = "sluice_dispatch_latency_seconds"
        begin(
            name,
            .histogram,
            "Age of the oldest event of each delivery when it was handed out."
        )
        for topic in topics where !topic.latency.counts.isEmpty {
            let label: Label = ("topic", topic.topic)
            var sum: UInt64 = 0
            for (count, bound) in zip(topic.latency.counts, Snapshot.Latency.bounds) {
                sum += count
                add(name + "_bucket", [label, ("le", "\(bound)")], Double(sum))
            }
            let count = topic.latency.counts.reduce(0, +)
            add(name + "_bucket", [label, ("le", "+Inf")], Double(count))
            add(name + "_sum", [label], topic.latency.seconds)
            add(name + "_count", [label], Double(count))
        }
    }
}

// MARK: - Sums

extension Snapshot.Topic {
    /// Its groups, those without a name as one.
    fileprivate var groupsByName: [Snapshot.Group] {
        var nameless = Snapshot.Group(group: "")
        nameless.add(ended)
        var named: [Snapshot.Group] = []
        for group in groups {
            if group.group.isEmpty { nameless.add(group) } else { named.append(group) }
        }
        let isUsed = named.count < groups.count || ended.asked > 0
        return isUsed ? [nameless] + named : named
    }

    /// Adds another topic's numbers, and those of its groups as of one without a name.
    package mutating func add(_ other: Self) {
        head += other.head
        bufferedEvents += other.bufferedEvents
        retainedBytes += other.retainedBytes
        capacity += other.capacity
        bufferBytes += other.bufferBytes
        producers += other.producers
        consumers += other.consumers
        grantedEvents += other.grantedEvents
        producerAsked += other.producerAsked
        producerForfeited += other.producerForfeited
        discardedEvents += other.discardedEvents
        cutEvents += other.cutEvents
        tooLargeEvents += other.tooLargeEvents
        ledgerErrors += other.ledgerErrors
        producerHeldSeconds.merge(other.producerHeldSeconds, uniquingKeysWith: +)
        if latency.counts.isEmpty { latency.counts = other.latency.counts.map { _ in 0 } }
        for (place, count) in other.latency.counts.enumerated() { latency.counts[place] += count }
        latency.seconds += other.latency.seconds
        var sum = groups.first ?? Snapshot.Group(group: "")
        for group in other.groupsByName { sum.add(group) }
        groups = [sum]
    }
}

extension Snapshot.Group {
    fileprivate mutating func add(_ other: Self) {
        waiting += other.waiting
        discarded += other.discarded
        refused += other.refused
        members += other.members
        credit += other.credit
        deliverable += other.deliverable
        asked += other.asked
        deliveries += other.deliveries
        forfeited += other.forfeited
        heldSeconds.merge(other.heldSeconds, uniquingKeysWith: +)
    }

    fileprivate mutating func add(_ ended: Snapshot.Ended) {
        discarded += ended.discarded
        refused += ended.refused
        asked += ended.asked
        deliveries += ended.deliveries
        forfeited += ended.forfeited
        heldSeconds.merge(ended.heldSeconds, uniquingKeysWith: +)
    }
}
