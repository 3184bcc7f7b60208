import SluiceCore
import SluiceGrpcMessages
import SluiceWire

// The documents of `$sys` topics as messages.

extension Sluice_V1_Topic {
    init(_ topic: Snapshot.Topic) {
        self.init()
        self.topic = topic.topic
        head = topic.head
        first = topic.first
        bufferedEvents = topic.bufferedEvents
        retainedBytes = topic.retainedBytes
        capacity = topic.capacity
        bufferBytes = topic.bufferBytes
        ahead = topic.ahead
        onFull = topic.onFull
        dispatcher = topic.dispatcher
        if let limit = topic.rate { rate = limit }
        if let limit = topic.burst { burst = limit }
        isEphemeral = topic.isEphemeral
        isPaused = topic.isPaused
        grantedEvents = topic.grantedEvents
        grantedBytes = topic.grantedBytes
        producers = UInt64(topic.producers)
        consumers = UInt64(topic.consumers)
        discardedEvents = topic.discardedEvents
        cutEvents = topic.cutEvents
        tooLargeEvents = topic.tooLargeEvents
        ledgerErrors = topic.ledgerErrors
        expiredGroups = topic.expiredGroups
        if let cause = topic.alarm {
            alarm.group = cause.group
            alarm.reason = cause.reason
        }
        if let seconds = topic.groupExpireAfter { groupExpireAfter = seconds }
        if let time = topic.idleMilliseconds { idleMilliseconds = time }
        groups = topic.groups.map { .init($0) }
    }
}

extension Sluice_V1_Group {
    init(_ group: Snapshot.Group) {
        self.init()
        self.group = group.group
        dispatcher = group.dispatcher
        lag = group.lag
        if let limit = group.maxLag { maxLag = limit }
        isEphemeral = group.isEphemeral
        position = group.position
        waiting = group.waiting
        partitions = group.partitions ?? []
        delivered = group.delivered
        discarded = group.discarded
        refused = group.refused
        members = UInt64(group.members)
        credit = group.credit
        deliverable = group.deliverable
        if let seconds = group.expireAfter { expireAfter = seconds }
        if let seconds = group.aloneSeconds { aloneSeconds = seconds }
        if let seconds = group.expiresInSeconds { expiresInSeconds = seconds }
        partitionsLeftOut = UInt64(group.partitionsLeftOut ?? 0)
    }
}

extension Sluice_V1_Server {
    init(_ server: Snapshot.Server) {
        self.init()
        name = server.name
        version = server.version
        uptimeSeconds = server.uptimeSeconds
        cpuSeconds = server.cpuSeconds
        residentBytes = server.residentBytes
        connections = UInt64(server.connections)
        topics = UInt64(server.topics)
        links = UInt64(server.links)
        eventsIn = server.eventsIn
        eventsOut = server.eventsOut
        isStopping = server.isStopping
    }
}

extension Sluice_V1_CreateTopicRequest {
    func fill(_ request: inout Snapshot.Request) throws(GrpcFailure) {
        if hasCapacity { request.buffer = capacity }
        if hasBufferBytes { request.bufferBytes = bufferBytes }
        if hasAhead { request.ahead = ahead }
        if hasOnFull { request.onFull = onFull }
        if hasDispatcher { request.dispatcher = dispatcher }
        if hasPartitions {
            guard let count = UInt16(exactly: partitions) else {
                let text = "a group has at most \(Limits.partitionsMax) partitions"
                throw GrpcFailure(.invalidArgument, text, reason: .badOption)
            }
            request.partitions = count
        }
        if hasLag { request.lag = lag }
        if hasMaxLag { request.maxLag = maxLag }
        if hasRate { request.rate = rate }
        if hasBurst { request.burst = burst }
        if hasIsEphemeral { request.isEphemeral = isEphemeral }
        if hasMaxProducers { request.maxProducers = maxProducers }
        if hasMaxConsumers { request.maxConsumers = maxConsumers }
        if hasMaxGroups { request.maxGroups = maxGroups }
        if hasMaxEventBytes { request.maxEventBytes = maxEventBytes }
        if hasGroupExpireAfter { request.groupExpireAfter = groupExpireAfter }
    }
}
