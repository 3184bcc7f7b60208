import DequeModule
import Dispatch
import SluiceCore
import SluiceNet

/// What a task and the links that it consumes as one share.
final class StreamCore: Sendable {
    enum Step: Sendable {
        case batch(EventBatch, Subscription)
        /// Whether another will take its place is told too.
        case ended(Subscription, CancelReason, returns: Bool)
        /// One takes the place of one that has ended.
        case begun(Subscription)
        /// The time to wait is over.
        case late
    }

    fileprivate struct Member: Sendable {
        let subscription: Subscription
        let mode: CancelMode
        /// How it is made anew when it has ended.
        var revival: Revival?
        /// Whether it is that, and the task has not heard of it.
        var isNews = false
        /// Whether it stands in `ready`.
        var isReady = false
    }

    fileprivate struct State: Sendable {
        var members: [ObjectIdentifier: Member] = [:]
        /// Those that have something, in the order of their turns.
        var ready: Deque<ObjectIdentifier> = []
        /// Those that have ended and will be made anew.
        var awaited = 0
        var waiter: CheckedContinuation<Void, Never>?
        /// Whether there ever was a member: the sequence ends with the last one.
        var hasBegun = false
        /// No member is added any more.
        var isEnding = false
        var failure: ClientError?
        /// What the task took last.
        var held: (core: SubscriptionCore, events: Int, bytes: Int)?
        /// How many events may be handed out now; nil for any number.
        var bucket: TokenBucket?
        /// When the timer that is set wakes the task.
        var alarm: ContinuousClock.Instant?
    }

    fileprivate enum Turn {
        case member(Member)
        case wait
        case end
    }

    private let state = Lock(State())

    var subscriptions: [Subscription] { state.withLock { $0.members.values.map(\.subscription) } }
}

// MARK: - Members

extension StreamCore {
    /// Adds a subscription; one that comes too late is cancelled.
    func add(_ subscription: Subscription, _ mode: CancelMode, _ revival: Revival? = nil) {
        add(Member(subscription: subscription, mode: mode, revival: revival))
    }

    private func add(_ member: Member) {
        let subscription = member.subscription
        let isTaken = state.withLock { state in
            guard !state.isEnding else { return false }
            if member.isNews { state.awaited -= 1 }
            state.hasBegun = true
            state.members[ObjectIdentifier(subscription.core)] = member
            return true
        }
        guard isTaken else { return subscription.cancel() }
        if subscription.core.join(self) || member.isNews { tell(subscription.core) }
    }

    /// Has a subscription that has ended made anew after a while, if it is to be.
    private func revive(_ member: Member, after reason: CancelReason) -> Bool {
        let core = member.subscription.core
        guard var revival = member.revival, core.farewell == nil,
            reason.error?.code != .clientClosed, !member.mode.ends(for: reason),
            let pause = revival.pause(wasOpened: core.wasOpened),
            case .success(let home) = ClientLoop.shared
        else { return false }
        let isTaken = state.withLock { state in
            guard !state.isEnding else { return false }
            state.awaited += 1
            return true
        }
        guard isTaken else { return false }
        home.perform { [weak self, revival] in
            home.loop.schedule(after: pause) { [weak self] in
                // Who is not awaited any more is not made.
                guard let self, state.withLock({ !$0.isEnding }) else { return }
                add(
                    Member(
                        subscription: revival.subscribe(),
                        mode: member.mode,
                        revival: revival,
                        isNews: true
                    )
                )
            }
        }
        return true
    }

    /// Lets a subscription go, with what it has; its end means nothing here any more.
    func remove(_ subscription: Subscription) {
        let id = ObjectIdentifier(subscription.core)
        subscription.core.leaveStream()
        state.withLock { state in
            state.members[id] = nil
            state.ready.removeAll { $0 == id }
        }
    }

