package import SluiceCore

/// Why something could not be done, and what to do about it.
public struct ClientError: Error, Hashable, Sendable {
    /// What went wrong, in kinds that a program can tell apart; later versions may add some.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Base: String {
            case cancelled
            case clientClosed
            case invalidArgument
            case unreachable
            case connectionLost
            case protocolViolated
            case refused
            case linkClosed
            case eventRejected
            case timedOut
            case restartsExceeded
        }

        private let base: Base

        private init(_ base: Base) { self.base = base }

        /// The task was cancelled before the work was done.
        public static let cancelled = Self(.cancelled)
        /// The client, producer or subscription was closed on this side.
        public static let clientClosed = Self(.clientClosed)
        /// An argument breaks a limit; nothing was sent.
        public static let invalidArgument = Self(.invalidArgument)
        /// No server answered, as often as the reconnect policy allows.
        public static let unreachable = Self(.unreachable)
        /// The connection ended and what depended on it could not be resumed.
        public static let connectionLost = Self(.connectionLost)
        /// The other side sent something the protocol forbids.
        public static let protocolViolated = Self(.protocolViolated)
        /// The broker refused to open the connection or the link; `closeCode` says why.
        public static let refused = Self(.refused)
        /// The broker ended an open link; `closeCode` says why.
        public static let linkClosed = Self(.linkClosed)
        /// The broker did not take an event or a request; `closeCode` says why.
        public static let eventRejected = Self(.eventRejected)
        /// No answer within the time allowed.
        public static let timedOut = Self(.timedOut)
        /// Stages, or the tasks of events, were restarted too often.
        public static let restartsExceeded = Self(.restartsExceeded)

        /// The name of the code.
        public var description: String { base.rawValue }
    }

    /// What kind of failure it is.
    public var code: Code
    /// What happened, in one line, in the broker's words where it gave any.
    public var message: String
    /// The number of the broker's close code (table "Close codes" of the protocol), if it gave one.
    public var closeCode: UInt16?
    /// What to do next; empty if there is nothing to do.
    public var hint: String
    /// How long to wait before trying again, if the broker named a time.
    public var retryAfter: Duration?

    /// Makes an error.
    public init(
        _ code: Code,
        _ message: String,
        closeCode: UInt16? = nil,
        hint: String = "",
        retryAfter: Duration? = nil
    ) {
        self.code = code
        self.message = message
        self.closeCode = closeCode
        self.hint = hint
        self.retryAfter = retryAfter
    }

    /// The name of `closeCode`, such as `NOT_FOUND`; nil if the broker gave none.
    public var closeName: String? {
        closeCode.map { CloseCode(rawValue: $0).description }
    }

    package init(_ code: Code, close: CloseCode, reason: String, retryMilliseconds: UInt32 = 0) {
        self.init(
            code,
            reason.isEmpty ? close.description : reason,
            closeCode: close.rawValue,
            hint: close.known?.advice ?? "",
            retryAfter: retryMilliseconds == 0 ? nil : .milliseconds(Int64(retryMilliseconds))
        )
    }

    static let closed = Self(.clientClosed, "the client is closed")
    static let cancelled = Self(.cancelled, "the task was cancelled")
}

extension ClientError: CustomStringConvertible {
    /// The code, the message and the hint in one line.
    public var description: String {
        let name = closeName.map { " (\($0))" } ?? ""
        let advice = hint.isEmpty ? "" : "; \(hint)"
        return "\(code)\(name): \(message)\(advice)"
    }
}
