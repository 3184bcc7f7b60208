// Sums over engines, topics and groups; `SnapshotSumTests` knows the members that are in none.

extension Snapshot.Server {
    /// Adds what another engine of the same broker counts.
    package mutating func add(_ other: Self) {
        connections += other.connections
        detachedSessions += other.detachedSessions
        topics += other.topics
        links += other.links
        eventsIn += other.eventsIn
        eventsOut += other.eventsOut
        memoryUsedBytes = memoryUsedBytes.map { $0 + (other.memoryUsedBytes ?? 0) }
        memoryReservedBytes = memoryReservedBytes.map { $0 + (other.memoryReservedBytes ?? 0) }
        for index in faces.indices { faces[index].add(other.faces[index]) }
    }
}

extension Snapshot.Face {
    package mutating func add(_ other: Self) {
        connections += other.connections
        detachedSessions += other.detachedSessions
        queuedBytes += other.queuedBytes
        rejects.merge(other.rejects, uniquingKeysWith: +)
        protocolErrors.merge(other.protocolErrors, uniquingKeysWith: +)
    }
}

extension Snapshot.Topic {
    /// Its groups, those without a name as one.
    package var groupsByName: [Snapshot.Group] {
        var nameless = Snapshot.Group(group: "")
        nameless.add(ended)
        var named: [Snapshot.Group] = []
        for group in groups {
            if group.group.isEmpty { nameless.add(group) } else { named.append(group) }
        }
        let isUsed = named.count < groups.count || ended.asked > 0
        return isUsed ? [nameless] + named : named
    }

    /// Leaves at most so many groups, and one more for all others.
    package mutating func foldGroups(most: Int) {
        groups = groupsByName
        ended = Snapshot.Ended()
        guard groups.count > max(0, most) else { return }
        var others = Snapshot.Group(group: Snapshot.others)
        for group in groups[max(0, most)...] { others.add(group) }
        groups.removeSubrange(max(0, most)...)
        groups.append(others)
    }

    /// Adds another topic's numbers, and those of its groups as of one without a name.
    package mutating func add(_ other: Self) {
        head += other.head
        bufferedEvents += other.bufferedEvents
        retainedBytes += other.retainedBytes
        memoryBytes += other.memoryBytes
        reservedBytes += other.reservedBytes
        capacity += other.capacity
        bufferBytes += other.bufferBytes
        grantedEvents += other.grantedEvents
        grantedBytes += other.grantedBytes
        producers += other.producers
        consumers += other.consumers
        producerAsked += other.producerAsked
        producerForfeited += other.producerForfeited
        discardedEvents += other.discardedEvents
        cutEvents += other.cutEvents
        tooLargeEvents += other.tooLargeEvents
        expiredGroups += other.expiredGroups
        alarm = alarm ?? other.alarm
        ledgerErrors += other.ledgerErrors
        producerHeldSeconds.merge(other.producerHeldSeconds, uniquingKeysWith: +)
        latency.add(other.latency)
        var sum = groups.first ?? Snapshot.Group(group: "")
        for group in other.groupsByName { sum.add(group) }
        groups = [sum]
    }
}

extension Snapshot.Latency {
    package mutating func add(_ other: Self) {
        if counts.isEmpty { counts = other.counts.map { _ in 0 } }
        for (index, count) in other.counts.enumerated() { counts[index] += count }
        seconds += other.seconds
    }
}

extension Snapshot.Group {
    package mutating func add(_ other: Self) {
        waiting += other.waiting
        delivered += other.delivered
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

    package mutating func add(_ ended: Snapshot.Ended) {
        discarded += ended.discarded
        refused += ended.refused
        asked += ended.asked
        deliveries += ended.deliveries
        forfeited += ended.forfeited
        heldSeconds.merge(ended.heldSeconds, uniquingKeysWith: +)
    }
}
