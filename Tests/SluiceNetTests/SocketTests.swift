import Glibc
import SluiceNet
import Testing

@Suite("Sockets", .timeLimit(.minutes(1)))
struct SocketTests {
    @Test("nothing to read would block, bytes are read, a peer that left is the end")
    func receipts() throws {
        let (near, far) = try socketPair()
        defer { near.close() }
        #expect(try near.receiveText() == nil)
        #expect(try far.send("bytes") == .bytes(5))
        #expect(try near.receiveText(limit: 3) == "byt")
        #expect(try near.receiveText() == "es")
        far.close()
        #expect(try near.receiveText() == "")
        #expect(throws: SystemError(code: EPIPE, call: "send")) { try near.send("x") }
    }

    @Test("after shutdown the peer reads the end and may still answer")
    func shutdownSending() throws {
        let (near, far) = try socketPair()
        defer {
            near.close()
            far.close()
        }
        try near.shutdownSending()
        #expect(try far.receiveText() == "")
        #expect(try far.send("answer") == .bytes(6))
        #expect(try near.receiveText() == "answer")
    }

    @Test("vectors are sent as one stretch of bytes, in their order")
    func vectors() throws {
        let (near, far) = try socketPair()
        defer {
            near.close()
            far.close()
        }
        var text = Array("one two three".utf8)
        let sent = try text.withUnsafeMutableBytes { bytes throws(SystemError) in
            guard let base = bytes.baseAddress else { return Descriptor.Sending.wouldBlock }
            let vectors = [
                iovec(iov_base: base + 8, iov_len: 5),
                iovec(iov_base: base, iov_len: 4),
                iovec(iov_base: base + 4, iov_len: 3),
            ]
            return try vectors.withUnsafeBufferPointer { vectors throws(SystemError) in
                try near.sendVectors(vectors)
            }
        }
        #expect(sent == .bytes(12))
        #expect(try far.receiveText() == "threeone two")
    }

    @Test("a full socket would block and is writable once the peer has read")
    func wouldBlock() async throws {
        let (near, far) = try socketPair()
        try near.setSendBuffer(bytes: 16_384)
        let chunk = String(repeating: "x", count: 8_192)
        var filled = 0
        while case .bytes(let count) = try near.send(chunk) { filled += count }
        #expect(filled > 0)
        try await withLoop { loop in
            let writable = Sink<IOEvents>()
            let id = try await loop.run {
                let registration = Confined<Registration?>(nil)
                let watch = Watch { events in
                    writable.put(events)
                    if let id = registration.value { loop.update(id, []) }
                }
                let id = try loop.register(near, .writable, handler: watch)
                registration.value = id
                return id
            }
            try await loop.turns(3)
            writable.put([])
            // The empty mark comes first: nothing was told while the socket was full.
            #expect(await writable.take() == [[]])
            var drained = 0
            while let text = try far.receiveText() { drained += text.utf8.count }
            #expect(drained == filled)
            #expect(await writable.take() == [.writable])
            #expect(try near.send("x") == .bytes(1))
            try await loop.run { loop.deregister(id) }
        }
        near.close()
        far.close()
    }

    @Test("a peer that closes is told as a hang-up, beside the bytes it sent before")
    func hangUp() async throws {
        let (near, far) = try socketPair()
        #expect(try far.send("last words") == .bytes(10))
        far.close()
        try await withLoop { loop in
            let seen = Sink<IOEvents>()
            try await loop.run {
                let registration = Confined<Registration?>(nil)
                let watch = Watch { events in
                    seen.put(events)
                    if let id = registration.value { loop.deregister(id) }
                }
                registration.value = try loop.register(near, .readable, handler: watch)
            }
            #expect(await seen.take() == [[.readable, .hangUp]])
            #expect(try near.receiveText() == "last words")
            #expect(try near.receiveText() == "")
        }
        near.close()
    }

    @Test("a socket is closed at the end of its life, unless its number was handed over")
    func ownership() throws {
        let address = try localAddress()
        let number: CInt
        do {
            let socket = try Socket.open(for: address)
            let released = socket.release()
            number = released.number
            #expect(fcntl(number, F_GETFD) & FD_CLOEXEC != 0)
            #expect(fcntl(number, F_GETFL) & O_NONBLOCK != 0)
        }
        let (near, far) = try socketPair()
        defer { far.close() }
        do { _ = Socket(adopting: near) }
        // Its peer reads the end: the first was closed. The other is still open.
        #expect(try far.receiveText() == "")
        #expect(fcntl(number, F_GETFD) >= 0)
        Descriptor(number).close()
    }

    @Test("a refused connect is an error that waits on the socket")
    func refused() async throws {
        let listener = try Socket.open(for: try localAddress())
        // Bound and never listening: no other process can take the port and answer.
        let address = try bind(listener.descriptor)
        try await withLoop { loop in
            let told = Sink<SystemError?>()
            let socket = try Socket.connecting(to: address)
            let descriptor = socket.descriptor
            try await loop.run {
                let registration = Confined<Registration?>(nil)
                let watch = Watch { _ in
                    told.put(descriptor.takePendingError())
                    if let id = registration.value { loop.deregister(id) }
                }
                registration.value = try loop.register(descriptor, .writable, handler: watch)
            }
            #expect(await told.take() == [SystemError(code: ECONNREFUSED, call: "connection")])
        }
    }

