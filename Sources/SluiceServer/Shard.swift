import DequeModule
import Logging
import SluiceCore
import SluiceEngine
import SluiceNet
import SluiceWire

/// One event loop with its engine and connections; everything in it is confined to the loop.
final class Shard {
    let loop: EventLoop
    /// What all shards of the server share, and this one's number among them.
    let house: House
    let index: Int
    let engine: Engine
    let logger: Logger
    let configuration: ServerConfiguration
    let pool = SlabPool(slabBytes: Limits.receiveSlabBytes, keptMax: Limits.slabsKeptMax)
    var peerSettings = ClientPeer.Settings()
    /// Connections with something to write, and those that were read in this turn.
    @exclusivity(unchecked) var flushing: [Connection] = []
    @exclusivity(unchecked) var reading: [Connection] = []
    /// Connections with settlements that may wait a moment.
    private var settling: [Connection] = []
    /// Connections that were read and have used their slice of the turn's time.
    var behind = Deque<Connection>()
    /// Connections that have much to read, which wait for those that have little.
    var pouring = PouringReaders<Connection>()
    var commandTime = TurnTime(
        sliceMicroseconds: Limits.commandSliceMicroseconds,
        turnMicroseconds: Limits.commandTurnMicroseconds
    )
    /// Connections that wait for other shards to deal with what they said.
    var held: [Connection] = []
    /// Connections that are read late, and whether a timer looks after them.
    private var late = LateReaders()
    private var isLateTimed = false
    @exclusivity(unchecked) var scratch = OutQueue.Scratch()
    /// Bytes of events in all write queues.
    var queuedBytes = 0 { didSet { checkQueues() } }
    /// Whether the queues hold so much that windows are tight.
    private(set) var isTight = false
    var assembly: AssemblyBudget
    /// What of it the engine counts.
    private var bookedAssembly = 0
    /// When frames that stood still were last looked for.
    var assemblyRelievedAt: UInt64 = 0
    /// Whether those that wait for memory are served in this turn, and in a while.
    var isReliefDue = false
    var isReliefTimed = false
    /// Connections whose slab holds an unfinished frame alone, the longest first.
    var unfinished = Deque<Connection>()
    var connections: [Connection?] = []
    private var freeSlots: [Int] = []
    private(set) var connectionCount = 0
    private var listeners: [Listener] = []
    /// Another way in to the engine, served in the same turns.
    private var face: (any Face)?
    private var stopped: (() -> Void)?
    private(set) var drainDeadline: UInt64?
    /// All is said: clients may read it and close while the time to drain lasts.
    private(set) var isLeaving = false

    init(index: Int, house: House, configuration: ServerConfiguration, logger: Logger) {
        self.index = index
        self.house = house
        loop = house.loops[index]
        self.configuration = configuration
        self.logger = logger
        var settings = configuration.engine
        settings.usage = {
            var usage = EngineConfiguration.Usage()
            usage.pid = HostProcess.pid
            usage.cpuSeconds = HostProcess.cpuSeconds
            let memory = HostProcess.memory
            usage.residentBytes = memory.resident
            usage.virtualBytes = memory.virtual
            usage.openDescriptors = HostProcess.openDescriptors
            usage.maxDescriptors = HostProcess.maxDescriptors
            usage.startSeconds = HostProcess.startSeconds
            return usage
        }
        engine = Engine(
            configuration: settings,
            logger: logger,
            now: Instant(nanoseconds: loop.now),
            place: house.place(of: index)
        )
        assembly = AssemblyBudget(most: engine.assemblyBytesMax)
        peerSettings.keepaliveSeconds = UInt16(clamping: configuration.keepaliveSeconds)
    }

    /// The timer that wakes the engine, and when it does.
    private var wakeUp: (at: Instant, timer: TimerID)?
    /// Twice in the shortest keepalive, and often enough to free what blocked writers pin.
    private static let tickInterval = Duration.milliseconds(100)

    func start(
        _ listeners: [Listener],
        _ makeFace: Server.FaceMaker?,
        stopped: @escaping () -> Void
    ) throws(SystemError) {
        self.listeners = listeners
        self.stopped = stopped
        readClocks()
        face = try makeFace?(engine) { [unowned self] in readClocks() }
        for listener in listeners {
            try listener.start { [unowned self] socket, address in
                accept(socket, from: address)
            } failed: { [unowned self] error in
                engine.countReject(.system, at: .binary)
                logger.warning("connection not accepted", metadata: ["reason": "\(error)"])
            }
        }
        // The loop owns its shard until it has ended, whatever becomes of the server.
        loop.onEndOfTurn { self.endTurn() }
        scheduleTick()
    }

