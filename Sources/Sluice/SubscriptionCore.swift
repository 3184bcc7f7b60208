import DequeModule
import SluiceCore
import SluiceNet
import SluiceWire

/// What the loop and the iterating task share of a subscription.
///
/// Batches change hands under one small lock, whole stretches at a time.
final class SubscriptionCore: Sendable {
    enum Item: Sendable {
        case run(Run)
        case gap(EventGap)
    }

    struct State: Sendable {
        // What is here was asked for, so its number is bounded by the demand.
        var items: Deque<Item> = []
        var window: DemandWindow?
        var byteWindow: DemandWindow?
        /// Events and bytes of the batch that the task holds.
        var held: UInt64 = 0
        var heldBytes: UInt64 = 0
        var waiter: CheckedContinuation<Void, Never>?
        /// The flags that begin the end and were sent.
        var ending: AskFlags = []
        var isDiscarding = false
        var isEnded = false
        var error: ClientError?
        var counts = SubscriptionCounts()
        /// What was booked of the link's account with this number; each counts from 0.
        var account: UInt32 = 0
        var forfeited: UInt64 = 0
        var forfeitedBytes: UInt64 = 0
    }

    enum Step {
        case batch(EventBatch)
        case wait
        case end(ClientError?)
    }

    let topic: String
    let connector: Connector?
    let open: Open
    /// The demand that goes with OPEN.
    let firstAsk: (events: UInt64, bytes: UInt64)
    private let batchMax: UInt32
    private let state: Lock<State>
    /// Set and read on the loop.
    nonisolated(unsafe) var key: LinkKey?

    /// A subscription that never was: its iteration throws `error`.
    convenience init(topic: String, failed error: ClientError) {
        self.init(
            topic: topic,
            options: SubscriptionOptions(demand: .manual),
            connector: nil
        )
        finish(error, nil)
    }

    init(topic: String, options: SubscriptionOptions, connector: Connector?) {
        self.topic = topic
        self.connector = connector
        var state = State()
        var firstAsk: (events: UInt64, bytes: UInt64) = (0, 0)
        var batchMax = UInt32.max
        if case .automatic(let max, let min) = options.demand {
            var window = DemandWindow(max: UInt64(max), min: UInt64(min))
            firstAsk.events = window.open()
            batchMax = UInt32(clamping: window.batchMax)
            state.window = window
        }
        if let bytes = options.maxDemandBytes {
            var window = DemandWindow(max: UInt64(bytes), min: UInt64(bytes) / 2)
            firstAsk.bytes = window.open()
            state.byteWindow = window
        }
        self.firstAsk = firstAsk
        self.batchMax = batchMax
        self.state = Lock(state)
        open = Self.open(topic, options)
    }

    private static func open(_ topic: String, _ options: SubscriptionOptions) -> Open {
        var open = Open(role: .sink, topic: topic)
        open.group = options.group
        open.name = options.name
        open.start = options.start.map { start in
            switch start {
            case .new: .new
            case .first: .first
            case .offset(let offset): .offset(offset)
            case .time(let time): .time(time)
            }
        }
        return open
    }

    var counts: SubscriptionCounts { state.withLock { $0.counts } }
}

// MARK: - The task's side

extension SubscriptionCore {
    /// The next batch; asking for it says that the one before is processed.
    func next() async throws(ClientError) -> EventBatch? {
        while true {
            let (step, events, bytes) = state.withLock { $0.step(batchMax: batchMax) }
            if events > 0 || bytes > 0 { connector?.ask(self, events: events, bytes: bytes) }
            switch step {
            case .batch(let batch): return batch
            case .end(nil): return nil
            case .end(let error?): throw error
            case .wait: await wait()
            }
        }
    }

    private func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    precondition(state.waiter == nil, "one task iterates a subscription")
                    guard state.items.isEmpty, !state.isEnded else { return true }
                    state.waiter = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            end(.stop)
        }
    }

    /// Begins the end of the sequence: DRAIN, or STOP.
    func end(_ flags: AskFlags, discarding: Bool = false) {
        let isFirst = state.withLock { state in
            if discarding { state.discard() }
            guard !state.isEnded, !state.ending.contains(flags) else { return false }
            state.ending.insert(flags)
            return true
        }
        if isFirst { connector?.end(self, flags) }
    }
}

extension SubscriptionCore.State {
    fileprivate mutating func step(
        batchMax: UInt32
    ) -> (SubscriptionCore.Step, events: UInt64, bytes: UInt64) {
        var events: UInt64 = 0
        var bytes: UInt64 = 0
        if held > 0 {
            events = window?.processed(held) ?? 0
            bytes = byteWindow?.processed(heldBytes) ?? 0
            held = 0
            heldBytes = 0
            if !ending.isEmpty { (events, bytes) = (0, 0) }
        }
        guard !items.isEmpty else { return (isEnded ? .end(takeError()) : .wait, events, bytes) }
        let batch = takeBatch(upTo: batchMax)
        held = UInt64(batch.count)
        heldBytes = UInt64(batch.byteCount)
        return (.batch(batch), events, bytes)
    }

