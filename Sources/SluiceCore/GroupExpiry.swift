// Groups that nobody comes back to: after a time they let go of what they hold.

/// How long a group is kept that has no member: the rule, as a value.
///
/// It is for groups that an OPEN has named and that outlive their members. A topic's default group
/// is its own, an ephemeral one ends with its last member, and one that a request made is kept.
package struct GroupExpiry: Hashable, Sendable {
    /// 0 for ever.
    package var afterSeconds = UInt64(Limits.groupExpireAfterSecondsDefault)

    package init() {}

    /// For how long a group is kept; nil for ever.
    ///
    /// - Parameter isKept: whether a request made it.
    package func seconds(of name: Name, _ rules: GroupRules, isKept: Bool) -> UInt64? {
        guard afterSeconds > 0, !name.isEmpty, !rules.isEphemeral, !isKept else { return nil }
        return afterSeconds
    }
}

extension Topic {
    /// When a group ends if nobody joins it by then; nil while it has members, or if it never does.
    package func expiry(ofGroup index: Int) -> Instant? {
        guard let since = groupTable[index].aloneSince, let seconds = expireAfter(group: index)
        else { return nil }
        return since.advanced(milliseconds: seconds.multipliedSaturated(by: 1_000))
    }

    /// For how many seconds a group is kept without a member; nil for ever.
    package func expireAfter(group index: Int) -> UInt64? {
        options.groupExpiry.seconds(
            of: groupTable[index].name,
            groupTable[index].rules,
            isKept: groupTable[index].isKept
        )
    }

    /// Notes that the last member of a group has gone.
    mutating func noteAlone(_ group: Int) {
        groupTable[group].aloneSince = clock
        awaitExpiry(of: group)
    }

    private mutating func awaitExpiry(of group: Int) {
        guard let time = expiry(ofGroup: group) else { return }
        groupsExpireAt = min(groupsExpireAt ?? time, time)
        wake(at: time)
    }

    /// Looks up anew when the first group ends.
    mutating func awaitAllExpiries() {
        groupsExpireAt = nil
        for index in groupTable.indices where !groupTable[index].isRemoved {
            awaitExpiry(of: index)
        }
    }

    /// Whether groups are left whose time is over.
    var expiriesAreLeft: Bool { groupsExpireAt.map { $0 <= clock } ?? false }

    /// Ends the groups whose time is over, as far as one step may, and waits for the next.
    mutating func expireGroups(at now: Instant, into effects: inout Effects) {
        guard let due = groupsExpireAt else { return }
        guard due <= now else {
            wake(at: due)
            return
        }
        var left = Limits.groupsExpiredPerStepMax
        for index in groupTable.indices where !groupTable[index].isRemoved && left > 0 {
            guard let time = expiry(ofGroup: index), time <= now else { continue }
            let waiting = waiting(ofGroup: index)
            effects.list.append(.expired(group: groupTable[index].name, waiting: waiting))
            counters.expiredGroups += 1
            removeGroup(at: index)
            left -= 1
        }
        awaitAllExpiries()
    }
}
