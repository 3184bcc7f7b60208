import FoundationEssentials
import Sluice
import SluiceWire

extension GlobalOptions {
    /// Sends one request about a topic to the broker and says what was done.
    func request(_ request: Snapshot.Request, done: String) async throws {
        try await send(request, done: done) { error in failure(error, request) }
    }

    /// Ends a connection, or one of its links.
    func request(_ kick: Snapshot.Kick, done: String) async throws {
        try await send(kick, done: done) { error in
            var failure = Failure(error, server: server)
            guard failure.exit == .notFound else { return failure }
            let link = kick.link.map { "link \(kick.connection)/\($0)" }
            failure.message = "no \(link ?? "connection \(kick.connection)") (NOT_FOUND)"
            failure.hint =
                link == nil
                ? "see who is there: sluice conn ls"
                : "see what is there: sluice consumer ls, or sluice producer ls"
            return failure
        }
    }

    private func send(
        _ request: some Encodable,
        done: String,
        _ failure: (ClientError) -> Failure
    ) async throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let json = String(decoding: try encoder.encode(request), as: UTF8.self)
        try await withClient { client in
            do {
                try await Deadline.run(timeout) { try await client.control(json) }
            } catch let error as ClientError {
                throw failure(error)
            }
        }
        if Notice.isTerminal { note(done) }
    }

    private func failure(_ error: ClientError, _ request: Snapshot.Request) -> Failure {
        var failure = Failure(error, server: server)
        let isNew = request.op == "create-group"
        switch failure.exit {
        case .conflict where isNew:
            let group = request.group ?? ""
            failure.message =
                "group '\(group)' of topic '\(request.topic)' exists already (EXISTS)"
            failure.hint = "see how it is set: sluice topic info \(request.topic)"
        case .conflict:
            failure.message = "topic '\(request.topic)' exists already (EXISTS)"
            failure.hint =
                "see how it is set: sluice topic info \(request.topic); "
                + "or change it: sluice topic set"
        case .notFound:
            let group = isNew ? nil : request.group
            let what = group.map { "group '\($0)' of topic" } ?? "topic"
            failure.message = "no \(what) '\(request.topic)' (NOT_FOUND)"
            failure.hint =
                "see what there is: sluice topic " + (group == nil ? "ls" : "info \(request.topic)")
        case .error, .refused:
            let code = error.closeName.map { " (\($0))" } ?? ""
            failure.message = "the broker refused to \(request.op) '\(request.topic)'\(code)"
            if request.ahead != nil, error.closeName == "BAD_OPTION" {
                failure.hint = "--ahead is at most what the topic holds: give --buffer too"
            }
        default:
            break
        }
        return failure
    }
}
