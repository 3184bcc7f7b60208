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
        case mark(EventMark)
    }

    struct State: Sendable {
        // Events that are here were asked for, so their number is bounded by the demand.
        var items = ItemQueue()
        var window: DemandWindow?
        var byteWindow: DemandWindow?
        /// Events and bytes of the batch that the task holds.
        var held: UInt64 = 0
        var heldBytes: UInt64 = 0
        var waiter: CheckedContinuation<Void, Never>?
        /// The stream that this is a part of, and that is told instead of `waiter`.
        var stream: StreamCore?
        /// The flags that begin the end and were sent.
        var ending: AskFlags = []
        /// What this side has said of the end.
        var farewell: CancelReason?
        /// How many events may still come in further rounds of a drain; nil for the first.
        var roundsLeft: UInt64?
        /// Whether one DRAIN is not enough: it goes on as long as events wait.
        var drainsThrough = false
        /// The last DRAIN is answered and the next is due.
        var isRoundDue = false
        var isDiscarding = false
        var isEnded = false
        var wasOpened = false
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
        case end(ClientError?, CancelReason)
    }

    /// What is to be asked, and how.
    struct Wish {
        var events: UInt64 = 0
        var bytes: UInt64 = 0
        /// With DRAIN.
        var isRound = false
    }

    let topic: String
    let connector: Connector?
    let open: Open
    let spans: Spans?
    /// The demand that goes with OPEN.
    let firstAsk: (events: UInt64, bytes: UInt64)
    let batchMax: UInt32
    private let stopsAtEnd: Bool
    private let state: Lock<State>
    /// Opens when the broker has opened the link, or nothing more will come.
    let opened = Latch()
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
        stopsAtEnd = options.stopsAtEnd
        self.state = Lock(state)
        spans = connector?.spans?.of(topic)
        open = Self.open(topic, options)
    }

    private static func open(_ topic: String, _ options: SubscriptionOptions) -> Open {
        var open = Open(role: .sink, topic: topic)
        open.group = options.group.map { Name($0) }
        open.name = options.name
        // Both were checked before, and a subscription that failed is never opened.
        open.wish = (try? options.wish()) ?? GroupWish()
        open.member = (try? options.member()) ?? MemberOptions()
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
            let (step, wish) = state.withLock { state in
                var wish = state.processed(state.held, state.heldBytes)
                let step = state.take(upTo: batchMax, &wish)
                return (step, wish)
            }
            carryOut(wish)
            switch step {
            case .batch(let batch):
                noteReceived(batch)
                return batch
            case .end(nil, _): return nil
            case .end(let error?, _): throw error
            case .wait: await wait()
            }
        }
    }

    /// Tells who traces that a batch is handed out.
    func noteReceived(_ batch: EventBatch) {
        spans?.noteReceived(batch, from: topic, group: open.group?.text)
    }

    private func carryOut(_ wish: Wish) {
        if wish.events > 0 || wish.bytes > 0 {
            connector?.ask(self, events: wish.events, bytes: wish.bytes)
        }
        if wish.isRound { connector?.end(self, .drain) }
    }

    private func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    precondition(state.waiter == nil, "one task iterates a subscription")
                    guard state.items.isEmpty, !state.isEnded, !state.isRoundDue else {
                        return true
                    }
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
    func end(_ flags: AskFlags, discarding: Bool = false, _ reason: CancelReason = .shutdown) {
        let isFirst = state.withLock { state in
            if discarding { state.discard() }
            return state.beginEnd(flags, reason)
        }
        if isFirst { connector?.end(self, flags) }
    }

    /// Begins the end: what waits now is all delivered, however much it is.
    ///
    /// Without a rule of demand that is what has been asked for.
    func drainThrough() {
        state.withLock { $0.drainsThrough = $0.window != nil }
        end(.drain)
    }
}

// MARK: - As a part of a stream

