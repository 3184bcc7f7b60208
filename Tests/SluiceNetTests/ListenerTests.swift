import Glibc
import SluiceNet
import Testing

@Suite("Listener", .timeLimit(.minutes(1)))
struct ListenerTests {
    @Test("clients connect and hear their echo over TCP", arguments: ["127.0.0.1:0", "[::1]:0"])
    func echoOverTCP(text: String) async throws {
        let address = try #require(try Endpoint(parsing: text).resolve().first)
        try await echo(at: address) { #expect($0.port != 0) }
    }

    @Test("clients connect and hear their echo over a unix socket")
    func echoOverUnix() async throws {
        try await withDirectory { directory in
            let path = directory + "/echo"
            try await echo(at: try unixAddress(path)) {
                #expect($0.path == path)
                #expect(status(path).map { $0.st_mode & 0o777 } == 0o660)
            }
            #expect(status(path) == nil)
        }
    }

    @Test("a socket file left by the dead is replaced")
    func staleFile() async throws {
        try await withDirectory { directory in
            let path = directory + "/stale"
            let address = try unixAddress(path)
            let left = try Socket.open(for: address)
            try bind(left.descriptor, path)
            try await echo(at: address) { _ in }
            #expect(status(path) == nil)
        }
    }

    @Test("a socket file that somebody listens on, or that is no socket, stays")
    func foreignFile() async throws {
        try await withDirectory { directory in
            let path = directory + "/taken"
            let address = try unixAddress(path)
            let inUse = SystemError(code: EADDRINUSE, call: "bind")
            let loop = try EventLoop(label: "test.taken")
            do {
                let listener = try Listener(on: address, loop: loop)
                #expect(throws: inUse) { try Listener(on: address, loop: loop) }
                #expect(status(path) != nil)
                _ = listener
            }
            #expect(status(path) == nil)
            let file = open(path, O_CREAT | O_WRONLY, 0o600)
            close(file)
            #expect(throws: inUse) { try Listener(on: address, loop: loop) }
            #expect(status(path) != nil)
            unlink(path)
        }
    }

    @Test("a listener removes its own socket file and not its successor's")
    func successor() async throws {
        try await withDirectory { directory in
            let path = directory + "/same"
            let loop = try EventLoop(label: "test.successor")
            do {
                let first = try Listener(on: try unixAddress(path), loop: loop)
                unlink(path)
                // Held open, so that the inode number is not used again at once.
                let second = try Socket.open(for: first.address)
                try bind(second.descriptor, path)
                _ = second
            }
            #expect(status(path) != nil)
            unlink(path)
        }
    }

    @Test("after close nobody is accepted, and the port can be had again")
    func closed() async throws {
        let address = try #require(try Endpoint(parsing: "127.0.0.1:0").resolve().first)
        try await withLoop { loop in
            let listener = try Listener(on: address, loop: loop)
            try await loop.run {
                try listener.start(accepted: { _, _ in }, failed: { Issue.record($0) })
                listener.close()
                listener.close()
            }
            var again: Listener?
            // Another test may have been given the port meanwhile, and gives it back.
            for _ in 0..<1_000 where again == nil {
                again = try? Listener(on: listener.address, loop: loop)
                if again == nil { try await Task.sleep(for: .milliseconds(10)) }
            }
            #expect(again?.address == listener.address)
        }
    }

    @Test("without descriptors a peer is turned away, told once, and the next one is served later")
    func outOfDescriptors() async throws {
        await #expect(processExitsWith: .success) {
            let address = try #require(try Endpoint(parsing: "127.0.0.1:0").resolve().first)
            try await withLoop { loop in
                let listener = try Listener(on: address, loop: loop)
                let accepted = Sink<Bool>()
                let failures = Sink<SystemError>()
                try await loop.run {
                    try listener.start(
                        accepted: { socket, _ in
                            accepted.put(true)
                            _ = socket.release()
                        },
                        failed: { failures.put($0) }
                    )
                }
                let lost = try Socket.connecting(to: listener.address)
                let lostDescriptor = lost.descriptor
                // The first is accepted; then the process may open nothing more.
                _ = await accepted.take()
                let waiting = try Socket.open(for: address)
                var used: [CInt] = []
                var limit = rlimit()
                getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
                limit.rlim_cur = 64
                setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
                while case let number = open("/dev/null", O_RDONLY), number >= 0 {
                    used.append(number)
                }
                let turnedAway = waiting.release()
                connect(turnedAway, to: listener.address)
                let failure = await failures.take()
                try #require(failure == [SystemError(code: EMFILE, call: "accept4")])
                // It was accepted and closed: it reads the end instead of waiting.
                while try turnedAway.receiveText() == nil { await Task.yield() }
                for number in used { close(number) }
                let later = try Socket.connecting(to: listener.address)
                try #require(await accepted.take() == [true])
                _ = (later.descriptor, lostDescriptor)
                try await loop.run { listener.close() }
            }
        }
    }

