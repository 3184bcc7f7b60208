import SluiceCore

/// What was said between the events of a world, and what of it each consumer has still to hear.
struct MarkBook {
    private(set) var said: [(mark: Mark, offset: UInt64)] = []
    /// Producers that have ended, and those whose end stands since the topic's last.
    private var ended: Set<LinkID> = []
    private var standing: Set<LinkID> = []
    /// Whether no event came since the topic's end.
    private var isEnded = false

    /// The number of a mark that was said where it is told to be, of several the first awaited.
    func number(of mark: Mark, at offset: UInt64, _ awaited: Set<Int>) -> Int? {
        awaited.filter { said[$0] == (mark, offset) }.min()
            ?? said.lastIndex { $0 == (mark, offset) }
    }

    mutating func say(at offset: UInt64) -> Mark {
        let mark = Mark.marker(Array("\(said.count)".utf8))
        said.append((mark, offset))
        return mark
    }

    mutating func end(_ id: LinkID) {
        ended.insert(id)
        standing.insert(id)
    }

    mutating func leave(_ id: LinkID) { ended.remove(id) }

    /// Events came, perhaps all too large for the topic; nil for those of no producer.
    mutating func publish(_ id: LinkID?, allTooLarge: Bool = false) {
        if !allTooLarge { isEnded = false }
        guard let id else { return }
        ended.remove(id)
        standing.remove(id)
    }

    /// Says the topic's end if that is due; returns its number.
    mutating func endIfDue(_ producers: [LinkID], at offset: UInt64) -> Int? {
        guard !standing.isEmpty, producers.allSatisfy(ended.contains) else { return nil }
        standing = []
        guard !isEnded else { return nil }
        isEnded = true
        said.append((.end, offset))
        return said.count - 1
    }
}

extension World {
    /// At times a producer says something between two events, or that it has no more to say.
    mutating func sayMark() {
        guard marksIn > 0, !isEnding, markBook.said.count < 900 else { return }
        let turn = Int.random(in: 0..<marksIn, using: &markRandom)
        guard turn == 0, let id = sources.randomElement(using: &markRandom)?.id else { return }
        if Int.random(in: 0..<4, using: &markRandom) == 0 {
            markBook.end(id)
            endIfDue()
            apply(.mark(id, .end))
            return
        }
        let mark = markBook.say(at: topic.log.head)
        for index in sinks.indices { sinks[index].awaited.insert(markBook.said.count - 1) }
        apply(.mark(id, mark))
    }

    /// Says the topic's end if nobody is left who has not.
    mutating func endIfDue() {
        guard let number = markBook.endIfDue(sources.map(\.id), at: topic.log.head) else { return }
        for index in sinks.indices { sinks[index].awaited.insert(number) }
    }

    /// A mark comes behind all that came before it, and before all that came after.
    mutating func bookMark(_ id: LinkID, _ mark: Mark, _ offset: UInt64, _ next: UInt64) {
        guard let index = sink(id), sinks[index].isAttached else {
            violations.append("L7: a mark for nobody")
            return
        }
        let awaited = sinks[index].awaited
        guard let number = markBook.number(of: mark, at: offset, awaited) else {
            violations.append("\(mark) at \(offset) was never said")
            return
        }
        let givenTo = sinks[index].givenTo
        if !sinks[index].heard.contains(number), givenTo > offset {
            violations.append("\(mark) at \(offset) behind \(givenTo - 1)")
        }
        touched.add(sinks[index].group)
        sinks[index].awaited.remove(number)
        sinks[index].heard.insert(number)
        sinks[index].heardTo = max(sinks[index].heardTo, offset)
        sinks[index].inbox.append(.mark(number, nextSequence: next))
        sinks[index].unwritten += mark.windowBytes
    }

    /// No event passes a mark, but of a partition that was taken over; then it is told again.
    mutating func checkMarks(_ offset: UInt64, _ index: Int, _ dispatcher: DispatcherKind) {
        guard marksIn > 0 else { return }
        sinks[index].givenTo = max(sinks[index].givenTo, offset + 1)
        if let passed = sinks[index].awaited.first(where: { markBook.said[$0].offset <= offset }) {
            violations.append("\(offset) is given before \(markBook.said[passed])")
        }
        guard offset < sinks[index].heardTo else { return }
        if dispatcher != .partition {
            violations.append("\(offset) is given behind a mark at \(sinks[index].heardTo)")
        }
        let late = sinks[index].heard.filter { markBook.said[$0].offset > offset }
        sinks[index].awaited.formUnion(late)
    }

    /// Where a word said it stood among the events, as it arrives.
    mutating func checkPlace(_ next: UInt64, _ index: Int) {
        let expected = sinks[index].ledger.delivered + 1
        guard next != expected else { return }
        violations.append("a word before \(next), where \(expected) is next")
    }
}
