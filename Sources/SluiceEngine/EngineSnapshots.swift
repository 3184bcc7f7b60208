import SluiceCore
import SluiceWire

// The documents that `$sys` topics carry.

extension Engine {
    func serverSnapshot(_ faces: [Snapshot.Face]) -> Snapshot.Server {
        var server = Snapshot.Server(name: configuration.name, version: configuration.version)
        server.uptimeSeconds = Double(now.milliseconds(since: startedAt)) / 1_000
        let usage = configuration.usage()
        server.pid = usage.pid
        server.cpuSeconds = usage.cpuSeconds
        server.residentBytes = usage.residentBytes
        server.virtualBytes = usage.virtualBytes
        if let limit = memory.budget.limit {
            server.memoryLimitBytes = UInt64(clamping: limit)
            server.memoryBudgetBytes = UInt64(clamping: memory.budget.most)
            server.memoryUsedBytes = UInt64(clamping: usedBytes)
            server.memoryReservedBytes = UInt64(clamping: reservedBytes)
        }
        server.openDescriptors = usage.openDescriptors
        server.maxDescriptors = usage.maxDescriptors
        server.startSeconds = usage.startSeconds
        server.faces = faces
        for (index, face) in SessionFace.allCases.enumerated() {
            if let complaints = complaints[face] { fill(&server.faces[index], complaints) }
        }
        server.connections = sessions.count - detached.count
        server.detachedSessions = detached.count
        server.topics = topics.count
        // Each engine counts for all: one of them says so.
        server.links = place.index == 0 ? place.census.linkCount : 0
        server.eventsIn = eventsIn
        server.eventsOut = eventsOut
        server.isStopping = isStopping
        return server
    }

    /// A topic's document of at most so many bytes: what does not fit is left out, and told of.
    func document(
        of box: TopicBox,
        groupsMax: Int = Limits.documentGroupsMax,
        most bytes: Int
    ) -> [UInt8] {
        var topic = snapshot(box, groupsMax: groupsMax)
        var document = JSONBytes.of(topic)
        if document.count > bytes {
            topic.leaveOutPartitions()
            document = JSONBytes.of(topic)
        }
        while document.count > bytes, !topic.groups.isEmpty {
            topic.leaveOutGroups(keeping: topic.groups.count * bytes / document.count)
            document = JSONBytes.of(topic)
        }
        return document
    }

    /// A topic with at most so many of its groups and, all groups together, partitions.
    func snapshot(
        _ box: TopicBox,
        groupsMax: Int = .max,
        partitionsMax: Int = Limits.documentPartitionsMax
    ) -> Snapshot.Topic {
        // Handed on once: each access to a member of the box' own would copy it whole.
        var topic = snapshot(box.core, groupsMax, partitionsMax)
        topic.latency = box.latency.snapshot
        let use = box.core.memoryUse
        topic.memoryBytes = use.held
        topic.reservedBytes = use.reserved
        return topic
    }

    private func snapshot(
        _ core: Topic,
        _ groupsMax: Int,
        _ partitionsMax: Int
    ) -> Snapshot.Topic {
        var topic = Snapshot.Topic(topic: core.name.text)
        topic.head = core.log.head
        topic.first = core.log.firstOffset
        topic.bufferedEvents = core.buffered
        topic.retainedBytes = core.retainedBytes
        topic.peakBufferedEvents = core.counters.peakBuffered
        topic.peakRetainedBytes = core.counters.peakRetainedBytes
        topic.capacity = core.options.capacity
        topic.bufferBytes = core.options.bufferBytes
        topic.ahead = core.options.ahead
        topic.onFull = core.options.onFull.rawValue
        topic.dispatcher = (core.options.group.dispatcher ?? .demand).word
        topic.rate = core.options.rate?.eventsPerSecond
        topic.burst = core.options.rate?.burst
        topic.isEphemeral = core.options.isEphemeral
        let limits = core.options.limits
        topic.maxProducers = limits.producers < .max ? limits.producers : nil
        topic.maxConsumers = limits.consumers < .max ? limits.consumers : nil
        topic.maxGroups = limits.groups < Limits.groupsPerTopicMax ? limits.groups : nil
        topic.maxEventBytes = limits.eventBytes < Limits.eventBytesMax ? limits.eventBytes : nil
        let expireAfter = core.options.groupExpiry.afterSeconds
        topic.groupExpireAfter = expireAfter > 0 ? expireAfter : nil
        topic.isPaused = core.isPaused
        topic.grantedEvents = core.granted
        topic.grantedBytes = core.grantedBytes
        topic.producers = core.producers
        topic.consumers = core.consumers
        topic.discardedEvents = core.counters.discarded
        topic.cutEvents = core.counters.cut
        topic.tooLargeEvents = core.counters.tooLarge
        topic.expiredGroups = core.counters.expiredGroups
        topic.alarm = core.alarm.map {
            Snapshot.Alarm(group: $0.group.text, reason: $0.reason.rawValue)
        }
        topic.idleMilliseconds = core.publishedAt.map { now.milliseconds(since: $0) }
        topic.ledgerErrors = core.counters.ledgerErrors
        let producers = core.turnoverOfProducers
        topic.producerAsked = producers.asked
        topic.producerForfeited = producers.forfeited
        topic.producerHeldSeconds = seconds(core.producerHolds)
        topic.ended.asked = core.endedGroups.turnover.asked
        topic.ended.deliveries = core.endedGroups.turnover.delivered
        topic.ended.forfeited = core.endedGroups.turnover.forfeited
        topic.ended.discarded = core.endedGroups.discarded
        topic.ended.refused = core.endedGroups.refused
        topic.ended.heldSeconds = seconds(core.endedGroups.holds)
        var partitions = partitionsMax
        var leftOut = 0
        for number in core.groupTable.indices {
            guard let group = core.group(number) else { continue }
            if topic.groups.count < groupsMax {
                topic.groups.append(snapshot(group, number, of: core, &partitions))
            } else {
                leftOut += 1
            }
        }
        if leftOut > 0 { topic.groupsLeftOut = leftOut }
        return topic
    }

