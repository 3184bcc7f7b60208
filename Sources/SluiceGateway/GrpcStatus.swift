package import SluiceCore
package import SluiceWire

/// How a call of gRPC ends: a code, and a text that says what to do next.
package struct GrpcStatus: Hashable, Sendable {
    /// The numbers are gRPC's.
    package enum Code: Int, Sendable {
        case ok = 0
        case cancelled = 1
        case unknown = 2
        case invalidArgument = 3
        case deadlineExceeded = 4
        case notFound = 5
        case alreadyExists = 6
        case permissionDenied = 7
        case resourceExhausted = 8
        case failedPrecondition = 9
        case aborted = 10
        case unimplemented = 12
        case `internal` = 13
        case unavailable = 14
        case unauthenticated = 16
    }

    package var code: Code
    package var text: String
    /// The broker's own code, of which there are more.
    package var reason: CloseCode?

    package init(_ code: Code, _ text: String = "", reason: CloseCode? = nil) {
        self.code = code
        self.text = text
        self.reason = reason
    }

    package static let ok = Self(.ok)

    /// Why a link ended or was refused, in the words of gRPC.
    package init(_ close: Close) {
        self.init(Self.code(for: close.code), close.reason, reason: close.code)
    }

    init(_ problem: Problem) {
        self.init(Self.code(for: problem.code), problem.detail, reason: problem.code)
    }

    /// The table of `Protocol/grpc.md`.
    package static func code(for code: CloseCode) -> Code {
        switch code {
        case .normal, .complete: .ok
        case .cancelled: .cancelled
        case .goingAway, .busy: .unavailable
        case .replaced, .topicDeleted, .groupRemoved, .lagged: .aborted
        case .idle, .recallTimeout: .deadlineExceeded
        case .badOption, .badDemand: .invalidArgument
        case .creditOverrun: .failedPrecondition
        case .eventTooLarge, .frameTooLarge, .limit, .discarded: .resourceExhausted
        case .authFailed: .unauthenticated
        case .forbidden: .permissionDenied
        case .notFound: .notFound
        case .exists: .alreadyExists
        case .protocolError, .version, .creditMismatch, .badLink, .internalError: .internal
        default: .unknown
        }
    }

    /// What ends the answer, behind its last message.
    package var trailers: [Header] {
        var trailers = [Header("grpc-status", "\(code.rawValue)")]
        if !text.isEmpty { trailers.append(Header("grpc-message", Self.encoded(text))) }
        if let reason { trailers.append(Header("sluice-code", "\(reason)")) }
        return trailers
    }

    /// Percent-encoded, as gRPC has it: visible ASCII and spaces stay, but for the sign itself.
    package static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            if byte >= UInt8(ascii: " "), byte <= UInt8(ascii: "~"), byte != UInt8(ascii: "%") {
                bytes.append(byte)
            } else {
                bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A call that cannot go on, thrown to whoever ends it.
struct GrpcFailure: Error {
    let status: GrpcStatus

    init(_ code: GrpcStatus.Code, _ text: String, reason: CloseCode? = nil) {
        status = GrpcStatus(code, text, reason: reason)
    }
}
