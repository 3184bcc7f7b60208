import SluiceCore

/// What a client says first that knows that this is HTTP/2.
private let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

// Which protocol a connection speaks: found by its first bytes, and changed when its client asks.

extension GatewayConnection {
    func sniff(_ bytes: UnsafeRawBufferPointer) throws(HTTPFailure) {
        first += bytes
        let count = min(first.count, preface.count)
        let isAlike = first[..<count] == preface[..<count]
        guard !isAlike || count == preface.count else { return }
        let session: any HTTPSession = isAlike ? try H2Session() : try H1Session()
        http = session
        try feed(first, to: session)
        first = []
    }

    private func feed(
        _ bytes: [UInt8],
        to session: any HTTPSession
    ) throws(HTTPFailure) {
        var failure: HTTPFailure?
        bytes.withUnsafeBytes { bytes in
            do throws(HTTPFailure) { try session.receive(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Whether it may still become something else: HTTP/1.1 whose parser stops at this request.
    var mayChange: Bool { http is H1Session && next == nil }

    /// Goes on as another protocol, for as long as which the exchange lasts.
    func change(
        _ exchange: HTTPExchange,
        saying answer: [UInt8],
        to make: @escaping (@escaping () -> Void) throws(HTTPFailure) -> any HTTPSession
    ) {
        exchange.takeOver()
        next = (
            answer,
            { [unowned self] () throws(HTTPFailure) in
                try make { [weak self] in self?.lookAgain() }
            }
        )
    }

    private func lookAgain() {
        guard !isClosed else { return }
        wantFlush()
        updateInterest()
    }

    /// Goes on in another protocol if the client asked for it.
    func changeIfAsked() throws(HTTPFailure) {
        guard let old = http as? H1Session, !isClosed, pending.isEmpty else { return }
        if let next {
            self.next = nil
            let rest = try old.leave(saying: next.answer)
            old.drain(into: &out, upTo: Limits.httpWriteBytes)
            old.close()
            let session = try next.make()
            http = session
            try feed(rest, to: session)
            wantFlush()
            return
        }
        guard let upgrade = old.upgrade else { return }
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n"
        let rest = try old.leave(saying: Array(answer.utf8))
        old.drain(into: &out, upTo: Limits.httpWriteBytes)
        old.close()
        let session = try H2Session()
        http = session
        try session.upgrade(from: upgrade.head, settings: upgrade.settings)
        if !rest.isEmpty { try feed(rest, to: session) }
        act()
    }
}
