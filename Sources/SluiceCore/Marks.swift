import DequeModule

// Marks: what producers say between two events, told behind all that came before and before all
// that came after.

/// A mark in the place where it was said.
struct PlacedMark: Sendable {
    var mark: Mark
    /// All events before it came before.
    var offset: UInt64
}

/// The marks of a topic that a group has still to pass, numbered from the topic's first.
struct MarkLog: Sendable {
    private var marks = Deque<PlacedMark>()
    /// The number of the first that is kept, and of the next.
    private(set) var first: UInt64 = 0
    private(set) var next: UInt64 = 0
    /// The topic's last end, which stays for those who come later.
    private var end: PlacedMark?
    private(set) var endNumber: UInt64 = 0
    /// Bytes that they take.
    private(set) var bytes: UInt64 = 0

    subscript(number: UInt64) -> PlacedMark {
        guard number < first, let end else { return marks[Int(number - first)] }
        return end
    }

    mutating func append(_ mark: PlacedMark) {
        if mark.mark == .end { (end, endNumber) = (mark, next) }
        marks.append(mark)
        bytes += UInt64(mark.mark.windowBytes)
        next += 1
    }

    /// Forgets those before a number.
    mutating func trim(before number: UInt64) {
        while first < number, let mark = marks.popFirst() {
            bytes -= UInt64(mark.mark.windowBytes)
            first += 1
        }
    }

    /// The number, or the first that is there if what had it is forgotten.
    func known(_ number: UInt64) -> UInt64 {
        number >= first || end != nil && number == endNumber ? number : first
    }

    /// The number of the mark behind one.
    func number(after number: UInt64) -> UInt64 { max(number + 1, first) }

