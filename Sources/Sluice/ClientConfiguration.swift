public import Tracing

/// How a client reaches its broker and how it behaves when the broker is away.
public struct ClientConfiguration: Sendable {
    /// Where brokers listen, tried in turn: "host:port", "unix:PATH" or "sluice://host:port".
    ///
    /// A missing port is 7450. Use several only for one and the same broker.
    public var servers: [String]

    /// The name under which the broker lists this connection; at most 200 bytes.
    public var name: String

    /// How long one attempt to connect and to be welcomed may take.
    public var connectTimeout: Duration

    /// Seconds without sending after which a sign of life is sent; the broker may lower it.
    ///
    /// A connection on which nothing came for two such intervals is dead (`IDLE`).
    public var keepaliveSeconds: Int

    /// What happens when there is no connection.
    public var reconnect: ReconnectPolicy

    /// How long a stopping client waits for drained links and confirmed events.
    public var drainTimeout: Duration

    /// Whom the client tells spans of what it sends, receives and handles, and who gives the
    /// headers of events their trace context.
    ///
    /// Nil is the tracer that the program has bootstrapped by the time it makes the client. Without
    /// any, nothing is done for it.
    public var tracer: (any Tracer)?

    /// Makes a configuration; the defaults suit a broker on this machine.
    public init(
        servers: [String] = ["127.0.0.1:7450"],
        name: String = "",
        connectTimeout: Duration = .seconds(5),
        keepaliveSeconds: Int = 10,
        reconnect: ReconnectPolicy = ReconnectPolicy(),
        drainTimeout: Duration = .seconds(5),
        tracer: (any Tracer)? = nil
    ) {
        self.servers = servers
        self.name = name
        self.connectTimeout = connectTimeout
        self.keepaliveSeconds = keepaliveSeconds
        self.reconnect = reconnect
        self.drainTimeout = drainTimeout
        self.tracer = tracer
    }
}

extension ClientConfiguration {
    private static let defaultPort = 7_450

    /// "sluice://host:port" and a missing port in the form of the sockets.
    package static func normalized(_ server: String) -> String {
        guard !server.hasPrefix("unix:") else { return server }
        var text = server[...]
        if text.hasPrefix("sluice://") { text = text.dropFirst("sluice://".count) }
        if text.hasSuffix("/") { text = text.dropLast() }
        let afterHost = text.lastIndex(of: "]").map { text[$0...] } ?? text
        return afterHost.contains(":") ? String(text) : "\(text):\(defaultPort)"
    }
}

/// How long it is waited between attempts to connect, or to subscribe, and when it is given up.
///
/// The wait doubles from attempt to attempt; a part of it is drawn at random, so that clients
/// that lost the same broker do not return in one wave.
public struct ReconnectPolicy: Sendable, Equatable {
    /// The wait before the second attempt; the first is made at once.
    public var initialDelay: Duration

    /// The longest wait between two attempts.
    public var maximumDelay: Duration

    /// Attempts in a row that may fail before all links end with `unreachable`; nil goes on.
    ///
    /// A link that the broker is too busy to open (`BUSY`) is tried as often, and then `refused`.
    /// Of `Input.resubscribe`: subscriptions in a row that may not be opened.
    public var attemptsMax: Int?

    /// Makes a policy: 100 ms, doubling up to 10 s, for ever.
    public init(
        initialDelay: Duration = .milliseconds(100),
        maximumDelay: Duration = .seconds(10),
        attemptsMax: Int? = nil
    ) {
        self.initialDelay = initialDelay
        self.maximumDelay = maximumDelay
        self.attemptsMax = attemptsMax
    }

    /// One attempt; a lost connection, or `BUSY`, ends what depends on it.
    public static let never = ReconnectPolicy(attemptsMax: 1)
}

extension ReconnectPolicy {
    /// The wait after so many failures in a row: half of it is drawn at random.
    func delay(after failures: Int) -> Duration {
        let doublings = min(max(0, failures - 1), 20)
        // Divided, as the product may be beyond any time.
        let isMost = initialDelay >= maximumDelay / (1 << doublings)
        let most = isMost ? maximumDelay : initialDelay * (1 << doublings)
        return most * Double.random(in: 0.5...1)
    }

    /// The wait after so many failures in a row, or the one that the broker has told.
    package func delay(after failures: Int, told: Duration?) -> Duration {
        told.map(Self.spread) ?? delay(after: failures)
    }

    /// A wait that was told to many perhaps, and up to half of it more, drawn at random.
    static func spread(_ told: Duration) -> Duration { told * Double.random(in: 1...1.5) }

    /// Whether so many failures in a row are as many as are borne.
    func givesUp(after failures: Int) -> Bool { attemptsMax.map { failures >= $0 } ?? false }
}
