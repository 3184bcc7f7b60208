import Glibc
import Sluice
import SluiceCore
import SluiceNet
import Synchronization

/// A reading of a topic: how much is asked for, and when it ends.
struct Consumption: Sendable {
    var topic: String
    var group: String?
    var start: SubscriptionOptions.Start?
    var maxDemand: Int
    var minDemand: Int
    /// Never more than so many in all; they are asked for exactly.
    var count: Int?
    /// Ends when nothing waits any more.
    var exitAtEnd = false
    /// Ends when producers have said that nothing more comes.
    var untilEnd = false
    var idleTimeout: TimeSpan?
    var name = "sluice-sub"
    var groupRules = SubscriptionOptions.GroupRules()
    var membership = SubscriptionOptions.Membership()

    /// Hands batches to `take` until the reading ends; throws what its exit code is to be.
    func run(
        _ client: SluiceClient,
        note: (String) -> Void,
        take: (EventBatch) async throws -> Void
    ) async throws {
        var received = 0
        var hasEnded = false
        let interrupts = Interrupts()
        defer { interrupts.stop() }
        let reader = ReaderWatch()
        repeat {
            let asked = min(maxDemand, count.map { $0 - received } ?? .max)
            let subscription = client.subscribe(to: topic, options: options)
            interrupts.setAction { subscription.stop() }
            reader.setAction { subscription.stop() }
            let watch = IdleWatch(idleTimeout) { subscription.stop() }
            defer { watch.cancel() }
            do {
                received += try await read(subscription, asked, received, watch, note) { batch in
                    hasEnded = hasEnded || batch.marks.contains { $0.kind == .end }
                    if !batch.isEmpty { try await take(batch) }
                }
            } catch {
                subscription.cancel()
                throw error
            }
            if let signal = interrupts.caught {
                throw Failure(signal == SIGTERM ? .terminated : .interrupted)
            }
            if reader.isGone { throw Failure.brokenPipe }
            if watch.hasExpired { return try checkCount(received) }
            if untilEnd { return try checkEnd(received, hasEnded: hasEnded) }
            // What was cut off does not come either, and says nothing of the end.
            let counts = subscription.counts
            let isAtEnd = counts.delivered.addingSaturated(counts.missing) < counts.asked
            if !exitAtEnd || isAtEnd { return try checkCount(received) }
        } while received < count ?? .max
    }

    private var isManual: Bool { count != nil || exitAtEnd }

    private var options: SubscriptionOptions {
        var options = SubscriptionOptions(
            group: group,
            start: start,
            demand: isManual ? .manual : .automatic(max: maxDemand, min: minDemand),
            name: name
        )
        options.stopsAtEnd = untilEnd
        options.groupRules = groupRules
        options.membership = membership
        return options
    }

    /// Reads one subscription to its end and returns how many events came.
    private func read(
        _ subscription: Subscription,
        _ firstAsk: Int,
        _ before: Int,
        _ watch: IdleWatch,
        _ note: (String) -> Void,
        _ take: (EventBatch) async throws -> Void
    ) async throws -> Int {
        var received = 0
        var asked = 0
        if isManual {
            subscription.ask(firstAsk)
            asked = firstAsk
        }
        if exitAtEnd { subscription.drain() }
        for try await batch in subscription {
            watch.touch()
            for gap in batch.gaps { note(gap.text(topic)) }
            for mark in batch.marks { note(mark.text(topic)) }
            try await take(batch)
            watch.touch()
            received += batch.count
            guard let count, !exitAtEnd else { continue }
            let missing = count - before - received
            guard missing > 0 else {
                subscription.cancel()
                break
            }
            // What was cut off with a lost connection is asked for again.
            let outstanding = asked - received - Int(clamping: subscription.counts.forfeited)
            guard outstanding <= minDemand else { continue }
            let more = min(maxDemand, missing) - outstanding
            if more > 0 {
                subscription.ask(more)
                asked += more
            }
        }
        return received
    }

    private func checkEnd(_ received: Int, hasEnded: Bool) throws {
        guard hasEnded || received == count else {
            throw Failure(
                .partial,
                "the link was closed before the end of \(topic) came",
                hint: "what the broker is at: sluice why \(topic)"
            )
        }
        try checkCount(received)
    }

    private func checkCount(_ received: Int) throws {
        guard let count, received < count else { return }
        throw Failure(
            .partial,
            "\(received.grouped) of \(count.grouped) events came",
            hint: "why no more: sluice why \(topic)"
        )
    }
}

extension EventGap {
    fileprivate func text(_ topic: String) -> String {
        "gap in \(topic): \(count.grouped) event\(count == 1 ? "" : "s") between offsets "
            + "\(offsets.lowerBound) and \(offsets.upperBound) will not come (\(reason))"
    }
}

extension EventMark {
    /// What a person is told of it.
    func text(_ topic: String) -> String {
        switch kind {
        case .marker(let text):
            "marker in \(topic) before offset \(offset): \(EventWriter.printable(text))"
        case .end: "end of \(topic) before offset \(offset): its producers have nothing more"
        }
    }
}

/// The first Ctrl-C or SIGTERM ends a verb in order, the second one at once.
final class Interrupts: Sendable {
    private struct State: Sendable {
        var caught: Int32?
        var action: (@Sendable () -> Void)?
        var again: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())
    private let watcher = Mutex<SignalWatcher?>(nil)

    init() {
        let watching = SignalWatcher([SIGINT, SIGTERM]) { [weak self] in self?.note($0) }
        watcher.withLock { $0 = watching }
    }

    /// The signal that came, if one did.
    var caught: Int32? { state.withLock { $0.caught } }

    /// What the first signal does, at once if it has come already; and what is to be done before
    /// the second one ends the process.
    func setAction(
        _ action: @escaping @Sendable () -> Void,
        again: (@Sendable () -> Void)? = nil
    ) {
        let isLate = state.withLock {
            $0.action = action
            $0.again = again
            return $0.caught != nil
        }
        if isLate { action() }
    }

    func stop() {
        watcher.withLock { $0?.cancel() }
        Self.restoreDefaults()
    }

    private func note(_ number: Int32) {
        let (isFirst, action, again) = state.withLock { state in
            defer { state.caught = state.caught ?? number }
            return (state.caught == nil, state.action, state.again)
        }
        guard !isFirst else {
            if again == nil { Self.restoreDefaults() }
            action?()
            return
        }
        again?()
        Self.restoreDefaults()
        kill(getpid(), number)
    }

    private static func restoreDefaults() {
        signal(SIGINT, SIG_DFL)
        signal(SIGTERM, SIG_DFL)
    }
}

/// Calls out when nothing has come for a time.
final class IdleWatch: Sendable {
    private struct State: Sendable {
        var last = ContinuousClock.now
        var hasExpired = false
    }

    private let state: Mutex<State>
    private let task: Mutex<Task<Void, Never>?>

    init(_ limit: TimeSpan?, _ expire: @escaping @Sendable () -> Void) {
        state = Mutex(State())
        task = Mutex(nil)
        guard let limit = limit?.duration else { return }
        let watching = Task { [self] in
            while !Task.isCancelled {
                let due = state.withLock { $0.last } + limit
                guard due <= ContinuousClock.now else {
                    _ = try? await Task.sleep(until: due, clock: .continuous)
                    continue
                }
                state.withLock { $0.hasExpired = true }
                return expire()
            }
        }
        task.withLock { $0 = watching }
    }

    var hasExpired: Bool { state.withLock { $0.hasExpired } }
    func touch() { state.withLock { $0.last = .now } }
    func cancel() { task.withLock { $0?.cancel() } }
}
