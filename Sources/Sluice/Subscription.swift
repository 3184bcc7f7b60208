import SluiceCore

/// Events of one topic, as an asynchronous sequence of batches whose iteration is the demand.
///
/// Nothing arrives that was not asked for: what waits here between two steps of the iteration is
/// at most what `SubscriptionOptions.demand` allows. One task iterates a subscription.
///
/// The sequence ends after `drain()`, `stop()` or `cancel()`, when its task is cancelled, at the
/// topic's end if `SubscriptionOptions.stopsAtEnd` is set, and when the broker closes the link in
/// peace (`NORMAL`, `COMPLETE`). It throws `ClientError` with
/// `invalidArgument` if an option breaks a limit, `refused` if the link was not opened (one that is
/// `BUSY` is opened later, as the reconnect policy allows), `linkClosed` if the broker ended it,
/// `unreachable` or `connectionLost` when the reconnect policy gives up, and `clientClosed`.
public final class Subscription: AsyncSequence, Sendable {
    /// What the iteration gives.
    public typealias Element = EventBatch
    /// What the iteration throws.
    public typealias Failure = ClientError

    let core: SubscriptionCore

    init(_ core: SubscriptionCore) {
        self.core = core
    }

    deinit { core.end(.stop, discarding: true) }

    /// The topic.
    public var topic: String { core.topic }

    /// Asks for `events` more (0 asks nothing), beside what an automatic subscription asks.
    ///
    /// What is beyond the broker's limit of outstanding demand (`max_demand` in WELCOME, 2^20 by
    /// default) is asked for as soon as it fits. What is cut off with a lost connection is
    /// forfeited: `counts.forfeited` says how much, and a manual subscription may ask again.
    public func ask(_ events: Int) {
        guard events > 0 else { return }
        core.connector?.ask(core, events: UInt64(events), bytes: 0)
    }

    /// Lets the broker deliver what waits now and forfeit the rest of the demand (DRAIN).
    ///
    /// The sequence hands out what still comes and then ends.
    public func drain() { core.end(.drain) }

    /// Lets the broker forfeit all demand that is not delivered (STOP).
    ///
    /// The sequence hands out what is here or on the wire and then ends.
    public func stop() { core.end(.stop) }

    /// Stops, and throws away what is here or on the wire, counted in `counts.discarded`.
    ///
    /// The broker is told the reason.
    public func cancel(_ reason: CancelReason = .shutdown) {
        core.end(.stop, discarding: true, reason)
    }

    /// Waits until the broker has opened the link: GenStage's `sync_subscribe`.
    ///
    /// Throws what the iteration will throw if it did not open it.
    public func opened() async throws(ClientError) {
        await core.opened.wait()
        if let error = core.failure { throw error }
        guard core.opened.isOpen else { throw .cancelled }
    }

    /// The account of the link as of now.
    public var counts: SubscriptionCounts { core.counts }

    /// Asks and waits for batches.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let subscription: Subscription

        /// The next batch, or nil when the sequence has ended.
        ///
        /// Asking for it says that the batch before is processed. In a task that is cancelled the
        /// link is stopped, and what still came is handed out before the end.
        public mutating func next() async throws(ClientError) -> EventBatch? {
            try await subscription.core.next()
        }

        /// The next batch, or nil when the sequence has ended.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(ClientError) -> EventBatch? {
            try await subscription.core.next()
        }
    }

    /// Makes the iterator; a subscription has one at a time.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(subscription: self) }
}
