public import ServiceLifecycle

/// Stages of which each depends on those before it, supervised and drained as one.
///
/// A stage that fails is started anew as its `restart` says, and with it all behind it (OTP's
/// `rest_for_one`); more restarts than `limit` allows end the pipeline with `restartsExceeded`.
///
/// It drains from its sources on: the first stage makes no more, or asks no more; when what it had
/// under way is handled and confirmed its links close, and the next stage drains. That begins with
/// `drain()`, with a graceful shutdown of the program, and behind stages that are done: a pipeline
/// whose source is finite ends by itself.
public final class Pipeline: Service, Sendable {
    private let client: SluiceClient
    private let supervisor: Supervisor
    private let drainTimeout: Duration
    private let draining = Latch()

    /// Makes a pipeline; nothing runs yet.
    ///
    /// - Parameters:
    ///   - client: carries the links of all stages, and is not closed at the end.
    ///   - name: the name by which logs and errors call it.
    ///   - limit: how many restarts within it are borne.
    ///   - drainTimeout: how long draining may take before what is left is cancelled; nil for as
    ///     long as the client's.
    ///   - stages: the stages, in the order in which events flow.
    public init(
        _ client: SluiceClient,
        name: String = "pipeline",
        limit: RestartLimit = RestartLimit(),
        drainTimeout: Duration? = nil,
        _ stages: [Stage]
    ) {
        self.client = client
        self.drainTimeout = drainTimeout ?? client.configuration.drainTimeout
        supervisor = Supervisor(name: name, shape: .chain, limit: limit, stages: stages)
    }

    /// Runs all stages until each is done; once.
    ///
    /// A task that is cancelled stops them at once. Throws `restartsExceeded`, and once it drains
    /// `timedOut` and what stages throw.
    public func run() async throws {
        try await withGracefulShutdownHandler {
            try await supervisor.run(on: client, draining, within: drainTimeout)
        } onGracefulShutdown: {
            self.drain()
        }
    }

    /// Lets the pipeline come to its end: `run` returns when all that was under way is handled.
    public func drain() { draining.open() }
}
