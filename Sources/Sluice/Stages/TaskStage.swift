import Logging
import SluiceNet

extension Stage {
    /// Makes a stage that runs one task an event: GenStage's `ConsumerSupervisor`.
    ///
    /// At most max demand tasks run at a time; as soon as min demand are done, as many are asked
    /// for. A task that fails is logged and done, or is run again with its event if `task` is
    /// `transient`, in its place. Draining it waits for the tasks.
    ///
    /// - Parameters:
    ///   - name: the name by which logs and errors call it.
    ///   - inputs: what it consumes, by automatic demand; each has its own max and min.
    ///   - rate: how many events are begun a second, of all inputs together.
    ///   - restart: whether the stage is started anew after it has ended.
    ///   - task: whether a task is run again; `permanent` is refused, for a task has to be done.
    ///   - limit: how many tasks may be run again before the stage fails.
    ///   - handleEvent: the body of the task.
    public static func tasks(
        _ name: String,
        of inputs: [Input],
        rate: SubscriptionOptions.Rate? = nil,
        restart: Restart = .transient,
        task: Restart = .temporary,
        limit: RestartLimit = RestartLimit(),
        _ handleEvent: @escaping @Sendable (_ event: Event) async throws -> Void
    ) -> Stage {
        Stage(name: name, restart: restart) { client, draining in
            let asked = try inputs.map { try $0.askingByTasks(name) }
            guard task != .permanent else {
                let text = "\(name): the task of an event cannot be permanent"
                throw ClientError(
                    .invalidArgument,
                    text,
                    hint: "choose transient or temporary"
                )
            }
            let tasks = EventTasks(name, task, limit, client, handleEvent)
            try await client.consume(asked, at: rate, draining) { stream in
                try await tasks.run(stream)
            }
        }
    }
}

extension Input {
    /// The same input, of which `min` events are asked for when so many are done.
    fileprivate func askingByTasks(_ stage: String) throws(ClientError) -> Input {
        try Names.check(topic, options)
        guard case .automatic(let max, let min) = options.demand else {
            let text = "\(stage): tasks ask for themselves; the demand for \(topic) is manual"
            throw ClientError(.invalidArgument, text, hint: "choose automatic demand")
        }
        var input = self
        input.options.demand = .automatic(max: max, min: max - Swift.max(1, min))
        return input
    }
}

/// One task an event; what runs is bounded by what was asked for.
private struct EventTasks: Sendable {
    private let name: String
    private let policy: Restart
    private let limit: RestartLimit
    private let client: SluiceClient
    private let body: @Sendable (Event) async throws -> Void
    private let restarts: Lock<RestartCount>

    init(
        _ name: String,
        _ policy: Restart,
        _ limit: RestartLimit,
        _ client: SluiceClient,
        _ body: @escaping @Sendable (Event) async throws -> Void
    ) {
        self.name = name
        self.policy = policy
        self.limit = limit
        self.client = client
        self.body = body
        restarts = Lock(RestartCount(limit))
    }

    func run(_ stream: EventStream) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            while let step = try await stream.core.nextHolding() {
                guard case .batch(let batch, let subscription) = step else { continue }
                for event in batch {
                    group.addTask {
                        do throws(ClientError) {
                            try await run(event)
                        } catch {
                            // The stream does not hear of the group's failure.
                            stream.core.fail(error)
                            throw error
                        }
                        subscription.core.processed(1, bytes: event.byteCount)
                    }
                }
            }
        }
    }

    /// Runs the task of `event` until it is done.
    private func run(_ event: Event) async throws(ClientError) {
        while true {
            do {
                return try await body(event)
            } catch {
                guard !Task.isCancelled else { return }
                client.logger.warning(
                    "task of an event failed",
                    metadata: [
                        "stage": "\(name)", "offset": "\(event.offset)", "error": "\(error)",
                    ]
                )
                guard policy == .transient else { return }
                guard restarts.withLock({ $0.add(at: .now) }) else { throw tooMany(error) }
            }
        }
    }

    private func tooMany(_ error: any Error) -> ClientError {
        ClientError(
            .restartsExceeded,
            "\(name): more than \(limit.intensity) tasks were run again within \(limit.period); "
                + "the last failed with: \(error)",
            hint: "mend what makes tasks fail, or raise the limit of restarts"
        )
    }
}
