import SluiceCore

/// What a producer is told of some of its events: where they stand, or why they do not.
package struct Answer: Hashable {
    var from: UInt64
    var count: UInt64
    /// Nil for those that were let in.
    var code: CloseCode?
    var offset: UInt64 = 0

    init(from: UInt64, count: UInt64, offset: UInt64) {
        (self.from, self.count, self.offset) = (from, count, offset)
    }

    init(from: UInt64, count: UInt64, code: CloseCode) {
        (self.from, self.count, self.code) = (from, count, code)
    }

    /// Takes over one that says the same of the events that follow; false if it does not.
    fileprivate mutating func join(_ next: Answer) -> Bool {
        guard next.code == code, next.from == from + count,
            code != nil || next.offset == offset + count
        else { return false }
        count += next.count
        return true
    }
}

// Whether each producer is told what became of each of its events, in their order.

extension World {
    mutating func bookAnswer(_ answer: Answer, to id: LinkID) {
        guard let index = source(id), sources[index].isAttached else {
            violations.append("L7: SETTLE for nobody")
            return
        }
        add(answer, to: &sources[index].answers)
    }

    private func add(_ answer: Answer, to answers: inout [Answer]) {
        if !answers.isEmpty, answers[answers.count - 1].join(answer) { return }
        answers.append(answer)
    }

    /// Notes what has to be said of events that came, of which so many were let in.
    mutating func expectAnswers(
        to sizes: [Int],
        from sequence: UInt64,
        kept: Int,
        of id: LinkID
    ) {
        guard let index = source(id) else { return }
        let largest = Int(topic.options.limits.eventBytes)
        var offset = topic.log.head - UInt64(kept)
        for (place, size) in sizes.enumerated() {
            let from = sequence + UInt64(place)
            var answer = Answer(from: from, count: 1, offset: offset)
            if size > largest {
                answer = Answer(from: from, count: 1, code: .eventTooLarge)
            } else if offset == topic.log.head {
                answer = Answer(from: from, count: 1, code: .discarded)
                if topic.options.onFull != .dropNewest {
                    violations.append("L4: event \(from) was not let in")
                }
            } else {
                offset += 1
            }
            add(answer, to: &sources[index].expected)
        }
    }

    /// At rest, a producer was told what it had to be.
    mutating func checkAnswers(_ index: Int) {
        if sources[index].answers != sources[index].expected {
            violations.append(
                "L4: told \(sources[index].answers), not \(sources[index].expected)"
            )
        }
        if !sources[index].expected.isEmpty {
            sources[index].answers = []
            sources[index].expected = []
        }
    }
}
