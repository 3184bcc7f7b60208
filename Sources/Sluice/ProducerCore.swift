import DequeModule
import SluiceCore
import SluiceNet
import SluiceWire

/// What the loop and the sending tasks share of a producer.
final class ProducerCore: Sendable {
    /// What goes to the loop.
    enum Outgoing: Sendable {
        case run(Run)
        case mark(Mark)
    }

    /// A `send`, or a mark, that waits for its turn or for demand.
    struct Ticket: Sendable {
        let id: UInt64
        /// What is not taken over yet.
        var rest: Outgoing
        var waiter: CheckedContinuation<Void, Never>?
    }

    struct Flush: Sendable {
        /// The numbers of the last event and of the last mark that it waits for.
        let target: UInt64
        let markTarget: UInt64
        let answer: Answer<Void>
    }

    struct State: Sendable {
        var isStarted = false
        /// Taken over from `send`, not yet by the loop; never more than was granted.
        var queue: [Outgoing] = []
        var queued: UInt64 = 0
        /// Events that may be taken over now.
        var allowance: UInt64 = 0
        var isPumpDue = false
        /// Where small batches are copied to.
        var slab: Slab?
        var tickets: Deque<Ticket> = []
        var lastTicket: UInt64 = 0
        /// Granted since the last look of a task that makes events on demand.
        var granted: UInt64 = 0
        var demandWaiter: CheckedContinuation<Void, Never>?
        /// Nobody makes events on demand any more.
        var isRetired = false
        /// Is called when more is granted.
        var onGrant: (@Sendable () -> Void)?
        var accepted: UInt64 = 0
        /// Marks that were taken over, and those of them that are known to have arrived.
        var acceptedMarks: UInt64 = 0
        var arrivedMarks: UInt64 = 0
        var flushes: [Flush] = []
        /// The first event refused since the last flush.
        var rejection: ClientError?
        var isClosing = false
        var isEnded = false
        var error: ClientError?
        var counts = ProducerCounts()
    }

    let topic: String
    let options: ProducerOptions
    let connector: Connector?
    let spans: Spans?
    let state = Lock(State())
    /// Opens when the link is gone.
    let ended = Latch()
    /// Set and read on the loop.
    nonisolated(unsafe) var key: LinkKey?

    /// A producer that never was: every use throws `error`.
    convenience init(topic: String, failed error: ClientError) {
        self.init(topic: topic, options: ProducerOptions(), connector: nil)
        finish(error)
    }

    init(topic: String, options: ProducerOptions, connector: Connector?) {
        self.topic = topic
        self.options = options
        self.connector = connector
        spans = connector?.spans?.of(topic)
    }

    var counts: ProducerCounts {
        state.withLock { state in
            var counts = state.counts
            counts.unconfirmed = state.accepted - counts.confirmed - counts.rejected
            return counts
        }
    }

    /// Opens the link on first use, which decides what the broker is told of the backlog.
    func start(_ backlog: ProducerOptions.Backlog) {
        let isFirst = state.withLock { state in
            defer { state.isStarted = true }
            return !state.isStarted && !state.isEnded
        }
        guard isFirst else { return }
        var open = Open(role: .source, topic: topic)
        open.name = options.name
        open.available =
            switch options.backlog ?? backlog {
            case .announced: 0
            case .endless: ClientLink.endlessBacklog
            case .unknown: nil
            }
        connector?.open(self, open)
    }
}

// MARK: - Sending

extension ProducerCore {
    func send(_ batch: OutgoingBatch) async throws(ClientError) {
        guard let run = batch.run else { return }
        guard let spans else { return try await send(.run(run)) }
        try await spans.send(batch, to: topic) { (batch) throws(ClientError) in
            if let run = batch.run { try await send(.run(run)) }
        }
    }

    /// Says a mark behind all that was sent before.
    func mark(_ mark: Mark) async throws(ClientError) { try await send(.mark(mark)) }

    private func send(_ outgoing: Outgoing) async throws(ClientError) {
        start(.announced)
        guard let ticket = try begin(outgoing) else { return }
        await wait(for: ticket)
        try end(ticket)
    }

