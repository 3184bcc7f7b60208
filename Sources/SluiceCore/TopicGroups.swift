// Groups: who may join one, by which rules, and who of its members is served.

import DequeModule

/// Why a consumer may not join: the code and the text of its CLOSE.
struct Refusal: Error {
    var code: CloseCode
    var text: String

    init(_ code: CloseCode, _ text: String) {
        self.code = code
        self.text = text
    }
}

extension Topic {
    /// The group that a consumer joins, made if it is new.
    mutating func groupIndex(_ opening: ConsumerOpening) throws(Refusal) -> Int {
        let wish = Self.wish(of: opening, on: options)
        if wish.dispatcher != .independent, let index = groupNumbers[opening.group] {
            try check(opening, against: index)
            try Self.checkRoomForOwner(opening.member, groupTable[index])
            try Self.checkRoomForFilter(opening.member, groupTable[index])
            return index
        }
        let rules = try Self.rules(for: opening, wishing: wish)
        try Self.check(opening.member, by: rules)
        try checkRoomForGroup()
        let hasFree = liveGroups < groupTable.count
        let free = hasFree ? groupTable.firstIndex(where: \.isRemoved) : nil
        var cursor = tail
        if let start = opening.start {
            log.seek(&cursor, to: min(offset(of: start), log.head))
        } else if hadGroup {
            log.seek(&cursor, to: max(cursor.offset, untouched))
        }
        hadGroup = true
        liveGroups += 1
        var group = Group(name: opening.group, rules: rules, cursor: cursor)
        group.nextMark = firstMark(from: cursor.offset, opening.start)
        let index = free ?? groupTable.count
        if rules.dispatcher != .independent { groupNumbers[opening.group] = index }
        if index < groupTable.count { groupTable[index] = group } else { groupTable.append(group) }
        return index
    }

    /// The group of that name; an independent consumer's own has none.
    func groupIndex(named name: Name) -> Int? { groupNumbers[name] }

    /// What a consumer wishes, and where it says nothing, what its topic has.
    // Static, as is what follows: the topic is copied to be asked.
    private static func wish(of opening: ConsumerOpening, on options: TopicOptions) -> GroupWish {
        var wish = opening.wish
        let topic = options.group
        let isNamed = !opening.group.isEmpty
        // A group with a name is shared: it is no consumer's own.
        guard !isNamed || topic.dispatcher != .independent else { return wish }
        if wish.dispatcher == nil || wish.dispatcher == topic.dispatcher {
            wish.dispatcher = topic.dispatcher
            wish.partitions = wish.partitions ?? topic.partitions
            wish.lag = wish.lag ?? topic.lag
            wish.patienceMilliseconds = wish.patienceMilliseconds ?? topic.patienceMilliseconds
        }
        if !isNamed { wish.isEphemeral = wish.isEphemeral ?? topic.isEphemeral }
        return wish
    }

    /// The rules of a group that is opened so, on a topic.
    static func rules(
        for opening: ConsumerOpening,
        on options: TopicOptions
    ) throws(Refusal) -> GroupRules {
        try rules(for: opening, wishing: wish(of: opening, on: options))
    }

    /// The rules of a group that a consumer is the first to open.
    private static func rules(
        for opening: ConsumerOpening,
        wishing wish: GroupWish
    ) throws(Refusal) -> GroupRules {
        var rules = GroupRules()
        rules.dispatcher = wish.dispatcher ?? .demand
        rules.isEphemeral = wish.isEphemeral ?? false
        switch rules.dispatcher {
        case .partition:
            guard let partitions = wish.partitions else {
                throw Refusal(.badOption, "a group by partition needs the number of partitions")
            }
            rules.partitions = partitions
        case .independent:
            guard opening.group.isEmpty else {
                throw Refusal(.badOption, "an independent consumer has no group: name none")
            }
            rules.lag = wish.lag ?? .block
            rules.isEphemeral = true
        case .broadcast: rules.patienceMilliseconds = wish.patienceMilliseconds ?? 0
        case .demand, .exclusive, .fair: break
        }
        if opening.wish.partitions != nil, rules.dispatcher != .partition {
            throw Refusal(.badOption, "partitions are for the dispatcher partition")
        }
        if opening.wish.lag != nil, rules.dispatcher != .independent {
            throw Refusal(.badOption, "a lag policy is for the dispatcher independent")
        }
        if opening.wish.patienceMilliseconds != nil, rules.dispatcher != .broadcast {
            throw Refusal(.badOption, "patience is for the dispatcher broadcast")
        }
        return rules
    }

