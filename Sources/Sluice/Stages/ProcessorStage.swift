import SluiceCore
import SluiceNet

/// Which of the words between events a processor passes on, behind what it made of those before.
public enum PassedMarks: Hashable, Sendable, CaseIterable {
    /// None.
    case none
    /// The end, once all inputs have said theirs and nothing came since.
    case end
    /// The end, and each marker of each input.
    case all
}

/// Turns events of one or several topics into events of another: GenStage's `producer_consumer`.
public protocol ProcessorStage: SendableMetatype {
    /// Turns a batch into events, few or many.
    ///
    /// It holds at most as many events as consumers of the target have asked for, and at most
    /// `max − min` of the input's demand. More is asked of the input after the result was sent.
    mutating func handleEvents(
        _ events: EventBatch,
        from subscription: Subscription
    ) async throws -> [OutgoingEvent]

    /// Is told that a subscription has ended, before its cancel mode is applied.
    mutating func handleCancel(
        _ reason: CancelReason,
        of subscription: Subscription
    ) async throws
}

extension ProcessorStage {
    /// Does nothing.
    public mutating func handleCancel(
        _ reason: CancelReason,
        of subscription: Subscription
    ) async throws {}
}

extension SluiceClient {
    /// Turns events of one topic into events of another, driven by the demand for the other.
    ///
    /// With automatic demand it fetches ahead: at most max demand events are here, and none of them
    /// is handled before consumers of `target` have asked for as many. With manual demand it asks
    /// `source` only for what they asked, at most 1,000 at a time. A batch that becomes more events
    /// than there is demand for waits for more demand; nothing is buffered for want of it.
    /// The end of `source` is passed on, and with `marks` all of its words or none.
    ///
    /// Runs until the source ends or the task is cancelled; then the source is stopped, what it
    /// still delivered is processed, and everything sent is confirmed.
    public func process(
        from source: String,
        to target: String,
        options: SubscriptionOptions = SubscriptionOptions(),
        marks: PassedMarks = .end,
        _ transform: (EventBatch) async throws -> [OutgoingEvent]
    ) async throws {
        let input = Input(source, options: options)
        let road = ProcessorRoad(inputs: [input], target: target, marks: marks)
        try await process(road, Latch()) { step in
            guard case .batch(let batch, _) = step else { return [] }
            return try await transform(batch)
        }
    }

    /// Runs `body` on what the inputs bring, as far as there is demand for what it returns.
    fileprivate func process(
        _ road: ProcessorRoad,
        _ draining: Latch,
        _ body: (StreamCore.Step) async throws -> [OutgoingEvent]
    ) async throws {
        let producer = producer(for: road.target, options: road.options)
        let output = producer.core
        try await consume(road.inputs, at: road.rate, draining) { stream in
            let core = stream.core
            output.ended.whenOpen { core.fail(output.failure ?? .closed) }
            output.start(.unknown)
            let manual = ManualInputs(output, stream.subscriptions)
            var words = PassedWords(road.marks, stream.subscriptions)
            while let first = try await core.waitUntilReady() {
                var asked: UInt64 = 0
                if first == .events {
                    guard let demand = try await output.demand(.open) else {
                        throw output.failure ?? .cancelled
                    }
                    asked = demand
                }
                let most = Parking.asAsked.allowance(for: first, asked: asked) ?? 0
                // What is not here by now needs another look at the demand.
                let limit = UInt32(clamping: most)
                guard let step = try await core.next(upTo: limit, until: .now) else { break }
                try await words.pass(step, on: producer)
                func handle() async throws {
                    let events = try await body(step)
                    if !events.isEmpty { try await producer.send(contentsOf: events) }
                }
                if case .batch(let batch, let subscription) = step {
                    // What is made of it is sent within its span.
                    try await subscription.process(batch) { try await handle() }
                } else {
                    try await handle()
                }
                core.finishHeld()
                manual.handled(step)
            }
        }
        try await confirm(producer)
    }

    /// Closes `producer`, in a task that is cancelled too: for as long as a drain may take.
    func confirm(_ producer: Producer) async throws {
        guard Task.isCancelled else { return try await producer.close() }
        let closing = Task { try await producer.close() }
        let limit = configuration.drainTimeout
        let timer = Task {
            try await Task.sleep(for: limit)
            closing.cancel()
        }
        defer { timer.cancel() }
        try await closing.value
    }
}

extension Stage {
    /// Makes a stage that turns events of one or several topics into events of another.
    ///
    /// Demand is passed on as `SluiceClient.process(from:to:options:marks:_:)` does, and behind
    /// sources that say their end it says its own, as `marks` has it. Draining it asks no more, or
    /// behind stages that are done handles all that still waits for it, and waits until what it
    /// sent is confirmed.
    ///
    /// - Parameters:
    ///   - name: the name by which logs and errors call it.
    ///   - inputs: what it consumes; each input with manual demand is asked for what there is
    ///     demand for.
    ///   - target: the topic to which the results go.
    ///   - options: how the link to the target is opened; its backlog is always unknown.
    ///   - marks: which words of its inputs it passes on.
    ///   - rate: how many events it handles a second, of all inputs together.
    ///   - restart: whether it is started anew after it has ended.
    ///   - handleEvents: see `ProcessorStage`.
    public static func processor(
        _ name: String,
        from inputs: [Input],
        to target: String,
        options: ProducerOptions = ProducerOptions(),
        marks: PassedMarks = .end,
        rate: SubscriptionOptions.Rate? = nil,
        restart: Restart = .transient,
        _ handleEvents: @escaping @Sendable (_ events: EventBatch) async throws -> [OutgoingEvent]
    ) -> Stage {
        processor(
            name,
            from: inputs,
            to: target,
            options: options,
            marks: marks,
            rate: rate,
            restart: restart,
            making: { BatchTransform(body: handleEvents) }
        )
    }

