// Granting: demand goes up to the producers, never more than law L3 allows.

extension Topic {
    /// What may be granted now, in events: for consumers, and with what is kept ahead.
    // wanted ≤ total; granted + total never breaks L3
    struct Allowance: Equatable {
        var wanted: UInt64
        var total: UInt64
    }

    @inline(__always)
    var allowance: Allowance {
        guard !isWinding else { return Allowance(wanted: 0, total: 0) }
        let limit = grantLimit
        let out = log.head + granted
        let window = Limits.grantWindowEvents - min(Limits.grantWindowEvents, granted)
        var total: UInt64
        var wanted: UInt64 = 0
        if let limit {
            wanted = limit - min(limit, out)
            total = limit + options.ahead - min(limit + options.ahead, out)
        } else {
            let most = tail.offset + options.ahead
            total = most - min(most, out)
        }
        if options.onFull != .block {
            // A dropping topic never holds its producers back by more than a rolling window.
            let rolling = min(options.ahead, Limits.grantWindowEvents)
            total = max(total, rolling - min(rolling, granted))
        }
        total = min(total, window)
        return Allowance(wanted: min(wanted, total), total: total)
    }

    /// Up to which offset consumers could take what comes; nil without a group.
    ///
    /// Groups that hold set it, the slowest of them; where none does, the fastest of the others.
    @inline(__always)
    var grantLimit: UInt64? {
        var slowest: UInt64?
        var fastest: UInt64?
        for index in groupTable.indices where !groupTable[index].isRemoved {
            let offset = log.head - waiting(ofGroup: index) + credit(ofGroup: index)
            if groupTable[index].rules.holds {
                slowest = min(slowest ?? .max, offset)
            } else {
                fastest = max(fastest ?? 0, offset)
            }
        }
        return slowest ?? fastest
    }

    mutating func grant(at now: Instant, limit: Int, into effects: inout Effects) {
        grantsAreDue = false
        guard producers > 0 else { return }
        let rate = withinRate(at: now)
        guard !isWinding else {
            recallIdle(all: true, at: now, into: &effects)
            return
        }
        guard !awaitsRoom() else { return }
        let isShortOfBytes = serveNeedy(at: now, into: &effects)
        var allowed = allowance
        allowed.total = min(allowed.total, rate)
        allowed.wanted = min(allowed.wanted, rate)
        grantable = granted + allowed.total
        if !parked.isEmpty { unpark(at: now) }
        var rest = allowed.total
        // What comes back is for those short of bytes: given to others it would go round for ever.
        if rest > 0, !isShortOfBytes, isWorthGranting(allowed) {
            // What is left over after a queue was served, nobody in it could be given.
            let used = serve(.announced, upTo: rest, at: now, limit: limit, into: &effects)
            rest -= used
            let wanted = min(rest, allowed.wanted - min(allowed.wanted, used))
            if wanted > 0 {
                rest -= serve(.willing, upTo: wanted, at: now, limit: limit, into: &effects)
            }
            let keptAhead = min(rest, allowed.total - allowed.wanted)
            if keptAhead > 0 {
                giveFloors(upTo: keptAhead, at: now, limit: limit, into: &effects)
            }
        }
        if isShortOfBytes { recallNeedy(at: now, into: &effects) }
        let isSpent = rest == 0 || freeGrantBytes < likelyRecordBytes + laneOverhead
        if isShortOfBytes || isSpent && !announced.isEmpty {
            recallIdle(all: false, at: now, into: &effects)
        }
        if isShortOfBytes || isSpent { recallUnused(at: now, limit: limit, into: &effects) }
        if effects.list.count >= limit { grantsAreDue = true }
    }

    /// Events that the topic's rate lets be granted beside those that are out.
    private mutating func withinRate(at now: Instant) -> UInt64 {
        guard let events = bucket?.available(at: now), let limit = bucket?.limit else {
            return .max
        }
        guard events <= granted else { return events - granted }
        let missing = (granted - events + 1) * 1_000_000_000 / UInt64(limit.eventsPerSecond)
        wakeSoon(after: missing, at: now)
        return 0
    }

