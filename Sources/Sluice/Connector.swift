import DequeModule
import Dispatch
import Logging
import SluiceCore
import SluiceNet
import SluiceWire

/// Keeps one connection up and carries the links of a client over it.
// Everything but the `let`s is confined to the loop.
final class Connector: IOHandler, @unchecked Sendable {
    enum Phase {
        /// Nobody wanted a connection yet. Next: `connecting`.
        case idle
        /// Next: `greeting`, `waiting`, or `idle` after giving up.
        case connecting
        /// HELLO is on its way. Next: `connected`, `waiting`, or `idle`.
        case greeting
        /// Next: `waiting` or `idle` after a loss, `closed`.
        case connected
        /// Until the next attempt. Next: `connecting`.
        case waiting
        /// For good.
        case closed
    }

    struct Sink {
        let core: SubscriptionCore
        /// Asked for by the program and above what may be outstanding.
        var wish: UInt64 = 0
        /// Events that wait at the broker, as it last said.
        var available: UInt64 = 0
        /// STOP was sent.
        var isStopping = false
        /// What the turn brought.
        var items: [SubscriptionCore.Item] = []
    }

    struct Source {
        let core: ProducerCore
        var isQueued = false
        var isClosing = false
    }

    /// Connects to a broker of this process; nil if the broker is elsewhere.
    let dial: (@Sendable () -> MemoryEnd?)?
    let home: ClientLoop
    let configuration: ClientConfiguration
    let logger: Logger
    let spans: Spans?
    var loop: EventLoop { home.loop }

    var isDirty = false
    var phase = Phase.idle
    var session: ClientSession
    var inlet = Inlet()
    var outlet = Outlet()
    var events: [ClientEvent] = []
    var sinks: [LinkKey: Sink] = [:]
    var sources: [LinkKey: Source] = [:]
    /// Producers' links with something to send, in the order of their turns.
    var sendQueue: Deque<LinkKey> = []
    /// Sinks with items of this turn.
    var touched: [LinkKey] = []
    var pings: [UInt64: Answer<Duration>] = [:]
    var lastPing: UInt64 = 0
    /// Whether a program waits for what it sent to be settled.
    var isSettlementDue = false
    /// Whether the connection is wanted though no link needs it.
    var isWanted = false

    var carrier: Carrier?
    var registration: Carrier.Watch?
    var isBlocked = false
    var timer: TimerID?
    var keepalive: TimerID?
    /// Attempts in a row that failed.
    var failures = 0
    var waiters: [Answer<Void>] = []
    /// Those who want to know when the connection is given up.
    var keepers: [Answer<Void>] = []
    /// How often in a row the broker was too busy to open a link.
    var refusals: [LinkKey: Int] = [:]
    var closeWaiters: [Answer<Void>] = []
    /// Why the broker ended the connection, once it has said so.
    var lastWord: (close: Close, ending: ClientEvent.Ending)?

    init(
        home: ClientLoop,
        configuration: ClientConfiguration,
        logger: Logger,
        dial: (@Sendable () -> MemoryEnd?)? = nil
    ) {
        self.dial = dial
        self.home = home
        self.configuration = configuration
        self.logger = logger
        spans = Spans(configuration)
        let keepalive = min(max(1, configuration.keepaliveSeconds), Limits.keepaliveSecondsMax)
        session = ClientSession(name: configuration.name, keepaliveSeconds: UInt16(keepalive))
    }

    var now: Instant { Instant(nanoseconds: loop.now) }
}

// MARK: - Connecting

extension Connector {
    /// Begins to connect if nobody did.
    func wake() {
        guard phase == .idle else { return }
        attempt()
    }

    private func attempt() {
        phase = .connecting
        if let dial { return connect(to: dial()) }
        let servers = configuration.servers
        // A name server may be slow, and the loop waits for nobody. The queue is one of its own:
        // the program may block all threads of the global one.
        DispatchQueue(label: "sluice.resolve").async { @Sendable [self] in
            var addresses: [SocketAddress] = []
            var failure = ClientError(.unreachable, "no server is configured")
            for server in servers {
                do throws(AddressError) {
                    addresses += try Endpoint(parsing: ClientConfiguration.normalized(server))
                        .resolve()
                } catch {
                    failure.message = "\(error)"
                }
            }
            loop.submit { [self, addresses, failure] in connect(to: addresses[...], failure) }
        }
    }

    /// Goes on with a connection through memory; without one there never will be another.
    private func connect(to end: MemoryEnd?) {
        guard let end else {
            return giveUp(
                ClientError(
                    .unreachable,
                    "the embedded broker is closed",
                    hint: "close it when its clients are done"
                )
            )
        }
        carrier = .memory(end)
        limitConnecting { [weak self] text in self?.failed(ClientError(.unreachable, text)) }
        established()
    }

    /// Lets go of a connection on which no WELCOME has come in time.
    private func limitConnecting(_ late: @escaping (String) -> Void) {
        timer = loop.schedule(after: configuration.connectTimeout) { [weak self] in
            guard let self, phase == .connecting || phase == .greeting else { return }
            drop()
            phase = .connecting
            session.disconnected()
            late("no answer within \(configuration.connectTimeout)")
        }
    }

