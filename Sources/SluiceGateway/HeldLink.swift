import SluiceCore
import SluiceEngine
import SluiceNet
import SluiceWire

/// The one link that a request has in the session of its connection.
final class HeldLink {
    private unowned let gateway: Gateway
    private let session: GatewaySession
    /// 0 until its OPEN was heard.
    private(set) var number: UInt32 = 0
    private(set) var isOpen = false

    init(of exchange: HTTPExchange) {
        gateway = exchange.connection.gateway
        session = exchange.connection.session(for: exchange.request)
    }

    /// Opens it; the owner may hear of it, also of its end, before this returns.
    func open(_ open: Open, for owner: any GatewayLink) {
        isOpen = true
        number = session.open(open, for: owner)
    }

    func demand(_ ask: Ask) { if isOpen { session.demand(number, ask) } }

    func publish(_ publication: Publication) {
        if isOpen { session.publish(number, publication) }
    }

    func report(_ status: Status) { if isOpen { session.report(number, status) } }

    func wrote(bytes: Int) { if isOpen { session.wrote(number, bytes: bytes) } }

    /// The engine has ended it.
    func lose() { isOpen = false }

    /// Closes it, once; its owner hears nothing more.
    func close() {
        guard isOpen else { return }
        isOpen = false
        gateway.readClocks()
        session.close(number)
    }

    /// Closes it while the engine is in the midst of telling.
    func closeSoon() {
        guard isOpen else { return }
        gateway.loop.schedule(after: .zero) { [self] in close() }
    }
}

/// A request that is answered by what its one link brings.
protocol LinkHandler: ExchangeHandler, GatewayLink {
    var exchange: HTTPExchange { get }
    var link: HeldLink { get }
}

extension LinkHandler {
    func opened(_ opened: Opened) {}

    func refused(_ close: Close) { closed(close) }

    func closed(_ close: Close) {
        link.lose()
        exchange.refuse(Problem(close))
    }

    func end() { link.close() }

    func leave() { exchange.refuse(Problem(.brokerHasStopped)) }
}