    /// Small refills of what is kept ahead wait until they are worth a frame, unless somebody could
    /// have nothing to do meanwhile.
    // Mutating, so that the topic is not copied to be asked.
    private mutating func isWorthGranting(_ allowed: Allowance) -> Bool {
        guard allowed.wanted == 0 else { return true }
        // Of what it could have at all, if memory is short.
        let room = memoryLimit < .max ? freeMemory + reservedNow : .max
        let fitting = min(Limits.grantWindowBytes, room) / likelyRecordBytes
        let enough = min(options.ahead, Limits.grantWindowEvents, fitting) / 4
        guard min(allowed.total, freeGrantBytes / likelyRecordBytes) < enough else { return true }
        guard !everyGroupHas(enough) else { return false }
        guard granted > 0 else { return true }
        for index in announced where producerLinks[Int(index)].ledger.credit == 0 { return true }
        return false
    }

    /// Whether there are groups that hold, and so many events wait for each of them.
    @inline(__always)
    private func everyGroupHas(_ events: UInt64) -> Bool {
        var isHeld = false
        for index in groupTable.indices
        where !groupTable[index].isRemoved && groupTable[index].rules.holds {
            guard waiting(ofGroup: index) >= events else { return false }
            isHeld = true
        }
        return isHeld
    }

    /// Shares `events` evenly among a queue's producers, first come first served: who holds as
    /// much as is its part gets more only when the others have all that they can use.
    private mutating func serve(
        _ queue: ProducerQueue,
        upTo events: UInt64,
        at now: Instant,
        limit: Int,
        into effects: inout Effects
    ) -> UInt64 {
        var rest = events
        var waiting = producers(in: queue).count
        let level = max(1, (granted + rest) / UInt64(max(1, waiting)))
        var round = GrantRound.level
        var progressed = false
        while rest > 0, waiting > 0, effects.list.count < limit {
            guard let index = withQueue(queue, { $0.popFirst() }) else { break }
            _ = withProducer(index) { $0.queue = nil }
            var share = max(1, rest / UInt64(waiting))
            share = min(share, grantMost(index, whileOthersWait: round != .rest, at: now))
            if round == .level {
                share = min(share, level - min(level, producerLinks[Int(index)].ledger.credit))
            }
            let given = issue(index, share, isAnnounced: true, at: now, into: &effects)
            if given == 0, roomOfOwner(index, at: now) == 0 {
                park(index)
            } else {
                enqueueProducer(index)
            }
            rest -= given
            progressed = progressed || given > 0
            waiting -= 1
            if waiting == 0, progressed || round != .rest {
                waiting = producers(in: queue).count
                if !progressed { round = round == .level ? .others : .rest }
                progressed = false
            }
        }
        return events - rest
    }

    /// Whom a round over a queue is for.
    private enum GrantRound {
        /// Those that hold less than their part.
        case level
        /// All but those that let grants lapse.
        case others
        case rest
    }

    /// Gives producers that announced nothing a little, so that their first events need not wait.
    private mutating func giveFloors(
        upTo events: UInt64,
        at now: Instant,
        limit: Int,
        into effects: inout Effects
    ) {
        guard floorless > 0, givesFloors else { return }
        var rest = events
        for queue in [willing, idle] {
            for index in queue {
                guard rest > 0, effects.list.count < limit else { return }
                guard producerLinks[Int(index)].ledger.credit == 0 else { continue }
                let most = grantMost(index, whileOthersWait: true, at: now)
                let floor = min(rest, Limits.idleGrantEvents, most)
                guard floor > 0 else { continue }
                rest -= issue(index, floor, isAnnounced: false, at: now, into: &effects)
            }
        }
    }

