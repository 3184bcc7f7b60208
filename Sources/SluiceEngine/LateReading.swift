import SluiceCore

// When a client that brings events may be read late, and when no more.

extension Engine {
    /// Whether what a client sends may stay in its socket for now.
    ///
    /// It may if all it brings is events for one topic in which so many wait for every group that
    /// nobody would be given these, and if somebody soon will at the pace that events go out.
    /// Demand is never left unread.
    package func mayReadLate(_ session: Session) -> Bool {
        guard session.links.count == 1, case .topic(let box, let id) = session.links[0].target,
            box.core.credit(ofProducer: id) != nil
        else { return false }
        let waiting = box.core.leastWaiting
        guard waiting >= Limits.lateReadHighEvents else { return false }
        box.pace.note(box.core.log.head - waiting, at: now)
        return box.pace.covers(
            waiting - Limits.lateReadLowEvents,
            inMilliseconds: UInt64(Limits.lateReadMilliseconds)
        )
    }

    /// Whether a client that is read late has to be read now.
    package func isReadingDue(of session: Session) -> Bool {
        guard session.links.count == 1, case .topic(let box, _) = session.links[0].target else {
            return true
        }
        return box.core.leastWaiting < Limits.lateReadLowEvents
    }
}