    private func snapshot(
        _ group: Group,
        _ number: Int,
        of core: Topic,
        _ partitions: inout Int
    ) -> Snapshot.Group {
        var snapshot = Snapshot.Group(group: group.name.text)
        snapshot.dispatcher = group.rules.dispatcher.word
        snapshot.lag = group.rules.lag.policy.name
        snapshot.maxLag = group.rules.lag.policy == .block ? nil : group.rules.lag.events
        snapshot.isEphemeral = group.rules.isEphemeral
        snapshot.expireAfter = core.expireAfter(group: number)
        snapshot.aloneSeconds = group.aloneSince.map { now.milliseconds(since: $0) / 1_000 }
        snapshot.expiresInSeconds = core.expiry(ofGroup: number).map { time in
            time.milliseconds(since: now) / 1_000
        }
        snapshot.position = group.firstWaiting
        snapshot.waiting = core.waiting(ofGroup: number)
        if group.rules.partitions > 0 {
            if group.lanes.count <= partitions {
                snapshot.partitions = group.lanes.waiting
                partitions -= group.lanes.count
            } else {
                snapshot.partitionsLeftOut = group.lanes.count
            }
        }
        snapshot.delivered = group.delivered
        snapshot.discarded = group.discarded
        snapshot.refused = group.refused
        snapshot.members = group.members.count
        snapshot.deliverable = core.credit(ofGroup: number)
        let turnover = core.turnover(ofGroup: number)
        snapshot.credit = turnover.credit
        snapshot.asked = turnover.asked
        snapshot.deliveries = turnover.delivered
        snapshot.forfeited = turnover.forfeited
        snapshot.heldSeconds = seconds(group.holds)
        return snapshot
    }

    private func seconds(_ holds: HoldTimes) -> [String: Double] {
        var seconds: [String: Double] = [:]
        holds.forEach(at: now) { reason, time in
            seconds[reason.word] = Double(time) / 1_000_000_000
        }
        return seconds
    }

    func snapshot(_ box: TopicBox, _ index: Int) -> Snapshot.Link? {
        guard let owner = box.owners[index] else { return nil }
        let id = owner.id
        var link = Snapshot.Link(
            connection: owner.session.number,
            link: owner.link,
            topic: box.core.name.text,
            role: box.core.producer(id) == nil ? "consumer" : "producer"
        )
        link.peer = owner.session.peerAddress
        link.name = owner.name ?? (owner.session.name.isEmpty ? nil : owner.session.name)
        if let consumer = box.core.consumer(id) {
            let group = box.core.group(consumer.group)
            link.group = group?.name.text
            if let group, group.rules.partitions > 0 {
                link.partitions = box.core.lanes(ofConsumer: id)
            }
            link.isAttached = consumer.isAttached
            link.deliverable = box.core.deliverable(ofConsumer: id)
            link.blockedBy = box.core.holder(ofConsumer: id).word
            link.sinceAskMilliseconds = consumer.askedAt.map { now.milliseconds(since: $0) }
            link.sinceEventsMilliseconds = consumer.movedAt.map { now.milliseconds(since: $0) }
            fill(&link, consumer.ledger)
        } else if let producer = box.core.producer(id) {
            link.isAttached = producer.isAttached
            if case .events(let backlog) = producer.backlog { link.available = backlog }
            link.blockedBy = box.core.holder(ofProducer: id).word
            link.sinceAskMilliseconds = producer.askedAt.map { now.milliseconds(since: $0) }
            link.sinceEventsMilliseconds = producer.movedAt.map { now.milliseconds(since: $0) }
            fill(&link, producer.ledger)
        }
        return link
    }

    private func fill(_ link: inout Snapshot.Link, _ ledger: Ledger) {
        link.asked = ledger.asked
        link.delivered = ledger.delivered
        link.forfeited = ledger.forfeited
        link.credit = ledger.credit
        link.askedBytes = ledger.askedBytes
        link.deliveredBytes = ledger.deliveredBytes
        link.forfeitedBytes = ledger.forfeitedBytes
    }

    func snapshot(_ session: Session) -> Snapshot.Connection {
        var connection = Snapshot.Connection(
            connection: session.number,
            name: session.name,
            peer: session.peerAddress
        )
        connection.isAttached = session.peer != nil
        connection.connectedSeconds = Double(now.milliseconds(since: session.since)) / 1_000
        connection.links = session.links.count
        if let traffic = session.peer?.traffic {
            connection.bytesIn = traffic.bytesIn
            connection.bytesOut = traffic.bytesOut
            connection.queuedBytes = traffic.queuedBytes
        }
        return connection
    }
}

extension Snapshot.Topic {
    /// Tells of each group how many partitions it has, and of none what waits in it.
    fileprivate mutating func leaveOutPartitions() {
        for index in groups.indices {
            guard let partitions = groups[index].partitions else { continue }
            groups[index].partitions = nil
            groups[index].partitionsLeftOut = partitions.count
        }
    }

    fileprivate mutating func leaveOutGroups(keeping count: Int) {
        let count = min(count, groups.count - 1)
        groupsLeftOut = (groupsLeftOut ?? 0) + groups.count - count
        groups.removeSubrange(count...)
    }
}
