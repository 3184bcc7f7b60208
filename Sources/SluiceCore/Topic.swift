import DequeModule

/// A named sequence of events with its producers, groups and consumers: the rules alone.
///
/// Commands change it and say what must be answered at once; `advance` then moves events and
/// demand as far as one step may. It knows no clock, no socket and no lock.
package struct Topic: Sendable {
    package let name: Name
    package internal(set) var options: TopicOptions
    package internal(set) var log = EventLog()
    /// Groups by their number; one that was removed leaves its place to the next.
    package internal(set) var groupTable: [Group] = []
    /// The numbers of those that members share, by name.
    var groupNumbers: [Name: Int] = [:]
    /// Groups that there are, and those of them whose events wait in lanes.
    var liveGroups = 0
    var lanedGroups = 0
    /// The oldest event held, as far as no group says otherwise.
    var tail = EventLog().start
    /// The first offset that no group was ever given.
    var untouched: UInt64 = 0
    var hadGroup = false
    /// What each place of the table of links holds.
    ///
    /// The links lie beside it, each kind in an array as long as it ever had to be.
    var kinds: [LinkKind] = []
    var consumerLinks: [ConsumerLink] = []
    var producerLinks: [ProducerLink] = []
    private var generations: [UInt32] = []
    private var freeSlots: [UInt32] = []
    package internal(set) var isPaused = false
    package internal(set) var isWinding = false
    package internal(set) var producers = 0
    package internal(set) var consumers = 0

    /// Credit that producers hold, in events and in bytes (law L3).
    package internal(set) var granted: UInt64 = 0
    package internal(set) var grantedBytes: UInt64 = 0
    /// Producers to be served with announced, and those with unknown backlog, first come first.
    var announced = LinkQueue()
    var willing = LinkQueue()
    var idle = LinkQueue()
    /// Those whose owner holds all that it may for now.
    var parked = LinkQueue()
    var owners = ProducerOwners()
    /// Events that were out and could be granted, when grants were last looked at.
    var grantable: UInt64 = 0
    /// Producers whose next event does not fit their granted bytes.
    var needy = LinkQueue()
    /// Recalls that are not answered yet, and producers whose grants could be recalled.
    package internal(set) var recalls = 0
    var idleHolders = 0
    /// Producers that a floor could be given to.
    var floorless = 0
    /// Producers that have events and no grant.
    var starved = 0
    /// When grants that lie unused are looked for again.
    var unusedLookAt: Instant?
    /// How long there have been some.
    package internal(set) var producerHolds = HoldTimes()
    /// The accounts of producers that are gone, and what groups without a name have counted.
    var endedProducerLinks = Turnover()
    package internal(set) var endedGroups = EndedGroups()
    /// Bytes that lanes keep from being freed.
    package internal(set) var laneBytes: UInt64 = 0
    /// Lanes of all groups, those of them that have memory, and what consumers' links keep beside
    /// their accounts.
    var laneCount: UInt64 = 0
    var laneSlots: UInt64 = 0
    var linkEntries: UInt64 = 0
    var specialBytes: UInt64 = 0
    /// Up to how many bytes the topic may hold and grant now: its share of the broker's memory.
    package var memoryLimit = UInt64.max
    /// Whether it granted less than it would have with more of it.
    package internal(set) var lacksMemory = false
    /// Whether it has to drop something, as others have the memory.
    var dropsForMemory = false
    /// A drop of the oldest events that is not done yet, and down to how many bytes it goes if that
    /// is less than the topic may have.
    var dropping: Dropping?
    var bytesToDropTo: UInt64?
    /// Whether producers that announced nothing are granted a little.
    package var givesFloors = true
    /// The least room for lanes that was too little for what came next.
    var missedRoom: UInt64?
    /// A moving mean of a record's bytes; 0 while nothing is known.
    package internal(set) var meanRecordBytes: UInt64 = 0
    /// Consumers that have to show what they have received, for others to go on.
    var unproven: [LinkID] = []
    /// Groups that may have something to hand out.
    var dirtyGroups = Deque<Int>()
    /// Each STATUS that the step owes: it is told behind all events that the step hands out, as
    /// it counts them.
    var owedStatuses: [(link: LinkID, kind: StatusKind)] = []
    /// Consumers that answer a DRAIN.
    var draining: [LinkID] = []
    /// Consumers that have a gap or a mark to be told.
    var gapped: [LinkID] = []
    /// Links that are closed when all groups had their turn.
    var ending: [Ending] = []
    var grantsAreDue = false
    /// Answers to producers that the step had no room for, first come first served.
    var answers = Deque<(link: LinkID, effect: Effect)>()
    /// What producers said between events, and whether groups may have passed some of it.
    var marks = MarkLog()
    var marksAreLoose = false
    /// Where the group that has its turn stops: at the head, or at its next mark.
    var horizon: UInt64 = 0
    /// Whether the topic's end was said and nothing came since.
    var isEnded = false
    /// How often it was due.
    var endings: UInt64 = 0
    /// Producers that are there and have ended.
    var endedProducers = 0
    /// Ends that were said since the last was due, and not taken back.
    var standingEnds = 0
    /// When the last command or step was.
    var clock = Instant(nanoseconds: 0)
    /// When a step is due that nothing else asks for.
    package internal(set) var wakesAt: Instant?
    /// When the first group may end that has no member; never later than that.
    var groupsExpireAt: Instant?
    /// What the topic's rate lets producers bring; nil without one.
    var bucket: TokenBucket?
    /// Whether events came or went since what is held was last trimmed and bounded.
    var isUnsettled = false
    /// What the step has looked at so far: events sorted, lanes, conditions.
    package internal(set) var work = 0
    /// Whether the group that has its turn has more to look at than a step may.
    var isOutOfWork = false

    package internal(set) var counters = Counters()
    package internal(set) var publishedAt: Instant?
    package internal(set) var deliveredAt: Instant?

    /// A link that is about to be closed, and why.
    struct Ending: Sendable {
        var id: LinkID
        var code: CloseCode
        var text: String
    }

    package init(name: Name, options: TopicOptions = TopicOptions()) {
        self.name = name
        self.options = options
        bucket = options.rate.map { TokenBucket($0, at: clock) }
    }

    /// Bytes that the topic keeps from being freed.
    @inline(__always)
    package var retainedBytes: UInt64 { log.retainedBytes + laneBytes }

    /// Events that some group has still to see, or that no group has seen.
    @inline(__always)
    package var buffered: UInt64 {
        var most: UInt64?
        for index in groupTable.indices where !groupTable[index].isRemoved {
            most = max(most ?? 0, waiting(ofGroup: index))
        }
        return most ?? log.head - tail.offset
    }

    /// Events that a group has still to see.
    @inline(__always)
    package func waiting(ofGroup index: Int) -> UInt64 {
        log.head - groupTable[index].cursor.offset + groupTable[index].queued
    }

    /// Events that wait for the group with the fewest: what comes now is behind so many.
    ///
    /// None if what comes could be given away before others: without a group, or in a lane.
    // Changes nothing: a caller lends the topic to what may change it, and copies it for the rest.
    package var leastWaiting: UInt64 {
        mutating get {
            guard hasGroup, lanedGroups == 0 else { return 0 }
            var least = UInt64.max
            for index in groupTable.indices where !groupTable[index].isRemoved {
                least = min(least, waiting(ofGroup: index))
            }
            return least
        }
    }

    /// The groups by number; nil where one was removed.
    package var groups: [Group?] { groupTable.indices.map(group) }

    /// One group by its number; nil if it was removed.
    package func group(_ number: Int) -> Group? {
        groupTable[number].isRemoved ? nil : groupTable[number]
    }

    @inline(__always)
    var hasGroup: Bool { liveGroups > 0 }
}