    /// Begins the end of all subscriptions.
    func end(_ body: (Subscription) -> Void) {
        let (members, waiter) = state.withLock { state in
            state.isEnding = true
            state.awaited = 0
            return (state.members.values.map(\.subscription), state.takeWaiter())
        }
        for subscription in members { body(subscription) }
        waiter?.resume()
    }

    /// Ends at once with `error`, and throws away what is here.
    func fail(_ error: ClientError) {
        state.withLock { $0.failure = $0.failure ?? error }
        end { $0.cancel(.failure(error)) }
    }

    /// Nobody will iterate any more.
    func abandon() {
        end { $0.cancel() }
        for subscription in subscriptions { remove(subscription) }
    }

    /// There is something to take from `core`.
    func tell(_ core: SubscriptionCore) {
        let waiter = state.withLock { state in
            let id = ObjectIdentifier(core)
            guard let isReady = state.members[id]?.isReady else {
                return nil as CheckedContinuation<Void, Never>?
            }
            if !isReady {
                state.members[id]?.isReady = true
                state.ready.append(id)
            }
            return state.takeWaiter()
        }
        waiter?.resume()
    }
}

// MARK: - The task's side

extension StreamCore {
    /// The next batch of at most `limit` events; asking for it says that the last is processed.
    func next(
        upTo limit: UInt32 = .max,
        until deadline: ContinuousClock.Instant? = nil
    ) async throws(ClientError) -> Step? {
        finishHeld()
        let step = try await nextHolding(upTo: limit, until: deadline)
        guard case .batch(let batch, let subscription)? = step else { return step }
        state.withLock { $0.held = (subscription.core, batch.count, batch.byteCount) }
        return step
    }

    /// The batch that was taken last is processed.
    func finishHeld() {
        let held = state.withLock { state in
            defer { state.held = nil }
            return state.held
        }
        held?.core.processed(held?.events ?? 0, bytes: held?.bytes ?? 0)
    }

    /// The next batch; the caller tells the subscription what is processed.
    ///
    /// Who limits it to 0 events, and takes what lies between them alone, gives a deadline too.
    func nextHolding(
        upTo limit: UInt32 = .max,
        until deadline: ContinuousClock.Instant? = nil
    ) async throws(ClientError) -> Step? {
        while true {
            let (allowed, pause) = allowance()
            if min(allowed, limit) == 0, case .member(let next) = try look(),
                next.first == .events
            {
                if let deadline, deadline <= .now { return .late }
                let end = ContinuousClock.now + pause
                await pauseForRate(until: min(deadline ?? end, end))
                continue
            }
            switch try turn() {
            case .end: return nil
            case .wait:
                if let deadline, deadline <= .now { return .late }
                await wait(until: deadline)
            case .member(let member):
                if let step = take(member, upTo: min(limit, allowed)) { return step }
            }
        }
    }

    /// Waits until there is something to take; returns what stands first, or nil at the end.
    func waitUntilReady() async throws(ClientError) -> Parking.First? {
        while true {
            switch try look() {
            case .member(let member):
                let (allowed, pause) = allowance()
                guard member.first == .events, allowed == 0 else { return member.first }
                await pauseForRate(until: .now + pause)
            case .end: return nil
            case .wait: await wait(until: nil)
            }
        }
    }

    /// Waits for the rate, unless the task is cancelled: then nobody waits for what would come.
    private func pauseForRate(until deadline: ContinuousClock.Instant) async {
        guard Task.isCancelled else { return await wait(until: deadline, despiteReady: true) }
        end { $0.cancel() }
    }

    private func look() throws(ClientError) -> Turn {
        try state.withLock { state throws(ClientError) in try state.turn(taking: false) }
    }

    private func turn() throws(ClientError) -> Turn {
        try state.withLock { state throws(ClientError) in try state.turn(taking: true) }
    }

