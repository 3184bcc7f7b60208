package import Logging
package import SluiceEngine
package import SluiceNet

/// The broker on its sockets: binds, serves on its event loops, and stops in peace.
package final class Server: Sendable {
    package let configuration: ServerConfiguration
    private let logger: Logger
    private let house: House

    /// Makes a further face, on the loop of its engine; before its calls it reads the clocks.
    package typealias FaceMaker =
        @Sendable (Engine, _ readClocks: @escaping () -> Void) throws(SystemError) -> any Face

    package init(configuration: ServerConfiguration, logger: Logger) throws(SystemError) {
        self.configuration = configuration
        self.logger = logger
        house = try House(
            shards: max(1, configuration.shards),
            memoryLimit: configuration.memoryLimit
        )
    }

    /// The loop that connections come in on, where a further face lives.
    package var frontLoop: EventLoop { house.loops[0] }

    /// What each shard was told to do last, for the report of a fault.
    package var lastCommands: UnsafePointer<UInt8> { UnsafePointer(house.census.lastCommands) }

    /// Binds everything that is configured and begins to serve; returns the bound addresses.
    package func start(face: FaceMaker? = nil) async throws -> [String] {
        HostProcess.ignoreBrokenPipes()
        var listeners: [Listener] = []
        for text in configuration.listen {
            let endpoint = try Endpoint(parsing: text)
            guard let address = try endpoint.resolve().first else { continue }
            listeners.append(try Listener(on: address, loop: house.loops[0]))
        }
        for loop in house.loops { loop.start() }
        let bound = listeners.map { listener in
            listener.address.path.map { "unix:\($0)" } ?? listener.address.description
        }
        // The first shard, which accepts, begins when all others are there to send to.
        for index in house.loops.indices.reversed() {
            let ready = index == 0 ? listeners : []
            try await withCheckedThrowingContinuation { continuation in
                house.loops[index].submit { @Sendable [self] in
                    let face = index == 0 ? face : nil
                    continuation.resume(with: Result { try begin(index, ready, face) })
                }
            }
        }
        return bound
    }

    /// Begins to serve who connects through memory, on one event loop; returns at once.
    package func startInMemory() {
        precondition(house.loops.count == 1, "connections through memory come in on one loop")
        house.loops[0].start()
        house.loops[0].submit { @Sendable [self] in
            // Without listeners there is nothing that could fail.
            try? begin(0, [], nil)
        }
    }

    /// The client's end of a new connection through memory; nil once the server has stopped.
    package func connect() -> MemoryEnd? { connect(from: "memory") }

    /// The same for a client that comes by another way, from an address.
    package func connect(from address: String) -> MemoryEnd? {
        let (ours, theirs) = MemoryEnd.pair()
        let carrier = Carrier.memory(ours)
        let isSent = house.submit(to: 0) { @Sendable shard in
            if let shard { shard.take(carrier, from: address) } else { carrier.close() }
        }
        return isSent ? theirs : nil
    }

    private func begin(
        _ index: Int,
        _ listeners: [Listener],
        _ face: FaceMaker?
    ) throws(SystemError) {
        let shard = Shard(index: index, house: house, configuration: configuration, logger: logger)
        house.add(shard)
        try shard.start(listeners, face) { [loop = house.loops[index]] in loop.stop() }
    }

    /// Stops in peace, or at once when called again; from any thread.
    package func stop() {
        for index in house.loops.indices {
            house.submit(to: index) { @Sendable shard in shard?.stop() }
        }
    }

    /// Returns when everything is closed.
    package func waitUntilStopped() async {
        for loop in house.loops { await loop.waitUntilStopped() }
    }
}
