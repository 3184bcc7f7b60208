import Sluice
import SluiceCore
import Synchronization

/// Takes events of a topic, and asks for no more of them than another topic asks for.
final class Intake: Sendable {
    private struct State: Sendable {
        var demand: PassedDemand
        var ends = InputEnds([0])
        var subscription: Subscription?
        var isOver = false
        /// Waits for demand.
        var waiting: Task<Void, Never>?
        var loss: ClientError?
    }

    private let client: SluiceClient
    private let topic: String
    private let options: SubscriptionOptions
    private let producer: Producer
    private let exitAtEnd: Bool
    private let state: Mutex<State>

    init(
        client: SluiceClient,
        topic: String,
        options: SubscriptionOptions,
        producer: Producer,
        most: Int,
        count: Int?,
        exitAtEnd: Bool
    ) {
        self.client = client
        self.topic = topic
        self.options = options
        self.producer = producer
        self.exitAtEnd = exitAtEnd
        let demand = PassedDemand(most: UInt64(most), total: count.map { UInt64($0) } ?? .max)
        state = Mutex(State(demand: demand))
    }

    /// Why nothing is asked for any more, if that is the producer's end.
    var loss: ClientError? { state.withLock { $0.loss } }

    /// Whether the topic's end was the last that came.
    var hasEnded: Bool { state.withLock { $0.ends.isAtEnd } }

    /// Asks for no more; what is on its way still comes.
    func end() {
        state.withLock { state in
            state.isOver = true
            state.subscription?.stop()
            state.waiting?.cancel()
        }
    }

    /// Hands batches to `take`, and whether the topic's end lies before their events, until there
    /// were `count`, nothing waits any more, or `end`.
    func run(_ take: (EventBatch, _ isAtEnd: Bool) async throws -> Void) async throws {
        defer { end() }
        guard exitAtEnd else {
            wait { [self] () async throws(ClientError) in
                for try await _ in producer.demand { ask() }
            }
            guard let subscription = begin() else { return }
            ask()
            for try await batch in subscription {
                try await hand(batch, to: take)
                ask()
            }
            return
        }
        var isAtEnd = false
        repeat {
            await waitForDemand()
            guard let subscription = begin() else { return }
            ask()
            subscription.drain()
            for try await batch in subscription { try await hand(batch, to: take) }
            // What was cut off does not come either, and says nothing of the end.
            let counts = subscription.counts
            isAtEnd = counts.delivered.addingSaturated(counts.missing) < counts.asked
            bookForfeited()
        } while !isAtEnd
    }

    private func waitForDemand() async {
        let waiting = wait { [producer] () async throws(ClientError) in
            var demand = producer.demand
            while producer.openDemand == 0, try await demand.next() != nil {}
        }
        await waiting.value
    }

    /// Has `body` wait for demand, until the end; without a producer there is nothing to do.
    @discardableResult
    private func wait(
        _ body: @escaping @Sendable () async throws(ClientError) -> Void
    ) -> Task<Void, Never> {
        let waiting = Task { [self] in
            do throws(ClientError) {
                try await body()
            } catch {
                state.withLock { $0.loss = error }
                end()
            }
        }
        state.withLock { state in
            state.waiting = waiting
            if state.isOver { waiting.cancel() }
        }
        return waiting
    }

    /// Opens the link, unless it is over.
    private func begin() -> Subscription? {
        state.withLock { state in
            guard !state.isOver else { return nil }
            let subscription = client.subscribe(to: topic, options: options)
            state.subscription = subscription
            state.demand.begin()
            return subscription
        }
    }

    private func hand(
        _ batch: EventBatch,
        to take: (EventBatch, Bool) async throws -> Void
    ) async throws {
        let isAtEnd = state.withLock { state in
            batch.marks.contains { $0.kind == .end } && state.ends.ended(0)
        }
        if !batch.isEmpty || !batch.marks.isEmpty { try await take(batch, isAtEnd) }
        let isEnough = state.withLock { state in
            if !batch.isEmpty { state.ends.came(from: 0) }
            state.demand.handled(UInt64(batch.count))
            return state.demand.isDone
        }
        if isEnough { end() }
    }

    private func ask() {
        bookForfeited()
        let open = UInt64(producer.openDemand)
        state.withLock { state in
            guard !state.isOver, let subscription = state.subscription else { return }
            subscription.ask(Int(clamping: state.demand.ask(open: open)))
        }
    }

    /// What was cut off will not come: it may be asked for again.
    private func bookForfeited() {
        state.withLock { state in
            guard let subscription = state.subscription else { return }
            state.demand.book(forfeited: subscription.counts.forfeited)
        }
    }
}
