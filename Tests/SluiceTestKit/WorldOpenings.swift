import SluiceCore

// How consumers join the groups of a world, each of a kind of its own.

extension World {
    static let groupNames: [Name] = ["", "a", "b", "c", "d", "e", "f"]
    private static let kinds = DispatcherKind.allCases.filter { $0 != .independent }

    /// What a consumer joins that names no group.
    static func defaultGroup(_ random: inout SeededGenerator) -> GroupWish {
        var wish = GroupWish()
        guard Bool.random(using: &random) else { return wish }
        wish.dispatcher = DispatcherKind.allCases.randomElement(using: &random)
        if wish.dispatcher == .partition { wish.partitions = 4 }
        if wish.dispatcher == .independent { wish.lag = lag(&random) }
        if wish.dispatcher == .broadcast { wish.patienceMilliseconds = 50 }
        return wish
    }

    static func rate(_ random: inout SeededGenerator) -> RateLimit {
        [
            RateLimit(eventsPerSecond: 100, burst: 50),
            RateLimit(eventsPerSecond: 1_000, burst: 100),
            RateLimit(eventsPerSecond: 30_000, burst: 1_000),
        ].randomElement(using: &random) ?? RateLimit(eventsPerSecond: 100, burst: 50)
    }

    private static func lag(_ random: inout SeededGenerator) -> LagLimit {
        let policy = LagPolicy.allCases.randomElement(using: &random) ?? .block
        guard policy != .block else { return .block }
        let most: UInt32 = [1, 5, 50, 1_000].randomElement(using: &random) ?? 1
        return LagLimit(policy, events: most)
    }

    mutating func addSink() {
        var opening = ConsumerOpening(group: Self.groupNames[roll(Self.groupNames.count)])
        let known = topic.groupTable.first {
            !$0.isRemoved && $0.name == opening.group && $0.rules.dispatcher != .independent
        }
        let topicWish = topic.options.group
        let isOwn = opening.group.isEmpty && (topicWish.dispatcher == .independent || roll(3) == 0)
        var refusal: CloseCode?
        if isOwn {
            wishForOwn(&opening)
        } else if let known {
            agree(&opening, with: known.rules)
        } else {
            wishForNew(&opening)
        }
        let kind =
            isOwn
            ? .independent
            : known?.rules.dispatcher ?? opening.wish.dispatcher
                ?? (topicWish.dispatcher == .independent ? nil : topicWish.dispatcher) ?? .demand
        let partitions =
            known?.rules.partitions ?? opening.wish.partitions ?? topicWish.partitions ?? 0
        let taste = choose(&opening.member, kind, partitions: partitions)
        if !isEnding, roll(3) == 0 { opening.owner = UInt64(1 + roll(3)) }
        if kind == .broadcast, opening.owner != 0, let known, hasMember(known, opening.owner) {
            refusal = .exists
        }
        if !isOwn, let known, roll(12) == 0 {
            contradict(&opening, known.rules)
            refusal = .badOption
        }
        ask(&opening)
        open(opening, taste, refusal)
    }

    private func hasMember(_ group: Group, _ owner: UInt64) -> Bool {
        sinks.contains { sink in
            sink.opening.owner == owner && group.members.contains(sink.id.index)
        }
    }

    private mutating func wishForOwn(_ opening: inout ConsumerOpening) {
        let isDefault = topic.options.group.dispatcher == .independent
        if !isDefault || roll(2) == 0 { opening.wish.dispatcher = .independent }
        if roll(3) > 0 { opening.wish.lag = Self.lag(&random) }
    }

    private mutating func wishForNew(_ opening: inout ConsumerOpening) {
        if roll(2) == 0 {
            let kind = Self.kinds[roll(Self.kinds.count)]
            opening.wish.dispatcher = kind
            if kind == .partition { opening.wish.partitions = [1, 2, 5, 16][roll(4)] }
            if kind == .broadcast, roll(3) == 0 {
                opening.wish.patienceMilliseconds = [1, 20, 200][roll(3)]
            }
        }
        if roll(4) == 0 { opening.wish.isEphemeral = true }
    }

    /// A later member leaves the rules open or names the same.
    private mutating func agree(_ opening: inout ConsumerOpening, with rules: GroupRules) {
        let isOpen = topic.options.group.dispatcher != .independent || !opening.group.isEmpty
        if !isOpen || roll(3) == 0 { opening.wish.dispatcher = rules.dispatcher }
        if roll(3) == 0 { opening.wish.isEphemeral = rules.isEphemeral }
        if roll(3) == 0, rules.partitions > 0 { opening.wish.partitions = rules.partitions }
        if roll(3) == 0, rules.patienceMilliseconds > 0 {
            opening.wish.patienceMilliseconds = rules.patienceMilliseconds
        }
    }

    private mutating func contradict(_ opening: inout ConsumerOpening, _ rules: GroupRules) {
        switch roll(7) {
        case 0: opening.wish.dispatcher = rules.dispatcher == .demand ? .fair : .demand
        case 1: opening.wish.partitions = rules.partitions + 1
        case 2: opening.wish.isEphemeral = !rules.isEphemeral
        case 3: opening.wish.lag = LagLimit(.dropOldest, events: 10)
        case 4: opening.wish.patienceMilliseconds = rules.patienceMilliseconds + 1
        case 5 where rules.dispatcher != .fair: opening.member.weight = 2
        default: opening.member.claims = [rules.partitions]
        }
    }