// MARK: - Links

extension Topic {
    /// The id to open the next link with.
    package mutating func nextLink() -> LinkID {
        if let index = freeSlots.popLast() {
            return LinkID(index: index, generation: generations[Int(index)])
        }
        kinds.append(.free)
        generations.append(0)
        return LinkID(index: UInt32(kinds.count - 1), generation: 0)
    }

    package func consumer(_ id: LinkID) -> ConsumerLink? {
        isCurrent(id) && kinds[Int(id.index)] == .consumer ? consumerLinks[Int(id.index)] : nil
    }

    package func producer(_ id: LinkID) -> ProducerLink? {
        isCurrent(id) && kinds[Int(id.index)] == .producer ? producerLinks[Int(id.index)] : nil
    }

    /// What a producer may still send, in events and in bytes; nil if the link is no producer's.
    // Changes nothing: a caller lends the topic to what may change it, and copies it for the rest.
    package mutating func credit(ofProducer id: LinkID) -> (events: UInt64, bytes: UInt64)? {
        guard isCurrent(id), kinds[Int(id.index)] == .producer else { return nil }
        let place = Int(id.index)
        return (
            producerLinks[place].ledger.credit, producerLinks[place].ledger.byteCredit ?? .max
        )
    }

    func isCurrent(_ id: LinkID) -> Bool {
        Int(id.index) < kinds.count && generations[Int(id.index)] == id.generation
    }