    private mutating func takeError() -> ClientError? {
        defer { error = nil }
        return error
    }

    private mutating func takeBatch(upTo events: UInt32) -> EventBatch {
        var runs: [Run] = []
        var gaps: [EventGap] = []
        var left = events
        while left > 0, let item = items.first {
            switch item {
            case .gap(let gap):
                guard runs.isEmpty else { return EventBatch(runs: runs, gaps: gaps) }
                gaps.append(gap)
                items.removeFirst()
            case .run(var run):
                let part = run.prefix(events: left, bytes: .max)
                runs.append(part)
                left -= part.count
                items.removeFirst()
                guard part.count < run.count else { continue }
                run.start = part.end
                run.count -= part.count
                run.offset += UInt64(part.count)
                items.prepend(.run(run))
            }
        }
        return EventBatch(runs: runs, gaps: gaps)
    }

    fileprivate mutating func discard() {
        isDiscarding = true
        for case .run(let run) in items { counts.discarded += UInt64(run.count) }
        items.removeAll()
    }
}

// MARK: - The loop's side

extension SubscriptionCore {
    /// Hands over what a turn brought; returns the demand that takes the place of what was lost.
    @discardableResult
    func publish(_ items: [Item], _ link: ClientLink?) -> (events: UInt64, bytes: UInt64) {
        let (waiter, ask) = state.withLock { state in
            let ask = state.book(link)
            for item in items { state.take(item) }
            guard !state.items.isEmpty else {
                return (nil as CheckedContinuation<Void, Never>?, ask)
            }
            defer { state.waiter = nil }
            return (state.waiter, ask)
        }
        waiter?.resume()
        return ask
    }

    /// The link goes on after a lost connection.
    func resumed() { state.withLock { $0.counts.resumed += 1 } }

    /// Bytes asked for beside the window, for an event larger than what was open.
    func askedExtra(bytes: UInt64) { state.withLock { $0.byteWindow?.extend(bytes) } }

    /// Demand was sent, or will be with the next OPEN.
    func asked(_ events: UInt64) { state.withLock { $0.counts.asked += events } }

    /// Nothing more will come.
    func finish(_ error: ClientError?, _ link: ClientLink?) {
        let waiter = state.withLock { state in
            guard !state.isEnded else { return nil as CheckedContinuation<Void, Never>? }
            _ = state.book(link)
            state.isEnded = true
            state.error = error
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }
}

extension SubscriptionCore.State {
    /// Takes over what came, counted.
    fileprivate mutating func take(_ item: SubscriptionCore.Item) {
        switch item {
        case .run(let run):
            counts.delivered += UInt64(run.count)
            if isDiscarding {
                counts.discarded += UInt64(run.count)
            } else {
                items.append(item)
            }
        case .gap(let gap):
            // A number that only a broker gone wrong can bring about.
            let sum = counts.missing.addingReportingOverflow(gap.count)
            counts.missing = sum.overflow ? .max : sum.partialValue
            if !isDiscarding { add(gap) }
        }
    }

    /// Joins what follows on: gaps spend no credit, so nothing else bounds how many may wait.
    private mutating func add(_ gap: EventGap) {
        guard case .gap(let last)? = items.last, last.reason == gap.reason,
            last.offsets.upperBound == gap.offsets.lowerBound
        else { return items.append(.gap(gap)) }
        items[items.count - 1] = .gap(
            EventGap(
                offsets: last.offsets.lowerBound..<gap.offsets.upperBound,
                count: last.count + gap.count,
                reason: gap.reason
            )
        )
    }

    /// Takes over the link's account; returns what to ask.
    ///
    /// Demand that was cut off counts as processed: without that a window would never open again.
    fileprivate mutating func book(_ link: ClientLink?) -> (events: UInt64, bytes: UInt64) {
        guard let link else { return (0, 0) }
        if link.account != account {
            (account, forfeited, forfeitedBytes) = (link.account, 0, 0)
        }
        let ledger = link.ledger
        let events = ledger.forfeited - min(ledger.forfeited, forfeited)
        let bytes = ledger.forfeitedBytes - min(ledger.forfeitedBytes, forfeitedBytes)
        (forfeited, forfeitedBytes) = (ledger.forfeited, ledger.forfeitedBytes)
        counts.forfeited += events
        guard ending.isEmpty else { return (0, 0) }
        return (
            events > 0 ? window?.processed(events) ?? 0 : 0,
            bytes > 0 ? byteWindow?.processed(bytes) ?? 0 : 0
        )
    }
}
