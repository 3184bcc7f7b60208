import SluiceCore
import SluiceWire

// An operator ends a connection or a link, wherever in the broker its session is.

extension Engine {
    /// Looks for a session here and then on all other engines; answers the code of the refusal.
    func kick(
        _ wish: Snapshot.Kick,
        for session: Session,
        _ answer: @escaping (CloseCode?) -> Void
    ) {
        let code = kick(wish)
        guard code == .notFound, place.count > 1 else {
            answer(code)
            return
        }
        session.isAbroad = true
        var missing = place.count - 1
        var isFound = false
        for engine in 0..<place.count where engine != place.index {
            let ticket = exchange.ticket()
            exchange.requests[ticket] = { code in
                missing -= 1
                isFound = isFound || code == nil
                if missing == 0 { answer(isFound ? nil : .notFound) }
            }
            post(.kick(ticket: ticket, wish), to: engine)
        }
    }

    /// Ends what a request names, if its session is here.
    func kick(_ wish: Snapshot.Kick) -> CloseCode? {
        guard let session = sessionTable[wish.connection] else {
            return .notFound
        }
        let close = Close(.kicked, reason: "an operator ended it")
        guard let link = wish.link else {
            if let peer = session.peer { peer.kicked(close) } else { expire(session) }
            return nil
        }
        guard session.link(link) != nil else { return .notFound }
        self.close(session, link)
        session.table.end(link)
        session.peer?.closed(link, close)
        return nil
    }
}
