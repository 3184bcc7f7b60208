public import Logging
public import ServiceLifecycle

/// A connection to a Sluice broker, kept up over losses, that carries any number of links.
///
/// It connects when it is first used, or when `run()` starts. `run()` is for programs with a
/// `ServiceGroup`: it returns after a graceful shutdown has drained all links. Programs without
/// one call `close()` at the end.
public final class SluiceClient: Service, Sendable {
    /// What the client was made with.
    public let configuration: ClientConfiguration

    /// Makes a client; nothing is connected yet.
    public init(
        configuration: ClientConfiguration = ClientConfiguration(),
        logger: Logger = Logger(label: "sluice")
    ) {
        self.configuration = configuration
    }

    /// Connects and stays until the program shuts down or the task is cancelled; then drains.
    ///
    /// Throws if the reconnect policy gives up.
    public func run() async throws {}

    /// Waits until the broker has welcomed the client.
    public func connect() async throws(ClientError) {}

    /// Drains and closes all links, within the drain timeout, and then the connection.
    public func close() async {}

    /// Opens a link on which events of `topic` come, as far as they are asked for.
    ///
    /// The link is opened at once and demand goes with it; errors come out of the iteration.
    public func subscribe(
        to topic: String,
        options: SubscriptionOptions = SubscriptionOptions()
    ) -> Subscription {
        Subscription(topic: topic)
    }

    /// Makes a producer for `topic`; its link is opened on first use.
    public func producer(
        for topic: String,
        options: ProducerOptions = ProducerOptions()
    ) -> Producer {
        Producer(topic: topic)
    }

    /// Turns events of one topic into events of another, driven by the demand of the other.
    ///
    /// Asks `source` only for what consumers of `target` asked and `transform` has not yet
    /// filled, at most `maxDemand` at a time. Runs until the source ends or the task is cancelled.
    public func process(
        from source: String,
        to target: String,
        options: SubscriptionOptions = SubscriptionOptions(),
        _ transform: (EventBatch) async throws -> [OutgoingEvent]
    ) async throws {
        throw ClientError.closed
    }

    /// Reads documents of inspection: the events of a `$sys/…` topic until its round ends.
    ///
    /// - Parameters:
    ///   - topic: such as `$sys/topics`; see "Inspection" in the protocol.
    ///   - max: how many documents at most.
    /// - Returns: one JSON document an element, as bytes; the payloads themselves for `$sys/peek`.
    public func inspect(_ topic: String, max: Int = 10_000) async throws(ClientError) -> [[UInt8]] {
        throw .closed
    }

    /// Sends one request to `$sys/ctl` and waits until the broker has carried it out.
    ///
    /// - Parameter json: such as `{"op":"create-topic","topic":"t"}`.
    /// - Throws: `eventRejected` with the broker's close code if it refused.
    public func control(_ json: String) async throws(ClientError) {
        throw .closed
    }

    /// Measures the time from a sign of life to its answer.
    public func ping() async throws(ClientError) -> Duration {
        throw .closed
    }
}
