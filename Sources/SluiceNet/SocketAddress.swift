import Glibc

/// An address as the kernel knows it.
package struct SocketAddress: Sendable, CustomStringConvertible {
    /// What `sun_path` holds beside the closing zero.
    static let pathBytesMax = 107

    private var storage = sockaddr_storage()
    private var length: socklen_t

    /// Copies what a call that names an address says.
    init(copying address: UnsafePointer<sockaddr>, length: socklen_t) {
        self.length = min(length, Self.capacity)
        withUnsafeMutableBytes(of: &storage) { bytes in
            bytes.copyMemory(
                from: UnsafeRawBufferPointer(start: address, count: Int(self.length))
            )
        }
    }

    /// Lets a system call write the address.
    init<Failure: Error>(
        _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>)
            throws(Failure) -> Void
    ) throws(Failure) {
        var storage = sockaddr_storage()
        var length = Self.capacity
        try withUnsafeMutablePointer(to: &storage) { (pointer) throws(Failure) in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                (address) throws(Failure) in
                try body(address, &length)
            }
        }
        self.storage = storage
        self.length = min(length, Self.capacity)
    }

    /// The address of a unix socket.
    init(path: String) throws(AddressError) {
        guard path.utf8.count <= Self.pathBytesMax else { throw AddressError.pathTooLong(path) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        length = socklen_t(MemoryLayout<sockaddr_un>.size)
        withUnsafeBytes(of: &address) { source in
            withUnsafeMutableBytes(of: &storage) { $0.copyMemory(from: source) }
        }
    }

    private static let capacity = socklen_t(MemoryLayout<sockaddr_storage>.size)

    package var family: CInt { CInt(storage.ss_family) }

    /// The port of a TCP address, nil on a unix socket.
    package var port: UInt16? {
        guard family == AF_INET || family == AF_INET6 else { return nil }
        // The port stands at the same place in both families.
        return withUnsafeBytes(of: storage) {
            UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self))
        }
    }

    /// The path of a unix socket; nil for TCP and for a socket without a name.
    package var path: String? {
        guard family == AF_UNIX else { return nil }
        let start = MemoryLayout<sa_family_t>.size
        let bytes = withUnsafeBytes(of: storage) { storage in
            Array(storage[start..<max(start, Int(length))].prefix { $0 != 0 })
        }
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }

    /// Whether it is one of the addresses by which a machine reaches itself.
    package var isLoopback: Bool {
        withUnsafeBytes(of: storage) { storage in
            switch family {
            case AF_INET: storage[4] == 127
            case AF_INET6:
                storage[8..<23].allSatisfy { $0 == 0 } && storage[23] == 1
                    || storage[8..<18].allSatisfy { $0 == 0 } && storage[18] == 0xFF
                        && storage[19] == 0xFF && storage[20] == 127
            default: false
            }
        }
    }

    /// `HOST:PORT` in digits, `[IPV6]:PORT` or `unix:PATH`.
    package var description: String {
        guard let port else { return "unix:\(path ?? "")" }
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let code = withSockaddr { address, length in
            getnameinfo(
                address,
                length,
                &host,
                socklen_t(host.count),
                nil,
                0,
                NI_NUMERICHOST
            )
        }
        guard code == 0 else { return "unknown" }
        let text = String(decoding: host.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
        return "\(Endpoint.tcp(host: text, port: port))"
    }

    /// Lends the address to a system call.
    func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }
}

extension SocketAddress: Hashable {
    package static func == (left: Self, right: Self) -> Bool {
        left.description == right.description
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(description) }
}
