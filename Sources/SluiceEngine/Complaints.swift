package import SluiceCore
import SluiceWire

/// Why a connection was turned away before it could ask for anything.
package enum RejectReason: String, Sendable {
    /// There are as many as there may be.
    case limit
    case stopping
    /// What it began with was no legal HELLO.
    case handshake
    /// It did not say in time what it wants.
    case timeout
    /// The machine gave no descriptor, or took it back.
    case system

    /// What a CLOSE before WELCOME comes to.
    package init(_ code: CloseCode) {
        switch code {
        case .goingAway: self = .stopping
        case .idle: self = .timeout
        default: self = .handshake
        }
    }
}

/// What a client did that the rules forbid.
package enum Breach: Hashable, Sendable, CustomStringConvertible {
    /// Its link or connection got a CLOSE that blames it.
    case code(CloseCode)
    /// It does not speak the HTTP that it began to speak.
    case malformed
    /// It asked for work without end, and brought none.
    case flood

    package var description: String {
        switch self {
        case .code(let code): "\(code)"
        case .malformed: "MALFORMED"
        case .flood: "FLOOD"
        }
    }
}

/// What a face had to turn away and to end; by kind alone, as clients have no bound.
struct Complaints {
    var rejects: [RejectReason: UInt64] = [:]
    var breaches: [Breach: UInt64] = [:]
}

extension Engine {
    package func countReject(_ reason: RejectReason, at face: SessionFace) {
        complaints[face, default: Complaints()].rejects[reason, default: 0] += 1
    }

    package func countBreach(_ breach: Breach, at face: SessionFace) {
        complaints[face, default: Complaints()].breaches[breach, default: 0] += 1
    }

    /// Counts what a link or a call ended with if its client is to blame.
    package func countBreach(_ code: CloseCode, at face: SessionFace) {
        if code.blame == .peer { countBreach(.code(code), at: face) }
    }

    func fill(_ snapshot: inout Snapshot.Face, _ complaints: Complaints) {
        for (reason, count) in complaints.rejects { snapshot.rejects[reason.rawValue] = count }
        for (breach, count) in complaints.breaches {
            snapshot.protocolErrors["\(breach)"] = count
        }
    }
}
