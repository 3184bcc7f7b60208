/// Frames of HTTP/2 as a client without a library would write and read them.
package struct HTTP2Frames {
    package enum Kind: UInt8 {
        case data = 0
        case headers = 1
        case reset = 3
        case settings = 4
        case ping = 6
        case goAway = 7
        case windowUpdate = 8
        case continuation = 9
    }

    package struct Frame: Equatable {
        package var kind: UInt8
        package var flags: UInt8
        package var stream: UInt32
        package var payload: [UInt8]
    }

    package static let endStream: UInt8 = 0x01
    package static let acknowledge: UInt8 = 0x01
    package static let endHeaders: UInt8 = 0x04
    package static let initialWindow: UInt16 = 4

    package private(set) var bytes: [UInt8] = []

    package init() {}

    /// What a client says first, with one setting if it likes.
    package mutating func begin(_ setting: UInt16? = nil, _ value: UInt32 = 0) {
        bytes += Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
        var settings: [UInt8] = []
        if let setting { settings = Self.big(UInt32(setting)).suffix(2) + Self.big(value) }
        add(.settings, payload: settings)
    }

    package mutating func add(
        _ kind: Kind,
        flags: UInt8 = 0,
        stream: UInt32 = 0,
        payload: [UInt8] = []
    ) {
        bytes += Self.big(UInt32(payload.count)).suffix(3) + [kind.rawValue, flags]
        bytes += Self.big(stream) + payload
    }

    package mutating func request(
        _ method: String,
        _ path: String,
        stream: UInt32,
        headers: [(String, String)] = [],
        hasBody: Bool = false
    ) {
        let fields =
            [
                (":method", method), (":scheme", "http"), (":path", path),
                (":authority", "test"),
            ] + headers
        let block = fields.flatMap { Self.literal($0.0, $0.1) }
        let flags = Self.endHeaders | (hasBody ? 0 : Self.endStream)
        add(.headers, flags: flags, stream: stream, payload: block)
    }

    /// Begins a call of the broker's gRPC service.
    package mutating func call(_ method: String, stream: UInt32) {
        let headers = [("content-type", "application/grpc"), ("te", "trailers")]
        let path = "/sluice.v1.Broker/\(method)"
        request("POST", path, stream: stream, headers: headers, hasBody: true)
    }

    /// One message of a call.
    package mutating func message(_ bytes: [UInt8], stream: UInt32) {
        let prefix = [0] + Self.big(UInt32(bytes.count))
        add(.data, stream: stream, payload: prefix + bytes)
    }

    package mutating func window(_ bytes: UInt32, stream: UInt32) {
        add(.windowUpdate, stream: stream, payload: Self.big(bytes))
    }

    /// A field as RFC 7541, 6.2.2 writes one that no table knows, without Huffman's code.
    private static func literal(_ name: String, _ value: String) -> [UInt8] {
        [0] + number(name.utf8.count) + Array(name.utf8) + number(value.utf8.count)
            + Array(value.utf8)
    }

    /// RFC 7541, 5.1, with a prefix of 7 bits.
    private static func number(_ value: Int) -> [UInt8] {
        guard value >= 127 else { return [UInt8(value)] }
        var bytes: [UInt8] = [127]
        var rest = value - 127
        while rest >= 128 {
            bytes.append(UInt8(rest % 128 + 128))
            rest /= 128
        }
        return bytes + [UInt8(rest)]
    }

    private static func big(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// Takes the whole frames off the front of what a server sent.
    package static func parse(_ bytes: inout [UInt8]) -> [Frame] {
        var frames: [Frame] = []
        var rest = bytes[...]
        while rest.count >= 9 {
            let head = Array(rest.prefix(9))
            let count = head[..<3].reduce(0) { $0 << 8 | Int($1) }
            guard rest.count >= 9 + count else { break }
            let stream = head[5...].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            frames.append(
                Frame(
                    kind: head[3],
                    flags: head[4],
                    stream: stream & 0x7FFF_FFFF,
                    payload: Array(rest.dropFirst(9).prefix(count))
                )
            )
            rest = rest.dropFirst(9 + count)
        }
        bytes = Array(rest)
        return frames
    }
}
