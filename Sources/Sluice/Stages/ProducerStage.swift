/// Makes events when they are asked for.
public protocol ProducerStage: SendableMetatype {
    /// Returns events, at most as many as `demand`: all that is asked for and not yet answered.
    ///
    /// More are sent as demand for them comes. What it leaves open is in the next call, which comes
    /// at once if it returned some, and if it returned none when more was granted. Nil says that it
    /// is done.
    mutating func handleDemand(_ demand: Int) async throws -> [OutgoingEvent]?
}

extension Producer {
    /// Makes events when demand comes: GenStage's `handle_demand`.
    ///
    /// `handleDemand` is asked as that of `ProducerStage`. Nil ends the run, after all events are
    /// confirmed.
    public func run(
        _ handleDemand: (_ demand: Int) async throws -> [OutgoingEvent]?
    ) async throws {
        var look = ProducerCore.Look.open
        while let demand = try await core.demand(look) {
            guard let events = try await handleDemand(Int(clamping: demand)) else {
                return try await core.flush()
            }
            look = events.isEmpty ? .openAfterNew : .open
            if !events.isEmpty { try await send(contentsOf: events) }
        }
        try await endRun()
    }

    /// Sends a sequence as it is asked for: GenStage's `from_enumerable`.
    ///
    /// Of a demand of n exactly n elements are taken. At its end all are confirmed.
    public func run(contentsOf events: some Sequence<OutgoingEvent>) async throws {
        var iterator = events.makeIterator()
        try await run { demand in
            var taken: [OutgoingEvent] = []
            while taken.count < demand, let event = iterator.next() { taken.append(event) }
            return taken.isEmpty ? nil : taken
        }
    }

    /// Sends an asynchronous sequence as it is asked for, each element as soon as it is there.
    ///
    /// Of a demand of n exactly n elements are taken. At its end all are confirmed.
    public func run<Events: AsyncSequence>(
        contentsOf events: Events
    ) async throws where Events.Element == OutgoingEvent {
        var iterator = events.makeAsyncIterator()
        while let demand = try await core.demand(.open) {
            for _ in 0..<demand {
                guard let event = try await iterator.next(isolation: #isolation) else {
                    return try await core.flush()
                }
                try await send(event)
            }
        }
        try await endRun()
    }

    /// There will be no more demand: the run was told to end, or its task was cancelled.
    private func endRun() async throws {
        if core.isRetired { return try await core.flush() }
        if Task.isCancelled { throw ClientError.cancelled }
    }
}

extension Stage {
    /// Makes a stage that makes events when they are asked for.
    ///
    /// When it is done (nil) it says the topic's end, as `Producer.end` does. Draining it asks
    /// `handleDemand` no more, and waits until all is confirmed.
    ///
    /// - Parameters:
    ///   - name: the name by which logs and errors call it.
    ///   - topic: where the events go.
    ///   - options: how the link is opened.
    ///   - restart: whether it is started anew after it has ended.
    ///   - handleDemand: see `ProducerStage`.
    public static func producer(
        _ name: String,
        to topic: String,
        options: ProducerOptions = ProducerOptions(),
        restart: Restart = .transient,
        _ handleDemand: @escaping @Sendable (_ demand: Int) async throws -> [OutgoingEvent]?
    ) -> Stage {
        Stage(name: name, restart: restart) { client, draining in
            try await client.produce(to: topic, options, draining) { producer in
                try await producer.run(handleDemand)
            }
        }
    }

    /// Makes a stage of a `ProducerStage`, made anew whenever it starts.
    public static func producer(
        _ name: String,
        to topic: String,
        options: ProducerOptions = ProducerOptions(),
        restart: Restart = .transient,
        making make: @escaping @Sendable () async throws -> some ProducerStage
    ) -> Stage {
        Stage(name: name, restart: restart) { client, draining in
            var stage = try await make()
            try await client.produce(to: topic, options, draining) { producer in
                try await producer.run { try await stage.handleDemand($0) }
            }
        }
    }

    /// Makes a stage that sends a sequence, made anew whenever it starts, as it is asked for.
    ///
    /// Behind the last element it says the topic's end, as `Producer.end` does. Draining it cancels
    /// the task that takes elements, and waits until those it took are confirmed.
    public static func producer<Events: AsyncSequence & SendableMetatype>(
        _ name: String,
        to topic: String,
        options: ProducerOptions = ProducerOptions(),
        restart: Restart = .transient,
        sending make: @escaping @Sendable () async throws -> Events
    ) -> Stage where Events.Element == OutgoingEvent {
        Stage(name: name, restart: restart) { client, draining in
            try await client.produce(to: topic, options, draining) { producer in
                do {
                    try await draining.cancelling {
                        try await producer.run(contentsOf: try await make())
                    }
                } catch  where draining.isOpen && error.isCancellation {}
            }
        }
    }
}

extension SluiceClient {
    /// Runs `body` with a producer, which is retired when `draining` opens, and closes that; if
    /// `body` was not drained it has come to its end, which is said.
    fileprivate func produce(
        to topic: String,
        _ options: ProducerOptions,
        _ draining: Latch,
        _ body: (Producer) async throws -> Void
    ) async throws {
        let producer = producer(for: topic, options: options)
        draining.whenOpen { producer.core.retire() }
        try await body(producer)
        if !producer.core.isRetired { try await producer.end() }
        try await confirm(producer)
    }
}

extension Error {
    /// Whether it only says that the task was cancelled.
    fileprivate var isCancellation: Bool {
        self is CancellationError || (self as? ClientError)?.code == .cancelled
    }
}
