package import Sluice
import SluiceCore

/// Why a verb ended without success: what to say, what to do next, and the exit code.
package struct Failure: Error, Equatable {
    /// The exit codes of `sluice`, as its help lists them.
    package enum Exit: Int32, Sendable {
        case error = 1
        case unreachable = 3
        case auth = 4
        case notFound = 5
        case conflict = 6
        case refused = 7
        case partial = 8
        case command = 9
        case unhealthy = 10
        case usage = 64
        case interrupted = 130
        case brokenPipe = 141
        case terminated = 143
    }

    package var exit: Exit
    /// What happened, in one line; empty ends quietly.
    package var message: String
    /// What to do next, in one line; empty if there is nothing to do.
    package var hint: String

    package init(_ exit: Exit, _ message: String = "", hint: String = "") {
        self.exit = exit
        self.message = message
        self.hint = hint
    }

    /// The reader of our output is gone, as after `| head -1`: nobody is left to be told.
    package static let brokenPipe = Self(.brokenPipe)
}

extension Failure {
    /// What an error of the client library means on the command line.
    package init(_ error: ClientError, server: String) {
        let name = error.closeName.map { " (\($0))" } ?? ""
        self.init(Self.exit(for: error), error.message + name, hint: error.hint)
        switch error.code {
        case .unreachable:
            // Where the server has one address, the library's words begin with it.
            let isNamed = error.message.hasPrefix("\(server): ")
            message = "no broker at \(isNamed ? "" : "\(server): ")\(error.message)"
            hint = "start one with 'sluice serve', or name another with -s HOST:PORT"
        case .timedOut:
            message = "no answer from \(server) in time: \(error.message)"
            hint = "wait longer with --timeout, or see whether it lives: sluice ping"
        case .connectionLost:
            message = "the connection to \(server) was lost: \(error.message)\(name)"
            hint = "see whether the broker lives: sluice ping"
        case .cancelled:
            message = ""
        default:
            break
        }
        if error.closeCode == CloseCode.goingAway.rawValue {
            message = "the broker at \(server) is going away"
            hint = "try again in a moment, or stay with --reconnect"
        }
    }

    private static func exit(for error: ClientError) -> Exit {
        switch error.code {
        case .unreachable, .connectionLost, .timedOut: return .unreachable
        case .invalidArgument: return .usage
        case .cancelled: return .interrupted
        default: break
        }
        switch error.closeCode.map({ CloseCode(rawValue: $0) }) {
        case .authFailed, .forbidden, .kicked: return .auth
        case .notFound, .topicDeleted, .groupRemoved: return .notFound
        case .exists, .replaced: return .conflict
        case .limit, .busy, .discarded, .eventTooLarge: return .refused
        case .goingAway, .idle: return .unreachable
        default: return .error
        }
    }
}