    /// The link that has this place in the table now.
    package func id(_ index: UInt32) -> LinkID {
        LinkID(index: index, generation: generations[Int(index)])
    }

    /// Changes a consumer's link in place; nil if the slot holds none.
    mutating func withConsumer<Result, Failure: Error>(
        _ index: UInt32,
        _ body: (inout ConsumerLink) throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        guard kinds[Int(index)] == .consumer else { return nil }
        return try body(&consumerLinks[Int(index)])
    }

    mutating func release(_ index: UInt32) {
        switch kinds[Int(index)] {
        case .free: break
        case .consumer: consumerLinks[Int(index)] = .none
        case .producer: producerLinks[Int(index)] = .none
        }
        kinds[Int(index)] = .free
        generations[Int(index)] &+= 1
        freeSlots.append(index)
    }
}

// MARK: - Commands

extension Topic {
    /// Books what happened; what follows from it for others is left to `advance`.
    ///
    /// Returns whether anything may follow.
    @discardableResult
    package mutating func apply(
        _ command: Command,
        at now: Instant,
        into effects: inout Effects
    ) -> Bool {
        clock = now
        book(command, at: now, into: &effects)
        return grantsAreDue || !dirtyGroups.isEmpty || isUnsettled || !gapped.isEmpty
            || !draining.isEmpty || !answers.isEmpty
    }

    private mutating func book(
        _ command: Command,
        at now: Instant,
        into effects: inout Effects
    ) {
        switch command {
        case .openConsumer(let id, let opening):
            openConsumer(id, opening, at: now, into: &effects)
        case .openProducer(let id, let backlog, let owner):
            openProducer(id, backlog, owner: owner, into: &effects)
        case .ask(let id, let ask):
            guard isCurrent(id) else { return }
            self.ask(id, ask, at: now, into: &effects)
        case .publish(let id, let publication):
            guard isCurrent(id) else { return }
            publish(id, publication, at: now, into: &effects)
        case .report(let id, let report):
            guard isCurrent(id) else { return }
            self.report(id, report, into: &effects)
        case .wrote(let id, let bytes):
            guard isCurrent(id) else { return }
            changeRoom(id) { $0.room += bytes }
        case .window(let id, let bytes):
            guard isCurrent(id) else { return }
            changeRoom(id) { link in
                link.room += bytes - link.window
                link.window = bytes
            }
        case .received(let id, let sequence):
            guard isCurrent(id) else { return }
            noteReceived(id, sequence)
        case .answersWithin(let id, let milliseconds):
            guard isCurrent(id) else { return }
            _ = withConsumer(id.index) { $0.answerMilliseconds = milliseconds }
            _ = withProducer(id.index) { $0.answerMilliseconds = milliseconds }
        case .close(let id):
            guard isCurrent(id) else { return }
            close(id)
        case .fail(let id, let error):
            guard isCurrent(id) else { return }
            fail(id, error, into: &effects)
        case .detach(let id):
            guard isCurrent(id) else { return }
            detach(id)
        case .attachConsumer(let id, let point, let eventBytesMax):
            guard isCurrent(id) else { return }
            attachConsumer(id, point, eventBytesMax: eventBytesMax, into: &effects)
        case .attachProducer(let id, let point, let backlog):
            guard isCurrent(id) else { return }
            attachProducer(id, point, backlog, into: &effects)
        case .mark(let id, let mark):
            guard isCurrent(id) else { return }
            self.mark(id, mark, into: &effects)
        case .pause(let pause):
            isPaused = pause
            refreshAllMembers()
        case .change(let change): self.change(change, at: now)
        case .purge: purge()
        case .createGroup(let name, let wish, let start): createGroup(name, wish, start)
        case .removeGroup(let name): removeGroup(name, into: &effects)
        case .seek(let name, let start): seek(name, to: start)
        case .wind:
            isWinding = true
            grantsAreDue = true
        }
    }

