import SluiceCore
import SluiceNet
import SluiceWire

// What the event loop does to a producer.
extension ProducerCore {
    /// Takes what `send` brought since the last time, and how many events wait for demand.
    func takeQueue() -> (queue: [Outgoing], waiting: UInt64) {
        state.withLock { state in
            state.isPumpDue = false
            defer {
                state.queue.removeAll(keepingCapacity: true)
                state.queued = 0
            }
            if options.backlog == .endless, !state.isClosing {
                return (state.queue, ClientLink.endlessBacklog)
            }
            var waiting: UInt64 = 0
            for case .run(let run) in state.tickets.lazy.map(\.rest) {
                waiting += UInt64(run.count)
            }
            return (state.queue, waiting)
        }
    }

    /// The link's account has changed: what waits for demand is taken over as far as that goes.
    ///
    /// Returns whether there is something to take from the queue.
    func update(_ link: ClientLink, granted: UInt64) -> Bool {
        let (waiters, hasMore, onGrant) = state.withLock { state in
            state.counts.asked = link.ledger.asked
            state.counts.delivered = link.ledger.delivered
            state.counts.forfeited = link.ledger.forfeited
            let credit = link.state == .open ? link.ledger.credit : 0
            let taken = link.outbox.pendingCount + state.queued
            state.allowance = credit - min(credit, taken)
            var waiters = state.accept()
            state.granted = min(state.granted + granted, state.allowance)
            if granted > 0, state.allowance > 0, let waiter = state.demandWaiter {
                waiters.append(waiter)
                state.demandWaiter = nil
            }
            return (waiters, !state.queue.isEmpty, granted > 0 ? state.onGrant : nil)
        }
        for waiter in waiters { waiter.resume() }
        onGrant?()
        return hasMore
    }

    /// The link goes on after a lost connection.
    func resumed() { state.withLock { $0.counts.resumed += 1 } }

    /// The broker told what became of the oldest unconfirmed events.
    func settled(_ count: UInt64, _ outcome: Outcome, _ argument: UInt32) {
        answerFlushes { state in
            if outcome == .accept {
                state.counts.confirmed += count
            } else {
                state.counts.rejected += count
                state.rejection = state.rejection ?? Self.rejection(count, outcome, argument)
            }
        }
    }

    /// The oldest `count` marks that were sent have arrived.
    func marksArrived(_ count: Int) { answerFlushes { $0.arrivedMarks += UInt64(count) } }

    /// Books what has become known, and answers those who waited for it.
    private func answerFlushes(_ book: (inout State) -> Void) {
        let (answers, result): ([Answer<Void>], Result<Void, ClientError>) = state.withLock {
            state in
            book(&state)
            let known = state.counts.confirmed + state.counts.rejected
            let split = state.flushes.firstIndex {
                $0.target > known || $0.markTarget > state.arrivedMarks
            }
            let count = split ?? state.flushes.endIndex
            guard count > 0 else { return ([], .success(())) }
            let answers = state.flushes[..<count].map(\.answer)
            state.flushes.removeFirst(count)
            return (answers, state.takeFlushResult())
        }
        for answer in answers { answer.give(result) }
    }

    private static func rejection(
        _ count: UInt64,
        _ outcome: Outcome,
        _ argument: UInt32
    ) -> ClientError {
        let code = CloseCode(rawValue: UInt16(truncatingIfNeeded: argument))
        let reason = "the broker did not take \(count) event\(count == 1 ? "" : "s"): \(code)"
        guard outcome == .reject else {
            return ClientError(.protocolViolated, "\(outcome) settles no published event")
        }
        return ClientError(.eventRejected, close: code, reason: reason)
    }

    /// The link is gone: nothing can be sent or confirmed any more.
    func finish(_ error: ClientError?) {
        let (answers, waiters) = state.withLock { state in
            guard !state.isEnded else {
                return ([] as [Answer<Void>], [] as [CheckedContinuation<Void, Never>])
            }
            state.isEnded = true
            state.error = error
            state.allowance = 0
            state.onGrant = nil
            defer { state.flushes = [] }
            return (state.flushes.map(\.answer), state.takeWaiters())
        }
        for answer in answers { answer.give(.failure(error ?? .closed)) }
        for waiter in waiters { waiter.resume() }
        ended.open()
    }

    /// Whether the program wants the link to end.
    var isClosing: Bool { state.withLock { $0.isClosing } }

    /// Whether nothing more has to be sent or confirmed before the link can end.
    var isDone: Bool {
        state.withLock { $0.queue.isEmpty && $0.isSettled }
    }
}
