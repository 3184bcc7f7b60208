import Glibc

/// Accepts connections on a loop.
// Made anywhere by one thread, from `start` on confined to the loop.
package final class Listener: IOHandler, @unchecked Sendable {
    /// Takes a new connection and the address of its peer.
    package typealias Accepted = (consuming Socket, SocketAddress) -> Void

    /// Connections waiting to be accepted; the kernel refuses more.
    private static let backlogMax: CInt = 4096
    /// Connections accepted in one turn, so that a storm of them leaves the others their turn.
    private static let acceptsPerTurnMax = 64
    /// How long nothing is accepted after the system ran out of something.
    private static let backOff = Duration.milliseconds(100)

    /// Where it listens; a port 0 that was asked for is replaced by the one given.
    package let address: SocketAddress

    private let loop: EventLoop
    private let socket: Descriptor
    private let file: SocketFile?
    private var isOpen = true
    private var registration: Registration?
    private var pause: TimerID?
    /// Given up when descriptors run out, so that a peer is turned away instead of left waiting.
    private var spare: CInt
    /// What connections to other machines have: the accepted come without pacing.
    private let usualControl: String?
    private var accepted: Accepted?
    private var failed: ((SystemError) -> Void)?

    /// Binds and listens; peers are kept waiting until `start`.
    package init(on address: SocketAddress, loop: EventLoop) throws(SystemError) {
        let socket = try Socket.open(for: address)
        if let path = address.path {
            file = try SocketFile(binding: socket.descriptor, to: address, path: path)
            usualControl = nil
        } else {
            file = nil
            usualControl = socket.descriptor.congestionControl
            try? socket.descriptor.setUnpaced()
            try socket.descriptor.setNoDelay()
            try socket.descriptor.setReuseAddress()
            try Self.bind(socket.descriptor, to: address)
        }
        let number = socket.descriptor.number
        do {
            try checking("listen") { listen(number, Self.backlogMax) }
            self.address = try socket.descriptor.localAddress()
        } catch {
            file?.remove()
            throw error
        }
        self.loop = loop
        spare = Self.openSpare()
        self.socket = socket.release()
    }

    deinit {
        if isOpen { release() }
    }

    /// Begins to accept; on the loop, once.
    ///
    /// `failed` hears of connections lost because the system ran out of something, at most once in
    /// 100 ms.
    package func start(
        accepted: @escaping Accepted,
        failed: @escaping (SystemError) -> Void
    ) throws(SystemError) {
        precondition(isOpen && registration == nil)
        self.accepted = accepted
        self.failed = failed
        registration = try loop.register(socket, .readable, handler: self)
    }

    /// Stops accepting, closes the socket and removes its file; on the loop.
    package func close() {
        loop.assertOnLoop()
        guard isOpen else { return }
        isOpen = false
        if let registration { loop.deregister(registration) }
        if let pause { loop.cancel(pause) }
        registration = nil
        pause = nil
        accepted = nil
        failed = nil
        release()
    }

    package func ready(_ events: IOEvents) {
        for _ in 0..<Self.acceptsPerTurnMax where isOpen {
            do {
                guard let (descriptor, peer) = try Socket.accept(from: socket) else { return }
                if let usualControl, !peer.isLoopback {
                    try? descriptor.setCongestionControl(usualControl)
                }
                accepted?(Socket(adopting: descriptor), peer)
            } catch {
                // These are about the one connection that failed before it was accepted.
                if error.code == ECONNABORTED || error.code == EPROTO { continue }
                if error.code == EMFILE || error.code == ENFILE { turnOneAway() }
                rest()
                failed?(error)
                return
            }
        }
    }

    private func turnOneAway() {
        if spare >= 0 { Descriptor(spare).close() }
        if let (descriptor, _) = try? Socket.accept(from: socket) { descriptor.close() }
        spare = Self.openSpare()
    }

    private func rest() {
        guard let registration else { return }
        loop.update(registration, [])
        pause = loop.schedule(after: Self.backOff) { [weak self] in
            guard let self, let registration = self.registration else { return }
            loop.update(registration, .readable)
        }
    }

    private func release() {
        file?.remove()
        socket.close()
        if spare >= 0 { Descriptor(spare).close() }
    }

    /// -1 if there is none to be had.
    private static func openSpare() -> CInt { open("/dev/null", O_RDONLY | O_CLOEXEC) }

    static func bind(
        _ descriptor: Descriptor,
        to address: SocketAddress
    ) throws(SystemError) {
        try checking("bind") {
            address.withSockaddr { Glibc.bind(descriptor.number, $0, $1) }
        }
    }
}
