import Logging
import Sluice
import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit

/// A real broker on a free port of this process, for one test.
struct Broker {
    let server: Server
    let address: String

    /// Grants producers no more than consumers ask.
    static func strict(_ configuration: inout ServerConfiguration) {
        configuration.engine.topicDefaults.ahead = 0
    }

    /// Forgets the session of a lost connection at once.
    static func forgetful(_ configuration: inout ServerConfiguration) {
        configuration.engine.resumeWindowMilliseconds = 0
    }

    static func start(
        _ configure: (inout ServerConfiguration) -> Void = { _ in }
    ) async throws -> Self {
        var configuration = ServerConfiguration()
        configuration.listen = ["127.0.0.1:0"]
        configuration.shards = Environment.number("SLUICE_SHARDS").map { Int($0) } ?? 1
        configure(&configuration)
        var logger = Logger(label: "broker")
        logger.logLevel = .critical
        let server = try Server(configuration: configuration, logger: logger)
        let addresses = try await server.start()
        return Self(server: server, address: addresses[0])
    }

    func client(_ address: String? = nil, name: String = "") -> SluiceClient {
        var logger = Logger(label: "client")
        logger.logLevel = .critical
        return SluiceClient(
            configuration: ClientConfiguration(
                servers: [address ?? self.address],
                name: name,
                reconnect: ReconnectPolicy(initialDelay: .milliseconds(5))
            ),
            logger: logger
        )
    }

    /// Runs `body` with a broker and a client, and ends both.
    static func withClient(
        _ configure: (inout ServerConfiguration) -> Void = { _ in },
        _ body: (Broker, SluiceClient) async throws -> Void
    ) async throws {
        let broker = try await start(configure)
        let client = broker.client()
        try await body(broker, client)
        await client.close()
        broker.server.stop()
        await broker.server.waitUntilStopped()
    }
}

/// Payloads "0", "1", … as numbers.
func number(_ event: Event) -> Int { Int(event.payloadString) ?? -1 }

func numbered(_ range: Range<Int>) -> [OutgoingEvent] { range.map { OutgoingEvent("\($0)") } }
