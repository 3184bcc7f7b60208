import SluiceCore

/// Cuts the body of a call into messages: `u8 flags | u32 length | message`, repeated.
package struct GrpcFraming {
    package static let prefixBytes = 5

    package enum Fault: Error, Hashable, Sendable {
        /// The flag says that the message is compressed.
        case compressed
        /// A flag that gRPC does not know.
        case malformed
        case tooLarge(UInt32)
    }

    private var bytes: [UInt8] = []
    private var next = 0

    package init() {}

    /// Bytes of messages that are not taken yet.
    package var held: Int { bytes.count - next }

    package mutating func add(_ more: [UInt8]) {
        if next == bytes.count {
            bytes = more
        } else {
            bytes.removeSubrange(..<next)
            bytes += more
        }
        next = 0
    }

    /// Takes the next message that is complete.
    ///
    /// The length is judged before the message is waited for.
    package mutating func take() throws(Fault) -> [UInt8]? {
        guard held >= Self.prefixBytes else { return nil }
        guard bytes[next] == 0 else { throw bytes[next] == 1 ? .compressed : .malformed }
        let length = bytes[next + 1..<next + 5].reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
        guard length <= Limits.grpcMessageBytesMax else { throw .tooLarge(length) }
        let start = next + Self.prefixBytes
        guard bytes.count - start >= length else { return nil }
        next = start + Int(length)
        return Array(bytes[start..<next])
    }

    /// A message behind its prefix.
    package static func framed(_ message: [UInt8]) -> [UInt8] {
        let length = UInt32(message.count)
        return [0] + (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + message
    }
}

extension GrpcStatus {
    init(_ fault: GrpcFraming.Fault) {
        switch fault {
        case .compressed:
            self.init(.unimplemented, "messages are not to be compressed; send them as they are")
        case .malformed: self.init(.internal, "a message has a prefix that gRPC does not know")
        case .tooLarge(let length):
            let most = Limits.grpcMessageBytesMax
            self.init(
                .resourceExhausted,
                "a message has at most \(most) bytes, not \(length); send several",
                reason: .frameTooLarge
            )
        }
    }
}

/// What a client of gRPC says of its time: `grpc-timeout`, a number and a unit.
package enum GrpcTimeout {
    /// Nil if it is malformed.
    package static func parse(_ text: String) -> Duration? {
        guard let unit = text.last, (2...9).contains(text.utf8.count),
            text.dropLast().allSatisfy({ $0.isASCII && $0.isNumber }),
            let number = Int64(text.dropLast())
        else { return nil }
        switch unit {
        case "H": return .seconds(number * 3_600)
        case "M": return .seconds(number * 60)
        case "S": return .seconds(number)
        case "m": return .milliseconds(number)
        case "u": return .microseconds(number)
        case "n": return .nanoseconds(number)
        default: return nil
        }
    }
}
