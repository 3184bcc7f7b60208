import SluiceCore
import SluiceWire

/// Why a subscription has ended.
public struct CancelReason: Hashable, Sendable, CustomStringConvertible {
    private enum Kind: String, Sendable {
        case normal
        case shutdown
        case failure
    }

    private let kind: Kind
    private let text: String
    /// What went wrong, of a failure.
    public let error: ClientError?

    private init(_ kind: Kind, _ text: String = "", _ error: ClientError? = nil) {
        self.kind = kind
        self.text = text
        self.error = error
    }

    /// The broker has closed the link in peace (`NORMAL`, `COMPLETE`), or the topic has ended and
    /// the subscription stops there.
    public static let normal = Self(.normal)
    /// This side wanted no more: it drained, stopped or cancelled the subscription.
    public static let shutdown = Self(.shutdown)

    /// This side wanted no more, and says why in at most 512 bytes; what is longer is cut.
    public static func shutdown(_ text: String) -> Self { Self(.shutdown, text) }

    /// The link has failed, or this side ends it because of `error`.
    public static func failure(_ error: ClientError) -> Self { Self(.failure, "", error) }

    /// The kind, and what was said.
    public var description: String {
        let words = error.map { "\($0)" } ?? text
        return words.isEmpty ? kind.rawValue : "\(kind.rawValue): \(words)"
    }

    /// How the broker is told.
    var close: Close {
        var reason = error?.message ?? text
        while reason.utf8.count > Limits.reasonBytesMax { reason.removeLast() }
        return Close(error == nil ? .normal : .cancelled, reason: reason)
    }
}

/// What the end of a subscription means to those who consume it with others.
public enum CancelMode: Hashable, Sendable, CaseIterable {
    /// They end too, whatever the reason.
    case permanent
    /// They end too if it failed.
    case transient
    /// They go on.
    case temporary

    func ends(for reason: CancelReason) -> Bool {
        let rule: CancelRule =
            switch self {
            case .permanent: .permanent
            case .transient: .transient
            case .temporary: .temporary
            }
        return rule.ends(hasFailed: reason.error != nil)
    }
}
