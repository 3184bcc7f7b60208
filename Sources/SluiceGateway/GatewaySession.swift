import SluiceCore
import SluiceEngine
import SluiceWire

/// What one link of the gateway hears; each needs only some of it.
protocol GatewayLink: AnyObject {
    func opened(_ opened: Opened)
    func refused(_ close: Close)
    func deliver(firstSequence: UInt64, runs: ArraySlice<Run>, bytes: Int)
    func gap(_ gap: Gap)
    func mark(_ mark: Mark, offset: UInt64)
    func ask(_ ask: Ask)
    func settle(_ settlement: Settlement)
    func status(_ status: Status)
    func closed(_ close: Close)
    /// Events it was given whose bytes are all in what the connection has to write.
    var eventsTaken: UInt64 { get }
}

extension GatewayLink {
    func deliver(firstSequence: UInt64, runs: ArraySlice<Run>, bytes: Int) {}
    func gap(_ gap: Gap) {}
    func mark(_ mark: Mark, offset: UInt64) {}
    func ask(_ ask: Ask) {}
    func settle(_ settlement: Settlement) {}
    func status(_ status: Status) {}
    var eventsTaken: UInt64 { 0 }
}

/// A client of the engine whose links are requests: each has its own account, and one that hears.
final class GatewaySession: Peer {
    let engine: Engine
    private var session: Session?
    private var links: [UInt32: any GatewayLink] = [:]
    private var lastLink: UInt32 = 0
    private let name: String
    private let address: String
    private let countTraffic: () -> Traffic
    private var arrivals = Arrivals()
    /// Called when it is to look for arrivals.
    var wantsArrivals: () -> Void = {}
    /// Called when an operator has ended it.
    var isKicked: () -> Void = {}

    init(
        _ engine: Engine,
        name: String,
        address: String,
        traffic: @escaping () -> Traffic
    ) {
        self.engine = engine
        self.name = name
        self.address = address
        countTraffic = traffic
        connect()
    }

    private func connect() {
        session = engine.connect(name: name, face: .http, peerAddress: address, peer: self)
    }

    /// Opens a link; `owner` may hear of it before this returns.
    func open(_ open: Open, for owner: any GatewayLink) -> UInt32 {
        lastLink += 1
        let link = lastLink
        links[link] = owner
        if let session { engine.open(session, link, open) }
        return link
    }

    /// Asks for more.
    ///
    /// What the link was given by now is received when it has arrived, and not before.
    func demand(_ link: UInt32, _ ask: Ask) {
        guard let session, links[link] != nil else { return }
        var truth = ask
        truth.received = 0
        engine.demand(session, link, truth)
        if ask.received > 0 { prove(link, upTo: ask.received) }
    }

    func publish(_ link: UInt32, _ publication: Publication) {
        if let session, links[link] != nil { engine.publish(session, link, publication) }
    }

    func report(_ link: UInt32, _ status: Status) {
        if let session, links[link] != nil { engine.report(session, link, status) }
    }

    func wrote(_ link: UInt32, bytes: Int) {
        if let session, links[link] != nil { engine.wrote(session, link, bytes: bytes) }
    }

    /// Closes a link, which hears nothing more.
    func close(_ link: UInt32) {
        guard let session, links.removeValue(forKey: link) != nil else { return }
        engine.close(session, link)
    }

    /// Whether somebody waits for what its links were given to arrive.
    var awaitsArrivals: Bool { !arrivals.isEmpty }

    /// Tells what has arrived of what is in the bytes that are written, or are to be.
    func showArrivals(written: UInt64, acknowledged: UInt64) {
        arrivals.place(at: written) { links[$0]?.eventsTaken }
        for (link, sequence) in arrivals.take(acknowledged: acknowledged) {
            guard let session else { return }
            engine.received(session, link, sequence)
        }
    }

    func end() {
        guard let session else { return }
        self.session = nil
        links = [:]
        arrivals = Arrivals()
        engine.end(session)
    }
}

// MARK: - What the engine says

extension GatewaySession {
    func opened(_ link: UInt32, _ opened: Opened) { links[link]?.opened(opened) }

    func refused(_ link: UInt32, _ close: Close) {
        engine.countBreach(close.code, at: .http)
        links.removeValue(forKey: link)?.refused(close)
    }

    func deliver(_ link: UInt32, firstSequence: UInt64, runs: ArraySlice<Run>, bytes: Int) {
        links[link]?.deliver(firstSequence: firstSequence, runs: runs, bytes: bytes)
    }

    func gap(_ link: UInt32, _ gap: Gap, nextSequence: UInt64) { links[link]?.gap(gap) }

    func mark(_ link: UInt32, _ mark: Mark, offset: UInt64, nextSequence: UInt64) {
        links[link]?.mark(mark, offset: offset)
    }

    func ask(_ link: UInt32, _ ask: Ask) { links[link]?.ask(ask) }

    func settle(_ link: UInt32, _ settlement: Settlement) { links[link]?.settle(settlement) }

    func status(_ link: UInt32, _ status: Status) { links[link]?.status(status) }

    func closed(_ link: UInt32, _ close: Close) {
        engine.countBreach(close.code, at: .http)
        links.removeValue(forKey: link)?.closed(close)
    }

    func prove(_ link: UInt32, upTo sequence: UInt64) {
        guard links[link] != nil else { return }
        arrivals.await(link, upTo: sequence)
        wantsArrivals()
    }

    /// No request asks for one.
    func pong(_ opaque: UInt64) {}

    /// Its token is told to nobody, so that nobody else can go on with it.
    func replaced() {}

    func kicked(_ close: Close) {
        let open = links
        end()
        // Requests of others may share it: they go on in a session that is new to operators.
        connect()
        for owner in open.values { owner.closed(close) }
        isKicked()
    }

    var traffic: Traffic { countTraffic() }

    var eventBytesMax: Int { Limits.eventBytesMax }
}