extension SubscriptionCore {
    /// Whether there is something to take.
    private static func isReady(_ state: State) -> Bool {
        !state.items.isEmpty || state.isEnded || state.isRoundDue
    }

    /// Tells `stream` from now on; returns whether there is something to take already.
    func join(_ stream: StreamCore) -> Bool {
        state.withLock { state in
            state.stream = stream
            return Self.isReady(state)
        }
    }

    var isReady: Bool { state.withLock { Self.isReady($0) } }

    func leaveStream() { state.withLock { $0.stream = nil } }

    /// The next batch if there is one; what was taken before counts as processed by `processed`.
    func take(upTo limit: UInt32) -> (step: Step, hasMore: Bool) {
        let (step, wish, hasMore) = state.withLock { state in
            var wish = Wish()
            let step = state.take(upTo: min(limit, batchMax), &wish)
            return (step, wish, Self.isReady(state))
        }
        carryOut(wish)
        return (step, hasMore)
    }

    /// Of what was taken so much is processed.
    func processed(_ events: Int, bytes: Int) {
        let wish = state.withLock { $0.processed(UInt64(events), UInt64(bytes)) }
        carryOut(wish)
    }

    /// Whether nothing can come before something that was taken is processed.
    var isExhausted: Bool {
        state.withLock { state in
            guard state.items.isEmpty, state.held > 0 else { return false }
            if !state.ending.isEmpty { return state.isRoundDue }
            return state.window.map { $0.outstanding <= state.held } ?? false
        }
    }

    /// What stands first of what is here, if anything is.
    var first: Parking.First {
        state.withLock { state in
            if case .run? = state.items.first { .events } else { .word }
        }
    }

    /// Whether only the program asks.
    var isManual: Bool { state.withLock { $0.window == nil } }
}

extension SubscriptionCore.State {
    /// Notes that `flags` begin the end, for `reason`; false if they did before.
    fileprivate mutating func beginEnd(_ flags: AskFlags, _ reason: CancelReason) -> Bool {
        guard !isEnded, !ending.contains(flags) else { return false }
        ending.insert(flags)
        farewell = farewell ?? reason
        return true
    }

    /// Of what the task holds so much is processed.
    fileprivate mutating func processed(
        _ events: UInt64,
        _ bytes: UInt64
    ) -> SubscriptionCore.Wish {
        guard events > 0, held > 0 else { return SubscriptionCore.Wish() }
        held -= min(held, events)
        heldBytes -= min(heldBytes, bytes)
        guard ending.isEmpty else {
            var wish = SubscriptionCore.Wish()
            if isRoundDue, held == 0, items.isEmpty { startRound(&wish) }
            return wish
        }
        return SubscriptionCore.Wish(
            events: window?.processed(events) ?? 0,
            bytes: byteWindow?.processed(bytes) ?? 0
        )
    }

    fileprivate mutating func take(
        upTo limit: UInt32,
        _ wish: inout SubscriptionCore.Wish
    ) -> SubscriptionCore.Step {
        guard items.isEmpty else {
            let batch = items.takeBatch(upTo: limit)
            guard !batch.saysNothing else { return .wait }
            held += UInt64(batch.count)
            heldBytes += UInt64(batch.byteCount)
            return .batch(batch)
        }
        guard !isEnded else {
            let reason = error.map { .failure($0) } ?? farewell ?? CancelReason.normal
            return .end(takeError(), reason)
        }
        if isRoundDue, held == 0 { startRound(&wish) }
        return .wait
    }

    /// Asks anew for a whole window, with DRAIN.
    private mutating func startRound(_ wish: inout SubscriptionCore.Wish) {
        isRoundDue = false
        wish.isRound = true
        wish.events = window?.reopen() ?? 0
        wish.bytes = byteWindow?.reopen() ?? 0
    }

    private mutating func takeError() -> ClientError? {
        defer { error = nil }
        return error
    }

