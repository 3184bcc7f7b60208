import SluiceNet

/// Stands between a client and a broker and cuts their connections when told.
///
/// Bytes pass in pieces, so that a cut falls anywhere in a frame.
final class CuttingProxy: Sendable {
    let address: String
    private let loop: EventLoop
    private let target: SocketAddress
    // Confined to the loop.
    private nonisolated(unsafe) var pairs: [Pair] = []
    private nonisolated(unsafe) var listener: Listener?
    /// Bytes to the client after which the next cut falls; nil for none.
    private nonisolated(unsafe) var fuse: Int?

    init(to address: String) async throws {
        loop = try EventLoop(label: "proxy")
        let endpoint = try Endpoint(parsing: address)
        guard let target = try endpoint.resolve().first else { throw AddressError.malformed("") }
        self.target = target
        let listener = try Listener(on: Endpoint(parsing: "127.0.0.1:0").resolve()[0], loop: loop)
        self.address = "\(listener.address)"
        loop.start()
        loop.submit { [self] in
            self.listener = listener
            try? listener.start { socket, _ in
                self.accept(socket)
            } failed: { _ in
            }
        }
    }

    /// Cuts all connections; returns when they are gone.
    func cut() async {
        await withCheckedContinuation { continuation in
            loop.submit { [self] in
                cutAll()
                continuation.resume()
            }
        }
    }

    /// Cuts all connections after `bytes` more have passed to the client.
    func cut(afterBytes bytes: Int) { loop.submit { [self] in fuse = bytes } }

    func stop() async {
        loop.submit { [self] in
            cutAll()
            listener?.close()
            listener = nil
        }
        loop.stop()
        await loop.waitUntilStopped()
    }

    private func cutAll() {
        let gone = pairs
        pairs = []
        for pair in gone { pair.close() }
    }

    private func accept(_ socket: consuming Socket) {
        guard let far = try? Socket.connecting(to: target) else { return }
        let pair = Pair(near: socket.release(), far: far.release(), loop: loop) { [self] bytes in
            guard let left = fuse else { return true }
            fuse = left - bytes
            guard left - bytes <= 0 else { return true }
            fuse = nil
            cutAll()
            return false
        } ended: { [self] pair in
            pair.close()
            pairs.removeAll { $0 === pair }
        }
        pairs.append(pair)
    }
}

/// Two sockets whose bytes go over to each other.
private final class Pair {
    private let loop: EventLoop
    private var ways: [Way] = []
    private var registrations: [Registration] = []
    private var isClosed = false

    init(
        near: Descriptor,
        far: Descriptor,
        loop: EventLoop,
        passed: @escaping (Int) -> Bool,
        ended: @escaping (Pair) -> Void
    ) {
        self.loop = loop
        let stop: () -> Void = { [unowned self] in ended(self) }
        let up = Way(from: near, to: far, passed: { _ in true }, ended: stop)
        let down = Way(from: far, to: near, passed: passed, ended: stop)
        up.other = down
        down.other = up
        ways = [up, down]
        for way in ways {
            guard let id = try? loop.register(way.from, [.readable, .writable], handler: way)
            else { continue }
            way.watch = { interest in loop.update(id, interest) }
            registrations.append(id)
        }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        for id in registrations { loop.deregister(id) }
        for way in ways {
            way.isClosed = true
            way.from.close()
        }
    }
}

/// One direction; it reads no more while something waits to be written.
private final class Way: IOHandler {
    let from: Descriptor
    private let to: Descriptor
    private let passed: (Int) -> Bool
    private let ended: () -> Void
    private var waiting: [UInt8] = []
    weak var other: Way?
    var watch: (IOInterest) -> Void = { _ in }
    var isClosed = false

    init(
        from: Descriptor,
        to: Descriptor,
        passed: @escaping (Int) -> Bool,
        ended: @escaping () -> Void
    ) {
        self.from = from
        self.to = to
        self.passed = passed
        self.ended = ended
    }

    func ready(_ events: IOEvents) {
        if events.contains(.writable) { other?.write() }
        guard !isClosed else { return }
        if waiting.isEmpty, events.contains(.readable) || events.contains(.hangUp) { read() }
        guard !isClosed else { return }
        watchAgain()
        other?.watchAgain()
    }

    private func watchAgain() {
        guard !isClosed else { return }
        var interest: IOInterest = []
        if waiting.isEmpty { interest.insert(.readable) }
        if other?.waiting.isEmpty == false { interest.insert(.writable) }
        watch(interest)
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 1_777)
        let receipt = buffer.withUnsafeMutableBytes { try? from.receive(into: $0) }
        switch receipt {
        case .bytes(let count)?:
            waiting = Array(buffer[..<count])
            guard passed(count) else { return }
            write()
        case .wouldBlock?: break
        case .ended?, nil: ended()
        }
    }

    private func write() {
        guard !waiting.isEmpty, !isClosed else { return }
        let result = waiting.withUnsafeBytes { try? to.send($0) }
        switch result {
        case .bytes(let count)?: waiting.removeFirst(count)
        case .wouldBlock?: break
        case nil: ended()
        }
    }
}