    /// What a member wants for itself.
    private mutating func choose(
        _ member: inout MemberOptions,
        _ kind: DispatcherKind,
        partitions: UInt16
    ) -> Taste {
        if roll(4) == 0 { member.priority = UInt8(roll(3)) }
        if kind == .fair, roll(2) == 0 { member.weight = UInt16(1 + roll(5)) }
        if kind == .partition, roll(3) == 0, !isEnding {
            member.claims = (0..<(1 + roll(3))).map { _ in UInt16(roll(Int(partitions))) }
            member.claims = Array(Set(member.claims ?? [])).sorted()
        }
        if roll(6) == 0 {
            member.batch = BatchRule(
                eventsMax: UInt32([1, 5, 100][roll(3)]),
                waitMilliseconds: UInt32([0, 5, 100][roll(3)])
            )
        }
        if roll(6) == 0 { member.rate = Self.rate(&random) }
        var taste = Taste()
        guard choosesIn > 0, roll(choosesIn) == 0 else { return taste }
        if roll(3) > 0 { taste.kind = Taste.Kind.allCases.randomElement(using: &random) }
        if roll(3) == 0 { taste.oneIn = UInt32([2, 3, 10][roll(3)]) }
        member.filter = taste.filter
        member.sampleOneIn = taste.oneIn
        return taste
    }

    private mutating func ask(_ opening: inout ConsumerOpening) {
        let start: [Start?] = [nil, nil, .new, .first, .offset(topic.log.head / 2), .time(steps)]
        opening.start = start[roll(6)]
        let tracksBytes = roll(4) == 0
        guard roll(2) == 0 || tracksBytes else { return }
        opening.events = UInt32(1 + roll(100))
        opening.bytes = tracksBytes ? UInt32(1 + roll(3_000)) : 0
    }

    /// Opens a consumer; one that must be refused changes nothing.
    mutating func open(
        _ opening: ConsumerOpening,
        _ taste: Taste,
        _ refusal: CloseCode?
    ) {
        let id = topic.nextLink()
        if let refusal {
            let before = Outline(topic)
            if topic.apply(.openConsumer(id, opening), at: now, into: &effects) { isDue = true }
            if case .close(id, refusal, _)? = effects.list.first, effects.list.count == 1,
                Outline(topic) == before
            {
                effects.removeAll()
                return
            }
            violations.append("\(opening) was to be refused with \(refusal): \(effects.list)")
            return
        }
        var ledger = Ledger()
        if opening.events > 0 || opening.bytes > 0 {
            _ = ledger.ask(events: opening.events, bytes: opening.bytes)
        }
        var sink = FakeSink(
            id: id,
            opening: opening,
            taste: taste,
            tracksBytes: opening.bytes > 0,
            reads: isEnding || roll(8) > 0,
            ledger: ledger
        )
        sink.bucket = opening.member.rate.map { HandBucket($0, at: now) }
        let known = topic.groupTable.map { !$0.isRemoved }
        if topic.apply(.openConsumer(id, opening), at: now, into: &effects) { isDue = true }
        guard let number = topic.consumer(id)?.group, let group = topic.group(number) else {
            violations.append("\(opening) was refused: \(effects.list)")
            return
        }
        if number >= known.count || !known[number] { beginBook(number, group) }
        if taste.selects { books[number]?.hasChoosers = true }
        sink.group = number
        sink.next = Array(repeating: 0, count: max(1, group.lanes.count))
        // In a broadcast it goes on where the others are; of what waits, it may have some.
        sink.from = group.rules.dispatcher == .broadcast ? group.firstWaiting : topic.log.head
        if group.rules.dispatcher == .independent { sink.from = group.start }
        if group.rules.dispatcher == .broadcast { sink.next[0] = sink.from }
        sinks.append(sink)
        touched.add(number)
        book()
        noteOwners()
    }
}

extension World {
    private mutating func beginBook(_ number: Int, _ group: Group) {
        while books.count <= number { books.append(nil) }
        books[number] = GroupBook(group)
    }

    /// A request makes a group without members, which holds producers up until somebody joins it
    /// or it is removed; or it is refused.
    mutating func createGroup() {
        var wish = GroupWish()
        wish.dispatcher = [nil, .demand, .broadcast, .partition][roll(4)]
        if wish.dispatcher == .partition { wish.partitions = UInt16(1 + roll(4)) }
        let start = [nil, .first, .new, Start.offset(topic.log.head / 2)][roll(4)]
        let name = Self.groupNames.randomElement(using: &random) ?? ""
        let isMade = topic.refusal(ofGroup: name, wish) == nil
        let command = Command.createGroup(name, wish, start)
        touch(command)
        if topic.apply(command, at: now, into: &effects) { isDue = true }
        if isMade {
            let number = topic.groupTable.firstIndex { !$0.isRemoved && $0.name == name }
            guard let number, let group = topic.group(number) else {
                violations.append("group \(name) was to be made, and is not there")
                return
            }
            keptGroups.insert(name)
            beginBook(number, group)
        }
        book()
    }
}

/// What of a topic must not change when a consumer is refused.
private struct Outline: Hashable {
    private struct Member: Hashable {
        var rules: GroupRules
        var members: [UInt32]
        var cursor: Cursor
        var queued: UInt64
        var deliverable: UInt64
        var active: UInt32?
    }

    private let counts: [UInt64]
    private let wakesAt: Instant?
    private let groups: [Member?]

    init(_ topic: Topic) {
        counts = [
            UInt64(topic.consumers), UInt64(topic.producers), topic.granted, topic.grantedBytes,
            topic.retainedBytes, topic.log.head,
        ]
        wakesAt = topic.wakesAt
        groups = topic.groups.map { group in
            group.map {
                Member(
                    rules: $0.rules,
                    members: $0.members,
                    cursor: $0.cursor,
                    queued: $0.queued,
                    deliverable: $0.deliverable,
                    active: $0.active
                )
            }
        }
    }
}
