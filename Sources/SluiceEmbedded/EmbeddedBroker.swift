public import Logging
public import Sluice
import SluiceCore
import SluiceEngine
import SluiceNet
import SluiceServer

/// A broker in this process: the same topics, demand and grants, without a port and without a file.
///
/// ```swift
/// let broker = try EmbeddedBroker()
/// let client = broker.client()
/// ```
///
/// Its clients are ``SluiceClient``s like any other; what they send goes to the broker's thread
/// through memory. A client keeps its broker alive; a broker that nobody holds ends at once, and
/// `close()` ends it in peace. Topics live in memory and end with it.
public final class EmbeddedBroker: Sendable {
    /// What topics are made with that nobody created by a request.
    public struct TopicDefaults: Hashable, Sendable {
        /// Events that a topic holds, 0 to 1,000,000,000.
        public var buffer: Int
        /// Bytes that a topic holds, 0 to 1,099,511,627,776; what was granted comes on top.
        public var bufferBytes: Int
        /// Events that producers are granted beyond what consumers ask, at most `buffer`.
        ///
        /// Nil is as many; with 0 a producer sends only what somebody asked for, as in GenStage.
        public var ahead: Int?

        /// How many events producers may bring; nil is as many as they can.
        public var rate: SubscriptionOptions.Rate?
        /// Producers of a topic at one time, 1 to 4,294,967,295; nil is any number.
        ///
        /// One more is refused with LIMIT.
        public var maxProducers: Int?
        /// Consumers of a topic at one time, as `maxProducers`.
        public var maxConsumers: Int?
        /// Groups of a topic, 1 to 1,000; nil is 1,000.
        ///
        /// One more is refused with LIMIT.
        public var maxGroups: Int?
        /// Bytes of an event with its key and headers, 1 to 1,048,000; nil is 1,048,000.
        ///
        /// A larger one is refused with EVENT_TOO_LARGE, and nothing else with it.
        public var maxEventBytes: Int?
        /// Seconds for which a group with a name is kept without a consumer, 0 to 31,536,000.
        ///
        /// Nil is 86,400, a day; 0 is for ever. What waited for it alone goes with it.
        public var groupExpireAfter: Int?

        /// Makes defaults: 10,000 events and 64 MiB, all of it ahead.
        public init(buffer: Int = 10_000, bufferBytes: Int = 67_108_864, ahead: Int? = nil) {
            self.buffer = buffer
            self.bufferBytes = bufferBytes
            self.ahead = ahead
        }
    }

    private let server: Server
    private let logger: Logger

    /// Makes a broker, which begins to serve at once.
    ///
    /// Throws `ClientError` with `invalidArgument` if a default breaks a limit, and `unreachable`
    /// if the system has no descriptors left for its event loop.
    public init(
        topics: TopicDefaults = TopicDefaults(),
        logger: Logger = Logger(label: "sluice.embedded")
    ) throws(ClientError) {
        var configuration = ServerConfiguration()
        configuration.engine.name = "embedded"
        configuration.engine.topicDefaults = try topics.options
        self.logger = logger
        do throws(SystemError) {
            server = try Server(configuration: configuration, logger: logger)
        } catch {
            throw ClientError(.unreachable, "no event loop: \(error)")
        }
        server.startInMemory()
    }

    deinit {
        // The second one does not wait for what has credit.
        server.stop()
        server.stop()
    }

    /// Makes a client of this broker; nothing is connected yet.
    ///
    /// - Parameters:
    ///   - name: The name under which the broker lists the connection; at most 200 bytes.
    ///   - drainTimeout: How long a closing client waits for drained links and confirmed events.
    public func client(
        name: String = "",
        drainTimeout: Duration = .seconds(5)
    ) -> SluiceClient {
        SluiceClient(
            configuration: ClientConfiguration(
                servers: [],
                name: name,
                drainTimeout: drainTimeout
            ),
            logger: logger,
            dial: { self.server.connect() }
        )
    }

    /// Grants nothing more, delivers what has credit, and ends; at most 5 seconds.
    ///
    /// What nobody asked for ends with it. Clients that are still there find the broker
    /// `unreachable`; close them first.
    public func close() async {
        server.stop()
        await server.waitUntilStopped()
    }
}

extension EmbeddedBroker.TopicDefaults {
    fileprivate var options: TopicOptions {
        get throws(ClientError) {
            try check(buffer, 0...Int(Limits.bufferEventsMax), "buffer")
            try check(bufferBytes, 0...Int(Limits.bufferBytesMax), "bufferBytes")
            try check(ahead ?? 0, 0...buffer, "ahead")
            var options = TopicOptions()
            options.capacity = UInt64(buffer)
            options.bufferBytes = UInt64(bufferBytes)
            options.ahead = UInt64(ahead ?? buffer)
            if let rate {
                options.rate = RateLimit(
                    eventsPerSecond: try number(rate.eventsPerSecond, "rate.eventsPerSecond"),
                    burst: try number(rate.burst, "rate.burst")
                )
            }
            if let maxProducers {
                options.limits.producers = try number(maxProducers, "maxProducers")
            }
            if let maxConsumers {
                options.limits.consumers = try number(maxConsumers, "maxConsumers")
            }
            if let maxGroups {
                let most = Limits.groupsPerTopicMax
                options.limits.groups = try number(maxGroups, "maxGroups", upTo: most)
            }
            if let maxEventBytes {
                let most = Limits.eventBytesMax
                options.limits.eventBytes = try number(maxEventBytes, "maxEventBytes", upTo: most)
            }
            if let groupExpireAfter {
                let most = Limits.groupExpireAfterSecondsMax
                try check(groupExpireAfter, 0...most, "groupExpireAfter")
                options.groupExpiry.afterSeconds = UInt64(groupExpireAfter)
            }
            return options
        }
    }

    private func number(
        _ value: Int,
        _ name: String,
        upTo most: Int = Int(UInt32.max)
    ) throws(ClientError) -> UInt32 {
        try check(value, 1...most, name)
        return UInt32(value)
    }

    private func check(
        _ value: Int,
        _ range: ClosedRange<Int>,
        _ name: String
    ) throws(ClientError) {
        guard !range.contains(value) else { return }
        let text = "\(name) is \(value); it takes \(range.lowerBound) to \(range.upperBound)"
        throw ClientError(.invalidArgument, text)
    }
}