    /// Takes what may go at once; returns a ticket for the rest, which goes as demand comes.
    private func begin(_ outgoing: Outgoing) throws(ClientError) -> UInt64? {
        let (ticket, mustPump) = try state.withLock { state throws(ClientError) in
            guard !state.isEnded, !state.isClosing else { throw state.error ?? .closed }
            state.lastTicket += 1
            var rest = outgoing
            if case .run(let run) = rest { rest = .run(state.gathered(run)) }
            state.tickets.append(Ticket(id: state.lastTicket, rest: rest))
            // Whoever waits longer has taken all that there was.
            _ = state.accept()
            return (state.tickets.isEmpty ? nil : state.lastTicket, state.pumpIsDue())
        }
        if mustPump { connector?.pump(self) }
        return ticket
    }

    /// Gives the ticket back; throws if not all of its batch was taken over.
    private func end(_ ticket: UInt64) throws(ClientError) {
        let (error, mustPump): (ClientError?, Bool) = state.withLock { state in
            guard let index = state.tickets.firstIndex(where: { $0.id == ticket }) else {
                return (nil, false)
            }
            state.tickets.remove(at: index)
            let isOver = state.isEnded || state.isClosing
            return (isOver ? state.error ?? .closed : .cancelled, state.pumpIsDue())
        }
        // The broker was told that these events wait.
        if mustPump { connector?.pump(self) }
        if let error { throw error }
    }

    private func wait(for ticket: UInt64) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    guard !state.isEnded, !state.isClosing, !Task.isCancelled,
                        let index = state.tickets.firstIndex(where: { $0.id == ticket })
                    else { return true }
                    state.tickets[index].waiter = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                guard let index = state.tickets.firstIndex(where: { $0.id == ticket }) else {
                    return nil as CheckedContinuation<Void, Never>?
                }
                defer { state.tickets[index].waiter = nil }
                return state.tickets[index].waiter
            }
            waiter?.resume()
        }
    }
}

extension ProducerCore.State {
    /// Batches up to this size are copied, so that many of them become one run of one slab.
    private static let gatheredBytesMax = 4_096

    /// A small batch behind those before it in one slab; a large one as it is.
    fileprivate mutating func gathered(_ run: Run) -> Run {
        guard run.byteCount <= Self.gatheredBytesMax else { return run }
        if (slab?.room ?? 0) < run.byteCount {
            if let slab { SlabShelf.shared.retire(slab) }
            slab = SlabShelf.shared.take()
        }
        guard let slab else { return run }
        let range = run.withSpan { slab.append($0.extracting(run.bytes)) }
        return Run(slab: slab, bytes: range, count: run.count)
    }

    /// Moves what demand allows from the tickets to the queue; returns whose batch is done.
    mutating func accept() -> [CheckedContinuation<Void, Never>] {
        var waiters: [CheckedContinuation<Void, Never>] = []
        guard !isEnded, !isClosing else { return waiters }
        while let ticket = tickets.first, accept(ticket.rest) {
            tickets.removeFirst()
            if let waiter = ticket.waiter { waiters.append(waiter) }
        }
        return waiters
    }

    /// Moves what may go of the first ticket to the queue; returns whether that was all.
    private mutating func accept(_ outgoing: ProducerCore.Outgoing) -> Bool {
        switch outgoing {
        case .mark:
            // They need no demand, so nothing else bounds how many are kept.
            guard acceptedMarks - arrivedMarks < Limits.marksMax else { return false }
            acceptedMarks += 1
            queue.append(outgoing)
            return true
        case .run(var run):
            guard allowance > 0 else { return false }
            let part = run.prefix(events: UInt32(clamping: allowance), bytes: .max)
            queue.append(.run(part))
            let count = UInt64(part.count)
            allowance -= count
            queued += count
            accepted += count
            guard part.count < run.count else { return true }
            run.start = part.end
            run.count -= part.count
            tickets[0].rest = .run(run)
            return false
        }
    }

    /// Whether all that was taken over has met its fate.
    var isSettled: Bool {
        accepted == counts.confirmed + counts.rejected && acceptedMarks == arrivedMarks
    }

    /// Whether the loop must be told; true once until it has come.
    fileprivate mutating func pumpIsDue() -> Bool {
        guard !isPumpDue else { return false }
        isPumpDue = true
        return true
    }
}