    /// Listens, lets three clients echo through it at once, and closes.
    private func echo(
        at address: SocketAddress,
        _ check: (SocketAddress) throws -> Void
    ) async throws {
        try await withLoop { loop in
            let listener = try Listener(on: address, loop: loop)
            try check(listener.address)
            try await loop.run {
                try listener.start(
                    accepted: { socket, _ in Echo.serve(socket.release(), on: loop) },
                    failed: { Issue.record($0) }
                )
            }
            let heard = Sink<String>()
            for client in 0..<3 {
                let socket = try Socket.connecting(to: listener.address)
                let descriptor = socket.release()
                let text = "client \(client)"
                try await loop.run { Asker.ask(text, descriptor, on: loop, heard) }
            }
            #expect(await heard.take(3).sorted() == ["client 0", "client 1", "client 2"])
            try await loop.run { listener.close() }
        }
    }

    private func unixAddress(_ path: String) throws -> SocketAddress {
        try #require(try Endpoint.unix(path: path).resolve().first)
    }

    private func bind(_ descriptor: Descriptor, _ path: String) throws {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(descriptor.number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(result == 0)
    }
}

/// Connects a socket that is open already.
private func connect(_ descriptor: Descriptor, to address: SocketAddress) {
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_addr.s_addr = inet_addr("127.0.0.1")
    name.sin_port = (address.port ?? 0).bigEndian
    _ = withUnsafePointer(to: &name) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            Glibc.connect(descriptor.number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}

/// Sends back what it reads until its peer leaves.
// Confined to its loop.
private final class Echo: IOHandler, @unchecked Sendable {
    private let descriptor: Descriptor
    private let loop: EventLoop
    private var registration: Registration?

    private init(_ descriptor: Descriptor, _ loop: EventLoop) {
        self.descriptor = descriptor
        self.loop = loop
    }

    static func serve(_ descriptor: Descriptor, on loop: EventLoop) {
        let echo = Echo(descriptor, loop)
        do {
            echo.registration = try loop.register(descriptor, .readable, handler: echo)
        } catch {
            Issue.record(error)
        }
    }

    func ready(_ events: IOEvents) {
        do {
            guard let text = try descriptor.receiveText() else { return }
            if !text.isEmpty {
                _ = try descriptor.send(text)
                return
            }
        } catch {
            Issue.record(error)
        }
        if let registration { loop.deregister(registration) }
        descriptor.close()
    }
}

/// Sends a text once it is connected, passes on the answer and leaves.
// Confined to its loop.
private final class Asker: IOHandler, @unchecked Sendable {
    private let text: String
    private let descriptor: Descriptor
    private let loop: EventLoop
    private let heard: Sink<String>
    private var registration: Registration?

    private init(
        _ text: String,
        _ descriptor: Descriptor,
        _ loop: EventLoop,
        _ heard: Sink<String>
    ) {
        self.text = text
        self.descriptor = descriptor
        self.loop = loop
        self.heard = heard
    }

    static func ask(
        _ text: String,
        _ descriptor: Descriptor,
        on loop: EventLoop,
        _ heard: Sink<String>
    ) {
        let asker = Asker(text, descriptor, loop, heard)
        do {
            asker.registration = try loop.register(descriptor, .writable, handler: asker)
        } catch {
            Issue.record(error)
        }
    }

    func ready(_ events: IOEvents) {
        guard let registration else { return }
        do {
            if events.contains(.writable) {
                #expect(descriptor.takePendingError() == nil)
                _ = try descriptor.send(text)
                loop.update(registration, .readable)
                return
            }
            guard let answer = try descriptor.receiveText() else { return }
            heard.put(answer)
        } catch {
            Issue.record(error)
        }
        loop.deregister(registration)
        descriptor.close()
    }
}