    /// Tries the addresses in turn; `error` is what is known if none is left.
    private func connect(to addresses: ArraySlice<SocketAddress>, _ error: ClientError) {
        guard phase == .connecting else { return }
        guard let address = addresses.first else { return failed(error) }
        let rest = addresses.dropFirst()
        do throws(SystemError) {
            let socket = try Socket.connecting(to: address)
            let descriptor = socket.release()
            carrier = .socket(descriptor)
            let attempt = Attempt { [weak self] in
                guard let self, phase == .connecting else { return }
                if let error = descriptor.takePendingError() {
                    drop()
                    return connect(to: rest, Self.unreachable(address, "\(error)"))
                }
                established()
            }
            registration = try loop.register(.socket(descriptor), .writable, handler: attempt)
        } catch {
            drop()
            return connect(to: rest, Self.unreachable(address, "\(error)"))
        }
        limitConnecting { [weak self] text in
            self?.connect(to: rest, Self.unreachable(address, text))
        }
    }

    private static func unreachable(_ address: SocketAddress, _ text: String) -> ClientError {
        ClientError(
            .unreachable,
            "\(address): \(text)",
            hint: "start a broker there with `sluice serve`, or name another server"
        )
    }

    private func established() {
        guard let carrier else { return }
        if let registration { loop.deregister(registration) }
        phase = .greeting
        inlet.reset()
        outlet.reset()
        isBlocked = false
        do throws(SystemError) {
            registration = try loop.register(carrier, .readable, handler: self)
        } catch {
            return lost(ClientError(.connectionLost, "\(error)"))
        }
        session.connected(at: now, into: &outlet.output.frames)
        home.markDirty(self)
    }

    /// Lets go of the connection.
    func drop() {
        if let registration { loop.deregister(registration) }
        carrier?.close()
        if let timer { loop.cancel(timer) }
        if let keepalive { loop.cancel(keepalive) }
        (registration, carrier, timer, keepalive) = (nil, nil, nil, nil)
    }

    /// No server could be reached; tries again later or gives up.
    func failed(_ error: ClientError, retryAfter: Duration? = nil) {
        failures += 1
        logger.debug("attempt \(failures) to connect failed: \(error)")
        if configuration.reconnect.givesUp(after: failures) { return giveUp(error) }
        phase = .waiting
        let pause = configuration.reconnect.delay(after: failures, told: retryAfter)
        timer = loop.schedule(after: pause) { [weak self] in self?.attempt() }
    }

    /// Ends all links with `error`; the next use of the client begins afresh.
    func giveUp(_ error: ClientError) {
        phase = .idle
        failures = 0
        lastWord = nil
        isWanted = false
        let ended = (sinks, sources, waiters + keepers, pings)
        (sinks, sources, waiters, keepers, pings) = ([:], [:], [], [], [:])
        sendQueue = []
        touched = []
        refusals = [:]
        session.forget()
        for sink in ended.0.values { sink.core.finish(error, nil) }
        for source in ended.1.values { source.core.finish(error) }
        for waiter in ended.2 { waiter.give(.failure(error)) }
        for ping in ended.3.values { ping.give(.failure(error)) }
        checkClosed()
    }

    /// The connection is gone; resumes it unless nobody needs it or the broker forbids it.
    func lost(_ error: ClientError) {
        let word = lastWord
        lastWord = nil
        drop()
        outlet.reset()
        session.disconnected()
        for ping in pings.values { ping.give(.failure(error)) }
        pings = [:]
        guard phase != .closed else { return }
        for (key, source) in sources {
            if let link = session[key] { _ = source.core.update(link, granted: 0) }
        }
        for (key, sink) in sinks where sink.isStopping { end(key) }
        let wasGreeting = phase == .greeting
        if let word, Self.isFinal(word.close.code) { return giveUp(error) }
        if wasGreeting { return failed(error, retryAfter: error.retryAfter) }
        if configuration.reconnect.attemptsMax == 1 { return giveUp(error) }
        guard isWanted || !sinks.isEmpty || !sources.isEmpty || !waiters.isEmpty else {
            phase = .idle
            return checkClosed()
        }
        logger.info("connection lost, resuming: \(error)")
        phase = .waiting
        let pause =
            error.retryAfter.map(ReconnectPolicy.spread) ?? .milliseconds(Int64.random(in: 1...20))
        timer = loop.schedule(after: pause) { [weak self] in self?.attempt() }
    }

    /// Whether coming back would end in the same way.
    private static func isFinal(_ code: CloseCode) -> Bool {
        switch code {
        case .busy, .limit, .idle: false
        default: code == .replaced || code.blame == .peer || code.blame == .refused
        }
    }
}

/// Waits for the end of one attempt to connect.
private final class Attempt: IOHandler {
    private let body: () -> Void

    init(_ body: @escaping () -> Void) { self.body = body }

    func ready(_ events: IOEvents) { body() }
}
