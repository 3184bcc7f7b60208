package import Logging
package import SluiceNet

/// The broker on its sockets: binds, serves on an event loop, and stops in peace.
package final class Server: Sendable {
    package let configuration: ServerConfiguration
    private let logger: Logger
    private let loop: EventLoop
    private let state = Lock(State())

    private struct State {
        /// Confined to the loop; kept here so that it lives as long as the server.
        nonisolated(unsafe) var shard: Shard?
    }

    package init(configuration: ServerConfiguration, logger: Logger) throws(SystemError) {
        self.configuration = configuration
        self.logger = logger
        loop = try EventLoop(label: "sluice")
    }

    /// Binds everything that is configured and begins to serve; returns the bound addresses.
    package func start() async throws -> [String] {
        HostProcess.ignoreBrokenPipes()
        var listeners: [Listener] = []
        for text in configuration.listen {
            let endpoint = try Endpoint(parsing: text)
            guard let address = try endpoint.resolve().first else { continue }
            listeners.append(try Listener(on: address, loop: loop))
        }
        loop.start()
        let bound = listeners.map { listener in
            listener.address.path.map { "unix:\($0)" } ?? listener.address.description
        }
        let ready = listeners
        try await withCheckedThrowingContinuation { continuation in
            loop.submit { @Sendable [self] in
                continuation.resume(with: Result { try begin(ready) })
            }
        }
        return bound
    }

    private func begin(_ listeners: [Listener]) throws(SystemError) {
        let shard = Shard(loop: loop, configuration: configuration, logger: logger)
        state.withLock { $0.shard = shard }
        try shard.start(listeners) { [loop] in loop.stop() }
    }

    /// Stops in peace, or at once when called again; from any thread.
    package func stop() {
        loop.submit { @Sendable [self] in
            state.withLock { $0.shard }?.stop()
        }
    }

    /// Returns when everything is closed.
    package func waitUntilStopped() async { await loop.waitUntilStopped() }
}
