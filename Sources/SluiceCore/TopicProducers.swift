// Producers: what arrives from them, and what they say of themselves.

import DequeModule

extension Topic {
    mutating func openProducer(
        _ id: LinkID,
        _ backlog: Backlog,
        owner: UInt64,
        into effects: inout Effects
    ) {
        precondition(isCurrent(id))
        do throws(Refusal) {
            try checkRoomForProducer()
        } catch {
            release(id.index)
            effects.list.append(.close(id, error.code, error.text))
            return
        }
        producers += 1
        kinds[Int(id.index)] = .producer
        while producerLinks.count <= Int(id.index) { producerLinks.append(.none) }
        let place = owners.join(owner)
        producerLinks[Int(id.index)] = ProducerLink(backlog: backlog, owner: place)
        effects.list.append(.opened(id, resumed: false))
        enqueueProducer(id.index)
        grantsAreDue = true
    }

    mutating func publish(
        _ id: LinkID,
        _ publication: Publication,
        at now: Instant,
        into effects: inout Effects
    ) {
        do {
            let known: Void? = try withProducer(id.index) { link throws(LedgerError) in
                try link.ledger.receive(
                    firstSequence: publication.firstSequence,
                    events: publication.events,
                    bytes: publication.bytes
                )
                link.announcedCredit -= min(link.announcedCredit, publication.events)
                link.needBytes = 0
                link.movedAt = now
                link.heldSince = now
                link.lapses = 0
            }
            guard known != nil else { return }
        } catch {
            fail(id, error, into: &effects)
            return
        }
        takeBackEnd(id.index)
        publishedAt = now
        owners.noteSending(producerLinks[Int(id.index)].owner, at: now)
        let limit = effects.list.count + Limits.effectsPerStepMax
        if let available = bucket?.available(at: now) {
            bucket?.take(min(available, publication.events), at: now)
        }
        if mayHaveTooLarge(publication) {
            takeFitting(publication, from: id, limit: limit, into: &effects)
        } else {
            take(publication, from: id, limit: limit, into: &effects)
        }
    }

    /// Takes events as far as the topic's policy lets them in, and tells their producer.
    mutating func take(
        _ publication: Publication,
        from id: LinkID,
        limit: Int,
        into effects: inout Effects
    ) {
        let offset = log.head
        let kept = emit(publication)
        if kept > 0 {
            let accepted = Effect.accept(
                id,
                from: publication.firstSequence,
                count: UInt32(clamping: kept),
                offset: offset
            )
            answer(id, accepted, limit: limit, into: &effects)
        }
        if kept < publication.events {
            let refused = Effect.reject(
                id,
                from: publication.firstSequence + kept,
                count: UInt32(clamping: publication.events - kept),
                .discarded
            )
            answer(id, refused, limit: limit, into: &effects)
        }
    }

    /// Tells a producer what became of its events, or leaves that to the next step.
    @inline(__always)
    mutating func answer(
        _ id: LinkID,
        _ effect: Effect,
        limit: Int,
        into effects: inout Effects
    ) {
        guard answers.isEmpty, effects.list.count < limit else {
            answers.append((id, effect))
            return
        }
        effects.list.append(effect)
    }

    /// Tells producers what earlier steps had no room for; who left hears nothing any more.
    mutating func giveAnswers(limit: Int, into effects: inout Effects) {
        while effects.list.count < limit, let (id, effect) = answers.popFirst() {
            if isCurrent(id) { effects.list.append(effect) }
        }
    }

    private mutating func note(_ events: UInt64, _ bytes: UInt64) {
        guard events > 0 else { return }
        let mean = max(1, bytes / events)
        meanRecordBytes =
            meanRecordBytes == 0 ? mean : (meanRecordBytes * 7 + mean + 4) / 8
    }

    /// Takes events into the topic as far as its policy lets them in; returns how many.
    ///
    /// Also for a local producer; what that emits beyond its grant goes into the buffer like any
    /// other event. A topic that blocks takes all.
    package mutating func emit(_ runs: [Run], events: UInt64, time: UInt64) -> UInt64 {
        guard !runs.isEmpty else { return 0 }
        let bytes = runs.reduce(0) { $0 + UInt64($1.byteCount) }
        return emit(
            Publication(
                firstSequence: 0,
                events: events,
                bytes: bytes,
                runs: runs,
                time: time
            )
        )
    }