    /// A later member may leave the rules open, or must name the same.
    private mutating func check(
        _ opening: ConsumerOpening,
        against group: Int
    ) throws(Refusal) {
        let wish = opening.wish
        let rules = groupTable[group].rules
        if let kind = wish.dispatcher, kind != rules.dispatcher {
            throw Refusal(.badOption, "the group's dispatcher is \(rules.dispatcher)")
        }
        if let partitions = wish.partitions, partitions != rules.partitions {
            throw Refusal(.badOption, "the group has \(rules.partitions) partitions")
        }
        if let isEphemeral = wish.isEphemeral, isEphemeral != rules.isEphemeral {
            let kind = rules.isEphemeral ? "ephemeral" : "kept"
            throw Refusal(.badOption, "the group is \(kind)")
        }
        if let lag = wish.lag, lag != rules.lag {
            throw Refusal(.badOption, "a lag policy is for the dispatcher independent")
        }
        if let patience = wish.patienceMilliseconds, patience != rules.patienceMilliseconds {
            let found = rules.patienceMilliseconds
            throw Refusal(.badOption, "the group's patience is \(found) ms")
        }
        try Self.check(opening.member, by: rules)
        let isKnown =
            groupTable[group].isLockstep && opening.owner != 0
            && groupTable[group].members.contains {
                consumerLinks[Int($0)].owner == opening.owner
            }
        guard !isKnown else {
            throw Refusal(.exists, "the session has a link in this broadcast group already")
        }
    }

    private static func check(_ member: MemberOptions, by rules: GroupRules) throws(Refusal) {
        if member.weight != nil, rules.dispatcher != .fair {
            throw Refusal(.badOption, "a weight is for the dispatcher fair")
        }
        guard let claims = member.claims else { return }
        guard rules.dispatcher == .partition else {
            throw Refusal(.badOption, "a claim is for the dispatcher partition")
        }
        if let unknown = claims.first(where: { $0 >= rules.partitions }) {
            throw Refusal(
                .badOption,
                "partition \(unknown) does not exist: they are 0 … \(rules.partitions - 1)"
            )
        }
    }
}

// MARK: - Members

extension Topic {
    /// Makes a link a member of a group.
    mutating func join(_ index: UInt32, _ group: Int) {
        groupTable[group].members.append(index)
        groupTable[group].aloneSince = nil
        switch groupTable[group].rules.dispatcher {
        case .exclusive, .partition:
            consumerLinks[Int(index)].isStandby = true
            regroup(group)
        case .broadcast: groupTable[group].isCreditStale = true
        case .demand, .fair, .independent: break
        }
        if consumerLinks[Int(index)].picks { groupTable[group].pickers += 1 }
        groupTable[group].filterParts += consumerLinks[Int(index)].filterParts
        setLanes(of: group)
        if groupTable[group].rules.dispatcher == .partition { enterClaims(of: index, in: group) }
        // Alone, the other needed no place in the order.
        if groupTable[group].members.count == 2 { rebuildOrder(group) }
    }

    /// What a member has beyond its account; empty if that is nothing.
    mutating func special(_ member: MemberOptions, by rules: GroupRules) -> [Special] {
        let special = Special(
            claims: member.claims,
            filter: member.filter,
            sampleOneIn: max(1, member.sampleOneIn),
            batch: member.batch,
            bucket: member.rate.map { TokenBucket($0, at: clock) }
        )
        let isNeeded =
            special.picks || special.bucket != nil || rules.dispatcher == .partition
            || rules.patienceMilliseconds > 0
        return isNeeded ? [special] : []
    }