    /// Sets the engine's clocks, once a turn.
    func readClocks() {
        let now = Instant(nanoseconds: loop.now)
        guard engine.now != now || engine.time == 0 else { return }
        engine.now = now
        engine.time = HostProcess.wallMicroseconds
    }
}

// MARK: - Turns

extension Shard {
    /// Rounds of dispatch and writing in one turn; after them the sockets are looked at again.
    private static let roundsPerTurnMax = 16

    private func endTurn() -> Bool {
        readClocks()
        commandTime.begin()
        if !behind.isEmpty { catchUp() }
        face?.catchUp()
        if !pouring.isEmpty { pour() }
        for round in 0..<Self.roundsPerTurnMax {
            _ = engine.turn(stats: round == 0)
            // First what others can work on while we write.
            sendPost()
            let isFaceBusy = face?.flush() ?? false
            if flushing.isEmpty, !isFaceBusy {
                // What another shard sends meanwhile needs no turn of its own.
                guard loop.runSubmitted() else { break }
                continue
            }
            flushAll()
        }
        if face != nil { checkQueues() }
        if !late.isEmpty { late.release(at: loop.now) }
        for connection in reading { connection.idle() }
        reading.removeAll(keepingCapacity: true)
        sendPost()
        if let time = engine.wakesAt { wake(at: time) }
        let isBehind = !behind.isEmpty || !pouring.isEmpty || face?.hasMore ?? false
        return engine.hasMore || !flushing.isEmpty || isBehind
    }

    /// Lets connections go on for which there was no time, in their order.
    private func catchUp() {
        for _ in 0..<behind.count where !commandTime.isUsedUp {
            behind.popFirst()?.catchUp()
        }
        commandTime.begin()
    }

    /// Lets connections read that have much, one after the other, as long as there is time.
    private func pour() {
        let began = monotonicNanoseconds()
        while let connection = pouring.next() {
            connection.pour()
            let now = monotonicNanoseconds()
            if now - min(now, began) >= Limits.pourTurnMicroseconds * 1_000 { break }
        }
        pouring.unwatchRest()
    }

    /// Rounds between two reads of one connection: as many narrow windows as make a slab.
    private static let roundsPerReadMax = Limits.receiveSlabBytes / Limits.writeWindowBytes

    /// Writes what a read brought before the next one, while the processor's caches still hold it.
    func passOn() {
        for _ in 0..<Self.roundsPerReadMax {
            _ = engine.turn(stats: false)
            guard !flushing.isEmpty else { return }
            flushAll()
        }
    }

    private func flushAll() {
        let due = flushing
        flushing.removeAll(keepingCapacity: true)
        for connection in due { connection.flush() }
    }

    /// Writes the settlements of a connection in a while, with those that come meanwhile.
    func settleSoon(_ connection: Connection) {
        settling.append(connection)
        guard settling.count == 1 else { return }
        loop.schedule(after: .milliseconds(Limits.settleWaitMilliseconds)) { [weak self] in
            guard let self else { return }
            let due = settling
            settling.removeAll(keepingCapacity: true)
            for connection in due { connection.settle() }
        }
    }

    /// Lets a connection read what came when its topic needs it, or in a while.
    func readLate(_ connection: Connection) {
        late.add(connection, at: loop.now)
        if !isLateTimed { timeLate() }
    }

    /// Sees to it that no connection is read later than it may be.
    private func timeLate() {
        let deadline = late.deadline
        isLateTimed = deadline != nil
        guard let deadline else { return }
        let rest = deadline - min(deadline, loop.now)
        loop.schedule(after: .nanoseconds(rest)) { [weak self] in
            guard let self else { return }
            late.release(at: loop.now)
            timeLate()
        }
    }

    /// Lets the engine go on at a time, if its timer does not by then.
    // One timer: those that are hours off would add up.
    private func wake(at time: Instant) {
        if let known = wakeUp {
            guard time < known.at else { return }
            loop.cancel(known.timer)
        }
        let nanoseconds = time.nanoseconds(since: engine.now)
        let timer = loop.schedule(after: .nanoseconds(nanoseconds)) { [weak self] in
            guard let self else { return }
            wakeUp = nil
            readClocks()
            engine.wake()
        }
        wakeUp = (time, timer)
    }

    private func scheduleTick() {
        loop.schedule(after: Self.tickInterval) { [weak self] in
            guard let self else { return }
            readClocks()
            engine.tick()
            let now = loop.now
            for connection in connections { connection?.tick(now) }
            face?.tick()
            if drainDeadline != nil { checkDrained(now) }
            scheduleTick()
        }
    }

    /// Tells the engine what unfinished frames take.
    func countAssembly() {
        let bytes = assembly.heldBytes + assembly.beginningBytes
        guard bytes != bookedAssembly else { return }
        engine.bookMemory(bytes - bookedAssembly)
        bookedAssembly = bytes
    }