// MARK: - Demand, confirms, the end

extension ProducerCore {
    /// Which demand a task waits for.
    enum Look {
        /// What was granted since the last look.
        case new
        /// All that is open, as soon as there is any.
        case open
        /// All that is open, as soon as some was granted since the last look.
        case openAfterNew
    }

    /// Waits for demand; nil when the producer is closed or the task is cancelled.
    func demand(_ look: Look) async throws(ClientError) -> UInt64? {
        start(.unknown)
        while true {
            let (demand, error, isOver) = state.withLock { state in
                let demand = state.demand(look)
                if state.isEnded || state.isClosing || state.isRetired {
                    return (UInt64(0), state.error, true)
                }
                guard demand > 0 else { return (UInt64(0), nil, Task.isCancelled) }
                state.granted = 0
                return (demand, nil, false)
            }
            if let error { throw error }
            if isOver { return nil }
            if demand > 0 { return demand }
            await waitForDemand(look)
        }
    }

    /// Events that may be sent now without waiting.
    var openDemand: UInt64 { state.withLock { $0.allowance } }

    /// Makes demand nobody's business: who waits for it is told that there will be none.
    func retire() {
        state.withLock { $0.isRetired = true }
        takeDemandWaiter()?.resume()
    }

    var isRetired: Bool { state.withLock { $0.isRetired } }

    /// Calls `body` whenever more is granted.
    func whenGranted(_ body: @escaping @Sendable () -> Void) {
        state.withLock { $0.onGrant = body }
    }

    /// Why the link has failed, if it has.
    var failure: ClientError? { state.withLock { $0.error } }

    private func waitForDemand(_ look: Look) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    precondition(state.demandWaiter == nil, "one task waits for demand")
                    let isOver = state.isEnded || state.isClosing || state.isRetired
                    guard !isOver, !Task.isCancelled, state.demand(look) == 0 else { return true }
                    state.demandWaiter = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            takeDemandWaiter()?.resume()
        }
    }

    private func takeDemandWaiter() -> CheckedContinuation<Void, Never>? {
        state.withLock { state in
            defer { state.demandWaiter = nil }
            return state.demandWaiter
        }
    }

    func flush() async throws(ClientError) {
        let answer = Answer<Void>()
        let result: Result<Void, ClientError>? = state.withLock { state in
            guard !state.isSettled else { return state.takeFlushResult() }
            guard !state.isEnded else { return .failure(state.error ?? .closed) }
            let (target, markTarget) = (state.accepted, state.acceptedMarks)
            state.flushes.append(Flush(target: target, markTarget: markTarget, answer: answer))
            return nil
        }
        if let result { return try result.get() }
        connector?.hurrySettlement()
        try await answer.wait()
    }

    /// Ends the link once everything is confirmed.
    func close() async throws(ClientError) {
        beginClose()
        do {
            try await flush()
        } catch {
            connector?.abandon(self)
            throw error
        }
    }

    /// Lets the loop close the link when nothing is unconfirmed any more.
    func beginClose() {
        let (isFirst, waiters) = state.withLock { state in
            let isFirst = !state.isClosing && !state.isEnded
            state.isClosing = true
            guard !state.isStarted else { return (isFirst, state.takeWaiters()) }
            state.isEnded = true
            return (false, state.takeWaiters())
        }
        for waiter in waiters { waiter.resume() }
        if isFirst { connector?.close(self) }
    }
}

extension ProducerCore.State {
    fileprivate func demand(_ look: ProducerCore.Look) -> UInt64 {
        switch look {
        case .new: min(granted, allowance)
        case .open: allowance
        case .openAfterNew: granted > 0 ? allowance : 0
        }
    }

    mutating func takeFlushResult() -> Result<Void, ClientError> {
        defer { rejection = nil }
        return rejection.map { .failure($0) } ?? .success(())
    }

    mutating func takeWaiters() -> [CheckedContinuation<Void, Never>] {
        var waiters: [CheckedContinuation<Void, Never>] = []
        if let demandWaiter { waiters.append(demandWaiter) }
        demandWaiter = nil
        for index in tickets.indices {
            if let waiter = tickets[index].waiter { waiters.append(waiter) }
            tickets[index].waiter = nil
        }
        return waiters
    }
}
