package import Glibc

/// The number of an open socket, owned by someone else; every socket call is wrapped here.
///
/// No call blocks, and a peer that is gone is an error, never a signal.
package struct Descriptor: Hashable, Sendable {
    package let number: CInt

    package init(_ number: CInt) {
        precondition(number >= 0)
        self.number = number
    }

    /// What a read brought.
    package enum Receipt: Equatable, Sendable {
        case bytes(Int)
        case wouldBlock
        case ended
    }

    /// What a write took.
    package enum Sending: Equatable, Sendable {
        case bytes(Int)
        case wouldBlock
    }

    package func receive(
        into buffer: UnsafeMutableRawBufferPointer
    ) throws(SystemError) -> Receipt {
        // Asked for nothing, the kernel answers 0, which also means the end.
        precondition(!buffer.isEmpty)
        let count = try retrying("recv") {
            recv(number, buffer.baseAddress, buffer.count, CInt(MSG_DONTWAIT))
        }
        switch count {
        case nil: return .wouldBlock
        case 0?: return .ended
        case let count?: return .bytes(count)
        }
    }

    package func send(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Sending {
        let count = try retrying("send") {
            Glibc.send(number, bytes.baseAddress, bytes.count, Self.sendFlags)
        }
        return count.map { .bytes($0) } ?? .wouldBlock
    }

    /// Sends what the vectors point at, as one write; at most IOV_MAX (1,024) of them.
    package func sendVectors(
        _ vectors: UnsafeBufferPointer<iovec>
    ) throws(SystemError) -> Sending {
        var message = msghdr()
        message.msg_iov = UnsafeMutablePointer(mutating: vectors.baseAddress)
        message.msg_iovlen = vectors.count
        let count = try retrying("sendmsg") { sendmsg(number, &message, Self.sendFlags) }
        return count.map { .bytes($0) } ?? .wouldBlock
    }

    private static let sendFlags = CInt(MSG_DONTWAIT | MSG_NOSIGNAL)

    /// Tells the peer that nothing more comes; reading goes on.
    package func shutdownSending() throws(SystemError) {
        try checking("shutdown") { shutdown(number, CInt(SHUT_WR)) }
    }

    /// Closes the descriptor; it must be deregistered from its loop.
    package func close() {
        // Linux has freed the number even if it says EINTR: never retried.
        _ = Glibc.close(number)
    }
}

// Options and names.
extension Descriptor {
    /// Sends small writes at once, also on what a listening socket accepts; for TCP.
    package func setNoDelay() throws(SystemError) { try set(CInt(IPPROTO_TCP), TCP_NODELAY, 1) }

    /// How writes keep to what the path takes, also on what a listening socket accepts; for TCP.
    package var congestionControl: String? {
        var name = [UInt8](repeating: 0, count: 16)
        var size = socklen_t(name.count)
        let result = getsockopt(number, CInt(IPPROTO_TCP), TCP_CONGESTION, &name, &size)
        return result == 0 ? String(decoding: name.prefix { $0 != 0 }, as: UTF8.self) : nil
    }

    package func setCongestionControl(_ name: String) throws(SystemError) {
        let size = socklen_t(name.utf8.count)
        try checking("setsockopt") {
            setsockopt(number, CInt(IPPROTO_TCP), TCP_CONGESTION, name, size)
        }
    }

    /// Lets no timers pace what is written, as some congestion controls do (BBR); for TCP, and
    /// before there is a connection: one that was paced once has timers for ever.
    ///
    /// Between programs of one machine there is nothing to congest, and a timer costs as much as a
    /// write. Reno is in every kernel, and open to every user.
    package func setUnpaced() throws(SystemError) { try setCongestionControl("reno") }

    /// Has the kernel ask a peer that is silent for so long whether it is there, and end the
    /// connection if nothing has answered when it was silent for twice as long; for TCP.
    package func setKeepAlive(seconds: Int) throws(SystemError) {
        let pause = max(1, seconds / 3)
        try set(SOL_SOCKET, SO_KEEPALIVE, 1)
        try set(CInt(IPPROTO_TCP), TCP_KEEPIDLE, CInt(clamping: seconds))
        try set(CInt(IPPROTO_TCP), TCP_KEEPINTVL, CInt(clamping: pause))
        try set(CInt(IPPROTO_TCP), TCP_KEEPCNT, CInt(clamping: max(1, seconds / pause)))
    }

    /// Whether the peer's kernel has answered nothing for so long, though it was sent something or
    /// asked for room; for TCP.
    ///
    /// While something waits to be sent the kernel does not ask as `setKeepAlive` has it. Nor does
    /// TCP_USER_TIMEOUT serve: it ends the connection of a peer that lives and takes nothing, too.
    package func isUnanswered(forMilliseconds limit: Int) -> Bool {
        var info = tcp_info()
        var size = socklen_t(MemoryLayout.size(ofValue: info))
        guard getsockopt(number, CInt(IPPROTO_TCP), TCP_INFO, &info, &size) == 0 else {
            return false
        }
        // An answer sets both counts back, also one that says that there is no room.
        let asked = Int(info.tcpi_retransmits) + Int(info.tcpi_probes)
        return asked > 1 && Int(info.tcpi_last_ack_recv) >= limit
    }

    /// Bytes sent that the other machine has not acknowledged, or on a Unix socket not read.
    package var unacknowledgedBytes: Int {
        var count: CInt = 0
        guard ioctl(number, UInt(TIOCOUTQ), &count) == 0 else { return .max }
        return Int(max(0, count))
    }

    /// Lets the kernel take no more than `bytes` beyond what it may send at once.
    package func setUnsentMark(bytes: Int) throws(SystemError) {
        try set(CInt(IPPROTO_TCP), TCP_NOTSENT_LOWAT, CInt(clamping: bytes))
    }

    package func setReuseAddress() throws(SystemError) { try set(SOL_SOCKET, SO_REUSEADDR, 1) }

    /// Asks for a kernel send buffer of `bytes`; the kernel books twice that, up to its own limit.
    package func setSendBuffer(bytes: Int) throws(SystemError) {
        try set(SOL_SOCKET, SO_SNDBUF, CInt(clamping: bytes))
    }

    /// Bytes that the kernel still takes for sending; 0 if it does not say.
    package var sendRoom: Int {
        // The kernel's list begins: received, its limit, sent, its limit, reserved, queued to send.
        var books: (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0, 0, 0)
        var size = socklen_t(MemoryLayout.size(ofValue: books))
        guard getsockopt(number, SOL_SOCKET, Self.memoryBooks, &books, &size) == 0 else { return 0 }
        return Int(books.3) - Int(max(books.2, books.5))
    }

    /// SO_MEMINFO, which Glibc's module does not show.
    private static let memoryBooks: CInt = 55

    /// Asks for a kernel receive buffer of `bytes`; the kernel books twice that.
    package func setReceiveBuffer(bytes: Int) throws(SystemError) {
        try set(SOL_SOCKET, SO_RCVBUF, CInt(clamping: bytes))
    }

    /// Takes the error that waits on the socket; nil after a connect that succeeded.
    package func takePendingError() -> SystemError? {
        var code: CInt = 0
        var size = socklen_t(MemoryLayout<CInt>.size)
        do {
            try checking("getsockopt") { getsockopt(number, SOL_SOCKET, SO_ERROR, &code, &size) }
        } catch {
            return error
        }
        return code == 0 ? nil : SystemError(code: code, call: "connection")
    }

    package func localAddress() throws(SystemError) -> SocketAddress {
        try SocketAddress { (address, length) throws(SystemError) in
            try checking("getsockname") { getsockname(number, address, length) }
        }
    }

    package func peerAddress() throws(SystemError) -> SocketAddress {
        try SocketAddress { (address, length) throws(SystemError) in
            try checking("getpeername") { getpeername(number, address, length) }
        }
    }

    private func set(_ level: CInt, _ name: CInt, _ value: CInt) throws(SystemError) {
        var value = value
        let size = socklen_t(MemoryLayout<CInt>.size)
        try checking("setsockopt") { setsockopt(number, level, name, &value, size) }
    }
}
