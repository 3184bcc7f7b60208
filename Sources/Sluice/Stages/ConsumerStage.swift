/// Handles the events of one or several topics.
public protocol ConsumerStage: SendableMetatype {
    /// Is called before the first batch.
    ///
    /// Keep `stream` to subscribe to more, to ask on manual subscriptions, or to subscribe anew.
    mutating func handleStart(_ stream: EventStream) async throws

    /// Handles a batch of at most `max − min` events of the subscription's demand.
    ///
    /// More is asked for after it has returned.
    mutating func handleEvents(
        _ events: EventBatch,
        from subscription: Subscription
    ) async throws

    /// Is told that a subscription has ended, before its cancel mode is applied.
    mutating func handleCancel(
        _ reason: CancelReason,
        of subscription: Subscription
    ) async throws

    /// Is told that an input has subscribed anew, as its `resubscribe` says.
    mutating func handleResubscribe(_ subscription: Subscription) async throws
}

extension ConsumerStage {
    /// Does nothing.
    public mutating func handleStart(_ stream: EventStream) async throws {}

    /// Does nothing.
    public mutating func handleCancel(
        _ reason: CancelReason,
        of subscription: Subscription
    ) async throws {}

    /// Does nothing.
    public mutating func handleResubscribe(_ subscription: Subscription) async throws {}
}

extension Stage {
    /// Makes a stage that handles the batches of one or several topics, one at a time.
    ///
    /// It ends as an `EventStream` does. Draining it asks no more, or behind stages that are done
    /// handles all that still waits for it.
    ///
    /// - Parameters:
    ///   - name: the name by which logs and errors call it.
    ///   - inputs: what it consumes.
    ///   - rate: how many events it handles a second, of all inputs together.
    ///   - restart: whether it is started anew after it has ended.
    ///   - handleEvents: handles a batch of at most `max − min` events; more is asked for after it
    ///     has returned.
    public static func consumer(
        _ name: String,
        of inputs: [Input],
        rate: SubscriptionOptions.Rate? = nil,
        restart: Restart = .transient,
        _ handleEvents: @escaping @Sendable (_ events: EventBatch) async throws -> Void
    ) -> Stage {
        consumer(
            name,
            of: inputs,
            rate: rate,
            restart: restart,
            making: { BatchHandler(body: handleEvents) }
        )
    }

    /// Makes a stage of a `ConsumerStage`, made anew whenever it starts.
    public static func consumer(
        _ name: String,
        of inputs: [Input],
        rate: SubscriptionOptions.Rate? = nil,
        restart: Restart = .transient,
        making make: @escaping @Sendable () async throws -> some ConsumerStage
    ) -> Stage {
        Stage(name: name, restart: restart) { client, draining in
            var stage = try await make()
            try await client.consume(inputs, at: rate, draining) { stream in
                try await stage.handleStart(stream)
                while let step = try await stream.core.next() {
                    switch step {
                    case .batch(let batch, let subscription):
                        try await subscription.process(batch) {
                            try await stage.handleEvents(batch, from: subscription)
                        }
                    case .ended(let subscription, let reason, _):
                        try await stage.handleCancel(reason, of: subscription)
                    case .begun(let subscription):
                        try await stage.handleResubscribe(subscription)
                    case .late: break
                    }
                }
            }
        }
    }
}

extension SluiceClient {
    /// Runs `body` with a stream of `inputs`, which is drained when `draining` opens.
    func consume(
        _ inputs: [Input],
        at rate: SubscriptionOptions.Rate?,
        _ draining: Latch,
        _ body: (EventStream) async throws -> Void
    ) async throws {
        let limit = try rate?.limit()
        let stream = stream(of: inputs)
        stream.core.limitRate(limit)
        // The latch may outlive the stage.
        draining.whenOpen { [core = stream.core] in
            core.end { draining.isThrough ? $0.core.drainThrough() : $0.stop() }
        }
        defer { stream.core.abandon() }
        try await body(stream)
    }
}

private struct BatchHandler: ConsumerStage {
    let body: @Sendable (EventBatch) async throws -> Void

    mutating func handleEvents(
        _ events: EventBatch,
        from subscription: Subscription
    ) async throws {
        try await body(events)
    }
}
