import FoundationEssentials
import Logging
import SluiceServer
import SluiceTestKit
import Testing

/// Starts a broker on loopback, lets `body` use it on a thread of its own, and stops it.
func withServer(
    _ configure: (inout ServerConfiguration) -> Void = { _ in },
    _ body: @escaping @Sendable (String) throws -> Void
) async throws {
    let (server, address) = try await startServer(configure)
    do {
        try await blocking { try body(address) }
    } catch {
        server.stop()
        server.stop()
        await server.waitUntilStopped()
        throw error
    }
    server.stop()
    server.stop()
    await server.waitUntilStopped()
}

func startServer(
    _ configure: (inout ServerConfiguration) -> Void
) async throws -> (server: Server, address: String) {
    var configuration = ServerConfiguration()
    configuration.listen = ["127.0.0.1:0"]
    // As for a broker that is a process: the same tests, on several shards.
    configuration.shards = Environment.number("SLUICE_SHARDS").map { Int($0) } ?? 1
    configure(&configuration)
    let logger = Logger(label: "server", factory: { _ in SwiftLogNoOpLogHandler() })
    let server = try Server(configuration: configuration, logger: logger)
    let address = try #require(try await server.start().first)
    return (server, address)
}

/// A path for a unix socket that nobody else has.
func temporarySocketPath() -> String {
    let name = "sluice-\(UInt32.random(in: 0...UInt32.max)).sock"
    return FileManager.default.temporaryDirectory.appending(path: name).path
}
