import DequeModule
import SluiceCore
import SluiceWire

/// What a subscription received and its task has not taken, in its order.
struct ItemQueue: Sendable {
    private var items = Deque<SubscriptionCore.Item>()
    private var marks = 0

    var isEmpty: Bool { items.isEmpty }

    /// What stands first, if anything is here.
    var first: SubscriptionCore.Item? { items.first }

    mutating func append(_ run: Run) { items.append(.run(run)) }

    /// Joins what follows on: gaps spend no credit, so nothing else bounds how many may wait.
    mutating func add(_ gap: EventGap) {
        guard case .gap(let last)? = items.last, last.reason == gap.reason,
            last.offsets.upperBound == gap.offsets.lowerBound
        else { return items.append(.gap(gap)) }
        items[items.count - 1] = .gap(
            EventGap(
                offsets: last.offsets.lowerBound..<gap.offsets.upperBound,
                count: last.count + gap.count,
                reason: gap.reason
            )
        )
    }

    /// Adds a mark; false if the oldest had to go for it, for nothing else bounds how many wait.
    mutating func addMark(_ mark: SubscriptionCore.Item) -> Bool {
        items.append(mark)
        guard marks >= Limits.marksMax,
            let oldest = items.firstIndex(where: { $0.isMark && !$0.isEnd })
                ?? items.firstIndex(where: { $0.isMark })
        else {
            marks += 1
            return true
        }
        items.remove(at: oldest)
        return false
    }

    /// Takes at most so many events, with the gaps and marks that came before the first of them.
    mutating func takeBatch(upTo events: UInt32) -> EventBatch {
        var runs: [Run] = []
        var gaps: [EventGap] = []
        var words: [EventMark] = []
        var left = events
        taking: while let item = items.first {
            switch item {
            case .gap(let gap):
                guard runs.isEmpty else { break taking }
                gaps.append(gap)
                items.removeFirst()
            case .mark(let mark):
                guard runs.isEmpty else { break taking }
                words.append(mark)
                marks -= 1
                items.removeFirst()
            case .run(var run):
                guard left > 0 else { break taking }
                let part = run.prefix(events: left, bytes: .max)
                runs.append(part)
                left -= part.count
                items.removeFirst()
                guard part.count < run.count else { continue }
                run.start = part.end
                run.count -= part.count
                run.offset += UInt64(part.count)
                items.prepend(.run(run))
            }
        }
        return EventBatch(runs: runs, gaps: gaps, marks: words)
    }

    /// Throws all away; returns how many events that was.
    mutating func removeAll() -> UInt64 {
        var events: UInt64 = 0
        for case .run(let run) in items { events += UInt64(run.count) }
        items.removeAll()
        marks = 0
        return events
    }
}

extension SubscriptionCore.Item {
    var isEnd: Bool {
        guard case .mark(let mark) = self else { return false }
        return mark.kind == .end
    }

    fileprivate var isMark: Bool {
        guard case .mark = self else { return false }
        return true
    }
}
