import CEpoll
import Glibc

/// Owns a non-blocking stream socket and closes it at the end of its life.
package struct Socket: ~Copyable, Sendable {
    package let descriptor: Descriptor

    package init(adopting descriptor: Descriptor) { self.descriptor = descriptor }

    deinit { descriptor.close() }

    /// Hands the number over to an owner that will close it itself.
    package consuming func release() -> Descriptor {
        let descriptor = descriptor
        discard self
        return descriptor
    }

    /// A fresh socket of the family of `address`.
    package static func open(for address: SocketAddress) throws(SystemError) -> Socket {
        let type = CInt(SOCK_STREAM.rawValue) | creationFlags
        let number = try checking("socket") { socket(address.family, type, 0) }
        return Socket(adopting: Descriptor(number))
    }

    /// Begins to connect; once the socket is writable, `takePendingError` says how it went.
    package static func connecting(to address: SocketAddress) throws(SystemError) -> Socket {
        let socket = try prepared(for: address)
        let number = socket.descriptor.number
        let result = address.withSockaddr { connect(number, $0, $1) }
        // After EINTR the attempt goes on by itself, as after EINPROGRESS.
        guard result == 0 || errno == EINPROGRESS || errno == EINTR else {
            throw SystemError(code: errno, call: "connect")
        }
        return socket
    }

    /// A fresh socket with the options of a connection to `address`.
    package static func prepared(for address: SocketAddress) throws(SystemError) -> Socket {
        let socket = try open(for: address)
        if address.port != nil { try socket.descriptor.setNoDelay() }
        if address.isLoopback { try? socket.descriptor.setUnpaced() }
        return socket
    }

    /// Takes a waiting connection of a listening socket, or nil if none waits.
    static func accept(
        from listener: Descriptor
    ) throws(SystemError) -> (descriptor: Descriptor, peer: SocketAddress)? {
        var taken: Int?
        let peer = try SocketAddress { (address, length) throws(SystemError) in
            taken = try retrying("accept4") {
                Int(accept4(listener.number, address, length, creationFlags))
            }
        }
        return taken.map { (Descriptor(CInt($0)), peer) }
    }

    private static let creationFlags =
        CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
}
