import SluiceCore
import SluiceWire

// Peeking: a topic's events as they are held, shown without taking them.

extension Engine {
    func showEvents(
        until end: UInt64,
        _ inspection: Inspection,
        _ session: Session,
        _ link: UInt32
    ) -> Bool {
        guard case .peek(let box) = inspection.subject else { return false }
        let log = box.core.log
        var cursor = log.start
        log.seek(&cursor, to: max(inspection.offset, log.firstOffset))
        inspection.offset = cursor.offset
        guard cursor.offset < end, !box.isRemoved else {
            inspection.offset = end
            return true
        }
        var runs: [Run] = []
        let credit = inspection.ledger.bytesAllowed
        let taken = log.take(
            from: &cursor,
            events: min(inspection.ledger.credit, end - cursor.offset),
            bytes: min(credit, largestEvent(session)),
            window: inspection.room,
            windowIsEmpty: inspection.room >= Limits.writeWindowBytes,
            into: &runs
        )
        guard taken.events > 0 else {
            guard let need = log.nextRecordBytes(at: cursor) else { return false }
            guard need <= largestEvent(session) else { return endOutgrown(session, link) }
            if need > credit {
                finish(inspection, session, link, needBytes: need)
            }
            return false
        }
        inspection.offset = cursor.offset
        deliver(runs, inspection, session, link)
        return true
    }
}
