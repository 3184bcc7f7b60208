import SluiceCore

/// Several subscriptions, consumed as one sequence of batches by one task: GenStage's `stream`.
///
/// Those that have something take turns. Each keeps its own demand: asking for the next delivery
/// says that the last is processed. The sequence ends when a subscription ends whose `CancelMode`
/// says so: it throws the error if that failed, and otherwise stops the others and hands out what
/// they still have. It ends as well after `drain()`, `stop()` or `cancel()`, when its task is
/// cancelled, and with its last subscription.
public final class EventStream: AsyncSequence, Sendable {
    /// What the iteration gives.
    public typealias Element = Delivery
    /// What the iteration throws.
    public typealias Failure = ClientError

    /// A batch, and where it comes from.
    public struct Delivery: Sendable {
        /// The events.
        public let batch: EventBatch
        /// The subscription on which they came.
        public let subscription: Subscription

        /// The topic that holds the events.
        public var topic: String { subscription.topic }
    }

    let core = StreamCore()

    /// Whether the task waits for something to come, and when it is woken if nothing does.
    package var sleep: (isAsleep: Bool, until: ContinuousClock.Instant?) { core.sleep }

    /// Makes a stream of subscriptions, each of which nobody else may iterate.
    public init(_ subscriptions: [Subscription] = [], cancel mode: CancelMode = .permanent) {
        for subscription in subscriptions { core.add(subscription, mode) }
    }

    deinit { core.abandon() }

    /// The subscriptions that have not ended.
    public var subscriptions: [Subscription] { core.subscriptions }

    /// Adds a subscription, which nobody else may iterate.
    ///
    /// It joins at once: GenStage's `async_subscribe`; to wait until the broker has opened its link
    /// call `opened()` on it. Once the stream is ending it is cancelled.
    public func add(_ subscription: Subscription, cancel mode: CancelMode = .permanent) {
        core.add(subscription, mode)
    }

    /// Cancels `old`, whose end means nothing to the stream, and adds `new`: GenStage's
    /// `resubscribe`.
    public func replace(
        _ old: Subscription,
        with new: Subscription,
        cancel mode: CancelMode = .permanent,
        reason: CancelReason = .shutdown
    ) {
        core.add(new, mode)
        core.remove(old)
        old.cancel(reason)
    }

    /// Limits how many events are handed out a second, of all subscriptions together.
    ///
    /// What may not be handed out yet waits, and so does the demand for more; in a task that is
    /// cancelled it is thrown away, counted in `Subscription.counts`. The broker limits the
    /// rate of a topic and that of a subscription; this is for what several have in common.
    ///
    /// - Parameters:
    ///   - eventsPerSecond: at least 1; nil lifts the limit.
    ///   - burst: how many may be handed out at once after a time of rest; at least 1.
    public func limitRate(to eventsPerSecond: Int?, burst: Int = 1) {
        core.limitRate(
            eventsPerSecond.map { rate in
                RateLimit(
                    eventsPerSecond: UInt32(clamping: Swift.max(1, rate)),
                    burst: UInt32(clamping: Swift.max(1, burst))
                )
            }
        )
    }

    /// Drains all subscriptions: what waits now is delivered, as far as it was asked for.
    public func drain() { core.end { $0.drain() } }

    /// Stops all subscriptions: what is here or on the wire is still handed out.
    public func stop() { core.end { $0.stop() } }

    /// Stops all subscriptions, and throws away what is here or on the wire, counted.
    public func cancel(_ reason: CancelReason = .shutdown) { core.end { $0.cancel(reason) } }

    /// Asks and waits for batches.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let stream: EventStream

        /// The next batch, or nil when the sequence has ended.
        public mutating func next() async throws(ClientError) -> Delivery? {
            try await stream.nextDelivery()
        }

        /// The next batch, or nil when the sequence has ended.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(ClientError) -> Delivery? {
            try await stream.nextDelivery()
        }
    }

    /// Makes the iterator; a stream has one at a time.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }

    private func nextDelivery() async throws(ClientError) -> Delivery? {
        while let step = try await core.next() {
            if case .batch(let batch, let subscription) = step {
                return Delivery(batch: batch, subscription: subscription)
            }
        }
        return nil
    }
}