    /// Grants up to `events` to one producer, with the bytes that they are likely to need.
    private mutating func issue(
        _ index: UInt32,
        _ events: UInt64,
        isAnnounced: Bool,
        at now: Instant,
        into effects: inout Effects
    ) -> UInt64 {
        let link = producerLinks[Int(index)]
        guard kinds[Int(index)] == .producer, link.isAttached, link.recalledAt == nil else {
            return 0
        }
        let credit = link.ledger.credit
        var count = min(events, Limits.demandMax - min(Limits.demandMax, credit))
        count = min(count, roomOfOwner(index, at: now))
        if isAnnounced, case .events(let backlog) = link.backlog { count = min(count, backlog) }
        let held = link.ledger.byteCredit ?? 0
        let free = freeGrantBytes + link.grantedBytes
        if credit == 0, held > free {
            // Bytes left over from earlier grants would count again: they go back first.
            let isPossible = free >= likelyRecordBytes || granted == 0 && free > 0
            if isPossible { recall(index, at: now, into: &effects) }
            return 0
        }
        let affordable = affordableEvents(
            credit: credit,
            held: held,
            counted: link.grantedBytes,
            each: likelyRecordBytes
        )
        if affordable < count {
            lacksMemory = true
            count = affordable
            guard count > 0 else { return 0 }
        }
        var bytes = (credit + count) * likelyRecordBytes
        let overhead = laneOverhead
        if bytes > max(free, held) || overhead > 0 {
            let rest = free - min(free, credit * likelyRecordBytes)
            count = min(count, rest / (likelyRecordBytes + overhead))
            if overhead > 0 { count = min(count, (free - min(free, held)) / overhead) }
            bytes = (credit + count) * likelyRecordBytes
            if count == 0 {
                guard granted == 0, free > 0, events > 0 else { return 0 }
                count = 1
                bytes = max(likelyRecordBytes, UInt64(link.needBytes))
                guard hasMemory(for: bytes) else {
                    lacksMemory = true
                    return 0
                }
            }
        }
        guard count > 0 else { return 0 }
        let more = UInt32(clamping: bytes - min(bytes, held))
        var ask = Ask(events: 0, total: 0)
        _ = withProducer(index) { link in
            ask = link.ledger.ask(events: UInt32(count), bytes: more)
            link.askedAt = now
            if credit == 0 { link.heldSince = now }
            guard isAnnounced, case .events(let backlog) = link.backlog else { return }
            link.backlog = .events(backlog - count)
            link.announcedCredit += count
        }
        demand(ask, of: index, into: &effects)
        return count
    }

    /// Leaves a DEMAND to be sent, joined with one that the step has for the link already.
    private mutating func demand(_ ask: Ask, of index: UInt32, into effects: inout Effects) {
        let place = producerLinks[Int(index)].askPlace
        if effects.list.indices.contains(place),
            case .ask(id(index), let earlier) = effects.list[place],
            earlier.total + UInt64(ask.events) == ask.total
        {
            var joined = ask
            joined.events += earlier.events
            joined.bytes += earlier.bytes
            joined.flags.formUnion(earlier.flags)
            effects.list[place] = .ask(id(index), joined)
            return
        }
        _ = withProducer(index) { $0.askPlace = effects.list.count }
        effects.list.append(.ask(id(index), ask))
    }

    /// Bytes a record will likely have, with a margin: what is left over is granted again.
    // No more than it can have: one alone may be granted them where there is no room for more.
    @inline(__always)
    private var likelyRecordBytes: UInt64 {
        guard meanRecordBytes > 0 else { return 1_024 }
        return min(meanRecordBytes + meanRecordBytes / 4 + 16, UInt64(Limits.eventBytesMax))
    }

    /// Bytes that may still be granted under law L3.
    // All of it in its caller: the topic is copied for what is not inlined.
    @inline(__always)
    private var freeGrantBytes: UInt64 {
        let window = Limits.grantWindowBytes - min(Limits.grantWindowBytes, grantedBytes)
        let most = options.bufferBytes + Limits.grantWindowBytes
        guard lanedGroups > 0 else {
            return min(window, most - min(most, retainedBytes + grantedBytes), freeMemory)
        }
        return min(
            window,
            (most - min(most, retainedBytes + grantedMemory)) / copies,
            freeMemory / copies
        )
    }

    /// Bytes that what is granted may keep from being freed once it has come.
    ///
    /// Each group with lanes keeps its events by itself, the others together in the log.
    @inline(__always)
    var grantedMemory: UInt64 {
        copies * grantedBytes + UInt64(lanedGroups) * Limits.laneItemBytes * granted
    }

    /// How often an event may be kept.
    @inline(__always)
    var copies: UInt64 {
        UInt64(lanedGroups + (lanedGroups < liveGroups || lanedGroups == 0 ? 1 : 0))
    }

    /// What an event costs in a lane beside its record, as bytes to be granted.
    @inline(__always)
    private var laneOverhead: UInt64 {
        guard lanedGroups > 0 else { return 0 }
        return (UInt64(lanedGroups) * Limits.laneItemBytes + copies - 1) / copies
    }

