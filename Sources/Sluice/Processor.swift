import SluiceNet

extension SluiceClient {
    /// Turns events of one topic into events of another, driven by the demand of the other.
    ///
    /// Asks `source` only for what consumers of `target` asked and `transform` has not yet
    /// filled, at most `max` of `options.demand` (1,000 if that is manual) at a time. A batch that
    /// becomes more events than there is demand for waits for more demand; one that becomes fewer
    /// lets more be asked. Runs until the source ends or the task is cancelled; then the source is
    /// stopped, what it still delivered is processed, and everything sent is confirmed.
    public func process(
        from source: String,
        to target: String,
        options: SubscriptionOptions = SubscriptionOptions(),
        _ transform: (EventBatch) async throws -> [OutgoingEvent]
    ) async throws {
        var most = UInt64(1_000)
        if case .automatic(let max, _) = options.demand { most = UInt64(Swift.max(1, max)) }
        var manual = options
        manual.demand = .manual
        let producer = producer(for: target, options: ProducerOptions(backlog: .unknown))
        let subscription = subscribe(to: source, options: manual)
        let account = ProcessorAccount(producer.core, subscription, most: most)
        let listener = Task { await account.listen() }
        defer { listener.cancel() }
        for try await batch in subscription {
            let events = try await transform(batch)
            if !events.isEmpty { try await producer.send(contentsOf: events) }
            account.processed(UInt64(batch.count))
        }
        listener.cancel()
        if let error = await listener.value { throw error }
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

/// Sees to it that a processor never asks for more than was asked of it.
// asked upstream and not processed ≤ open demand downstream, when it asks
private final class ProcessorAccount: Sendable {
    private let producer: ProducerCore
    private let subscription: Subscription
    private let most: UInt64
    private let account = Lock((asked: UInt64(0), processed: UInt64(0)))

    init(_ producer: ProducerCore, _ subscription: Subscription, most: UInt64) {
        self.producer = producer
        self.subscription = subscription
        self.most = most
    }

    /// Asks upstream whenever more was granted; stops it when downstream has ended, and says why.
    func listen() async -> ClientError? {
        defer { subscription.stop() }
        do throws(ClientError) {
            while try await producer.demand(.new) != nil { ask() }
            return nil
        } catch {
            return error
        }
    }

    func processed(_ count: UInt64) {
        account.withLock { $0.processed += count }
        ask()
    }

    private func ask() {
        let open = min(producer.openDemand, most)
        // What was cut off will not come: it is asked for again.
        let forfeited = subscription.counts.forfeited
        let count = account.withLock { account in
            let done = account.processed + forfeited
            let outstanding = account.asked - min(account.asked, done)
            let count = open - min(open, outstanding)
            account.asked += count
            return count
        }
        subscription.ask(Int(clamping: count))
    }
}
