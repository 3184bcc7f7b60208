import Logging
import Sluice
import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit

/// How a test's clients reach its broker.
enum Road: CaseIterable, Sendable {
    /// Over a free port of this machine.
    case tcp
    /// Through memory, as those of an embedded broker do.
    case memory
}

/// A real broker in this process, for one test.
struct Broker {
    let server: Server
    /// Where it listens; empty if its clients come through memory.
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
        over road: Road = .tcp,
        _ configure: (inout ServerConfiguration) -> Void = { _ in }
    ) async throws -> Self {
        var configuration = ServerConfiguration()
        configuration.listen = ["127.0.0.1:0"]
        configuration.shards = Environment.number("SLUICE_SHARDS").map { Int($0) } ?? 1
        configure(&configuration)
        var logger = Logger(label: "broker")
        logger.logLevel = .critical
        guard road == .tcp else {
            configuration.shards = 1
            let server = try Server(configuration: configuration, logger: logger)
            server.startInMemory()
            return Self(server: server, address: "")
        }
        let server = try Server(configuration: configuration, logger: logger)
        let addresses = try await server.start()
        return Self(server: server, address: addresses[0])
    }

    func client(_ address: String? = nil, name: String = "") -> SluiceClient {
        var logger = Logger(label: "client")
        logger.logLevel = .critical
        let configuration = ClientConfiguration(
            servers: [address ?? self.address],
            name: name,
            reconnect: ReconnectPolicy(initialDelay: .milliseconds(5))
        )
        guard address == nil, self.address.isEmpty else {
            return SluiceClient(configuration: configuration, logger: logger)
        }
        return SluiceClient(configuration: configuration, logger: logger, dial: server.connect)
    }

    /// Runs `body` with a broker and a client, and ends both.
    static func withClient(
        over road: Road = .tcp,
        _ configure: (inout ServerConfiguration) -> Void = { _ in },
        _ body: (Broker, SluiceClient) async throws -> Void
    ) async throws {
        let broker = try await start(over: road, configure)
        let client = broker.client()
        try await body(broker, client)
        await client.close()
        broker.server.stop()
        await broker.server.waitUntilStopped()
    }

    /// Runs `body` with a client near the broker and one whose connections can be cut.
    static func withProxy(
        _ configure: (inout ServerConfiguration) -> Void = { _ in },
        _ body: (_ near: SluiceClient, _ far: SluiceClient, CuttingProxy) async throws -> Void
    ) async throws {
        try await withClient(configure) { broker, near in
            let proxy = try await CuttingProxy(to: broker.address)
            let far = broker.client(proxy.address)
            try await body(near, far, proxy)
            await far.close()
            await proxy.stop()
        }
    }
}

/// Payloads "0", "1", … as numbers.
func number(_ event: Event) -> Int { Int(event.payloadString) ?? -1 }

func numbered(_ range: Range<Int>) -> [OutgoingEvent] { range.map { OutgoingEvent("\($0)") } }
