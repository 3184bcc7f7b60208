import DequeModule

// Marks: what producers say between two events, told to each group behind all that came before.

/// A mark in the place where it was said.
struct PlacedMark: Sendable {
    var mark: Mark
    /// All events before it came before.
    var offset: UInt64
}

/// The marks of a topic that somebody has still to hear, numbered from the topic's first.
struct MarkLog: Sendable {
    private var marks = Deque<PlacedMark>()
    /// The number of the first that is kept.
    private(set) var first: UInt64 = 0
    /// The number of the next.
    var next: UInt64 { first + UInt64(marks.count) }

    subscript(number: UInt64) -> PlacedMark { marks[Int(number - first)] }

    mutating func append(_ mark: PlacedMark) { marks.append(mark) }

    /// Forgets those before a number.
    mutating func trim(before number: UInt64) {
        while first < number, marks.popFirst() != nil { first += 1 }
    }

    var count: Int { marks.count }
}

extension Topic {
    /// Marks that somebody has still to hear.
    package var waitingMarks: Int { marks.count }

    /// A producer says a word behind the events that it sent.
    mutating func mark(_ id: LinkID, _ mark: Mark, into effects: inout Effects) {
        guard kinds[Int(id.index)] == .producer else { return }
        if mark == .end {
            _ = withProducer(id.index) { $0.hasEnded = true }
            guard isComplete else { return }
            // Who comes later is told of the last end alone.
            endedAt = marks.next
        }
        guard marks.count < Limits.marksMax else {
            let text = "\(Limits.marksMax) marks wait to be heard; consume them, or send fewer"
            close(id)
            effects.list.append(.close(id, .limit, text))
            return
        }
        marks.append(PlacedMark(mark: mark, offset: log.head))
        marksAreDue = true
    }

    /// Whether every producer that is there has said its last word.
    private var isComplete: Bool {
        kinds.indices.allSatisfy { kinds[$0] != .producer || producerLinks[$0].hasEnded }
    }

    /// The number of the first mark that a new group is to hear: those behind what it begins with,
    /// and the end if nothing came since.
    func firstMark(from offset: UInt64) -> UInt64 {
        var number = marks.next
        while number > marks.first, marks[number - 1].offset > offset { number -= 1 }
        guard let endedAt, marks[endedAt].offset == log.head else { return number }
        return min(number, endedAt)
    }

    /// Tells members the marks that all events before them went out to.
    mutating func tellMarks(into effects: inout Effects) {
        marksAreDue = false
        var oldest = marks.next
        for group in groupTable.indices where !groupTable[group].isRemoved {
            let reached = groupTable[group].firstWaiting
            while groupTable[group].nextMark < marks.next,
                marks[groupTable[group].nextMark].offset <= reached
            {
                // A word is for somebody: it waits until there is a member.
                guard !groupTable[group].members.isEmpty else { break }
                groupTable[group].nextMark += 1
            }
            oldest = min(oldest, groupTable[group].nextMark)
            for member in groupTable[group].members {
                tell(member, upTo: groupTable[group].nextMark, into: &effects)
                oldest = min(oldest, consumerLinks[Int(member)].nextMark)
                if consumerLinks[Int(member)].nextMark < marks.next { marksAreDue = true }
            }
        }
        if !hasGroup { oldest = marks.first }
        if let endedAt { oldest = min(oldest, endedAt) }
        marks.trim(before: oldest)
    }

    private mutating func tell(
        _ index: UInt32,
        upTo number: UInt64,
        into effects: inout Effects
    ) {
        let place = Int(index)
        while consumerLinks[place].nextMark < number {
            // Who is away has missed what was said meanwhile, as it misses events on the wire.
            guard consumerLinks[place].isAttached else {
                consumerLinks[place].nextMark = number
                return
            }
            guard consumerLinks[place].room > 0 else { return }
            let placed = marks[consumerLinks[place].nextMark]
            consumerLinks[place].nextMark += 1
            consumerLinks[place].room -= placed.mark.windowBytes
            effects.list.append(.mark(id(index), placed.mark, offset: placed.offset))
        }
    }
}
