import SluiceCore
import SluiceWire

/// Small EVENTS of one producer in a row, made one: their records lie together in the slab.
///
/// A frame of one event would else cost a run in the log and two vectors in each delivery.
struct Gathering {
    /// Records up to which a frame is worth moving.
    private static let movedBytesMax = 8_192

    let link: UInt32
    private let firstSequence: UInt64
    private var events: UInt64
    private var bytes: UInt64
    private var start: Int
    private var end: Int
    /// What the producer may still send, so that an overrun is refused by itself.
    private var credit: (events: UInt64, bytes: UInt64)

    /// Nil if the frame is not one to gather.
    init?(
        _ frame: Events,
        on link: UInt32,
        credit: (events: UInt64, bytes: UInt64)
    ) {
        guard let records = Self.smallRun(of: frame), frame.eventCount <= credit.events,
            frame.byteCount <= credit.bytes
        else { return nil }
        self.link = link
        firstSequence = frame.firstSequence
        events = frame.eventCount
        bytes = frame.byteCount
        start = records.lowerBound
        end = records.upperBound
        self.credit = (credit.events - events, credit.bytes - bytes)
    }

    private static func smallRun(of frame: Events) -> Range<Int>? {
        guard case .runs(let runs) = frame.content, runs.count == 1 else { return nil }
        return runs[0].records.count <= movedBytesMax ? runs[0].records : nil
    }

    /// Takes the next frame in if it follows on; else it is the caller's still.
    mutating func take(_ frame: Events, on link: UInt32, in slab: Slab) -> Bool {
        // The first sequence is a stranger's number, not yet held against the ledger.
        guard link == self.link, frame.firstSequence == firstSequence &+ events,
            let records = Self.smallRun(of: frame), frame.eventCount <= credit.events,
            frame.byteCount <= credit.bytes, bytes + frame.byteCount <= UInt64(UInt32.max)
        else { return false }
        slab.move(records, to: end)
        end += records.count
        events += frame.eventCount
        bytes += frame.byteCount
        credit.events -= frame.eventCount
        credit.bytes -= frame.byteCount
        return true
    }

    /// What was gathered, as one publication.
    func publication(from slab: Slab, at time: UInt64) -> Publication {
        Publication(
            firstSequence: firstSequence,
            events: events,
            bytes: bytes,
            run: Run(slab: slab, bytes: start..<end, count: UInt32(events)),
            time: time
        )
    }
}