    private mutating func emit(_ publication: Publication) -> UInt64 {
        let events = publication.events
        isEnded = false
        note(events, publication.bytes)
        let kept = options.onFull == .dropNewest ? min(events, admissible) : events
        var left = kept
        append(publication.run, &left, time: publication.time)
        for run in publication.more { append(run, &left, time: publication.time) }
        counters.discarded += events - kept
        for index in groupTable.indices { markDirty(index) }
        isUnsettled = true
        grantsAreDue = true
        return kept
    }

    /// Appends as much of a run as there are events left to keep.
    private mutating func append(_ run: Run, _ left: inout UInt64, time: UInt64) {
        guard UInt64(run.count) > left else {
            left -= UInt64(run.count)
            log.append(run, time: time)
            return
        }
        var part = run
        guard left > 0, part.cut(events: left, bytes: .max) else { return }
        left = 0
        log.append(part, time: time)
    }

    /// Events that consumers or the buffer could take now.
    private var admissible: UInt64 {
        guard retainedBytes < options.bufferBytes else { return 0 }
        var most = UInt64.max
        for index in groupTable.indices
        where !groupTable[index].isRemoved && groupTable[index].rules.holds {
            let room = options.capacity + credit(ofGroup: index)
            let waiting = waiting(ofGroup: index)
            most = min(most, room - min(room, waiting))
        }
        if most == .max {
            let waiting = log.head - tail.offset
            most = options.capacity - min(options.capacity, waiting)
        }
        return most
    }

    /// A local producer brought this many events of what it was granted.
    package mutating func consumeGrant(_ id: LinkID, events: UInt64) {
        let now = clock
        _ = withProducer(id.index) { link in
            let used = min(events, link.ledger.credit)
            link.ledger.deliver(events: used, bytes: 0)
            link.announcedCredit -= min(link.announcedCredit, used)
            link.heldSince = now
            link.lapses = 0
        }
        grantsAreDue = true
    }

    mutating func report(
        _ id: LinkID,
        _ report: ProducerReport,
        into effects: inout Effects
    ) {
        var answered = false
        var needsBytes = false
        do {
            let known: Void? = try withProducer(id.index) { link throws(LedgerError) in
                guard report.asked <= link.ledger.asked else {
                    throw LedgerError.mismatch(expected: link.ledger.asked, found: report.asked)
                }
                try link.ledger.book(
                    forfeited: report.forfeited,
                    forfeitedBytes: report.forfeitedBytes
                )
                answered = report.isDrained && link.recalledAt != nil
                if answered { link.recalledAt = nil }
                let unseen = link.ledger.asked - report.asked
                link.backlog = Backlog(available: report.available, unseen: unseen)
                link.announcedCredit = link.usedCredit(report, unseen: unseen)
                // No event is larger; a greater number would be granted beyond law L3.
                link.needBytes = min(report.needBytes, UInt32(Limits.eventBytesMax))
                needsBytes = link.needBytes > 0
            }
            guard known != nil else { return }
        } catch {
            fail(id, error, into: &effects)
            return
        }
        if needsBytes { needy.append(id.index) }
        if answered { recalls -= 1 }
        enqueueProducer(id.index)
        grantsAreDue = true
    }

    mutating func detachProducer(_ index: UInt32) {
        var wasRecalled = false
        let known: Void? = withProducer(index) { link in
            link.isAttached = false
            link.backlog = .events(0)
            link.announcedCredit = 0
            link.needBytes = 0
            wasRecalled = link.recalledAt != nil
            link.recalledAt = nil
            link.ledger.forfeitAsSink()
        }
        guard known != nil else { return }
        if wasRecalled { recalls -= 1 }
        // When it is back it is told in one number what has come.
        if !answers.isEmpty { answers.removeAll { $0.link.index == index } }
        dequeueProducer(index)
        grantsAreDue = true
    }

