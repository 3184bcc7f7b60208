import Glibc

/// A text that names no address, or none that can be used.
package enum AddressError: Error, Equatable, Sendable, CustomStringConvertible {
    case malformed(String)
    case pathTooLong(String)
    case unresolved(host: String, reason: String)

    package var description: String {
        switch self {
        case .malformed(let text):
            "\"\(text)\" is no address: expected HOST:PORT, [IPV6]:PORT or unix:PATH"
        case .pathTooLong(let path):
            "the socket path \"\(path)\" is longer than \(SocketAddress.pathBytesMax) bytes"
        case .unresolved(let host, let reason): "\(host): \(reason)"
        }
    }
}

/// Where to listen or to connect, as people write it.
package enum Endpoint: Hashable, Sendable, CustomStringConvertible {
    case tcp(host: String, port: UInt16)
    case unix(path: String)

    /// Reads `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`.
    package init(parsing text: String) throws(AddressError) {
        if text.hasPrefix("unix:") {
            let path = String(text.dropFirst("unix:".count))
            guard !path.isEmpty, !path.utf8.contains(0) else {
                throw AddressError.malformed(text)
            }
            guard path.utf8.count <= SocketAddress.pathBytesMax else {
                throw AddressError.pathTooLong(path)
            }
            self = .unix(path: path)
            return
        }
        guard let colon = text.lastIndex(of: ":"),
            let port = Self.port(text[text.index(after: colon)...]),
            let host = Self.host(text[..<colon])
        else { throw AddressError.malformed(text) }
        self = .tcp(host: host, port: port)
    }

    private static func port(_ text: Substring) -> UInt16? {
        // UInt16 alone would also read "+80".
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            return nil
        }
        return UInt16(text)
    }

    private static func host(_ text: Substring) -> String? {
        if text.hasPrefix("["), text.hasSuffix("]") {
            let inner = text.dropFirst().dropLast()
            return inner.contains(":") ? String(inner) : nil
        }
        let isName = text.utf8.allSatisfy { $0 > UInt8(ascii: " ") && $0 < 0x7F }
        guard isName, !text.isEmpty, !text.contains(where: { ":[]/".contains($0) }) else {
            return nil
        }
        return String(text)
    }

    package var description: String {
        switch self {
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }

    /// Finds the addresses, best first; may ask a name server and block, so never on a loop.
    package func resolve() throws(AddressError) -> [SocketAddress] {
        switch self {
        case .unix(let path): [try SocketAddress(path: path)]
        case .tcp(let host, let port): try Self.resolve(host: host, port: port)
        }
    }

    private static func resolve(
        host: String,
        port: UInt16
    ) throws(AddressError) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICSERV
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, String(port), &hints, &list)
        guard code == 0, let list else {
            throw AddressError.unresolved(host: host, reason: String(cString: gai_strerror(code)))
        }
        defer { freeaddrinfo(list) }
        return sequence(first: list, next: { $0.pointee.ai_next }).compactMap { entry in
            entry.pointee.ai_addr.map {
                SocketAddress(copying: $0, length: entry.pointee.ai_addrlen)
            }
        }
    }
}
