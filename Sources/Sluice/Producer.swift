import SluiceCore

/// How a producer opens its link.
public struct ProducerOptions: Sendable {
    /// What a producer tells the broker of the events it has.
    public enum Backlog: Sendable, Hashable {
        /// It announces what waits in a suspended `send`; it is served before those that are idle.
        case announced
        /// It always has more, as one that reads a stream: it is granted all that it may be, and
        /// not only what waits in `send`. It must send when it is granted, for others may wait.
        case endless
        /// It does not know: it makes events when demand comes.
        case unknown
    }

    /// What the producer tells of its backlog; nil chooses `announced` if the first use is
    /// `send`, and `unknown` if it is `demand` or `run`.
    public var backlog: Backlog?
    /// The name under which the broker lists the link; at most 200 bytes.
    public var name: String?

    /// Makes options.
    public init(backlog: Backlog? = nil, name: String? = nil) {
        self.backlog = backlog
        self.name = name
    }
}

/// What became of a producer's demand and events.
///
/// `asked`, `delivered` and `forfeited` begin anew when the broker has forgotten the link; the
/// rest counts on.
public struct ProducerCounts: Hashable, Sendable {
    /// Events that the broker granted on the link.
    public var asked: UInt64 = 0
    /// Events that were sent.
    public var delivered: UInt64 = 0
    /// Granted events that were given back.
    public var forfeited: UInt64 = 0
    /// Events that are in the topic, as the broker confirmed.
    public var confirmed: UInt64 = 0
    /// Events that the broker did not take, such as `DISCARDED` by a full topic.
    public var rejected: UInt64 = 0
    /// Events taken over from `send` and not yet confirmed or rejected.
    public var unconfirmed: UInt64 = 0
    /// Times the link went on after a lost connection.
    public var resumed: UInt64 = 0

    /// Granted and neither sent nor given back.
    public var credit: UInt64 { asked - delivered - forfeited }
}

/// Sends events to one topic, never more than the broker granted.
///
/// What is sent and not yet confirmed is kept, so that it is sent again after a lost connection;
/// that is never more than was granted. Only if the broker has forgotten the session (the resume
/// window of WELCOME is over) may events that it had taken be sent twice.
public final class Producer: Sendable {
    let core: ProducerCore

    init(_ core: ProducerCore) {
        self.core = core
    }

    deinit { core.beginClose() }

    /// The topic.
    public var topic: String { core.topic }

    /// Demand as it comes: each element is how many more events may be sent.
    ///
    /// What came since the last element is added up. One task iterates. `send` does not suspend
    /// for as many events as the elements add up to, unless the broker takes demand back.
    public var demand: DemandSequence { DemandSequence(core: core) }

    /// Granted demand, as an asynchronous sequence.
    public struct DemandSequence: AsyncSequence, AsyncIteratorProtocol, Sendable {
        /// What the iteration gives.
        public typealias Element = Int
        /// What the iteration throws.
        public typealias Failure = ClientError

        let core: ProducerCore

        /// Makes the iterator.
        public func makeAsyncIterator() -> Self { self }

        /// The demand that came since the last call; nil when the producer is closed or the task
        /// is cancelled.
        public mutating func next() async throws(ClientError) -> Int? {
            try await core.demand(.new).map { Int(clamping: $0) }
        }

        /// The demand that came since the last call; nil when the producer is closed or the task
        /// is cancelled.
        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(ClientError) -> Int? {
            try await core.demand(.new).map { Int(clamping: $0) }
        }
    }

    /// Sends one event; suspends until it is granted and returns when it was handed over.
    public func send(_ event: OutgoingEvent) async throws(ClientError) {
        var batch = OutgoingBatch()
        try batch.append(event)
        try await core.send(batch)
    }

    /// Sends one event of text.
    public func send(_ text: String) async throws(ClientError) {
        try await send(OutgoingEvent(text))
    }

    /// Sends events in order; suspends as often as demand ends.
    ///
    /// Returns when all are handed over.
    /// An error leaves a first part of them sent: see `counts`.
    public func send(contentsOf events: some Sequence<OutgoingEvent>) async throws(ClientError) {
        try await core.send(OutgoingBatch(events))
    }

    /// Sends a batch in order; suspends as often as demand ends.
    public func send(_ batch: OutgoingBatch) async throws(ClientError) {
        try await core.send(batch)
    }

    /// Says a word between the events: each group hears it behind all that was sent before, and
    /// before all that is sent after.
    ///
    /// It spends no demand. Suspends until all before it is handed over, and while 1,024 marks may
    /// not have arrived; `flush` waits until it has. Those who consume find it in
    /// `EventBatch.marks`. After a lost connection a mark that may not have arrived is said again,
    /// in its place, so it may be heard twice.
    ///
    /// Throws `invalidArgument` if `text` has not 1 to 1,024 bytes of UTF-8, and what `send`
    /// throws. A topic keeps a mark until each of its groups has passed it, and at most 1,024: one
    /// more closes the link with `LIMIT`, unless a full topic drops its oldest events; then the
    /// oldest mark goes.
    public func mark(_ text: String) async throws(ClientError) {
        let bytes = Array(text.utf8)
        guard (1...Limits.markerBytesMax).contains(bytes.count) else {
            throw ClientError(
                .invalidArgument,
                "a marker of \(bytes.count) bytes",
                hint: "give it 1 to \(Limits.markerBytesMax) bytes"
            )
        }
        try await core.mark(.marker(bytes))
    }

    /// Says that nothing more comes, behind all that was sent before.
    ///
    /// The end is the topic's once every producer that has a link has said it, or has left without
    /// a word; a subscription with `stopsAtEnd` then ends. It closes nothing: to send again takes
    /// it back. For the rest it is as `mark`.
    public func end() async throws(ClientError) {
        try await core.mark(.end)
    }

    /// Waits until all that was sent is confirmed by the broker (SETTLE), and marks have arrived.
    ///
    /// Throws `eventRejected` if any event since the last `flush` was not taken.
    public func flush() async throws(ClientError) {
        try await core.flush()
    }

    /// Waits until all is confirmed and closes the link.
    public func close() async throws(ClientError) {
        try await core.close()
    }

    /// The account of the link as of now.
    public var counts: ProducerCounts { core.counts }

    /// Events that may be sent now without waiting.
    package var openDemand: Int { Int(clamping: core.openDemand) }
}