    mutating func attachProducer(
        _ id: LinkID,
        _ point: ResumePoint,
        _ backlog: Backlog,
        into effects: inout Effects
    ) {
        do {
            let known: Void? = try withProducer(id.index) { link throws(LedgerError) in
                guard point.position >= link.ledger.delivered else {
                    throw .mismatch(expected: link.ledger.delivered, found: point.position)
                }
                guard point.asked <= link.ledger.asked else {
                    throw .mismatch(expected: link.ledger.asked, found: point.asked)
                }
                link.isAttached = true
                link.backlog = backlog
            }
            guard known != nil else { return }
        } catch {
            fail(id, error, into: &effects)
            return
        }
        effects.list.append(.opened(id, resumed: true))
        enqueueProducer(id.index)
        grantsAreDue = true
    }

    /// Changes a producer's link in place and keeps the sums of grants.
    mutating func withProducer<Result, Failure: Error>(
        _ index: UInt32,
        _ body: (inout ProducerLink) throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        let place = Int(index)
        guard kinds[place] == .producer else { return nil }
        let credit = producerLinks[place].ledger.credit
        let bytes = producerLinks[place].grantedBytes
        let wasIdleHolder = producerLinks[place].isIdleHolder
        let wasFloorless = producerLinks[place].isFloorless
        let wasStarved = producerLinks[place].isStarved
        defer {
            let now = (producerLinks[place].ledger.credit, producerLinks[place].grantedBytes)
            granted = granted - credit + now.0
            grantedBytes = grantedBytes - bytes + now.1
            owners.count(producerLinks[place].owner, from: (credit, bytes), to: now)
            let isIdleHolder = producerLinks[place].isIdleHolder
            idleHolders += (isIdleHolder ? 1 : 0) - (wasIdleHolder ? 1 : 0)
            let isFloorless = producerLinks[place].isFloorless
            floorless += (isFloorless ? 1 : 0) - (wasFloorless ? 1 : 0)
            let isStarved = producerLinks[place].isStarved
            starved += (isStarved ? 1 : 0) - (wasStarved ? 1 : 0)
        }
        return try body(&producerLinks[place])
    }

    /// Puts a producer into the queue that its backlog belongs to; there it keeps its place.
    ///
    /// One that was told to stop stands in none until it has answered; one that is parked waits.
    mutating func enqueueProducer(_ index: UInt32) {
        let place = Int(index)
        guard kinds[place] == .producer, producerLinks[place].isAttached,
            producerLinks[place].recalledAt == nil, producerLinks[place].queue != .parked
        else { return }
        let queue = ProducerQueue(producerLinks[place].backlog)
        guard producerLinks[place].queue != queue else { return }
        dequeueProducer(index)
        _ = withProducer(index) { $0.queue = queue }
        withQueue(queue) { $0.append(index) }
    }

    /// Takes a producer out of the queue it stands in.
    mutating func dequeueProducer(_ index: UInt32) {
        guard kinds[Int(index)] == .producer, let queue = producerLinks[Int(index)].queue else {
            return
        }
        withQueue(queue) { $0.remove(index) }
        _ = withProducer(index) { $0.queue = nil }
    }

    /// The producers that stand in a queue, to be read.
    func producers(in queue: ProducerQueue) -> LinkQueue {
        switch queue {
        case .announced: announced
        case .willing: willing
        case .idle: idle
        case .parked: parked
        }
    }

    /// Changes a queue in place; to name it by a key path would copy the topic on each use.
    mutating func withQueue<Result>(
        _ queue: ProducerQueue,
        _ body: (inout LinkQueue) -> Result
    ) -> Result {
        switch queue {
        case .announced: body(&announced)
        case .willing: body(&willing)
        case .idle: body(&idle)
        case .parked: body(&parked)
        }
    }
}

extension Backlog {
    /// On the wire this number of waiting events says that the producer does not know.
    package static let unknownOnWire = UInt64.max

    /// What a producer says it has beyond its credit, when it had not seen `unseen` of it yet.
    package init(available: UInt64, unseen: UInt64 = 0) {
        self =
            available == Self.unknownOnWire
            ? .unknown : .events(available - min(available, unseen))
    }
}
