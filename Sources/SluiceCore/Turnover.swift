// What became of demand so far, for those who ask: sums over links, and time that events waited.

/// The accounts of many links in one, with those of links that are gone.
// asked = delivered + forfeited + credit; asked, delivered and forfeited only rise
package struct Turnover: Hashable, Sendable {
    package internal(set) var asked: UInt64 = 0
    package internal(set) var delivered: UInt64 = 0
    package internal(set) var forfeited: UInt64 = 0

    package var credit: UInt64 { asked - delivered - forfeited }

    mutating func add(_ ledger: Ledger) {
        asked += ledger.asked
        delivered += ledger.delivered
        forfeited += ledger.forfeited
    }

    /// Adds the account of a link that ends: its credit dies with it.
    mutating func end(_ ledger: Ledger) {
        add(ledger)
        forfeited += ledger.credit
    }

    /// Counts events as delivered that a resume has made forfeited: they did leave the topic.
    func counting(cut: UInt64) -> Self {
        var sum = self
        sum.delivered += cut
        sum.forfeited -= cut
        return sum
    }
}

/// How long events have waited, by what held them.
package struct HoldTimes: Sendable {
    /// What holds them now; `nothing` while none wait.
    package private(set) var reason = BlockedBy.nothing
    private var since = Instant(nanoseconds: 0)
    /// Nanoseconds by reason.
    // In place: an array would be retained with each copy of a group.
    private var spent = InlineArray<14, UInt64>(repeating: 0)

    /// What holds events from now on.
    mutating func turn(to reason: BlockedBy, at now: Instant) {
        guard reason != self.reason else { return }
        if self.reason != .nothing {
            spent[Int(self.reason.rawValue)] += now.nanoseconds(since: since)
        }
        since = now
        self.reason = reason
    }

    /// What has become of it by `now`, without reasons that nothing was ever held for.
    package func nanoseconds(at now: Instant) -> [BlockedBy: UInt64] {
        var sums: [BlockedBy: UInt64] = [:]
        forEach(at: now) { reason, time in sums[reason] = time }
        return sums
    }

    /// Shows each reason that events were held for, with its time by `now`.
    package func forEach(at now: Instant, _ body: (BlockedBy, UInt64) -> Void) {
        for reason in BlockedBy.allCases where reason != .nothing {
            var time = spent[Int(reason.rawValue)]
            if reason == self.reason { time += now.nanoseconds(since: since) }
            if time > 0 { body(reason, time) }
        }
    }

    mutating func add(_ other: Self, at now: Instant) {
        var spent = spent
        other.forEach(at: now) { reason, time in spent[Int(reason.rawValue)] += time }
        self.spent = spent
    }
}

/// What the groups of independent consumers that are gone have counted.
package struct EndedGroups: Sendable {
    package internal(set) var turnover = Turnover()
    package internal(set) var discarded: UInt64 = 0
    package internal(set) var refused: UInt64 = 0
    package internal(set) var holds = HoldTimes()
}

extension Topic {
    /// What has happened to the topic's events since it was made.
    package struct Counters: Hashable, Sendable {
        package internal(set) var delivered: UInt64 = 0
        package internal(set) var discarded: UInt64 = 0
        /// Groups that nobody came back to in time.
        package internal(set) var expiredGroups: UInt64 = 0
        /// Events that no member of a group was to have.
        package internal(set) var refused: UInt64 = 0
        package internal(set) var cut: UInt64 = 0
        /// Events that were refused because the topic takes none so large.
        package internal(set) var tooLarge: UInt64 = 0
        package internal(set) var ledgerErrors: UInt64 = 0
        package internal(set) var peakBuffered: UInt64 = 0
        package internal(set) var peakRetainedBytes: UInt64 = 0
    }
}

// MARK: - Sums

extension Topic {
    /// What was asked of a group by its members, and what became of it.
    package func turnover(ofGroup number: Int) -> Turnover {
        var sum = groupTable[number].ended
        for member in groupTable[number].members { sum.add(consumerLinks[Int(member)].ledger) }
        return sum.counting(cut: groupTable[number].cut)
    }

    /// What producers were asked for, and what became of it.
    package var turnoverOfProducers: Turnover {
        var sum = endedProducerLinks
        for place in kinds.indices where kinds[place] == .producer {
            sum.add(producerLinks[place].ledger)
        }
        return sum
    }

    /// Keeps what an independent consumer's group has counted: those have no name to be told by.
    mutating func keepCounts(ofGroup number: Int) {
        guard groupTable[number].rules.dispatcher == .independent else { return }
        let turnover = turnover(ofGroup: number)
        endedGroups.turnover.asked += turnover.asked
        endedGroups.turnover.delivered += turnover.delivered
        endedGroups.turnover.forfeited += turnover.forfeited
        endedGroups.discarded += groupTable[number].discarded
        endedGroups.refused += groupTable[number].refused
        endedGroups.holds.add(groupTable[number].holds, at: clock)
    }
}

// MARK: - Time

extension Topic {
    /// Notes what keeps a group's events from its members, when all was handed out that could be.
    @inline(__always)
    mutating func noteHold(ofGroup number: Int, at now: Instant) {
        if waiting(ofGroup: number) > 0 {
            groupTable[number].holds.turn(to: holder(ofGroup: number), at: now)
        } else if groupTable[number].holds.reason != .nothing {
            groupTable[number].holds.turn(to: .nothing, at: now)
        }
    }

    /// Why events wait for a group.
    ///
    /// Where its members are held by different things, it is the first's that has credit.
    // Mutating, so that the topic is not copied to be asked.
    private mutating func holder(ofGroup number: Int) -> BlockedBy {
        if isPaused { return .paused }
        let credited = groupTable[number].credited
        guard credited > 0 else { return .noDemand }
        if groupTable[number].isLockstep, credited < groupTable[number].members.count {
            return .noDemand
        }
        for member in groupTable[number].members {
            let place = Int(member)
            guard consumerLinks[place].isCredited, consumerLinks[place].isAttached,
                !consumerLinks[place].isStandby
            else { continue }
            if consumerLinks[place].needBytes > 0 || consumerLinks[place].ledger.byteCredit == 0 {
                return .bytes
            }
            let room = consumerLinks[place].room
            guard ConsumerLink.isWritable(room, of: consumerLinks[place].window) else {
                return .window
            }
            if consumerLinks[place].allowance == 0 { return .rate }
            if consumerLinks[place].special.first?.batchDueAt != nil { return .batch }
            if groupTable[number].pickers > 0 { return .filter }
        }
        return .noDemand
    }

    /// Notes what keeps producers that have events from sending them.
    @inline(__always)
    mutating func noteHoldOfProducers(at now: Instant) {
        if starved > 0 || !needy.isEmpty {
            producerHolds.turn(to: holderOfProducers(), at: now)
        } else if producerHolds.reason != .nothing {
            producerHolds.turn(to: .nothing, at: now)
        }
    }

    private mutating func holderOfProducers() -> BlockedBy {
        if isPaused { return .paused }
        if let events = bucket?.available(at: clock), events <= granted { return .rate }
        if !needy.isEmpty || retainedBytes >= options.bufferBytes { return .bytes }
        return buffered >= options.ahead && options.ahead > 0 ? .buffer : .noDemand
    }
}
