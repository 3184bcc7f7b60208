import SluiceCore
package import SluiceEngine

/// What a server is told when it starts.
package struct ServerConfiguration: Sendable {
    /// Where to listen: "HOST:PORT" or "unix:PATH"; port 0 picks a free one.
    package var listen = ["127.0.0.1:7450"]
    package var engine = EngineConfiguration()
    /// Event loops that topics and connections are spread over.
    package var shards = 1
    /// Bytes that the process may take; nil without a limit.
    package var memoryLimit: Int?
    package var connectionsMax = Limits.connectionsMax
    package var keepaliveSeconds = Limits.keepaliveSecondsDefault
    /// How long a stop waits for what has credit to be delivered.
    package var drainSeconds = Limits.drainSecondsMax

    package init() {}
}
