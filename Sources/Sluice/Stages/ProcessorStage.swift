import SluiceNet

/// Turns events of one or several topics into events of another: GenStage's `producer_consumer`.
public protocol ProcessorStage: SendableMetatype {
    /// Turns a batch into events, few or many.
    ///
    /// It holds at most as many events as consumers of the target have asked for, and at most
    /// `max − min` of the input's demand. More is asked of the input after the result was sent.
    mutating func handleEvents(
        _ events: EventBatch,
        from subscription: Subscription
    ) async throws -> [OutgoingEvent]

    /// Is told that a subscription has ended, before its cancel mode is applied.
    mutating func handleCancel(
        _ reason: CancelReason,
        of subscription: Subscription
    ) async throws
}

extension ProcessorStage {
    /// Does nothing.
    public mutating func handleCancel(
        _ reason: CancelReason,
        of subscription: Subscription
    ) async throws {}
}

extension SluiceClient {
    /// Turns events of one topic into events of another, driven by the demand for the other.
    ///
    /// With automatic demand it fetches ahead: at most max demand events are here, and none of them
    /// is handled before consumers of `target` have asked for as many. With manual demand it asks
    /// `source` only for what they asked, at most 1,000 at a time. A batch that becomes more events
    /// than there is demand for waits for more demand; nothing is buffered for want of it.
    ///
    /// Runs until the source ends or the task is cancelled; then the source is stopped, what it
    /// still delivered is processed, and everything sent is confirmed.
    public func process(
        from source: String,
        to target: String,
        options: SubscriptionOptions = SubscriptionOptions(),
        _ transform: (EventBatch) async throws -> [OutgoingEvent]
    ) async throws {
        let input = Input(source, options: options)
        try await process([input], to: target, ProducerOptions(), Latch()) { step in
            guard case .batch(let batch, _) = step else { return [] }
            return try await transform(batch)
        }
    }

    /// Runs `body` on what `inputs` bring, as far as there is demand for what it returns.
    fileprivate func process(
        _ inputs: [Input],
        to target: String,
        _ options: ProducerOptions,
        _ draining: Latch,
        _ body: (StreamCore.Step) async throws -> [OutgoingEvent]
    ) async throws {
        var options = options
        options.backlog = .unknown
        let producer = producer(for: target, options: options)
        let output = producer.core
        try await consume(inputs, draining) { stream in
            let core = stream.core
            output.ended.whenOpen { core.fail(output.failure ?? .closed) }
            output.start(.unknown)
            let passed = PassedDemand(output, stream.subscriptions)
            while let hasBatch = try await core.waitUntilReady() {
                var most = UInt64.max
                if hasBatch {
                    guard let demand = try await output.demand(.open) else {
                        throw output.failure ?? .cancelled
                    }
                    most = demand
                }
                let limit = UInt32(clamping: most)
                // What is not here by now needs another look at the demand.
                guard let step = try await core.next(upTo: limit, until: .now) else { break }
                let events = try await body(step)
                if !events.isEmpty { try await producer.send(contentsOf: events) }
                core.finishHeld()
                if case .batch(let batch, let source) = step {
                    passed.processed(batch.count, of: source)
                }
            }
        }
        try await confirm(producer)
    }

    /// Closes `producer`, in a task that is cancelled too: for as long as a drain may take.
    func confirm(_ producer: Producer) async throws {
        guard Task.isCancelled else { return try await producer.close() }
        let closing = Task { try await producer.close() }
        let limit = configuration.drainTimeout
        let timer = Task {
            try await Task.sleep(for: limit)
            closing.cancel()
        }
        defer { timer.cancel() }
        try await closing.value
    }
}