    fileprivate mutating func discard() {
        isDiscarding = true
        counts.discarded += items.removeAll()
    }
}

// MARK: - The loop's side

extension SubscriptionCore {
    /// Hands over what a turn brought; returns the demand that takes the place of what was lost.
    @discardableResult
    func publish(_ items: [Item], _ link: ClientLink?) -> (events: UInt64, bytes: UInt64) {
        let isAtEnd = stopsAtEnd && items.contains { $0.isEnd }
        let (listener, ask, mustStop) = state.withLock { state in
            let mustStop = isAtEnd && state.beginEnd(.stop, .normal)
            let ask = state.book(link)
            for item in items { state.take(item) }
            guard Self.isReady(state) else { return (Listener?.none, ask, mustStop) }
            return (state.takeListener(), ask, mustStop)
        }
        if mustStop { connector?.end(self, .stop) }
        tell(listener)
        return ask
    }

    private func tell(_ listener: Listener?) {
        switch listener {
        case .task(let waiter): waiter.resume()
        case .stream(let stream): stream.tell(self)
        case nil: break
        }
    }

    /// A DRAIN or STOP is answered; returns whether that was the end.
    func drained(_ available: UInt64) -> Bool {
        state.withLock { state in
            guard state.drainsThrough, state.ending == .drain else { return true }
            let left = min(state.roundsLeft ?? available, available)
            guard left > 0, let window = state.window else { return true }
            state.roundsLeft = left - min(left, window.max)
            state.isRoundDue = true
            return false
        }
    }

    /// The link goes on after a lost connection.
    func resumed() { state.withLock { $0.counts.resumed += 1 } }

    /// The next event needs so many bytes; returns what to ask for it now.
    func lacks(bytes need: UInt64, credit: UInt64) -> UInt64 {
        state.withLock { state in
            state.byteWindow?.lacks(need, credit: credit) ?? need - min(need, credit)
        }
    }

    /// Demand was sent, or will be with the next OPEN.
    func asked(_ events: UInt64) { state.withLock { $0.counts.asked += events } }

    /// Nothing more will come.
    func finish(_ error: ClientError?, _ link: ClientLink?) {
        let listener = state.withLock { state in
            guard !state.isEnded else { return Listener?.none }
            _ = state.book(link)
            state.isEnded = true
            state.wasOpened = opened.isOpen
            state.error = error
            return state.takeListener()
        }
        opened.open()
        tell(listener)
    }

    /// Why the link was not opened or has failed, if it did and the iteration has not thrown it.
    var failure: ClientError? { state.withLock { $0.error } }

    /// Of one that has ended: whether the broker had opened the link.
    var wasOpened: Bool { state.withLock { $0.wasOpened } }

    /// The text that goes with the end that this side wants.
    var farewell: CancelReason? { state.withLock { $0.farewell } }
}

/// Who waits for what comes.
private enum Listener {
    case task(CheckedContinuation<Void, Never>)
    case stream(StreamCore)
}

extension SubscriptionCore.State {
    /// Whom to tell; a task that waits is told once.
    fileprivate mutating func takeListener() -> Listener? {
        if let stream { return .stream(stream) }
        defer { waiter = nil }
        return waiter.map { .task($0) }
    }

    /// Takes over what came, counted.
    fileprivate mutating func take(_ item: SubscriptionCore.Item) {
        switch item {
        case .run(let run):
            counts.delivered += UInt64(run.count)
            if isDiscarding {
                counts.discarded += UInt64(run.count)
            } else {
                items.append(run)
            }
        case .gap(let gap):
            // A number that only a broker gone wrong can bring about.
            let sum = counts.missing.addingReportingOverflow(gap.count)
            counts.missing = sum.overflow ? .max : sum.partialValue
            if !isDiscarding { items.add(gap) }
        case .mark: if !isDiscarding, !items.addMark(item) { counts.missedMarks += 1 }
        }
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
