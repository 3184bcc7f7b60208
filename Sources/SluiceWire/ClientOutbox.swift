import DequeModule
package import SluiceCore

/// What a producer's link holds: events to send, events sent and not yet confirmed, and marks
/// among them.
///
/// The unconfirmed events are bounded by what was granted; they are what a resume sends again.
package struct ClientOutbox: Sendable {
    /// A mark and how many of all events ever taken over are before it.
    private struct Placed: Sendable {
        let mark: Mark
        let place: UInt64
        /// How many PINGs were sent before it, once it is sent.
        var pings: UInt64 = 0
    }

    private var pending: Deque<Run> = []
    private var sent: Deque<Run> = []
    private var pendingMarks: Deque<Placed> = []
    private var sentMarks: Deque<Placed> = []
    /// Events of which the fate is known.
    private var settledCount: UInt64 = 0
    /// Events taken over and not sent.
    package private(set) var pendingCount: UInt64 = 0
    /// Events sent and not settled.
    package private(set) var sentCount: UInt64 = 0

    package init() {}

    private var sentTo: UInt64 { settledCount + sentCount }
    /// Whether a mark may go: all events before it are sent.
    package var hasDueMark: Bool { pendingMarks.first.map { $0.place <= sentTo } ?? false }
    /// Whether a mark is sent that may not have arrived.
    package var hasSentMarks: Bool { !sentMarks.isEmpty }

    /// Whether a mark is sent behind the last of `pings`.
    func hasSentMark(after pings: UInt64) -> Bool { sentMarks.last?.pings == pings }

    /// Takes over a mark behind the events that are here.
    package mutating func append(_ mark: Mark) {
        pendingMarks.append(Placed(mark: mark, place: sentTo + pendingCount))
    }

    /// Moves the mark that is due to those sent; `pings` were sent before it.
    package mutating func takeMark(after pings: UInt64) -> Mark? {
        guard hasDueMark, var placed = pendingMarks.popFirst() else { return nil }
        placed.pings = pings
        sentMarks.append(placed)
        return placed.mark
    }

    /// Forgets the marks before PING number `ping`, for its PONG came; returns how many.
    package mutating func forgetMarks(before ping: UInt64) -> Int {
        forgetMarks { $0.pings < ping }
    }

    private mutating func forgetMarks(while haveArrived: (Placed) -> Bool) -> Int {
        let count = sentMarks.prefix(while: haveArrived).count
        sentMarks.removeFirst(count)
        return count
    }

    package mutating func append(_ run: Run) {
        precondition(run.count > 0)
        pendingCount += UInt64(run.count)
        guard let last = pending.last, last.slab === run.slab, last.end == run.start,
            last.count <= UInt32.max - run.count
        else { return pending.append(run) }
        pending[pending.count - 1].end = run.end
        pending[pending.count - 1].count += run.count
    }

    /// Bytes of the record at the head; nil if nothing waits.
    package var headBytes: Int? {
        guard let run = pending.first else { return nil }
        return run.withSpan { span in
            let head: UInt32 = span.bigEndian(at: Int(run.start))
            return Record.headBytes + Int(head & 0xFF_FFFF)
        }
    }

    /// Moves what one frame may carry to the unconfirmed events and returns it.
    ///
    /// The frame ends before a mark; one that is due goes first.
    package mutating func take(events: UInt64, bytes: UInt64, runsMax: Int) -> [Run] {
        var eventsLeft = min(events, pendingMarks.first.map { $0.place - sentTo } ?? .max)
        var bytesLeft = bytes
        var taken: [Run] = []
        while taken.count < runsMax, eventsLeft > 0, let head = pending.first {
            let part = head.prefix(
                events: UInt32(clamping: eventsLeft),
                bytes: Int(clamping: bytesLeft)
            )
            guard part.count > 0 else { break }
            eventsLeft -= UInt64(part.count)
            bytesLeft -= UInt64(part.byteCount)
            pendingCount -= UInt64(part.count)
            sentCount += UInt64(part.count)
            taken.append(part)
            sent.append(part)
            guard part.count < head.count else {
                pending.removeFirst()
                continue
            }
            pending[0].start = part.end
            pending[0].count -= part.count
        }
        return taken
    }

    /// Forgets the oldest `count` sent events: their fate is known.
    ///
    /// Returns how many marks are forgotten with them: what came before a settled event arrived.
    package mutating func settle(_ count: UInt64) -> Int {
        precondition(count <= sentCount)
        sentCount -= count
        settledCount += count
        var left = count
        while left > 0, let head = sent.first {
            if UInt64(head.count) <= left {
                left -= UInt64(head.count)
                sent.removeFirst()
            } else {
                let gone = head.prefix(events: UInt32(left), bytes: .max)
                sent[0].start = gone.end
                sent[0].count -= gone.count
                left = 0
            }
        }
        let settledTo = settledCount
        return forgetMarks { $0.place < settledTo }
    }

    /// Puts what is sent and may not have arrived back in front of what waits.
    package mutating func rewind() {
        while let last = sent.popLast() { pending.prepend(last) }
        while let last = sentMarks.popLast() { pendingMarks.prepend(last) }
        pendingCount += sentCount
        sentCount = 0
    }
}

extension Run {
    /// The first events of the run that both limits allow, cut between records.
    package func prefix(events: UInt32, bytes: Int) -> Run {
        guard events < count || bytes < byteCount else { return self }
        var cursor = RecordCursor(at: Int(start))
        var part = self
        part.count = withSpan { span in
            cursor.take(events: Swift.min(events, count), bytes: bytes, upTo: Int(end), from: span)
        }
        part.end = UInt32(cursor.position)
        return part
    }

    /// Lends the slab up to the end of the run; the slab's filler may go on behind that.
    package func withSpan<Result>(_ body: (RawSpan) -> Result) -> Result {
        unsafe slab.withShared(0..<Int(end)) { unsafe body($0.bytes) }
    }
}