    @Test("options hold on TCP and do no harm on unix sockets")
    func options() throws {
        let tcp = try Socket.open(for: try localAddress())
        try tcp.descriptor.setNoDelay()
        try tcp.descriptor.setKeepAlive(seconds: 10)
        try tcp.descriptor.setReceiveBuffer(bytes: 65_536)
        #expect(option(CInt(IPPROTO_TCP), TCP_NODELAY, of: tcp.descriptor) != 0)
        #expect(option(SOL_SOCKET, SO_KEEPALIVE, of: tcp.descriptor) != 0)
        func probes(_ seconds: Int) throws -> [CInt?] {
            try tcp.descriptor.setKeepAlive(seconds: seconds)
            return [TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT].map {
                option(CInt(IPPROTO_TCP), $0, of: tcp.descriptor)
            }
        }
        // Within twice the time the last of them has had its answer, or none.
        #expect(try probes(10) == [10, 3, 3])
        #expect(try probes(1) == [1, 1, 1])
        let booked: CInt = 2 * 65_536
        #expect(option(SOL_SOCKET, SO_RCVBUF, of: tcp.descriptor) == booked)
        let path = try #require(try Endpoint(parsing: "unix:/run/sluice.sock").resolve().first)
        let unix = try Socket.prepared(for: path)
        #expect(unix.descriptor.congestionControl == nil, "it is no TCP, and nobody minds")
    }

    @Test("a peer that drops what comes is found out, one that takes nothing is not")
    func unanswered() async throws {
        try await withLoop { loop in
            let accepted = Sink<Descriptor>()
            let listener = try await loop.run {
                let listener = try Listener(on: try self.localAddress(), loop: loop)
                try listener.start { socket, _ in
                    accepted.put(socket.release())
                } failed: { _ in
                }
                return listener
            }
            var ends: [(near: Descriptor, far: Descriptor)] = []
            for _ in 0..<2 {
                let near = try Socket.connecting(to: listener.address).release()
                try near.setReceiveBuffer(bytes: 4_096)
                let far = await accepted.take()[0]
                ends.append((near, far))
            }
            try dropAll(ends[0].near)
            let text = String(repeating: "x", count: 4_096)
            for (_, far) in ends {
                while case .bytes = try far.send(text) {}
            }
            // The second has no room either, and its kernel answers that each time it is asked.
            while !ends[0].far.isUnanswered(forMilliseconds: 1_500) {
                try await Task.sleep(for: .milliseconds(20))
            }
            #expect(!ends[1].far.isUnanswered(forMilliseconds: 1_500))
            try await loop.run { listener.close() }
            for (near, far) in ends {
                near.close()
                far.close()
            }
        }
    }

    /// Has the kernel keep 0 bytes of each packet for a socket, as if its cable were cut.
    private func dropAll(_ descriptor: Descriptor) throws {
        // `struct sock_fprog` with one instruction, RET 0.
        var instruction: UInt64 = 0x06
        let result = withUnsafeMutablePointer(to: &instruction) { pointer in
            var program = (UInt64(1), UInt64(UInt(bitPattern: pointer)))
            let size = socklen_t(MemoryLayout.size(ofValue: program))
            return setsockopt(descriptor.number, SOL_SOCKET, SO_ATTACH_FILTER, &program, size)
        }
        try #require(result == 0)
    }

    @Test("what stays on the machine is not paced; the rest is as the system wants it")
    func pacing() async throws {
        try await withLoop { loop in
            let accepted = Sink<Descriptor>()
            let listener = try await loop.run {
                let listener = try Listener(on: try self.localAddress(), loop: loop)
                try listener.start { socket, _ in
                    accepted.put(socket.release())
                } failed: { _ in
                }
                return listener
            }
            let near = try Socket.connecting(to: listener.address)
            let far = await accepted.take()[0]
            for end in [near.descriptor, far] {
                #expect(end.congestionControl == "reno")
                #expect(option(CInt(IPPROTO_TCP), TCP_NODELAY, of: end) != 0)
            }
            far.close()
            try await loop.run { listener.close() }
        }
        let elsewhere = try #require(try Endpoint(parsing: "192.0.2.1:80").resolve().first)
        let usual = try Socket.open(for: elsewhere).descriptor.congestionControl
        let leaving = try Socket.prepared(for: elsewhere)
        #expect(leaving.descriptor.congestionControl == usual)
    }

    private func option(_ level: CInt, _ name: CInt, of descriptor: Descriptor) -> CInt? {
        var value: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        return getsockopt(descriptor.number, level, name, &value, &size) == 0 ? value : nil
    }

    private func localAddress() throws -> SocketAddress {
        try #require(try Endpoint(parsing: "127.0.0.1:0").resolve().first)
    }

    private func bind(_ descriptor: Descriptor) throws -> SocketAddress {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(descriptor.number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        return try descriptor.localAddress()
    }
}
