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

    let link: UInt32
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
        on link: UInt32,
        credit: (events: UInt64, bytes: UInt64),
        in slab: Slab
    ) {
        guard case .runs(let runs) = frame.content, frame.eventCount <= credit.events,
            frame.byteCount <= credit.bytes
        else { return nil }
        self.link = link
        firstSequence = frame.firstSequence
        self.credit = credit
        run = Run(runs[0], in: slab)
        for index in 1..<runs.count { more.append(Run(runs[index], in: slab)) }
        count(frame)
    }

    private mutating func count(_ frame: Events) {
        events += frame.eventCount
        bytes += frame.byteCount
        credit.events -= frame.eventCount
        credit.bytes -= frame.byteCount
    }

    /// Takes the next frame in if it follows on; else it is the caller's still.
    mutating func take(_ frame: Events, on link: UInt32, in slab: Slab) -> Bool {
        // The first sequence is a stranger's number, not yet held against the ledger.
        guard link == self.link, frame.firstSequence == firstSequence &+ events,
            case .runs(let runs) = frame.content, frame.eventCount <= credit.events,
            frame.byteCount <= credit.bytes
        else { return false }
        for index in 0..<runs.count {
            let slice = runs[index]
            if slice.records.count > Self.movedBytesMax {
                if more.isEmpty { more.reserveCapacity(Self.likelyRuns) }
                more.append(Run(slice, in: slab))
            } else if more.isEmpty {
                run.join(slice)
            } else {
                more[more.count - 1].join(slice)
            }
        }
        count(frame)
        return true
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

    /// Takes in a run that lies further on in the same slab.
    fileprivate mutating func join(_ slice: RunSlice) {
        slab.move(slice.records, to: Int(end))
        end += UInt32(slice.records.count)
        count += slice.header.count
    }
}
