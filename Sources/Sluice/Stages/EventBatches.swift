/// Why a batch was closed.
public enum BatchReason: Hashable, Sendable, CaseIterable {
    /// It holds as many events as a batch may.
    case size
    /// Its first event has waited as long as it may.
    case timeout
    /// Nothing more could come before it was handled, or the stream has ended.
    case flush
}

/// Events that were gathered because they have the same key.
public struct KeyedBatch<Key: Hashable & Sendable>: Sendable {
    /// What their key is.
    public let key: Key
    /// The events, in the order in which they came.
    public let events: [Event]
    /// Why there are not more.
    public let reason: BatchReason
}

/// The events of a stream, gathered by key, size and time: Broadway's batchers.
///
/// Asking for the next batch says that the last is processed; events that wait in an open batch
/// count as not processed. So no more wait than max demand; when all that may be asked for waits in
/// open batches, the oldest is closed as it is. One task iterates, and nobody else the stream.
public struct EventBatches<Key: Hashable & Sendable>: AsyncSequence, Sendable {
    /// What the iteration gives.
    public typealias Element = KeyedBatch<Key>
    /// What the iteration throws.
    public typealias Failure = ClientError

    let stream: EventStream
    let size: Int
    let time: Duration
    let key: @Sendable (Event) -> Key

    /// Gathers batches, one after the other.
    public struct AsyncIterator: AsyncIteratorProtocol {
        private struct Item: Sendable {
            let event: Event
            let core: SubscriptionCore
        }

        private let stream: EventStream
        private let key: @Sendable (Event) -> Key
        private var batcher: Batcher<Key, Item>
        /// What came and is not gathered yet.
        private var rest = EventBatch(runs: []).makeIterator()
        private var source: SubscriptionCore?
        /// What the task handles.
        private var held: [Item] = []

        init(_ batches: EventBatches) {
            stream = batches.stream
            key = batches.key
            batcher = Batcher(size: Swift.max(1, batches.size), within: batches.time)
        }

        /// The next batch, or nil when the stream has ended and nothing is left.
        public mutating func next() async throws(ClientError) -> KeyedBatch<Key>? {
            try await gather()
        }

        /// The next batch, or nil when the stream has ended and nothing is left.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(ClientError) -> KeyedBatch<Key>? {
            try await gather()
        }

        private mutating func gather() async throws(ClientError) -> KeyedBatch<Key>? {
            finishHeld()
            while true {
                if let batch = gathered() { return give(batch) }
                let isStuck = stream.subscriptions.contains { $0.core.isExhausted }
                let deadline = isStuck ? ContinuousClock.now : batcher.deadline
                switch try await stream.core.nextHolding(until: deadline) {
                case nil: return batcher.flush().map { give($0) }
                case .batch(let batch, let subscription):
                    rest = batch.makeIterator()
                    source = subscription.core
                case .late: if isStuck, let batch = batcher.flush() { return give(batch) }
                case .ended, .begun: break
                }
            }
        }

        private mutating func finishHeld() {
            var rest = held[...]
            held = []
            while let core = rest.first?.core {
                let part = rest.prefix { $0.core === core }
                rest = rest.dropFirst(part.count)
                let bytes = part.reduce(0) { $0 + $1.event.byteCount }
                core.processed(part.count, bytes: bytes)
            }
        }

        /// A batch that is to be closed, with what has come.
        private mutating func gathered() -> Batcher<Key, Item>.Closed? {
            let now = ContinuousClock.now
            if let batch = batcher.due(at: now) { return batch }
            while let core = source, let event = rest.next() {
                let item = Item(event: event, core: core)
                if let batch = batcher.add(item, key: key(event), at: now) { return batch }
            }
            return nil
        }

        private mutating func give(_ batch: Batcher<Key, Item>.Closed) -> KeyedBatch<Key> {
            held = batch.elements
            return KeyedBatch(key: batch.key, events: held.map(\.event), reason: batch.reason)
        }
    }

    /// Makes the iterator; there is one at a time.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }
}

extension EventStream {
    /// Gathers the events that have the same key.
    ///
    /// - Parameters:
    ///   - size: how many events a batch holds at most; at least 1.
    ///   - time: how long the first event of a batch waits for more.
    ///   - key: what events of one batch have in common.
    public func batches<Key>(
        of size: Int,
        within time: Duration,
        by key: @escaping @Sendable (Event) -> Key
    ) -> EventBatches<Key> {
        EventBatches(stream: self, size: size, time: time, key: key)
    }
}

extension Stage {
    /// Makes a stage that handles the events of one or several topics in batches by key.
    ///
    /// - Parameters:
    ///   - name: the name by which logs and errors call it.
    ///   - inputs: what it consumes.
    ///   - size: how many events a batch holds at most.
    ///   - time: how long the first event of a batch waits for more.
    ///   - key: what events of one batch have in common.
    ///   - rate: how many events it gathers a second, of all inputs together.
    ///   - restart: whether it is started anew after it has ended.
    ///   - handleBatch: handles a batch; its events are processed when it returns.
    public static func batches<Key>(
        _ name: String,
        of inputs: [Input],
        size: Int,
        within time: Duration,
        by key: @escaping @Sendable (Event) -> Key,
        rate: SubscriptionOptions.Rate? = nil,
        restart: Restart = .transient,
        _ handleBatch: @escaping @Sendable (_ batch: KeyedBatch<Key>) async throws -> Void
    ) -> Stage {
        Stage(name: name, restart: restart) { client, draining in
            try await client.consume(inputs, at: rate, draining) { stream in
                for try await batch in stream.batches(of: size, within: time, by: key) {
                    try await handleBatch(batch)
                }
            }
        }
    }
}
