import SluiceCore

// Groups that nobody comes back to: they end in time, and no others do.

extension World {
    /// Seconds that a group is kept without members; 0 for ever.
    static func expiry(_ random: inout SeededGenerator) -> UInt64 {
        [0, 0, 1, 5, 60].randomElement(using: &random) ?? 0
    }

    /// Notes which groups have members, before something may take them away.
    mutating func noteMembers() {
        for sink in sinks where topic.consumer(sink.id) != nil {
            aloneSince[sink.opening.group] = now
        }
    }

    mutating func removeGroup(_ name: Name) {
        keptGroups.remove(name)
        apply(.removeGroup(name))
    }

    /// A group that ended had a name, was to outlive its members, and had none for its time.
    mutating func checkExpired(_ group: Name) {
        let after = topic.options.groupExpiry.afterSeconds
        let since = aloneSince[group] ?? now
        if after == 0 || now.milliseconds(since: since) < after * 1_000 {
            violations.append("group \(group) ended, alone since \(since), at \(now)")
        }
        if keptGroups.contains(group) { violations.append("group \(group) was to stay, and ended") }
        if group.isEmpty || sinks.contains(where: { $0.opening.group == group }) {
            violations.append("group \(group) ended, and has members")
        }
    }

    /// At rest no group is left whose time is over.
    mutating func checkExpiries() {
        let after = topic.options.groupExpiry.afterSeconds
        guard after > 0 else { return }
        for number in topic.groupTable.indices where !topic.groupTable[number].isRemoved {
            guard topic.groupTable[number].members.isEmpty, !topic.groupTable[number].name.isEmpty,
                !topic.groupTable[number].rules.isEphemeral
            else { continue }
            let name = topic.groupTable[number].name
            guard !keptGroups.contains(name) else { continue }
            if now.milliseconds(since: aloneSince[name] ?? now) >= after * 1_000 {
                violations.append("group \(name) did not end")
            }
        }
    }
}
