public import Logging
public import ServiceLifecycle
import SluiceCore
package import SluiceNet
import SluiceWire

/// A connection to a Sluice broker, kept up over losses, that carries any number of links.
///
/// It connects when it is first used, or when `run()` starts. `run()` is for programs with a
/// `ServiceGroup`: it returns after a graceful shutdown has drained all links. Programs without
/// one call `close()` at the end. Keep the client as long as its links: they end with it.
public final class SluiceClient: Service, Sendable {
    /// What the client was made with.
    public let configuration: ClientConfiguration

    private let connector: Result<Connector, ClientError>
    let logger: Logger

    /// Makes a client; nothing is connected yet.
    public init(
        configuration: ClientConfiguration = ClientConfiguration(),
        logger: Logger = Logger(label: "sluice")
    ) {
        self.configuration = configuration
        self.logger = logger
        connector = Self.check(configuration).flatMap { ClientLoop.shared }.map { home in
            Connector(home: home, configuration: configuration, logger: logger)
        }
    }

    /// Makes a client of a broker in this process, to which `dial` connects.
    package init(
        configuration: ClientConfiguration,
        logger: Logger,
        dial: @escaping @Sendable () -> MemoryEnd?
    ) {
        self.configuration = configuration
        self.logger = logger
        connector = Self.check(configuration).flatMap { ClientLoop.shared }.map { home in
            Connector(home: home, configuration: configuration, logger: logger, dial: dial)
        }
    }

    private static func check(_ configuration: ClientConfiguration) -> Result<Void, ClientError> {
        Result { () throws(ClientError) in
            guard !configuration.name.isEmpty else { return }
            try Names.check(configuration.name, "the name", Limits.clientNameBytesMax)
        }
    }

    deinit {
        if case .success(let connector) = connector { connector.shutDown(Answer()) }
    }

    /// Runs tasks on the thread on which the client reads and writes.
    ///
    /// A task that prefers it takes batches and sends them without a change of threads, which is
    /// the larger part of what an event costs where little is done with it:
    ///
    /// ```swift
    /// try await withTaskExecutorPreference(client.executor) {
    ///     for try await batch in client.subscribe(to: "greetings") { … }
    /// }
    /// ```
    ///
    /// While such a task computes, no client of the process reads, writes or gives signs of life:
    /// it must never block, and leaves long work to other tasks.
    public var executor: any TaskExecutor {
        switch connector {
        case .success(let connector): connector.home
        case .failure: globalConcurrentExecutor
        }
    }

    /// Connects and stays until the program shuts down or the task is cancelled; then drains.
    ///
    /// Throws when the reconnect policy gives up and when the broker forbids to come back; returns
    /// when the client is closed elsewhere.
    public func run() async throws {
        let connector = try connector.get()
        let answer = Answer<Void>()
        connector.keepUp(answer)
        try await cancelWhenGracefulShutdown {
            do {
                try await answer.wait()
            } catch let error as ClientError where error.code.isEndOfUse {}
        }
        await close()
    }

    /// Waits until the broker has welcomed the client.
    public func connect() async throws(ClientError) {
        let answer = Answer<Void>()
        try connector.get().connect(answer)
        try await answer.wait()
    }

    /// Drains and closes all links, within the drain timeout, and then the connection.
    ///
    /// Subscriptions are stopped: what is here is still handed out. Producers wait for their
    /// confirms. The client cannot be used afterwards.
    public func close() async {
        guard case .success(let connector) = connector else { return }
        // A task that is cancelled drains like any other.
        await Task {
            let drained = Answer<Void>()
            connector.drain(drained)
            _ = try? await drained.wait()
            let closed = Answer<Void>()
            connector.shutDown(closed)
            _ = try? await closed.wait()
        }.value
    }

    /// Opens a link on which events of `topic` come, as far as they are asked for.
    ///
    /// The link is opened at once and demand goes with it; errors come out of the iteration.
    public func subscribe(
        to topic: String,
        options: SubscriptionOptions = SubscriptionOptions()
    ) -> Subscription {
        do {
            let connector = try connector.get()
            try Names.check(topic, options)
            let core = SubscriptionCore(topic: topic, options: options, connector: connector)
            connector.open(core)
            return Subscription(core)
        } catch {
            return Subscription(SubscriptionCore(topic: topic, failed: error))
        }
    }

    /// Makes a producer for `topic`; its link is opened on first use.
    public func producer(
        for topic: String,
        options: ProducerOptions = ProducerOptions()
    ) -> Producer {
        do {
            let connector = try connector.get()
            try Names.check(topic, "the topic", Limits.topicNameBytesMax)
            if let name = options.name {
                try Names.check(name, "the link's name", Limits.clientNameBytesMax)
            }
            return Producer(ProducerCore(topic: topic, options: options, connector: connector))
        } catch {
            return Producer(ProducerCore(topic: topic, failed: error))
        }
    }

    /// Measures the time from a sign of life to its answer, connecting first if need be.
    public func ping() async throws(ClientError) -> Duration {
        try await connect()
        let answer = Answer<Duration>()
        try connector.get().ping(answer)
        return try await answer.wait()
    }
}

extension ClientError.Code {
    /// Whether this side wanted no more.
    fileprivate var isEndOfUse: Bool { self == .cancelled || self == .clientClosed }
}

/// What may stand in a name, checked before it goes to the wire.
enum Names {
    static func check(_ name: String, _ what: String, _ bytesMax: Int) throws(ClientError) {
        guard name.utf8.count <= bytesMax else {
            let text = "\(what) has \(name.utf8.count) bytes; the limit is \(bytesMax)"
            throw ClientError(.invalidArgument, text)
        }
        guard NameRule.isLegal(name) else {
            let text = "\(what) \"\(name)\" is no name: it is not empty and has \(NameRule.text)"
            throw ClientError(.invalidArgument, text)
        }
    }

    static func check(_ topic: String, _ options: SubscriptionOptions) throws(ClientError) {
        try check(topic, "the topic", Limits.topicNameBytesMax)
        if let group = options.group { try check(group, "the group", Limits.groupNameBytesMax) }
        if let name = options.name { try check(name, "the link's name", Limits.clientNameBytesMax) }
        _ = try options.wish()
        _ = try options.member()
        if case .automatic(let max, let min) = options.demand {
            guard max > 0, min >= 0, min < max else {
                let text = "max demand \(max) is not above min demand \(min), or below 1"
                throw ClientError(.invalidArgument, text)
            }
        }
        if let bytes = options.maxDemandBytes {
            guard bytes > 0, UInt64(bytes) <= Limits.demandBytesMax else {
                let text = "max demand in bytes is outside 1 to \(Limits.demandBytesMax)"
                throw ClientError(.invalidArgument, text)
            }
        }
    }
}
