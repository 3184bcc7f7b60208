import DequeModule

/// A place between two events of a log: an offset, and where its record begins.
package struct Cursor: Hashable, Sendable {
    /// The number of the run since the log began.
    package fileprivate(set) var run: UInt64
    /// Bytes into the run.
    package fileprivate(set) var position: UInt32
    package fileprivate(set) var offset: UInt64
}

/// The retained events of a topic as runs in slabs, oldest first.
// firstOffset ≤ every cursor ≤ head; retainedBytes = Σ charge of the runs
package struct EventLog: Sendable {
    private struct Entry: Sendable {
        var run: Run
        /// Bytes that are free once the run is forgotten: those of its slab if it is the last
        /// that pins it.
        var charge: UInt32
        /// Bytes beside those that are never filled and go with it.
        var unfilled: UInt32 = 0
    }

    private var entries = Deque<Entry>()
    /// The number of the first entry's run.
    private var firstRun: UInt64 = 0
    /// The first run that came since the log was last compacted.
    private var freshRun: UInt64 = 0
    private var segment: Slab?
    /// The offset that the next event will get.
    package private(set) var head: UInt64 = 0
    /// Bytes that the log keeps from being freed.
    package private(set) var retainedBytes: UInt64 = 0
    /// Bytes beside them: entries, and what of slabs and segments was never filled.
    package private(set) var overheadBytes: UInt64 = 0
    /// The most entries since their memory was last made anew.
    private var mostEntries = 0

    package init() {}

    /// The offset of the oldest event held, or `head`.
    package var firstOffset: UInt64 { entries.first?.run.offset ?? head }

    package var start: Cursor { Cursor(run: firstRun, position: 0, offset: firstOffset) }

    package var end: Cursor {
        Cursor(run: firstRun + UInt64(entries.count), position: 0, offset: head)
    }

    /// Appends a run and gives it its offsets.
    package mutating func append(_ run: Run, time: UInt64) {
        var run = run
        run.offset = head
        run.time = time
        run.attempt = 1
        head += UInt64(run.count)
        add(run, charge: run.byteCount)
    }

    private mutating func add(_ run: Run, charge: Int) {
        retainedBytes += UInt64(charge)
        run.slab.charged += charge
        entries.append(Entry(run: run, charge: UInt32(charge)))
        overheadBytes += Limits.memoryEntryBytes
        mostEntries = max(mostEntries, entries.count)
    }

    /// Sets what of a slab was not filled when the log kept it, to go with its last entry.
    private mutating func setUnfilled(_ bytes: Int, at index: Int) {
        overheadBytes -= UInt64(entries[index].unfilled)
        entries[index].unfilled = UInt32(clamping: bytes)
        overheadBytes += UInt64(entries[index].unfilled)
    }

    private mutating func setSegment(_ slab: Slab?) {
        if let segment {
            overheadBytes -= UInt64(segment.room)
            if !entries.isEmpty {
                let last = entries.count - 1
                setUnfilled(Int(entries[last].unfilled) + segment.room, at: last)
            }
        }
        segment = slab
        if let slab { overheadBytes += UInt64(slab.room) }
    }

    /// Forgets whole runs that end at or before `offset`.
    package mutating func trim(before offset: UInt64) {
        var gone = 0
        while gone < entries.count, entries[gone].run.endOffset <= offset {
            let charge = entries[gone].charge
            retainedBytes -= UInt64(charge)
            overheadBytes -= Limits.memoryEntryBytes + UInt64(entries[gone].unfilled)
            if charge > 0 { entries[gone].run.slab.charged -= Int(charge) }
            gone += 1
        }
        guard gone > 0 else { return }
        entries.removeFirst(gone)
        firstRun += UInt64(gone)
        freshRun = max(freshRun, firstRun)
        if entries.isEmpty { setSegment(nil) }
        guard mostEntries > Self.entriesKeptMax, entries.count < mostEntries / 8 else { return }
        // A queue keeps the memory of the most that it ever held.
        entries = Deque(entries)
        mostEntries = entries.count
    }

    /// Entries whose memory is kept for the next.
    private static let entriesKeptMax = 1_024

    /// Takes events at `cursor` while credit and window last, and appends their runs to `runs`.
    ///
    /// An empty window lets one event pass whatever its size; byte credit is never exceeded.
    package func take(
        from cursor: inout Cursor,
        events: UInt64,
        bytes: Int,
        window: Int,
        windowIsEmpty: Bool,
        into runs: inout [Run]
    ) -> (events: UInt64, bytes: Int) {
        var taken: UInt64 = 0
        var takenBytes = 0
        var pieces = 0
        while taken < events, cursor.offset < head, pieces < Self.runsPerTakeMax {
            var piece = entries[Int(cursor.run - firstRun)].run
            let endOffset = piece.endOffset
            piece.start += cursor.position
            piece.offset = cursor.offset
            piece.count = UInt32(endOffset - cursor.offset)
            let room = min(bytes, window) - takenBytes
            // The last bit of a window is not worth a cut.
            if taken > 0, piece.byteCount > room, room < window / 4 { break }
            if UInt64(piece.count) > events - taken || piece.byteCount > room {
                let isFirst = taken == 0 && windowIsEmpty
                guard
                    piece.cut(events: events - taken, bytes: room)
                        || isFirst && piece.cut(events: 1, bytes: bytes)
                else { break }
            }
            pieces += 1
            taken += UInt64(piece.count)
            takenBytes += piece.byteCount
            advance(&cursor, by: piece, ofRunTo: endOffset)
            runs.append(piece)
        }
        return (taken, takenBytes)
    }

    /// Runs of one delivery; keeps a frame's system call within the kernel's vector limit.
    static let runsPerTakeMax = 256

    private func advance(_ cursor: inout Cursor, by piece: Run, ofRunTo endOffset: UInt64) {
        cursor.offset += UInt64(piece.count)
        if cursor.offset == endOffset {
            cursor.run += 1
            cursor.position = 0
        } else {
            cursor.position += UInt32(piece.byteCount)
        }
    }

    /// Bytes of the record at `cursor`, nil at the end of the log.
    package func nextRecordBytes(at cursor: Cursor) -> Int? {
        guard cursor.offset < head else { return nil }
        var run = entries[Int(cursor.run - firstRun)].run
        run.start += cursor.position
        run.count = UInt32(run.endOffset - cursor.offset)
        return run.first?.byteCount
    }

    /// Moves a cursor on to `offset`, which must not lie behind it.
    package func seek(_ cursor: inout Cursor, to offset: UInt64) {
        while cursor.offset < offset, cursor.offset < head {
            let run = entries[Int(cursor.run - firstRun)].run
            guard run.endOffset > offset else {
                cursor.offset = run.endOffset
                cursor.run += 1
                cursor.position = 0
                continue
            }
            var piece = run
            piece.start += cursor.position
            piece.count = UInt32(run.endOffset - cursor.offset)
            guard piece.cut(events: offset - cursor.offset, bytes: .max) else { return }
            advance(&cursor, by: piece, ofRunTo: run.endOffset)
        }
    }

    /// Moves a cursor to the end of its run.
    package func seekRun(_ cursor: inout Cursor) {
        guard cursor.offset < head else { return }
        seek(&cursor, to: entries[Int(cursor.run - firstRun)].run.endOffset)
    }

    /// The oldest event taken at or after `time`, as an offset.
    package func offset(atOrAfter time: UInt64) -> UInt64 {
        entries.first { $0.run.time >= time }?.run.offset ?? head
    }
}