    /// Takes a link out of its group, which ends with it if it is made so.
    mutating func leave(_ index: UInt32) {
        let group = consumerLinks[Int(index)].group
        setDeliverable(0, of: index)
        groupTable[group].ended.end(consumerLinks[Int(index)].ledger)
        if consumerLinks[Int(index)].isCredited { groupTable[group].credited -= 1 }
        // Who came first is mostly who goes first, where many go at once.
        if let place = groupTable[group].members.firstIndex(of: index) {
            groupTable[group].members.remove(at: place)
        }
        if groupTable[group].active == index { groupTable[group].active = nil }
        if consumerLinks[Int(index)].picks { groupTable[group].pickers -= 1 }
        groupTable[group].filterParts -= consumerLinks[Int(index)].filterParts
        if groupTable[group].rules.dispatcher == .partition { giveUpLanes(of: index, in: group) }
        if groupTable[group].members.isEmpty, groupTable[group].rules.isEphemeral {
            removeGroup(at: group)
            return
        }
        if groupTable[group].members.isEmpty { noteAlone(group) }
        regroup(group)
    }

    /// Gives a group that serves one member alone the next, if it has none that is there.
    mutating func elect(_ group: Int) {
        guard groupTable[group].rules.dispatcher == .exclusive else { return }
        if let active = groupTable[group].active {
            guard !consumerLinks[Int(active)].isAttached else { return }
        }
        var next: UInt32?
        for member in groupTable[group].members where consumerLinks[Int(member)].isAttached {
            if let best = next,
                consumerLinks[Int(member)].priority <= consumerLinks[Int(best)].priority
            {
                continue
            }
            next = member
        }
        guard let next else { return }
        if let active = groupTable[group].active {
            consumerLinks[Int(active)].isStandby = true
            refresh(active, requeue: false)
        }
        groupTable[group].active = next
        consumerLinks[Int(next)].isStandby = false
        refresh(next, requeue: true)
    }

    /// What a consumer could be given at once; the number that orders the dispatcher.
    package func deliverable(ofConsumer id: LinkID) -> UInt64 {
        consumer(id) == nil ? 0 : currentDeliverable(Int(id.index))
    }

    /// Brings a member's place in its group's order up to date.
    ///
    /// An ask puts it behind its equals even if its number stays what it was.
    mutating func refresh(_ index: UInt32, requeue: Bool) {
        let place = Int(index)
        guard kinds[place] == .consumer else { return }
        let number = currentDeliverable(place)
        guard requeue || number != consumerLinks[place].deliverable else { return }
        setDeliverable(number, of: index)
        markDirty(consumerLinks[place].group)
        grantsAreDue = true
    }

    /// What the consumer at a place of the table could be given at once.
    // Field by field, and in its caller: a link, or a topic, that is asked for what it computes is
    // copied first.
    @inline(__always)
    func currentDeliverable(_ place: Int) -> UInt64 {
        let room = consumerLinks[place].room
        let window = consumerLinks[place].window
        guard !isPaused, consumerLinks[place].isAttached, consumerLinks[place].needBytes == 0,
            !consumerLinks[place].isStandby, consumerLinks[place].untoldWords == 0,
            ConsumerLink.isWritable(room, of: window)
        else { return 0 }
        var events = min(consumerLinks[place].ledger.credit, consumerLinks[place].allowance)
        if consumerLinks[place].drainsUntil != nil {
            let drainedTo = consumerLinks[place].ledger.drainedTo
            events = min(events, consumerLinks[place].ledger.credit(upTo: drainedTo))
        }
        guard meanRecordBytes > 0 else { return events }
        if let bytes = consumerLinks[place].ledger.byteCredit {
            // Without a byte left it has its turn too, to be told what the next event needs.
            events = min(events, max(1, bytes / meanRecordBytes))
        }
        let fitting = UInt64(room) / meanRecordBytes
        return min(events, room >= window ? max(1, fitting) : fitting)
    }

