import DequeModule

/// Events of a group that were taken from the log and wait apart for those that may have them: a
/// partition's, what filters passed over, or what an independent consumer may lag.
package struct Lane: Sendable {
    struct Item: Sendable {
        var run: Run
        /// Whether its bytes lie in memory that the lane has to itself.
        var isKept = false
        /// Bytes that it keeps from being freed.
        var charge: UInt64 { UInt64(run.byteCount) + Limits.laneItemBytes }
    }

    /// Who was given events of the lane last, up to which sequence.
    struct Last: Sendable {
        var link: LinkID
        var sequence: UInt64
    }

    /// A member that had the lane may still have to receive what it was given of it.
    struct HandOver: Sendable {
        var from: Last
        var until: Instant
    }

    var items = Deque<Item>()
    package internal(set) var waiting: UInt64 = 0
    /// The sum of what its items keep from being freed.
    private(set) var bytes: UInt64 = 0
    /// What was lost behind the last item, to be told when that is gone.
    var lost: Gap?
    var handOver: HandOver?
    /// Only in a group by partition.
    var last: Last?

    /// The first offset that waits.
    var firstOffset: UInt64? { items.first?.run.offset }

    /// Bytes of the first record that waits.
    var firstRecordBytes: Int? { items.first?.run.first?.byteCount }

    /// Events that wait and lie before an offset.
    func waiting(before offset: UInt64) -> UInt64 {
        guard let last = items.last?.run.endOffset, last > offset else { return waiting }
        var count: UInt64 = 0
        for item in items {
            guard item.run.offset < offset else { break }
            count += min(item.run.endOffset, offset) - item.run.offset
        }
        return count
    }

    /// Appends events that follow on in offset, not necessarily without a hole.
    mutating func append(_ run: Run) {
        waiting += UInt64(run.count)
        put(Item(run: run))
    }

    /// Puts an item behind the others, or joins it with the last.
    private mutating func put(_ item: Item) {
        if let last = items.last, last.isKept == item.isKept, last.run.isContinued(by: item.run) {
            items[items.count - 1].run.extend(by: item.run)
            bytes += UInt64(item.run.byteCount)
        } else {
            items.append(item)
            bytes += item.charge
        }
    }

    /// Takes the first item out.
    mutating func popFirst() -> Item? {
        guard let item = items.popFirst() else { return nil }
        waiting -= UInt64(item.run.count)
        bytes -= item.charge
        return item
    }

    /// Puts an item back before all others.
    mutating func prepend(_ item: Item) {
        waiting += UInt64(item.run.count)
        bytes += item.charge
        items.prepend(item)
    }

    /// Puts an event back that was passed over, and joins it with what it was cut from.
    mutating func putBack(_ item: Item) {
        guard let first = items.first, first.isKept == item.isKept,
            item.run.isContinued(by: first.run)
        else { return prepend(item) }
        items[0].run.start = item.run.start
        items[0].run.offset = item.run.offset
        items[0].run.count += item.run.count
        waiting += UInt64(item.run.count)
        bytes += UInt64(item.run.byteCount)
    }

    /// Forgets everything; returns how many events that was.
    mutating func removeAll() -> UInt64 {
        let count = waiting
        items.removeAll()
        waiting = 0
        bytes = 0
        return count
    }

    /// Takes events from the front while credit and window last, and appends their runs to `runs`.
    ///
    /// An empty window lets one event pass whatever its size; byte credit is never exceeded.
    mutating func take(
        events: UInt64,
        bytes: Int,
        window: Int,
        windowIsEmpty: Bool,
        into runs: inout [Run]
    ) -> (events: UInt64, bytes: Int) {
        var taken: UInt64 = 0
        var takenBytes = 0
        var pieces = 0
        while taken < events, pieces < EventLog.runsPerTakeMax, let item = popFirst() {
            var piece = item.run
            let room = min(bytes, window) - takenBytes
            let isFirst = taken == 0 && windowIsEmpty
            guard
                piece.cut(events: events - taken, bytes: room)
                    || isFirst && piece.cut(events: 1, bytes: bytes)
            else {
                prepend(item)
                break
            }
            runs.append(piece)
            pieces += 1
            taken += UInt64(piece.count)
            takenBytes += piece.byteCount
            guard piece.count < item.run.count else { continue }
            prepend(Item(run: item.run.rest(after: piece), isKept: item.isKept))
            break
        }
        return (taken, takenBytes)
    }

    /// Drops what lies before an offset; returns how many events that was.
    mutating func drop(before offset: UInt64) -> UInt64 {
        let before = waiting
        while let first = firstOffset, first < offset, let item = popFirst() {
            guard item.run.endOffset > offset else { continue }
            var gone = item.run
            guard gone.cut(events: offset - first, bytes: .max) else { break }
            prepend(Item(run: item.run.rest(after: gone), isKept: item.isKept))
        }
        return before - waiting
    }

    /// Drops the newest events but for as many as are to be kept, and notes the loss.
    mutating func dropNewest(keeping count: UInt64) -> UInt64 {
        guard waiting > count else { return 0 }
        var kept = Deque<Item>()
        var left = count
        while left > 0, let item = popFirst() {
            var piece = item.run
            guard piece.cut(events: left, bytes: .max) else { break }
            kept.append(Item(run: piece, isKept: item.isKept))
            left -= UInt64(piece.count)
            if piece.count < item.run.count {
                prepend(Item(run: item.run.rest(after: piece), isKept: item.isKept))
            }
        }
        let from = firstOffset ?? 0
        let to = items.last?.run.endOffset ?? 0
        let dropped = removeAll()
        while let item = kept.popLast() { prepend(item) }
        noteLoss(Gap(from: from, to: to, count: dropped, reason: .lagged))
        return dropped
    }

    /// Notes that events behind the last item are lost.
    mutating func noteLoss(_ gap: Gap) {
        guard gap.count > 0 else { return }
        if lost == nil { lost = gap } else { lost?.cover(gap) }
    }

    /// Whether something waits in memory that is to go round again.
    var hasFresh: Bool { items.last.map { !$0.isKept } ?? false }

    /// Moves what came since the last call into memory of its own, as far as so many bytes go and
    /// one item at least, unless it fills the slab that it lies in at least by half.
    ///
    /// Returns how many bytes were moved.
    mutating func keep(atMost most: Int) -> Int {
        var first = items.count
        while first > 0, !items[first - 1].isKept { first -= 1 }
        guard first < items.count else { return 0 }
        var end = first
        var total = 0
        while end < items.count, end == first || total + items[end].run.byteCount <= most {
            total += items[end].run.byteCount
            end += 1
        }
        let slab = items[first].run.slab
        if total * 2 >= slab.capacity, slab === items[end - 1].run.slab {
            for index in first..<end { items[index].isKept = true }
            return 0
        }
        let fresh = Array(items[first..<end])
        let rest = Array(items[end...])
        items.removeLast(fresh.count + rest.count)
        for item in fresh { bytes -= item.charge }
        for item in rest { bytes -= item.charge }
        let own = Slab(capacity: total)
        for item in fresh {
            var run = item.run
            let range = run.slab.withBytes { own.append($0.extracting(run.bytes)) }
            run.slab = own
            run.start = UInt32(range.lowerBound)
            run.end = UInt32(range.upperBound)
            put(Item(run: run, isKept: true))
        }
        for item in rest { put(item) }
        return total
    }

    /// What `bytes` must be, counted anew.
    var recountedBytes: UInt64 { items.reduce(0) { $0 + $1.charge } }
    var recountedWaiting: UInt64 { items.reduce(0) { $0 + UInt64($1.run.count) } }
}

extension Run {
    /// Whether another run lies right behind this one, in memory and in offset.
    func isContinued(by other: Run) -> Bool {
        slab === other.slab && end == other.start && endOffset == other.offset
            && time == other.time && attempt == other.attempt
    }

    /// Takes over what lies right behind this run.
    mutating func extend(by other: Run) {
        end = other.end
        count += other.count
    }

    /// The first record, as a run of its own; nil if there is none.
    var first: Run? {
        var record = self
        return record.cut(events: 1, bytes: .max) ? record : nil
    }

    /// What is left of the run behind a piece from its front.
    func rest(after piece: Run) -> Run {
        var rest = self
        rest.start = piece.end
        rest.count -= piece.count
        rest.offset += UInt64(piece.count)
        return rest
    }
}
