// A topic that is nearly full, for those who ask: for whom.

/// What of a topic is nearly full, and the group that it waits for.
package struct TopicAlarm: Hashable, Sendable {
    package enum Reason: String, Sendable {
        case events
        case bytes
    }

    package var group: Name
    package var reason: Reason

    /// Whether so much is in that little more fits.
    static func isNear(_ held: UInt64, of room: UInt64) -> Bool {
        let percent = UInt64(Limits.topicAlarmPercent)
        // In parts, so that no product is larger than the room.
        return held > 0 && held >= room / 100 * percent + room % 100 * percent / 100
    }
}

extension Topic {
    /// The slowest of the groups that producers wait for, once it has nearly filled the topic.
    ///
    /// Events are held against the topic's capacity, for a group without members against what
    /// producers may be ahead: no more will come for it.
    package var alarm: TopicAlarm? {
        guard options.onFull == .block else { return nil }
        var slowest: (group: Int, waiting: UInt64)?
        for index in groupTable.indices
        where !groupTable[index].isRemoved && groupTable[index].rules.holds {
            let waiting = waiting(ofGroup: index)
            guard waiting > slowest?.waiting ?? 0 else { continue }
            slowest = (index, waiting)
        }
        guard let (group, waiting) = slowest else { return nil }
        let room = groupTable[group].members.isEmpty ? options.ahead : options.capacity
        let name = groupTable[group].name
        if TopicAlarm.isNear(waiting, of: room) { return TopicAlarm(group: name, reason: .events) }
        guard TopicAlarm.isNear(retainedBytes, of: options.bufferBytes) else { return nil }
        return TopicAlarm(group: name, reason: .bytes)
    }
}