    /// Gives a member its number and its ticket.
    mutating func setDeliverable(_ number: UInt64, of index: UInt32) {
        let place = Int(index)
        let group = consumerLinks[place].group
        if groupTable[group].isLockstep {
            groupTable[group].isCreditStale = true
        } else {
            groupTable[group].deliverable -= consumerLinks[place].deliverable
            groupTable[group].deliverable += number
        }
        if groupTable[group].rules.dispatcher == .fair { weigh(place, number) }
        consumerLinks[place].deliverable = number
        let isCredited = consumerLinks[place].ledger.credit > 0
        if isCredited != consumerLinks[place].isCredited {
            consumerLinks[place].isCredited = isCredited
            groupTable[group].credited += isCredited ? 1 : -1
        }
        enqueue(index)
    }

    /// Keeps the sum of weights of those that could take something.
    private mutating func weigh(_ place: Int, _ number: UInt64) {
        let group = consumerLinks[place].group
        let weight = UInt64(consumerLinks[place].weight)
        if consumerLinks[place].deliverable > 0 { groupTable[group].eligibleWeight -= weight }
        guard number > 0 else { return }
        groupTable[group].eligibleWeight += weight
        guard consumerLinks[place].deliverable == 0 else { return }
        // Who had nothing to take does not save up a claim to what came meanwhile.
        consumerLinks[place].virtualTime = max(
            consumerLinks[place].virtualTime,
            groupTable[group].virtualTime
        )
    }

    /// Puts a member into its group's order, by what it could be given.
    mutating func enqueue(_ index: UInt32) {
        let place = Int(index)
        let group = consumerLinks[place].group
        consumerLinks[place].ticket = groupTable[group].enqueue(
            index,
            rank: rank(place),
            priority: consumerLinks[place].priority,
            isEligible: consumerLinks[place].deliverable > 0
        )
    }

    /// What orders a member among those of its priority, the greatest first.
    @inline(__always)
    func rank(_ place: Int) -> UInt64 {
        groupTable[consumerLinks[place].group].rules.dispatcher == .fair
            ? .max - consumerLinks[place].virtualTime : consumerLinks[place].deliverable
    }

    /// Puts the members of a group in order anew.
    mutating func rebuildOrder(_ group: Int) {
        groupTable[group].clearOrder()
        var turns: [(ticket: UInt64, link: UInt32)] = []
        for member in groupTable[group].members where consumerLinks[Int(member)].deliverable > 0 {
            turns.append((consumerLinks[Int(member)].ticket, member))
        }
        turns.sort { $0.ticket < $1.ticket }
        for turn in turns { enqueue(turn.link) }
    }

    /// The credit of a group (law L3), in events that could be handed out at once.
    @inline(__always)
    package func credit(ofGroup index: Int) -> UInt64 {
        groupTable[index].isCreditStale
            ? leastDeliverable(of: index) : groupTable[index].deliverable
    }

    /// Looks up anew what the members of a broadcast could all take.
    mutating func settleCredit(_ group: Int) {
        guard groupTable[group].isCreditStale else { return }
        groupTable[group].isCreditStale = false
        groupTable[group].deliverable = leastDeliverable(of: group)
    }

    /// What the member of a group that can take the least could be given; 0 without a member.
    func leastDeliverable(of group: Int) -> UInt64 {
        var least = UInt64.max
        for member in groupTable[group].members {
            least = min(least, consumerLinks[Int(member)].deliverable)
        }
        return least == .max ? 0 : least
    }

    mutating func refreshAllMembers() {
        for group in groupTable where !group.isRemoved {
            for member in group.members { refresh(member, requeue: false) }
        }
        grantsAreDue = true
    }

    mutating func markDirty(_ index: Int) {
        guard !groupTable[index].isDirty, !groupTable[index].isRemoved else { return }
        groupTable[index].isDirty = true
        dirtyGroups.append(index)
    }
}
