import SluiceCore
import SluiceTestKit
import Testing

@Suite("The log of events")
struct EventLogTests {
    /// A log of runs of ten-byte records in small slabs of their own.
    private func log(_ counts: [Int], size: Int = 10) -> EventLog {
        var log = EventLog()
        for count in counts {
            for run in TopicHarness.records(count, bytes: size) { log.append(run, time: 1) }
        }
        return log
    }

    private func take(
        _ log: EventLog,
        _ cursor: inout Cursor,
        events: UInt64 = 100,
        bytes: Int = .max,
        window: Int = .max,
        isEmpty: Bool = true
    ) -> [Range<UInt64>] {
        var runs: [Run] = []
        let taken = log.take(
            from: &cursor,
            events: events,
            bytes: bytes,
            window: window,
            windowIsEmpty: isEmpty,
            into: &runs
        )
        #expect(taken.bytes == runs.reduce(0) { $0 + $1.byteCount })
        #expect(taken.events == runs.reduce(0) { $0 + UInt64($1.count) })
        return runs.map { $0.offset..<$0.endOffset }
    }

    @Test("gives what credit covers, cut at records")
    func cuts() {
        let log = log([3, 4])
        var cursor = log.start
        #expect(take(log, &cursor, events: 2) == [0..<2])
        #expect(take(log, &cursor, events: 3) == [2..<3, 3..<5])
        #expect(take(log, &cursor, bytes: 19) == [5..<6])
        #expect(take(log, &cursor, bytes: 9) == [])
        #expect(take(log, &cursor) == [6..<7])
        #expect(cursor == log.end)
    }

    @Test("lets one event larger than the window pass if that is empty, never beyond bytes")
    func largeEvent() {
        let log = log([2], size: 100)
        var cursor = log.start
        #expect(take(log, &cursor, window: 50, isEmpty: false) == [])
        #expect(take(log, &cursor, bytes: 99, window: 50) == [])
        #expect(take(log, &cursor, window: 50) == [0..<1])
    }

    @Test("seeks into runs and over them")
    func seeks() {
        let log = log([3, 4, 2])
        var cursor = log.start
        log.seek(&cursor, to: 2)
        #expect(take(log, &cursor, events: 2) == [2..<3, 3..<4])
        log.seek(&cursor, to: 8)
        #expect(take(log, &cursor) == [8..<9])
        log.seek(&cursor, to: 50)
        #expect(cursor == log.end)
    }

    @Test("forgets whole runs and the bytes that they pinned")
    func trims() {
        var log = log([3, 4])
        #expect(log.retainedBytes == 70)
        log.trim(before: 2)
        #expect(log.firstOffset == 0)
        log.trim(before: 5)
        #expect(log.firstOffset == 3)
        #expect(log.retainedBytes == 40)
        log.trim(before: 7)
        #expect(log.retainedBytes == 0)
        #expect(log.start == log.end)
    }

    @Test("moves small runs together and the cursors with them")
    func compacts() {
        var log = EventLog()
        let slab = Slab(capacity: 10_000)
        for count in [3, 4, 2] {
            for run in TopicHarness.records(count, bytes: 10) {
                let range = run.slab.withBytes { slab.append($0.extracting(run.bytes)) }
                log.append(Run(slab: slab, bytes: range, count: run.count), time: 1)
            }
        }
        var cursors = [log.start, log.start, log.end]
        log.seek(&cursors[1], to: 5)
        let hasMoved = log.compact(&cursors)
        #expect(hasMoved)
        #expect(!log.hasFresh)
        #expect(log.retainedBytes == 90)
        #expect(cursors.allSatisfy { log.holds($0) })
        #expect(take(log, &cursors[1], events: 3) == [5..<8])
        #expect(take(log, &cursors[0]) == [0..<9])
        #expect(cursors[2] == log.end)
        let again = log.compact(&cursors)
        #expect(!again)
    }

    @Test("keeps a slab that is half its own, and counts all that it pins until the last is gone")
    func keeps() {
        var log = EventLog()
        let slab = Slab(capacity: 100)
        for run in TopicHarness.records(8, bytes: 10) {
            let range = run.slab.withBytes { slab.append($0.extracting(run.bytes)) }
            log.append(Run(slab: slab, bytes: 10..<40, count: 3), time: 1)
            log.append(Run(slab: slab, bytes: 40..<range.upperBound - 10, count: 3), time: 1)
        }
        var cursors = [log.start]
        let hasMoved = log.compact(&cursors)
        #expect(hasMoved)
        #expect(log.retainedBytes == 80)
        log.trim(before: 3)
        #expect(log.retainedBytes == 80)
        log.trim(before: 6)
        #expect(log.retainedBytes == 0)
    }

    /// Two runs in a slab of 100 bytes, of which `live` are theirs.
    private func append(live: Int, to log: inout EventLog) -> Slab {
        let slab = Slab(capacity: 100)
        for run in TopicHarness.records(live / 10, bytes: 10) {
            let range = run.slab.withBytes { slab.append($0.extracting(run.bytes)) }
            log.append(Run(slab: slab, bytes: 0..<10, count: 1), time: 1)
            let rest = UInt32(live / 10 - 1)
            log.append(Run(slab: slab, bytes: 10..<range.upperBound, count: rest), time: 1)
        }
        return slab
    }

    @Test("lets all stay where it is if each of several slabs is half its own")
    func staysInPlace() {
        var log = EventLog()
        let slabs = [append(live: 60, to: &log), append(live: 90, to: &log)]
        let cursor = log.start
        let isKept = log.keepFresh()
        #expect(isKept && !log.hasFresh && log.holds(cursor))
        #expect(log.retainedBytes == 150 && log.recountedBytes == 150)
        #expect(slabs.map(\.charged) == [60, 90])
        log.trim(before: 6)
        #expect(log.retainedBytes == 90 && slabs.map(\.charged) == [0, 90])
    }

    @Test("looks closer if one of several slabs would be pinned for little")
    func pinsNoSlabForLittle() {
        var log = EventLog()
        let slabs = [append(live: 60, to: &log), append(live: 40, to: &log)]
        let isKept = log.keepFresh()
        #expect(!isKept && log.hasFresh)
        var cursors = [log.start]
        _ = log.compact(&cursors)
        #expect(log.retainedBytes == 100 && slabs.map(\.charged) == [60, 0])
    }

    @Test("counts a slab again that it pins anew, once what it paid for is gone")
    func paysAgain() {
        var log = EventLog()
        let slab = Slab(capacity: 100)
        for run in TopicHarness.records(5, bytes: 10) {
            let range = run.slab.withBytes { slab.append($0.extracting(run.bytes)) }
            log.append(Run(slab: slab, bytes: range, count: 5), time: 1)
        }
        var cursors = [log.end]
        _ = log.compact(&cursors)
        #expect(log.retainedBytes == 50 && slab.charged == 50)
        log.trim(before: 5)
        #expect(log.retainedBytes == 0 && slab.charged == 0)
        for run in TopicHarness.records(5, bytes: 10) {
            let range = run.slab.withBytes { slab.append($0.extracting(run.bytes)) }
            log.append(Run(slab: slab, bytes: range, count: 5), time: 1)
        }
        cursors = [log.end]
        _ = log.compact(&cursors)
        #expect(log.retainedBytes == 100)
    }
}
