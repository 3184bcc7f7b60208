import ServiceLifecycle

/// A part of a program that produces, processes or consumes events, described so that it can be
/// started, and started anew.
///
/// What a stage holds is made when it starts, and its links are opened then. A stage runs alone by
/// `run(on:)`, or with others in a `Pipeline`, which supervises and drains them.
public struct Stage: Sendable {
    /// The name by which logs and errors call it.
    public var name: String
    /// Whether it is started anew after it has ended.
    public var restart: Restart
    let body: @Sendable (_ client: SluiceClient, _ draining: Latch) async throws -> Void

    package init(
        name: String,
        restart: Restart,
        body: @escaping @Sendable (SluiceClient, Latch) async throws -> Void
    ) {
        self.name = name
        self.restart = restart
        self.body = body
    }

    /// Makes a stage of any code; draining it cancels its task, which may say so by throwing.
    public init(
        _ name: String,
        restart: Restart = .transient,
        run: @escaping @Sendable (_ client: SluiceClient) async throws -> Void
    ) {
        self.init(name: name, restart: restart) { client, draining in
            do {
                try await draining.cancelling { try await run(client) }
            } catch is CancellationError where draining.isOpen {}
        }
    }

    /// Runs the stage once, without restarts, until it is done; a graceful shutdown drains it.
    public func run(on client: SluiceClient) async throws {
        let draining = Latch()
        try await withGracefulShutdownHandler {
            try await body(client, draining)
        } onGracefulShutdown: {
            draining.open()
        }
    }
}

extension Stage {
    /// Makes one stage of several, each of which depends on those before it.
    ///
    /// When one is restarted, so are those behind it (OTP's `rest_for_one`). When all before one
    /// have ended for good, it is drained.
    ///
    /// - Parameters:
    ///   - name: the name by which logs and errors call it.
    ///   - restart: whether the whole is started anew after it has ended.
    ///   - limit: how many restarts within it are borne.
    ///   - stages: the stages, in the order in which events flow.
    public static func chain(
        _ name: String,
        restart: Restart = .transient,
        limit: RestartLimit = RestartLimit(),
        _ stages: [Stage]
    ) -> Stage {
        Supervisor(name: name, shape: .chain, limit: limit, stages: stages).stage(restart)
    }

    /// Makes one stage of several that do not depend on each other (OTP's `one_for_one`).
    ///
    /// - Parameters:
    ///   - name: the name by which logs and errors call it.
    ///   - restart: whether the whole is started anew after it has ended.
    ///   - limit: how many restarts within it are borne.
    ///   - stages: the stages; they are drained all at once.
    public static func peers(
        _ name: String,
        restart: Restart = .transient,
        limit: RestartLimit = RestartLimit(),
        _ stages: [Stage]
    ) -> Stage {
        Supervisor(name: name, shape: .peers, limit: limit, stages: stages).stage(restart)
    }
}
