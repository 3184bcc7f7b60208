import SluiceNet

/// The event loop that the clients of a process share; it runs as long as the process.
final class ClientLoop: Sendable {
    static let shared: Result<ClientLoop, ClientError> = Result { () throws(ClientError) in
        try ClientLoop()
    }

    let loop: EventLoop
    // Confined to the loop.
    private nonisolated(unsafe) var dirty: [Connector] = []

    init() throws(ClientError) {
        do {
            loop = try EventLoop(label: "sluice.client")
        } catch {
            throw ClientError(.unreachable, "no event loop: \(error)")
        }
        loop.start()
        loop.submit { [self] in loop.onEndOfTurn { [unowned self] in flush() } }
    }

    /// Has `connector` written out at the end of the turn, with all that the turn still brings.
    func markDirty(_ connector: Connector) {
        loop.assertOnLoop()
        guard !connector.isDirty else { return }
        connector.isDirty = true
        dirty.append(connector)
    }

    private func flush() -> Bool {
        let connectors = dirty
        dirty.removeAll(keepingCapacity: true)
        for connector in connectors {
            connector.isDirty = false
            if connector.flush() { markDirty(connector) }
        }
        return !dirty.isEmpty
    }
}