extension Stage {
    /// Makes a stage that turns events of one or several topics into events of another.
    ///
    /// Demand is passed on as `SluiceClient.process(from:to:options:_:)` does. Draining it asks no
    /// more, or behind stages that are done handles all that still waits for it, and waits until
    /// what it sent is confirmed.
    ///
    /// - Parameters:
    ///   - name: the name by which logs and errors call it.
    ///   - inputs: what it consumes; each input with manual demand is asked for what there is
    ///     demand for.
    ///   - target: the topic to which the results go.
    ///   - options: how the link to the target is opened; its backlog is always unknown.
    ///   - restart: whether it is started anew after it has ended.
    ///   - handleEvents: see `ProcessorStage`.
    public static func processor(
        _ name: String,
        from inputs: [Input],
        to target: String,
        options: ProducerOptions = ProducerOptions(),
        restart: Restart = .transient,
        _ handleEvents: @escaping @Sendable (_ events: EventBatch) async throws -> [OutgoingEvent]
    ) -> Stage {
        processor(
            name,
            from: inputs,
            to: target,
            options: options,
            restart: restart,
            making: { BatchTransform(body: handleEvents) }
        )
    }

    /// Makes a stage of a `ProcessorStage`, made anew whenever it starts.
    public static func processor(
        _ name: String,
        from inputs: [Input],
        to target: String,
        options: ProducerOptions = ProducerOptions(),
        restart: Restart = .transient,
        making make: @escaping @Sendable () async throws -> some ProcessorStage
    ) -> Stage {
        Stage(name: name, restart: restart) { client, draining in
            var stage = try await make()
            try await client.process(inputs, to: target, options, draining) { step in
                switch step {
                case .batch(let batch, let subscription):
                    return try await stage.handleEvents(batch, from: subscription)
                case .ended(let subscription, let reason):
                    try await stage.handleCancel(reason, of: subscription)
                    return []
                case .late: return []
                }
            }
        }
    }
}

private struct BatchTransform: ProcessorStage {
    let body: @Sendable (EventBatch) async throws -> [OutgoingEvent]

    mutating func handleEvents(
        _ events: EventBatch,
        from subscription: Subscription
    ) async throws -> [OutgoingEvent] {
        try await body(events)
    }
}

/// Asks manual inputs for what was asked of a processor, and for no more.
// asked of an input and not processed ≤ open demand of the output, when it asks
private final class PassedDemand: Sendable {
    fileprivate struct Account: Sendable {
        // The stream holds it as long as it lasts.
        weak let subscription: Subscription?
        var asked: UInt64 = 0
        var processed: UInt64 = 0
    }

    /// Events of an input that may be asked for and not processed.
    private static let outstandingMax: UInt64 = 1_000

    private let output: ProducerCore
    private let accounts: Lock<[ObjectIdentifier: Account]>

    init(_ output: ProducerCore, _ subscriptions: [Subscription]) {
        self.output = output
        var accounts: [ObjectIdentifier: Account] = [:]
        for subscription in subscriptions where subscription.core.isManual {
            accounts[ObjectIdentifier(subscription.core)] = Account(subscription: subscription)
        }
        self.accounts = Lock(accounts)
        guard !accounts.isEmpty else { return }
        output.whenGranted { [self] in ask() }
        ask()
    }

    func processed(_ count: Int, of subscription: Subscription) {
        let isManual = accounts.withLock { accounts in
            accounts[ObjectIdentifier(subscription.core)]?.processed += UInt64(count)
            return !accounts.isEmpty
        }
        if isManual { ask() }
    }

    private func ask() {
        let open = min(output.openDemand, Self.outstandingMax)
        let asks = accounts.withLock { accounts in
            accounts.keys.compactMap { id -> (Subscription, UInt64)? in
                guard let subscription = accounts[id]?.subscription else { return nil }
                // What was cut off will not come: it is asked for again.
                return accounts[id]?.ask(open, subscription.counts.forfeited).map {
                    (subscription, $0)
                }
            }
        }
        for (subscription, count) in asks { subscription.ask(Int(clamping: count)) }
    }
}

extension PassedDemand.Account {
    fileprivate mutating func ask(_ open: UInt64, _ forfeited: UInt64) -> UInt64? {
        let outstanding = asked - min(asked, processed + forfeited)
        guard open > outstanding else { return nil }
        asked += open - outstanding
        return open - outstanding
    }
}