// MARK: - Memory

extension EventLog {
    /// Whether runs came since the log was last compacted.
    package var hasFresh: Bool { freshRun < firstRun + UInt64(entries.count) }

    /// Copies what came since the last call out of slabs that it would pin for little.
    ///
    /// A run stays in its receive slab if the log holds at least half of that slab; else its bytes
    /// move to the log's own segments, where runs that follow on from each other become one.
    /// Cursors move with the records that they point at; returns whether they may have moved.
    @discardableResult
    package mutating func compact(_ cursors: inout [Cursor]) -> Bool {
        guard hasFresh else { return false }
        let tail = entries[Int(freshRun - firstRun)...].map(\.run)
        var live: [ObjectIdentifier: (bytes: Int, last: Int)] = [:]
        for (index, run) in tail.enumerated() {
            let bytes = live[ObjectIdentifier(run.slab)]?.bytes ?? 0
            live[ObjectIdentifier(run.slab)] = (bytes + run.byteCount, index)
        }
        let marks = cursors.map { mark(of: $0) }
        for run in tail {
            retainedBytes -= UInt64(run.byteCount)
            run.slab.charged -= run.byteCount
        }
        for entry in entries.suffix(tail.count) {
            overheadBytes -= Limits.memoryEntryBytes + UInt64(entry.unfilled)
        }
        entries.removeLast(tail.count)
        for (index, run) in tail.enumerated() {
            guard let part = live[ObjectIdentifier(run.slab)],
                part.bytes * 2 >= run.slab.capacity
            else {
                copy(run)
                continue
            }
            let isLast = part.last == index
            add(run, charge: isLast ? pinnedBytes(of: run.slab, by: part.bytes) : 0)
            if isLast { setUnfilled(run.slab.room, at: entries.count - 1) }
        }
        for index in cursors.indices {
            guard let mark = marks[index] else { continue }
            cursors[index] = cursor(at: mark, offset: cursors[index].offset)
        }
        freshRun = firstRun + UInt64(entries.count)
        return true
    }