    private mutating func openConsumer(
        _ id: LinkID,
        _ opening: ConsumerOpening,
        at now: Instant,
        into effects: inout Effects
    ) {
        precondition(isCurrent(id))
        var link = ConsumerLink(group: 0, eventBytesMax: opening.eventBytesMax)
        if opening.events > 0 || opening.bytes > 0 {
            let first = Ask(opening: opening.events, bytes: opening.bytes)
            do {
                try link.ledger.apply(first)
                link.askedAt = now
            } catch {
                counters.ledgerErrors += 1
                release(id.index)
                effects.list.append(.close(id, error.code, "initial demand"))
                return
            }
        }
        do throws(Refusal) {
            try checkRoomForConsumer()
            link.group = try groupIndex(opening)
        } catch {
            release(id.index)
            effects.list.append(.close(id, error.code, error.text))
            return
        }
        consumers += 1
        link.priority = opening.member.priority
        link.weight = opening.member.weight ?? 1
        link.owner = opening.owner
        link.special = special(opening.member, by: groupTable[link.group].rules)
        link.allowance = link.special.first?.bucket.map { UInt64($0.limit.burst) } ?? .max
        kinds[Int(id.index)] = .consumer
        while consumerLinks.count <= Int(id.index) { consumerLinks.append(.none) }
        consumerLinks[Int(id.index)] = link
        countSpecial(Int(id.index))
        consumerLinks[Int(id.index)].nextMark = groupTable[link.group].nextMark
        join(id.index, link.group)
        effects.list.append(.opened(id, resumed: false))
        if isEnded, groupTable[link.group].nextMark > marks.endNumber {
            say(marks[marks.endNumber], to: id.index, into: &effects)
        }
        refresh(id.index, requeue: true)
    }

    private mutating func ask(
        _ id: LinkID,
        _ ask: Ask,
        at now: Instant,
        into effects: inout Effects
    ) {
        let head = log.head
        do {
            let known: Void? = try withConsumer(id.index) { link throws(LedgerError) in
                try link.ledger.apply(ask)
                link.askedAt = now
                // What a PONG has shown stays known.
                link.forget(upTo: max(link.received, ask.received))
                link.echo = max(link.echo, ask.echo)
                if ask.bytes > 0 { link.needBytes = 0 }
                if ask.flags.contains(.drain) { link.drainsUntil = head }
                guard ask.flags.contains(.stop) else { return }
                link.drainsUntil = nil
                link.needBytes = 0
            }
            guard known != nil else { return }
        } catch {
            fail(id, error, into: &effects)
            return
        }
        recount(Int(id.index))
        if ask.flags.contains(.stop) { effects.list.append(.status(id, .drained)) }
        if ask.flags.contains(.drain), !ask.flags.contains(.stop) { draining.append(id) }
        if ask.flags.contains(.echo) { effects.list.append(.status(id, .echo)) }
        let group = consumerLinks[Int(id.index)].group
        if awaitsTime(group) { markDirty(group) }
        refresh(id.index, requeue: ask.events > 0 || !ask.flags.isEmpty)
    }

    /// Ends a link whose ledger does not hold.
    mutating func fail(_ id: LinkID, _ error: LedgerError, into effects: inout Effects) {
        counters.ledgerErrors += 1
        close(id)
        let text =
            switch error {
            case .zeroDemand: "a demand for nothing"
            case .mismatch(let expected, let found): "expected \(expected), found \(found)"
            case .aboveMaximum: "more than max_demand would be outstanding"
            case .overrun(let credit, let sent): "credit was \(credit), sent were \(sent)"
            }
        effects.list.append(.close(id, error.code, text))
    }

    private mutating func changeRoom(_ id: LinkID, _ body: (inout ConsumerLink) -> Void) {
        guard withConsumer(id.index, body) != nil else { return }
        refresh(id.index, requeue: false)
        let place = Int(id.index)
        guard consumerLinks[place].needBytes > 0 else { return }
        // The event of one lane may lack bytes where that of another lacked room alone.
        let group = consumerLinks[place].group
        if !groupTable[group].lanes.isEmpty { markDirty(group) }
    }

    /// Takes a link out of the topic; its credit dies with it.
    mutating func close(_ id: LinkID) {
        switch kinds[Int(id.index)] {
        case .free: return
        case .consumer:
            consumers -= 1
            leave(id.index)
            linkEntries -= UInt64(consumerLinks[Int(id.index)].countedEntries)
            countSpecial(Int(id.index), isGone: true)
        case .producer:
            dequeueProducer(id.index)
            let link = producerLinks[Int(id.index)]
            producers -= 1
            endedProducerLinks.end(link.ledger)
            granted -= link.ledger.credit
            owners.leave(link.owner, held: link.ledger.credit, bytes: link.grantedBytes)
            grantedBytes -= link.grantedBytes
            if link.recalledAt != nil { recalls -= 1 }
            if link.isIdleHolder { idleHolders -= 1 }
            if link.endedIn != nil { endedProducers -= 1 }
            endIfDue()
        }
        release(id.index)
        grantsAreDue = true
    }
}
