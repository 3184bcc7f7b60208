import DequeModule

// Grants that nobody uses while somebody else could: they go back, and their holders come last.

extension Topic {
    /// Takes back what lies unused, when nothing else is left for those that wait.
    mutating func recallUnused(at now: Instant, limit: Int, into effects: inout Effects) {
        guard granted > 0, isAwaited(at: now) else { return }
        if let time = unusedLookAt, time > now {
            wake(at: time)
            return
        }
        let soon = now.advanced(milliseconds: Limits.lapsedGrantMilliseconds)
        unusedLookAt = soon
        wake(at: soon)
        for index in kinds.indices where kinds[index] == .producer {
            // One that waits for bytes cannot use what it has.
            guard producerLinks[index].ledger.credit > 0, producerLinks[index].recalledAt == nil,
                producerLinks[index].needBytes == 0, let since = producerLinks[index].heldSince,
                since.advanced(milliseconds: unusedMilliseconds(index)) <= now
            else { continue }
            guard effects.list.count < limit else {
                unusedLookAt = nil
                grantsAreDue = true
                return
            }
            recall(UInt32(index), at: now, into: &effects)
            noteLapse(index, at: now)
        }
    }

    /// How long a producer may hold what it was granted and send nothing, if others wait.
    @inline(__always)
    private func unusedMilliseconds(_ place: Int) -> UInt64 {
        guard producerLinks[place].lapses == 0 else { return Limits.lapsedGrantMilliseconds }
        return producerLinks[place].announcedCredit > 0
            ? UInt64(Limits.announcedGrantSecondsMax) * 1_000 : Limits.idleGrantMilliseconds
    }

    /// Each time in a row others go first for twice as long.
    private mutating func noteLapse(_ place: Int, at now: Instant) {
        let wait = Limits.lapsedGrantMilliseconds << UInt64(producerLinks[place].lapses)
        let most = UInt64(Limits.announcedGrantSecondsMax) * 1_000
        producerLinks[place].waitsUntil = now.advanced(milliseconds: min(wait, most))
        producerLinks[place].lapses = min(producerLinks[place].lapses + 1, 8)
    }

    /// Whether a producer that holds nothing could use a grant; if only later, asks for a step
    /// then.
    private mutating func isAwaited(at now: Instant) -> Bool {
        if !needy.isEmpty { return true }
        guard starved + floorless > 0 else { return false }
        var next: Instant?
        for queue in [announced, willing] {
            for index in queue where producerLinks[Int(index)].ledger.credit == 0 {
                guard producerLinks[Int(index)].recalledAt == nil else { continue }
                guard let until = producerLinks[Int(index)].waitsUntil, until > now else {
                    return true
                }
                next = min(next ?? until, until)
            }
        }
        if let next { wake(at: next) }
        return false
    }

    /// What a producer may be given at most: little after it let a grant lapse, and nothing while
    /// those that did not may want it.
    @inline(__always)
    func grantMost(_ index: UInt32, whileOthersWait: Bool, at now: Instant) -> UInt64 {
        let place = Int(index)
        guard producerLinks[place].lapses > 0 else { return .max }
        if whileOthersWait, let until = producerLinks[place].waitsUntil, until > now { return 0 }
        let credit = producerLinks[place].ledger.credit
        return Limits.idleGrantEvents - min(Limits.idleGrantEvents, credit)
    }
}