    /// What keeping `live` bytes of a slab costs, less what logs pay for it already.
    private func pinnedBytes(of slab: Slab, by live: Int) -> Int {
        max(live, slab.filled - slab.charged)
    }

    /// Lets what came since the last call stay where it is, if it pays for each of its slabs; else
    /// returns false, and `compact` has to look closer.
    package mutating func keepFresh() -> Bool {
        let first = Int(freshRun - firstRun)
        var next = first
        while next < entries.count {
            let (end, bytes) = stretch(from: next)
            guard bytes * 2 >= entries[next].run.slab.capacity else { return false }
            next = end
        }
        next = first
        while next < entries.count {
            let (end, bytes) = stretch(from: next)
            let slab = entries[next].run.slab
            slab.charged -= bytes
            let pinned = pinnedBytes(of: slab, by: bytes)
            for index in next..<end - 1 { entries[index].charge = 0 }
            entries[end - 1].charge = UInt32(pinned)
            setUnfilled(slab.room, at: end - 1)
            slab.charged += pinned
            retainedBytes = retainedBytes - UInt64(bytes) + UInt64(pinned)
            next = end
        }
        freshRun = firstRun + UInt64(entries.count)
        return true
    }

    /// Where the runs end that share the slab of the one at `index`, and how many bytes they are.
    private func stretch(from index: Int) -> (end: Int, bytes: Int) {
        var end = index + 1
        var bytes = entries[index].run.byteCount
        while end < entries.count, entries[end].run.slab === entries[index].run.slab {
            bytes += entries[end].run.byteCount
            end += 1
        }
        return (end, bytes)
    }

    /// Bytes of fresh records before the cursor, nil if it points into what stays as it is.
    private func mark(of cursor: Cursor) -> Int? {
        guard cursor.run >= freshRun else { return nil }
        var bytes = Int(cursor.position)
        for number in freshRun..<cursor.run {
            bytes += entries[Int(number - firstRun)].run.byteCount
        }
        return bytes
    }

    private func cursor(at mark: Int, offset: UInt64) -> Cursor {
        var rest = mark
        var number = freshRun
        let last = firstRun + UInt64(entries.count)
        while number < last {
            let bytes = entries[Int(number - firstRun)].run.byteCount
            if rest < bytes { break }
            rest -= bytes
            number += 1
        }
        return Cursor(run: number, position: UInt32(rest), offset: offset)
    }

    private mutating func copy(_ run: Run) {
        let slab: Slab
        if let segment, segment.room >= run.byteCount {
            slab = segment
        } else {
            // The first is small: most topics of a broker that has very many hold little.
            let next = min(Limits.segmentBytes, segment.map { 2 * $0.capacity } ?? 1_024)
            slab = Slab(capacity: max(next, run.byteCount))
            setSegment(slab)
        }
        overheadBytes -= UInt64(run.byteCount)
        let range = run.slab.withBytes { slab.append($0.extracting(run.bytes)) }
        var moved = run
        moved.slab = slab
        moved.start = UInt32(range.lowerBound)
        moved.end = UInt32(range.upperBound)
        let index = entries.count - 1
        if index >= Int(freshRun - firstRun), entries[index].run.isContinued(by: moved) {
            entries[index].run.extend(by: moved)
            entries[index].charge += UInt32(run.byteCount)
            retainedBytes += UInt64(run.byteCount)
            slab.charged += run.byteCount
            return
        }
        add(moved, charge: run.byteCount)
    }
}

extension EventLog {
    /// What `retainedBytes` must be, counted anew.
    package var recountedBytes: UInt64 {
        entries.reduce(0) { $0 + UInt64($1.charge) }
    }

    /// What `overheadBytes` must be.
    var recountedOverhead: UInt64 {
        entries.reduce(UInt64(segment?.room ?? 0)) {
            $0 + Limits.memoryEntryBytes + UInt64($1.unfilled)
        }
    }

    /// Whether a cursor points to where a record of the log begins, or to its end.
    package func holds(_ cursor: Cursor) -> Bool {
        guard cursor.offset < head else { return cursor.offset == head }
        guard cursor.run >= firstRun, cursor.run < firstRun + UInt64(entries.count) else {
            return false
        }
        let run = entries[Int(cursor.run - firstRun)].run
        return cursor.offset >= run.offset && cursor.offset < run.endOffset
            && Int(cursor.position) < run.byteCount
    }
}

extension Run {
    /// Shortens the run to at most `events` records and `bytes` bytes; false if none fits.
    package mutating func cut(events: UInt64, bytes: Int) -> Bool {
        let limit = UInt32(clamping: min(events, UInt64(count)))
        var cursor = RecordCursor(at: Int(start))
        let taken = slab.withBytes { records in
            cursor.take(events: limit, bytes: bytes, upTo: Int(end), from: records)
        }
        guard taken > 0 else { return false }
        count = taken
        end = UInt32(cursor.position)
        return true
    }
}