    /// Makes a stage of a `ProcessorStage`, made anew whenever it starts.
    public static func processor(
        _ name: String,
        from inputs: [Input],
        to target: String,
        options: ProducerOptions = ProducerOptions(),
        marks: PassedMarks = .end,
        rate: SubscriptionOptions.Rate? = nil,
        restart: Restart = .transient,
        making make: @escaping @Sendable () async throws -> some ProcessorStage
    ) -> Stage {
        Stage(name: name, restart: restart) { client, draining in
            var stage = try await make()
            let road = ProcessorRoad(
                inputs: inputs,
                target: target,
                options: options,
                marks: marks,
                rate: rate
            )
            try await client.process(road, draining) { step in
                switch step {
                case .batch(let batch, let subscription):
                    return try await stage.handleEvents(batch, from: subscription)
                case .ended(let subscription, let reason, _):
                    try await stage.handleCancel(reason, of: subscription)
                    return []
                case .begun, .late: return []
                }
            }
        }
    }
}

private struct BatchTransform: ProcessorStage {
    let body: @Sendable (EventBatch) async throws -> [OutgoingEvent]

    mutating func handleEvents(
        _ events: EventBatch,
        from subscription: Subscription
    ) async throws -> [OutgoingEvent] {
        try await body(events)
    }
}

/// Between which topics a processor stands, and how.
private struct ProcessorRoad {
    let inputs: [Input]
    let target: String
    let options: ProducerOptions
    let marks: PassedMarks
    let rate: SubscriptionOptions.Rate?

    init(
        inputs: [Input],
        target: String,
        options: ProducerOptions = ProducerOptions(),
        marks: PassedMarks,
        rate: SubscriptionOptions.Rate? = nil
    ) {
        self.inputs = inputs
        self.target = target
        var options = options
        options.backlog = .unknown
        self.options = options
        self.marks = marks
        self.rate = rate
    }
}

/// Says on a processor's target what its inputs say between their events.
private struct PassedWords {
    private let marks: PassedMarks
    private var ends: InputEnds<ObjectIdentifier>

    init(_ marks: PassedMarks, _ subscriptions: [Subscription]) {
        self.marks = marks
        ends = InputEnds(subscriptions.map { ObjectIdentifier($0.core) })
    }

    /// Before what is made of the step's events is sent, and behind all that was before them.
    mutating func pass(
        _ step: StreamCore.Step,
        on producer: Producer
    ) async throws(ClientError) {
        switch step {
        case .batch(let batch, let subscription):
            let id = ObjectIdentifier(subscription.core)
            for mark in batch.marks {
                switch mark.kind {
                case .marker(let text): if marks == .all { try await producer.mark(text) }
                case .end: if ends.ended(id) { try await end(producer) }
                }
            }
            if !batch.isEmpty { ends.came(from: id) }
        case .ended(let subscription, _, let returns):
            let id = ObjectIdentifier(subscription.core)
            if ends.left(id, returns: returns) { try await end(producer) }
        case .begun(let subscription): ends.returned(ObjectIdentifier(subscription.core))
        case .late: break
        }
    }

    private func end(_ producer: Producer) async throws(ClientError) {
        if marks != .none { try await producer.end() }
    }
}

/// Asks manual inputs for what was asked of a processor.
private final class ManualInputs: Sendable {
    private struct Account: Sendable {
        // The stream holds it as long as it lasts.
        weak let subscription: Subscription?
        var demand = PassedDemand(most: ManualInputs.outstandingMax)
    }

    /// Events of an input that may be asked for and not processed.
    private static let outstandingMax: UInt64 = 1_000

    private let output: ProducerCore
    private let accounts = Lock<[ObjectIdentifier: Account]>([:])

    init(_ output: ProducerCore, _ subscriptions: [Subscription]) {
        self.output = output
        for subscription in subscriptions { add(subscription) }
        guard accounts.withLock({ !$0.isEmpty }) else { return }
        output.whenGranted { [self] in ask() }
        ask()
    }

    func handled(_ step: StreamCore.Step) {
        switch step {
        case .batch(let batch, let subscription):
            guard subscription.core.isManual else { return }
            accounts.withLock { accounts in
                let id = ObjectIdentifier(subscription.core)
                accounts[id]?.demand.handled(UInt64(batch.count))
            }
        case .ended(let subscription, _, _):
            accounts.withLock { $0[ObjectIdentifier(subscription.core)] = nil }
        case .begun(let subscription): add(subscription)
        case .late: return
        }
        ask()
    }

    private func add(_ subscription: Subscription) {
        guard subscription.core.isManual else { return }
        accounts.withLock {
            $0[ObjectIdentifier(subscription.core)] = Account(subscription: subscription)
        }
    }

    private func ask() {
        let open = output.openDemand
        let asks = accounts.withLock { accounts in
            accounts.keys.compactMap { id -> (Subscription, UInt64)? in
                guard let subscription = accounts[id]?.subscription else { return nil }
                accounts[id]?.demand.book(forfeited: subscription.counts.forfeited)
                return (subscription, accounts[id]?.demand.ask(open: open) ?? 0)
            }
        }
        for (subscription, count) in asks { subscription.ask(Int(clamping: count)) }
    }
}
