import DequeModule
package import Logging
import SluiceCore
package import SluiceEngine
package import SluiceNet

/// The HTTP face: HTTP/1.1 and HTTP/2 on one port, over the same engine as the binary face.
package final class Gateway: Face {
    let loop: EventLoop
    let engine: Engine
    let logger: Logger
    let readClocks: () -> Void
    /// A client whose kernel is silent for twice as long is gone.
    private let keepaliveSeconds: Int
    /// Begins a connection to the binary face, for a client at an address; nil once that has
    /// stopped.
    let dial: (String) -> Carrier?
    private let listener: Listener
    private var connections: [GatewayConnection?] = []
    private var freeSlots: [Int] = []
    private var connectionCount = 0
    var flushing: [GatewayConnection] = []
    private var held: [GatewayConnection] = []
    /// Connections that have used their slice of the turn's time, or came when none was left.
    private var behind = Deque<GatewayConnection>()
    var commandTime = TurnTime(
        sliceMicroseconds: Limits.commandSliceMicroseconds,
        turnMicroseconds: Limits.httpTurnMicroseconds
    )
    /// The time of a turn for what is written, whoever it is for.
    private var writeTime = TurnTime(
        sliceMicroseconds: Limits.httpTurnMicroseconds,
        turnMicroseconds: Limits.httpTurnMicroseconds
    )
    /// Pieces of long answers that are made in one of the next turns.
    private var pieces = Deque<() -> Void>()
    /// Those with requests in a row, which take turns.
    private var waiting = Deque<GatewayConnection>()
    /// Bodies whose events are being read, which take turns.
    private var reading = Deque<Publishing>()
    /// The last target that was taken apart.
    var lastTarget: (text: String, target: Target)?
    /// What one read brings; all connections share it.
    let readBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
    /// What brings the events of requests to their topics.
    private(set) lazy var intakes = Intakes(self)
    private(set) var isWinding = false
    private var ticks = 0
    /// Bytes of events that wait in answers.
    package var queuedBytes = 0
    /// Calls that want to know whether the broker serves.
    var watches: [ObjectIdentifier: GrpcWatch] = [:]
    /// Bytes of requests that may be held.
    var bodiesBytesMax: Int { engine.bodiesBytesMax }
    /// Bytes of requests that are held until they are complete or have credit.
    var heldBytes = 0 { didSet { engine.bookMemory(heldBytes - oldValue) } }

    /// Serves who comes to a listener that was bound for this loop.
    package init(
        on listener: Listener,
        loop: EventLoop,
        engine: Engine,
        logger: Logger,
        keepaliveSeconds: Int,
        dial: @escaping (String) -> Carrier?,
        readClocks: @escaping () -> Void
    ) throws(SystemError) {
        self.listener = listener
        self.loop = loop
        self.engine = engine
        self.logger = logger
        self.keepaliveSeconds = keepaliveSeconds
        self.dial = dial
        self.readClocks = readClocks
        try listener.start { [unowned self] socket, address in
            accept(socket, from: address)
        } failed: { [engine, logger] error in
            engine.countReject(.system, at: .http)
            logger.warning("HTTP connection not accepted", metadata: ["reason": "\(error)"])
        }
    }

    deinit { readBuffer.deallocate() }

    private func accept(_ socket: consuming Socket, from address: SocketAddress) {
        let descriptor = socket.release()
        guard !isWinding, connectionCount < Limits.httpConnectionsMax else {
            engine.countReject(isWinding ? .stopping : .limit, at: .http)
            descriptor.close()
            return
        }
        guard engine.takeMemory(Limits.memoryHttpConnectionBytes, forSystem: true) else {
            engine.countReject(.limit, at: .http)
            descriptor.close()
            return
        }
        if address.path == nil {
            // An answer may last for hours without a word of its client.
            try? descriptor.setKeepAlive(seconds: keepaliveSeconds)
            // Or it takes megabytes that nobody reads, and each looks like progress.
            try? descriptor.setUnsentMark(bytes: Limits.httpUnsentBytesMax)
        }
        let slot = freeSlots.popLast() ?? connections.count
        if slot == connections.count { connections.append(nil) }
        connectionCount += 1
        let text = address.path == nil ? address.description : "unix"
        let connection = GatewayConnection(descriptor, address: text, slot: slot, gateway: self)
        connections[slot] = connection
        do {
            try connection.start()
        } catch {
            engine.countReject(.system, at: .http)
            logger.warning("HTTP connection not taken", metadata: ["reason": "\(error)"])
            connection.close()
        }
    }

    /// Counts what a call is ended with if its client is to blame.
    func count(_ code: CloseCode) { engine.countBreach(code, at: .http) }

    func forget(_ connection: GatewayConnection) {
        engine.bookMemory(-Limits.memoryHttpConnectionBytes)
        connections[connection.slot] = nil
        freeSlots.append(connection.slot)
        connectionCount -= 1
    }

    /// Reads no more of a connection until the other engines have caught up.
    func hold(_ connection: GatewayConnection) { held.append(connection) }

    /// Begins a request that a connection has in its row in one of the next turns.
    func queue(_ connection: GatewayConnection) {
        waiting.append(connection)
        guard waiting.count == 1 else { return }
        loop.schedule(after: .zero) { [weak self] in self?.goOn() }
    }

    /// A few requests for all rows together: who asks one thing after the other waits for them.
    private func goOn() {
        readClocks()
        for _ in 0..<Limits.httpRowRequestsPerTurnMax {
            guard let connection = waiting.popFirst() else { return }
            if connection.goOn() { waiting.append(connection) }
        }
        guard !waiting.isEmpty else { return }
        loop.schedule(after: .zero) { [weak self] in self?.goOn() }
    }

    /// Reads on in a body in one of the next turns.
    func queue(_ publishing: Publishing) {
        reading.append(publishing)
        guard reading.count == 1 else { return }
        loop.schedule(after: .zero) { [weak self] in self?.readOn() }
    }

    /// One part of one body in a turn: who asks one thing after the other waits for it.
    private func readOn() {
        readClocks()
        if let next = reading.popFirst(), !next.goOn() { reading.append(next) }
        guard !reading.isEmpty else { return }
        loop.schedule(after: .zero) { [weak self] in self?.readOn() }
    }

    /// Has a piece of an answer made in one of the next turns.
    func queue(piece: @escaping () -> Void) {
        pieces.append(piece)
        guard pieces.count == 1 else { return }
        loop.schedule(after: .zero) { [weak self] in self?.makePieces() }
    }

    /// As many as a slice of the turn's time lasts for, but one in any case.
    private func makePieces() {
        var slice = TurnTime(
            sliceMicroseconds: Limits.commandSliceMicroseconds,
            turnMicroseconds: Limits.httpTurnMicroseconds
        ).slice
        while !slice.isUsedUp(), let piece = pieces.popFirst() { piece() }
        guard !pieces.isEmpty else { return }
        loop.schedule(after: .zero) { [weak self] in self?.makePieces() }
    }
}