    private func take(_ member: Member, upTo limit: UInt32) -> Step? {
        let core = member.subscription.core
        guard !member.isNews else {
            if core.isReady { tell(core) }
            return .begun(member.subscription)
        }
        let (step, hasMore) = core.take(upTo: limit)
        switch step {
        case .wait: return nil
        case .batch(let batch):
            if hasMore { tell(core) }
            spend(batch.count)
            core.noteReceived(batch)
            return .batch(batch, member.subscription)
        case .end(_, let reason):
            let returns = revive(member, after: reason)
            remove(member.subscription)
            if member.mode.ends(for: reason) {
                if let error = reason.error { fail(error) } else { end { $0.stop() } }
            }
            return .ended(member.subscription, reason, returns: returns)
        }
    }

    private func wait(
        until deadline: ContinuousClock.Instant?,
        despiteReady: Bool = false
    ) async {
        if let deadline { setAlarm(deadline) }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    precondition(state.waiter == nil, "one task iterates a stream")
                    let isLate = deadline.map { $0 <= .now } ?? false
                    let isReady = !state.ready.isEmpty && !despiteReady
                    guard !isReady, state.failure == nil, !state.isOver, !isLate else {
                        return true
                    }
                    state.waiter = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            end { $0.stop() }
        }
    }

    /// Has the task woken at `time`; one timer at a time, for the earliest.
    private func setAlarm(_ time: ContinuousClock.Instant) {
        let isNeeded = state.withLock { state in
            if let alarm = state.alarm, alarm <= time { return false }
            state.alarm = time
            return true
        }
        guard isNeeded, case .success(let home) = ClientLoop.shared else { return }
        home.perform {
            home.loop.schedule(after: max(.zero, time - .now)) { [weak self] in self?.ring(time) }
        }
    }

    var sleep: (isAsleep: Bool, until: ContinuousClock.Instant?) {
        state.withLock { ($0.waiter != nil, $0.alarm) }
    }

    private func ring(_ time: ContinuousClock.Instant) {
        let waiter = state.withLock { state in
            if state.alarm == time { state.alarm = nil }
            return state.takeWaiter()
        }
        waiter?.resume()
    }
}

// MARK: - The rate

extension StreamCore {
    /// The time of `TokenBucket`.
    private static var now: Instant {
        Instant(nanoseconds: DispatchTime.now().uptimeNanoseconds)
    }

    func limitRate(_ limit: RateLimit?) {
        let waiter = state.withLock { state in
            state.bucket = limit.map { TokenBucket($0, at: Self.now) }
            return state.takeWaiter()
        }
        waiter?.resume()
    }

    /// How many events may be handed out now, and how long it takes until one may.
    private func allowance() -> (events: UInt32, pause: Duration) {
        state.withLock { state in
            let now = Self.now
            guard let events = state.bucket?.available(at: now) else { return (.max, .zero) }
            let next = state.bucket?.nextAvailable(at: now) ?? now
            let pause = next.nanoseconds - now.nanoseconds
            return (UInt32(clamping: events), .nanoseconds(Int64(clamping: pause)))
        }
    }

    private func spend(_ events: Int) {
        state.withLock { state in
            let now = Self.now
            guard let available = state.bucket?.available(at: now) else { return }
            // The limit may have changed since the batch was taken.
            state.bucket?.take(min(UInt64(events), available), at: now)
        }
    }
}

extension StreamCore.Member {
    /// What stands first of what it brings.
    fileprivate var first: Parking.First { isNews ? .word : subscription.core.first }
}

extension StreamCore.State {
    fileprivate var isOver: Bool { members.isEmpty && awaited == 0 && (isEnding || hasBegun) }

    fileprivate mutating func takeWaiter() -> CheckedContinuation<Void, Never>? {
        defer { waiter = nil }
        return waiter
    }

    fileprivate mutating func turn(taking: Bool) throws(ClientError) -> StreamCore.Turn {
        if let failure { throw failure }
        guard let id = ready.first, let member = members[id] else {
            return isOver ? .end : .wait
        }
        if taking {
            ready.removeFirst()
            members[id]?.isReady = false
            members[id]?.isNews = false
        }
        return .member(member)
    }
}