    private func checkQueues() {
        let queued = queuedBytes + (face?.queuedBytes ?? 0)
        let isFull = queued > Limits.writeLoopBytesMax / (isTight ? 2 : 1)
        guard isFull != isTight else { return }
        isTight.toggle()
        engine.setWindows(bytes: WriteWindows.narrowBytes(isTight: isTight))
        for connection in connections { connection?.forgetWideLinks() }
    }
}

// MARK: - Connections

extension Shard {
    private func accept(_ socket: consuming Socket, from address: SocketAddress) {
        let descriptor = socket.release()
        let text = address.path == nil ? address.description : "unix"
        take(.socket(descriptor), from: text)
    }

    /// Serves a new connection, or turns it away.
    func take(_ carrier: Carrier, from address: String) {
        guard drainDeadline == nil, house.enter(configuration.connectionsMax) else {
            engine.countReject(drainDeadline == nil ? .limit : .stopping, at: .binary)
            turnAway(carrier, "the broker takes no more connections now")
            return
        }
        guard engine.takeMemory(Limits.memoryConnectionBytes, forSystem: true) else {
            house.leave()
            engine.countReject(.limit, at: .binary)
            turnAway(carrier, engine.memoryAdvice)
            return
        }
        let slot = takeSlot()
        let connection = Connection(carrier, address: address, slot: slot, shard: self)
        connections[slot] = connection
        do {
            try connection.start()
        } catch {
            engine.countReject(.system, at: .binary)
            logger.warning("connection not taken", metadata: ["reason": "\(error)"])
            connection.close()
        }
    }

    /// A place in the table for a connection that comes now.
    func takeSlot() -> Int {
        connectionCount += 1
        if let slot = freeSlots.popLast() { return slot }
        connections.append(nil)
        return connections.count - 1
    }

    private func turnAway(_ carrier: Carrier, _ text: String) {
        var writer = FrameWriter()
        writer.append(Close(.busy, reason: text, retryMilliseconds: engine.nextRetry()))
        writer.bytes.withUnsafeBytes { bytes in _ = try? carrier.send(bytes) }
        carrier.close()
    }

    func forget(_ connection: Connection) {
        house.leave()
        vacate(connection)
    }

    func vacate(_ connection: Connection) {
        engine.bookMemory(-Limits.memoryConnectionBytes)
        connections[connection.slot] = nil
        freeSlots.append(connection.slot)
        connectionCount -= 1
        guard isLeaving, isGone else { return }
        loop.schedule(after: .zero) { [weak self] in self?.closeAll() }
    }

    private var isGone: Bool { connectionCount == 0 && face?.isGone ?? true }
}

// MARK: - Stopping

extension Shard {
    /// Grants nothing more, delivers what has credit, and closes; a second call closes at once.
    func stop() {
        guard drainDeadline == nil else {
            closeAll()
            return
        }
        readClocks()
        drainDeadline = loop.deadline(after: .seconds(configuration.drainSeconds))
        for listener in listeners { listener.close() }
        listeners = []
        logger.info("stopping", metadata: ["connections": "\(connectionCount)"])
        engine.wind()
        face?.wind()
        for case let connection? in connections {
            if connection.peer.isGreeted {
                connection.peer.sayGoingAway()
            } else {
                connection.peer.sayFarewell()
            }
        }
        scheduleDrainCheck()
    }

    private func scheduleDrainCheck() {
        loop.schedule(after: .milliseconds(1)) { [weak self] in
            guard let self, !isLeaving else { return }
            checkDrained(loop.now)
            scheduleDrainCheck()
        }
    }

    private func checkDrained(_ now: UInt64) {
        guard let drainDeadline else { return }
        if now >= drainDeadline || isLeaving && isGone {
            closeAll()
        } else if !isLeaving {
            // A link from shard to shard needs both ends: none leaves before all are drained.
            let isOver = house.drain.note(index) {
                let (sent, received) = engine.postCounts
                let isFaceDrained = face?.isDrained ?? true
                let isDrained = engine.isDrained && queuedBytes == 0 && isFaceDrained
                return Drain.Report(isDrained: isDrained, sent: sent, received: received)
            }
            if isOver { leave() }
        }
    }

    /// Says the last words, and leaves clients the time to read them.
    ///
    /// A socket closed under a client that still sends loses what the kernel has not passed on.
    private func leave() {
        isLeaving = true
        for case let connection? in connections {
            connection.peer.sayFarewell()
            connection.flush()
        }
        face?.leave()
        if isGone { closeAll() }
    }

    private func closeAll() {
        guard let stopped else { return }
        self.stopped = nil
        house.remove(index)
        for case let connection? in connections {
            connection.peer.sayFarewell()
            connection.flush()
            connection.close()
        }
        face?.close()
        face = nil
        stopped()
    }
}
