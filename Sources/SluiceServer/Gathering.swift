import SluiceCore
import SluiceWire

/// The EVENTS of one producer that follow on in one read, to be published at once.
///
/// Small ones are made one run: their records lie together in the slab. A frame of one event would
/// else cost a run in the log and two vectors in each delivery.
struct Gathering: ~Copyable {
    /// Records up to which a frame is worth moving.
    private static let movedBytesMax = 8_192
    /// Runs behind the first in a slab of full frames.
    private static let likelyRuns = 4
    /// Frames that are looked at before their records are moved.
    private static let runsAtOnceMax = 64

    private let firstSequence: UInt64
    private var events: UInt64 = 0
    private var bytes: UInt64 = 0
    /// The first run, and those behind it: most reads of small frames come to only one.
    private var run: Run
    private var more: [Run] = []
    /// What the producer may still send, so that an overrun is refused by itself.
    private var credit: (events: UInt64, bytes: UInt64)

    /// Nil if credit does not cover the frame, or it is none of a producer.
    init?(
        _ frame: Events,
        credit: (events: UInt64, bytes: UInt64),
        in slab: Slab
    ) {
        guard case .runs(let runs) = frame.content, frame.eventCount <= credit.events,
            frame.byteCount <= credit.bytes
        else { return nil }
        firstSequence = frame.firstSequence
        self.credit = credit
        run = Run(runs[0], in: slab)
        for index in 1..<runs.count { more.append(Run(runs[index], in: slab)) }
        count(events: frame.eventCount, bytes: frame.byteCount)
    }

    private mutating func count(events: UInt64, bytes: UInt64) {
        self.events += events
        self.bytes += bytes
        credit.events -= events
        credit.bytes -= bytes
    }

    /// Whether a frame of this link follows on, and credit covers it.
    // The first sequence is a stranger's number, not yet held against the ledger.
    private func allows(_ firstSequence: UInt64, events: UInt64, bytes: UInt64) -> Bool {
        firstSequence == self.firstSequence &+ self.events && events <= credit.events
            && bytes <= credit.bytes
    }

    /// Takes in the frames of one run from `start` of the slab on that follow on; where the first
    /// begins that is the caller's still.
    mutating func takeFollowing(
        _ machine: borrowing ServerSession,
        on link: UInt32,
        in slab: Slab,
        from start: Int
    ) -> Int {
        var end = start
        var runs: [FollowingRun] = []
        repeat {
            runs.removeAll(keepingCapacity: true)
            slab.withBytes {
                machine.appendFollowing(
                    to: &runs,
                    most: Self.runsAtOnceMax,
                    on: link,
                    in: $0,
                    from: end
                )
            }
            for next in runs {
                let (events, bytes) = (UInt64(next.eventCount), UInt64(next.records.count))
                guard allows(next.firstSequence, events: events, bytes: bytes) else { return end }
                add(next.records, of: next.eventCount, in: slab)
                count(events: events, bytes: bytes)
                end = next.end
            }
        } while runs.count == Self.runsAtOnceMax
        return end
    }

    private mutating func add(_ records: Range<Int>, of events: UInt32, in slab: Slab) {
        if records.count > Self.movedBytesMax {
            if more.isEmpty { more.reserveCapacity(Self.likelyRuns) }
            more.append(Run(slab: slab, bytes: records, count: events))
        } else if more.isEmpty {
            run.join(records, of: events)
        } else {
            more[more.count - 1].join(records, of: events)
        }
    }

    /// What was gathered, as one publication.
    consuming func publication(at time: UInt64) -> Publication {
        Publication(
            firstSequence: firstSequence,
            events: events,
            bytes: bytes,
            run: run,
            more: more,
            time: time
        )
    }
}

extension Run {
    init(_ slice: RunSlice, in slab: Slab) {
        self.init(slab: slab, bytes: slice.records, count: slice.header.count)
    }

    /// Takes in records that lie further on in the same slab.
    fileprivate mutating func join(_ records: Range<Int>, of events: UInt32) {
        slab.move(records, to: Int(end))
        end += UInt32(records.count)
        count += events
    }
}
