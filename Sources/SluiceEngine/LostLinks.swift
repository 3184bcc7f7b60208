import SluiceCore
import SluiceWire

/// A cut that took the links of a session.
struct LinkLoss {
    let token: SessionToken
    let since: Instant
}

// Links that their client leaves behind when it comes back: they end with the window of the cut
// that took their connection, though their session goes on.

extension Engine {
    /// Links that end in one tick at most.
    private static let linksEndedPerTickMax = 1_024

    /// Remembers that the session's links wait for their client from now on.
    func noteLoss(of session: Session) {
        session.noteLoss(at: now)
        losses.append(LinkLoss(token: session.token, since: now))
        guard losses.count > lossesKept else { return }
        losses.removeAll { sessions[$0.token]?.hasLostLinks != true }
        lossesKept = 2 * losses.count + 64
    }

    /// Ends the links whose window is over, as many as one tick may.
    func endLostLinks() {
        while let loss = losses.first,
            now.milliseconds(since: loss.since) >= configuration.resumeWindowMilliseconds
        {
            if let session = sessions[loss.token] {
                endLinks(of: session, lostAt: loss.since)
                guard !session.hasLinks(lostAt: loss.since) else { return }
            }
            losses.removeFirst()
        }
    }

    private func endLinks(of session: Session, lostAt time: Instant) {
        let lost = session.links.lazy.filter { $0.lostAt == time }.map(\.id)
        for link in Array(lost.prefix(Self.linksEndedPerTickMax)) {
            close(session, link)
            session.table.end(link)
            // Its connection has it as detached still, and says nothing of it.
            session.peer?.closed(link, Close(.normal))
        }
    }
}