    /// Gives more bytes to producers whose next event does not fit; true if some must wait.
    private mutating func serveNeedy(at now: Instant, into effects: inout Effects) -> Bool {
        guard !needy.isEmpty else { return false }
        // Those in the queue get the bytes of their next events before any gets more than that.
        var unserved = needy.reduce(into: UInt64(0)) { $0 += missingBytes($1) }
        var left = needy.count
        var isShort = false
        while left > 0, let index = needy.popFirst() {
            left -= 1
            let missing = missingBytes(index)
            guard missing > 0 else { continue }
            let link = producerLinks[Int(index)]
            guard ownerHasRoom(for: missing, of: index, at: now) else {
                needy.append(index)
                continue
            }
            let isAlone = granted == link.ledger.credit && freeGrantBytes + link.grantedBytes > 0
            guard missing <= freeGrantBytes || isAlone && hasMemory(for: missing) else {
                if !hasMemory(for: missing) { lacksMemory = true }
                isShort = true
                needy.append(index)
                continue
            }
            unserved -= missing
            let spare = freeGrantBytes - min(freeGrantBytes, missing + unserved)
            // With the bytes of one event alone, each of those granted would cost a round trip.
            let likely = (link.ledger.credit - 1) * likelyRecordBytes
            let more = min(likely, spare / UInt64(left + 1))
            var ask = Ask(events: 0, total: 0)
            _ = withProducer(index) { link in
                ask = link.ledger.ask(events: 0, bytes: UInt32(missing + more))
                link.needBytes = 0
                link.askedAt = now
                link.heldSince = now
            }
            demand(ask, of: index, into: &effects)
        }
        return isShort
    }

    /// Bytes that a producer's next event needs beyond those granted; 0 if it waits for none.
    private func missingBytes(_ index: UInt32) -> UInt64 {
        let link = producerLinks[Int(index)]
        // One that is recalled has nothing to wait with: its answer says what it needs then.
        guard kinds[Int(index)] == .producer, link.isAttached, link.recalledAt == nil,
            link.ledger.credit > 0
        else { return 0 }
        let need = UInt64(link.needBytes)
        return need - min(need, link.grantedBytes)
    }

    /// Takes back what was granted to producers that have no known use for it.
    mutating func recallIdle(all: Bool, at now: Instant, into effects: inout Effects) {
        guard idleHolders > 0 || all && granted > 0 else { return }
        for index in kinds.indices where kinds[index] == .producer {
            guard producerLinks[index].ledger.credit > 0,
                all || producerLinks[index].isIdleHolder
            else { continue }
            recall(UInt32(index), at: now, into: &effects)
        }
    }

    /// Takes grants back that hold each other up: every holder waits for more bytes than are left.
    ///
    /// The first in the queue keeps its grant and gets what the others give back.
    private mutating func recallNeedy(at now: Instant, into effects: inout Effects) {
        var held: UInt64 = 0
        for index in needy where kinds[Int(index)] == .producer {
            held += producerLinks[Int(index)].ledger.credit
        }
        guard held == granted, recalls == 0 else { return }
        for index in needy.dropFirst() { recall(index, at: now, into: &effects) }
    }

    mutating func recall(_ index: UInt32, at now: Instant, into effects: inout Effects) {
        guard kinds[Int(index)] == .producer, producerLinks[Int(index)].isAttached,
            producerLinks[Int(index)].recalledAt == nil
        else { return }
        var ask = Ask(events: 0, total: 0)
        _ = withProducer(index) { link in
            ask = link.ledger.ask(events: 0, flags: .stop)
            link.recalledAt = now
            link.announcedCredit = 0
        }
        // It is given nothing before it has answered: a round need not pass by it.
        dequeueProducer(index)
        recalls += 1
        demand(ask, of: index, into: &effects)
    }

    /// Closes the links of producers that did not answer a recall in time.
    package mutating func expireRecalls(at now: Instant, into effects: inout Effects) {
        guard recalls > 0 else { return }
        for index in kinds.indices where kinds[index] == .producer {
            guard let since = producerLinks[index].recalledAt,
                now.milliseconds(since: since)
                    >= producerLinks[index].answerMilliseconds ?? options.recallMilliseconds
            else { continue }
            let id = id(UInt32(index))
            close(id)
            effects.list.append(.close(id, .recallTimeout, "a STOP was not answered"))
        }
    }
}