    /// The number of the first, from one that is known on, that lies behind an offset.
    func first(from number: UInt64, behind offset: UInt64) -> UInt64 {
        guard number < next, self[number].offset <= offset else { return number }
        var (low, high) = (self.number(after: number), next)
        while low < high {
            let middle = low + (high - low) / 2
            if self[middle].offset <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    var count: Int { marks.count }
}

/// A mark that a member is told, until it is known to have received it.
struct Word: Sendable {
    var mark: PlacedMark
    /// The sequence of the next event when it was told.
    var sequence: UInt64 = 0
}

// MARK: - What producers say

extension Topic {
    /// Marks that a group has still to pass.
    package var waitingMarks: Int { marks.count }

    /// A producer says a word behind the events that it sent.
    mutating func mark(_ id: LinkID, _ mark: Mark, into effects: inout Effects) {
        guard kinds[Int(id.index)] == .producer else { return }
        guard mark != .end else {
            end(id.index)
            return
        }
        if marks.count >= Limits.marksMax { trimMarks() }
        guard marks.count < Limits.marksMax || options.onFull == .dropOldest else {
            let text = "\(Limits.marksMax) marks wait for a group; consume them, or send fewer"
            close(id)
            effects.list.append(.close(id, .limit, text))
            return
        }
        guard hasMemory(for: UInt64(mark.windowBytes)) else {
            close(id)
            let text = "the broker's memory is used up; consume or purge what waits, then go on"
            effects.list.append(.close(id, .limit, text))
            return
        }
        add(mark)
    }

    private mutating func add(_ mark: Mark) {
        if marks.count >= Limits.marksMax { marks.trim(before: marks.first + 1) }
        marks.append(PlacedMark(mark: mark, offset: log.head))
        for group in groupTable.indices { markDirty(group) }
        marksAreLoose = true
    }

    private mutating func end(_ index: UInt32) {
        let place = Int(index)
        if producerLinks[place].endedIn == nil { endedProducers += 1 }
        if producerLinks[place].endedIn != endings { standingEnds += 1 }
        producerLinks[place].endedIn = endings
        endIfDue()
    }

    /// A producer sends on: it has not ended.
    mutating func takeBackEnd(_ index: UInt32) {
        let place = Int(index)
        guard let ended = producerLinks[place].endedIn else { return }
        producerLinks[place].endedIn = nil
        endedProducers -= 1
        if ended == endings { standingEnds -= 1 }
    }

    /// Says the topic's end if it is due: somebody said its end since the last, and nobody is there
    /// that has not.
    mutating func endIfDue() {
        guard standingEnds > 0, endedProducers == producers else { return }
        standingEnds = 0
        endings += 1
        // Nothing came since the last end: it is said, and told to who comes later.
        guard !isEnded else { return }
        isEnded = true
        add(.end)
    }

    /// The number of the first mark that a new group is to hear: those from where it begins on that
    /// are kept, for one that begins with what is new only those to come, and the end if nothing
    /// came since.
    func firstMark(from offset: UInt64, _ start: Start?) -> UInt64 {
        var number = marks.next
        if start != .new {
            while number > marks.first, marks[number - 1].offset >= offset { number -= 1 }
        }
        return isEnded ? min(number, marks.endNumber) : number
    }

    /// Forgets the marks that all groups have passed.
    mutating func trimMarks() {
        marksAreLoose = false
        var oldest = UInt64.max
        for group in groupTable.indices where !groupTable[group].isRemoved {
            oldest = min(oldest, groupTable[group].nextMark)
        }
        if oldest != .max { marks.trim(before: oldest) }
    }
}

// MARK: - What members are told

extension Topic {
    /// Hands out what a group without lanes can take, up to each mark in turn.
    mutating func dispatchMarked(
        _ group: Int,
        at now: Instant,
        limit: Int,
        into effects: inout Effects
    ) {
        groupTable[group].nextMark = marks.known(groupTable[group].nextMark)
        while effects.list.count < limit {
            let number = groupTable[group].nextMark
            horizon = number < marks.next ? min(log.head, marks[number].offset) : log.head
            handOut(group, at: now, limit: limit, into: &effects)
            // A word is for somebody: it waits until there is a member.
            guard number < marks.next, !groupTable[group].members.isEmpty,
                groupTable[group].cursor.offset >= marks[number].offset
            else { break }
            groupTable[group].nextMark = marks.number(after: number)
            for member in groupTable[group].members { tell(member, number, into: &effects) }
        }
        horizon = log.head
        marksAreLoose = true
    }

    /// Tells members of a group with lanes the marks that nothing of theirs lies before any more;
    /// true if there were some.
    mutating func tellInLanes(_ group: Int, limit: Int, into effects: inout Effects) -> Bool {
        groupTable[group].nextMark = marks.known(groupTable[group].nextMark)
        var hasTold = false
        work += groupTable[group].members.count
        for member in groupTable[group].members {
            let reached = firstAwaited(by: member)
            let told = tell(member, upTo: reached, limit: limit, into: &effects)
            hasTold = hasTold || told
        }
        passMarks(of: group)
        return hasTold
    }

    /// Tells a member the marks up to an offset before which nothing is left for it; true if there
    /// were some.
    mutating func tell(
        _ member: UInt32,
        upTo offset: UInt64,
        limit: Int,
        into effects: inout Effects
    ) -> Bool {
        var hasTold = false
        while effects.list.count < limit, let number = nextMark(of: member),
            marks[number].offset <= offset
        {
            tell(member, number, into: &effects)
            hasTold = true
        }
        return hasTold
    }

    /// The number of the first mark that a member has not been told; nil if there is none.
    func nextMark(of member: UInt32) -> UInt64? {
        let number = marks.known(consumerLinks[Int(member)].nextMark)
        return number < marks.next ? number : nil
    }

    /// The offset of the next mark for a member, before which its events are; `max` without one.
    func horizon(of member: UInt32) -> UInt64 {
        nextMark(of: member).map { marks[$0].offset } ?? .max
    }

    /// The first offset that may still come for a member from its lanes.
    private func firstAwaited(by member: UInt32) -> UInt64 {
        let group = consumerLinks[Int(member)].group
        return min(groupTable[group].cursor.offset, firstWaiting(for: member) ?? .max)
    }

    /// Notes which marks a group with lanes has passed as a whole.
    private mutating func passMarks(of group: Int) {
        guard !groupTable[group].members.isEmpty else { return }
        var told = marks.next
        for member in groupTable[group].members {
            told = min(told, nextMark(of: member) ?? .max)
        }
        let reached = groupTable[group].firstWaiting
        let passed = marks.first(from: groupTable[group].nextMark, behind: reached)
        groupTable[group].nextMark = min(passed, max(told, groupTable[group].nextMark))
        marksAreLoose = true
    }

    /// Lets new owners of a lane hear again what was said behind events that wait there.
    mutating func rewindMarks(of owners: [UInt32], to offset: UInt64, _ group: Int) {
        let known = marks.known(groupTable[group].nextMark)
        let number = marks.first(from: known, behind: offset)
        for owner in owners {
            consumerLinks[Int(owner)].nextMark = min(consumerLinks[Int(owner)].nextMark, number)
        }
    }

    /// Tells a member a mark, now or as soon as its write window lets it.
    private mutating func tell(_ member: UInt32, _ number: UInt64, into effects: inout Effects) {
        let place = Int(member)
        guard consumerLinks[place].nextMark <= number else { return }
        consumerLinks[place].nextMark = marks.number(after: number)
        say(marks[number], to: member, into: &effects)
    }

    /// Leaves a word for a member, and says it if nothing stands in its way.
    // One effect at most: what it is still to be told before that may be many.
    mutating func say(_ mark: PlacedMark, to member: UInt32, into effects: inout Effects) {
        let place = Int(member)
        consumerLinks[place].add(Word(mark: mark))
        recount(place)
        announce(member, limit: effects.list.count + 1, into: &effects)
        awaitAnnouncement(member)
        refresh(member, requeue: false)
    }

    /// Puts a member among those that have something to be told, if it has.
    mutating func awaitAnnouncement(_ member: UInt32) {
        let place = Int(member)
        guard consumerLinks[place].hasNews, consumerLinks[place].isAttached,
            !consumerLinks[place].isAnnounced
        else { return }
        consumerLinks[place].isAnnounced = true
        gapped.append(id(member))
    }

    /// Tells members of their losses and of marks, where a write is possible.
    mutating func announce(limit: Int, into effects: inout Effects) {
        guard !gapped.isEmpty else { return }
        var waiting: [LinkID] = []
        for id in gapped where isCurrent(id) && kinds[Int(id.index)] == .consumer {
            announce(id.index, limit: limit, into: &effects)
            let place = Int(id.index)
            let isWaiting = consumerLinks[place].hasNews && consumerLinks[place].isAttached
            consumerLinks[place].isAnnounced = isWaiting
            if isWaiting { waiting.append(id) }
            refresh(id.index, requeue: false)
        }
        gapped = waiting
    }

    /// Tells a member of its losses and the words for it in their order, while there is room.
    mutating func announce(_ member: UInt32, limit: Int, into effects: inout Effects) {
        let place = Int(member)
        defer { recount(place) }
        while consumerLinks[place].isAttached, consumerLinks[place].room > 0,
            effects.list.count < limit
        {
            let next = consumerLinks[place].ledger.delivered + 1
            let word = consumerLinks[place].nextWord
            if let gap = consumerLinks[place].nextGap,
                word.map({ gap.from < $0.mark.offset }) ?? true
            {
                consumerLinks[place].noteGapTold()
                consumerLinks[place].room -= Limits.gapWindowBytes
                effects.list.append(.gap(id(member), gap, nextSequence: next))
                continue
            }
            guard let word else { return }
            tell(member, word, at: next, into: &effects)
        }
    }

    private mutating func tell(
        _ member: UInt32,
        _ word: Word,
        at next: UInt64,
        into effects: inout Effects
    ) {
        let place = Int(member)
        consumerLinks[place].noteTold(at: next)
        consumerLinks[place].room -= word.mark.mark.windowBytes
        effects.list.append(
            .mark(id(member), word.mark.mark, offset: word.mark.offset, nextSequence: next)
        )
    }
}

extension ConsumerLink {
    /// Whether something is to be told before the next event.
    var hasNews: Bool { gap != nil || !untoldGaps.isEmpty || untoldWords > 0 }

    /// The first word that it was not told.
    var nextWord: Word? { untoldWords > 0 ? words[toldWords] : nil }

    /// Takes over a word; of more than it may keep the oldest is forgotten.
    mutating func add(_ word: Word) {
        if words.count >= Limits.marksMax {
            words.removeFirst()
            if toldWords > 0 { toldWords -= 1 } else { untoldWords -= 1 }
        }
        words.append(word)
        untoldWords += 1
    }

    mutating func noteTold(at sequence: UInt64) {
        words[toldWords].sequence = sequence
        toldWords += 1
        untoldWords -= 1
    }

    /// Leaves those that it was told to be told again, for they may be lost.
    mutating func repeatWords() {
        untoldWords += toldWords
        toldWords = 0
    }

    /// Forgets the words that came before an event that it has received.
    mutating func forgetWords(upTo received: UInt64) {
        while toldWords > 0, let first = words.first, first.sequence <= received {
            words.removeFirst()
            toldWords -= 1
        }
        if words.isEmpty { words = [] }
    }
}