// MARK: - Turns

extension Gateway {
    /// Lets a connection go on in one of the next turns, behind those that wait already.
    func fallBehind(_ connection: GatewayConnection) { behind.append(connection) }

    package func catchUp() {
        // They have what those left that had something to say in this turn, or one of them a slice.
        commandTime.leaveSlice()
        for _ in 0..<behind.count where !commandTime.isUsedUp { behind.popFirst()?.catchUp() }
        commandTime.begin()
        writeTime.begin()
    }

    package var hasMore: Bool { !behind.isEmpty || !flushing.isEmpty }
}

extension Gateway {
    package func flush() -> Bool {
        if !held.isEmpty, !engine.isCongested {
            let waiting = held
            held = []
            for connection in waiting { connection.letGo() }
        }
        intakes.report()
        guard !flushing.isEmpty else { return false }
        let due = flushing
        flushing.removeAll(keepingCapacity: true)
        var slice = writeTime.slice
        defer { writeTime.spend(slice) }
        for (index, connection) in due.enumerated() {
            guard !slice.isUsedUp() else {
                flushing = due[index...] + flushing
                return index > 0
            }
            connection.flush()
        }
        return true
    }

    package func tick() {
        let now = loop.now
        for connection in connections { connection?.tick(now) }
        closeUnanswered()
        intakes.tick(now)
    }

    /// Looks after some of the connections in each tick, so that a call for each does not add up.
    private func closeUnanswered() {
        ticks += 1
        let limit = 2_000 * keepaliveSeconds
        for slot in stride(from: ticks % 10, to: connections.count, by: 10) {
            connections[slot]?.closeUnanswered(forMilliseconds: limit)
        }
    }

    package func wind() {
        isWinding = true
        listener.close()
        tellWatches()
        intakes.wind()
    }

    package var isDrained: Bool { queuedBytes == 0 && intakes.isDrained }

    package func leave() {
        for connection in connections { connection?.leave() }
        for connection in connections { connection?.flush() }
    }

    package var isGone: Bool { connectionCount == 0 }

    package func close() {
        listener.close()
        for connection in connections { connection?.close() }
        intakes.end()
    }
}
