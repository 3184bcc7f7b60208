import Glibc
import SluiceCore
import SluiceEngine
import SluiceNet
import SluiceWire

/// One connection: reads into slabs, writes from its peer's queue.
final class Connection: IOHandler, LateReader, PouringReader {
    unowned let shard: Shard
    let carrier: Carrier
    let slot: Int
    private var registration: Carrier.Watch?
    let peer: ClientPeer
    var input = ReceiveBuffer()
    /// Whether the shard counts its slab among those that hold an unfinished frame alone.
    var isListedUnfinished = false
    /// What of `shard.queuedBytes` is ours, and what of the engine's memory for what it queues.
    private var queued = 0
    private var bookedQueue = 0
    private var isBlocked = false
    private(set) var isReadingStopped = false
    var waitsForAssembly = false
    private var lateness = Lateness()
    private var pace = ReadPace()
    /// Whether it waits for its turn to read much, and whether the loop tells of it meanwhile.
    private var waitsToPour = false
    private var isUnwatched = false
    /// Whether other shards have to deal first with what its client said.
    private var isHeld = false
    private(set) var isClosed = false
    /// When an ending connection is closed even if its client has not read everything.
    private var endsAt: UInt64?
    private var isSaid = false
    var needsFlush = false
    /// Whether the shard will write its settlements soon if nothing else does.
    private var settlesSoon = false
    var wasRead = false
    private var blockedAt: UInt64 = 0
    private var windows = WriteWindows()
    private let acceptedAt: UInt64
    private var receivedAt: UInt64
    private var sentAt: UInt64
    private var tickedAt: UInt64 = 0

    init(_ carrier: Carrier, address: String, slot: Int, shard: Shard) {
        self.carrier = carrier
        self.slot = slot
        self.shard = shard
        acceptedAt = shard.loop.now
        receivedAt = acceptedAt
        sentAt = acceptedAt
        var settings = shard.peerSettings
        settings.peerAddress = address
        peer = ClientPeer(engine: shard.engine, settings: settings)
        serve(peer)
    }

    /// Goes on with a connection that another shard has sent.
    init(_ traveller: Traveller, slot: Int, shard: Shard) {
        carrier = traveller.carrier
        self.slot = slot
        self.shard = shard
        peer = traveller.peer
        acceptedAt = traveller.acceptedAt
        receivedAt = traveller.receivedAt
        sentAt = traveller.sentAt
        serve(peer)
    }

    private func serve(_ peer: ClientPeer) {
        peer.wantsFlush = { [unowned self] in wantFlush() }
        peer.wantsSettling = { [unowned self] in
            guard !settlesSoon, !needsFlush, !isClosed else { return }
            settlesSoon = true
            shard.settleSoon(self)
        }
    }

    func start() throws(SystemError) {
        registration = try shard.loop.register(carrier, .readable, handler: self)
    }

    func ready(_ events: IOEvents) {
        if events.contains(.writable) { flush() }
        // What is behind is taken up in this turn in any case.
        guard !isClosed, !peer.isBehind else { return }
        if peer.isEnding || isReadingStopped {
            // Nobody reads a reply any more; unread it would be told in every turn.
            if events.contains(.hangUp) { close() } else if peer.isEnding { discard() }
        } else if events.contains(.hangUp) || events.contains(.readable) && !leavesUnread() {
            if pace.isPouring { waitToPour() } else { read() }
        }
    }

    /// The settlements have waited long enough.
    func settle() {
        settlesSoon = false
        if !peer.out.isEmpty { flush() }
    }

    private func wantFlush() {
        guard !needsFlush, !isClosed else { return }
        needsFlush = true
        shard.flushing.append(self)
    }
}

// MARK: - Reading

extension Connection {
    /// Reads of one turn, so that one busy client leaves the others their turn.
    private static let readsPerTurnMax = 4

    private func read() {
        shard.readClocks()
        lateness.begin()
        pace.begin()
        defer { pace.end() }
        for _ in 0..<Self.readsPerTurnMax {
            guard !isClosed, !peer.isEnding, !isReadingStopped, prepareSlab(),
                let slab = input.slab
            else {
                return
            }
            if shard.engine.isCongested, peer.isHeldUp {
                hold()
                return
            }
            let room = min(slab.room, pace.room(isGreeted: peer.isGreeted))
            let count: Int
            do {
                count = try slab.fill(atMost: room) { (buffer) throws(ReadEnd) in
                    try receive(into: buffer)
                }
            } catch {
                if error != .wouldBlock { close() }
                return
            }
            receivedAt = shard.loop.now
            peer.bytesIn += UInt64(count)
            lateness.bring(count)
            if !wasRead {
                wasRead = true
                shard.reading.append(self)
            }
            understand(slab)
            let hasPoured = pace.isPouring
            pace.bring(count, isFull: count == room)
            guard count == room else { return }
            guard hasPoured else {
                waitToPour()
                return
            }
            if peer.isBehind || shard.commandTime.isUsedUp { return }
            shard.passOn()
        }
    }

    private func waitToPour() {
        guard !waitsToPour, !isClosed else { return }
        waitsToPour = true
        shard.pouring.add(self)
    }

    func waitUnwatched() {
        isUnwatched = true
        updateInterest()
    }

    /// Has its turn to read much.
    func pour() {
        waitsToPour = false
        guard !isClosed else { return }
        if isUnwatched {
            isUnwatched = false
            updateInterest()
        }
        guard !peer.isBehind, !peer.isEnding, !isReadingStopped else { return }
        read()
    }

    /// Lets events wait in the socket while their topic has enough.
    ///
    /// What is read at once lies in the cache of the processor that wrote it, and comes in bits.
    private func leavesUnread() -> Bool {
        guard lateness.isWorthwhile else { return false }
        shard.readClocks()
        guard peer.mayReadLate else { return false }
        lateness.leave()
        updateInterest()
        shard.readLate(self)
        return true
    }

    var isReadingDue: Bool { isClosed || peer.isReadingDue }

    /// Reads what was left unread, in the next turn.
    func readOn() {
        lateness.end()
        updateInterest()
    }

    /// Throws away what still comes: to close a socket with unread bytes cuts off our last words.
    private func discard() {
        let scratch = shard.pool.make()
        for _ in 0..<Self.readsPerTurnMax {
            do {
                scratch.reset()
                _ = try scratch.fill { (buffer) throws(ReadEnd) in try receive(into: buffer) }
            } catch {
                if error != .wouldBlock { close() }
                return
            }
        }
    }

    private enum ReadEnd: Error {
        case wouldBlock
        case ended
    }

    private func receive(into buffer: UnsafeMutableRawBufferPointer) throws(ReadEnd) -> Int {
        let receipt: Descriptor.Receipt
        do {
            receipt = try carrier.receive(into: buffer)
        } catch { throw .ended }
        switch receipt {
        case .bytes(let count): return count
        case .wouldBlock: throw .wouldBlock
        case .ended: throw .ended
        }
    }

    private func understand(_ slab: Slab) {
        var slice = CommandSlice(shard.commandTime.slice, bytes: slab.filled - input.parsed)
        let progress = peer.receive(slab, from: input.parsed, within: &slice)
        shard.commandTime.spend(slice.time)
        input.note(progress, at: shard.loop.now)
        guard peer.departure == nil else {
            depart(with: slab)
            return
        }
        if peer.isBehind { shard.behind.append(self) } else if input.isOwn { updateAssembly() }
        if peer.out.replyBytes > Limits.replyBytesMax { stopReading() }
    }

    /// Goes on with what was read and not understood for lack of time.
    func catchUp() {
        guard !isClosed, let slab = input.slab else { return }
        if !wasRead {
            wasRead = true
            shard.reading.append(self)
        }
        understand(slab)
    }

    /// Gives the slab back, or keeps it for a while for the frame that began in it.
    func idle() {
        wasRead = false
        guard !peer.isBehind, let slab = input.slab else { return }
        if input.parsed == slab.filled {
            input.drop()
        } else if !input.isOwn, !isClosed {
            shard.listUnfinished(self)
        }
    }

    func stopReading() {
        guard !isReadingStopped else { return }
        isReadingStopped = true
        updateInterest()
    }

    private func hold() {
        isHeld = true
        shard.held.append(self)
        stopReading()
    }

    /// The other shards have caught up.
    func letGo() {
        isHeld = false
        resumeReading()
    }

    func resumeReading() {
        guard isReadingStopped, !waitsForAssembly, !isHeld,
            peer.out.replyBytes <= Limits.replyBytesMax
        else { return }
        isReadingStopped = false
        updateInterest()
    }
}

// MARK: - Writing

extension Connection {
    func flush() {
        needsFlush = false
        guard !isClosed else { return }
        let outcome = peer.flush(&shard.scratch, send)
        guard !outcome.hasFailed else {
            close()
            return
        }
        if outcome.byteCount > 0 { sentAt = shard.loop.now }
        setBlocked(outcome.isBlocked)
        countQueued()
        updateWindows(outcome)
        if peer.isEnding, peer.out.isEmpty { finish() }
        resumeReading()
    }

    private func send(_ vectors: UnsafeBufferPointer<iovec>) -> OutQueue.Sent {
        do {
            switch try carrier.sendVectors(vectors) {
            case .bytes(let count): return .bytes(count)
            case .wouldBlock: return .wouldBlock
            }
        } catch { return .failed }
    }

    private func countQueued() {
        let bytes = peer.out.eventBytes
        bookQueue(bytes + peer.out.replyBytes)
        guard bytes != queued else { return }
        shard.queuedBytes += bytes - queued
        queued = bytes
    }

    /// Tells the engine what waits to be written, as far as that is more than a little.
    private func bookQueue(_ bytes: Int) {
        let counted = bytes < 4_096 ? 0 : bytes
        guard counted != bookedQueue else { return }
        shard.engine.bookMemory(counted - bookedQueue)
        bookedQueue = counted
    }

    private func updateWindows(_ outcome: OutQueue.Outcome) {
        let changed = windows.update(
            after: outcome,
            isTight: shard.isTight,
            links: peer.linkCount
        ) { carrier.sendRoom }
        if let changed { peer.setWindows(changed) }
    }

    /// All write windows were set anew.
    func forgetWideLinks() { windows = WriteWindows() }

    private func setBlocked(_ blocked: Bool) {
        guard blocked != isBlocked else { return }
        isBlocked = blocked
        blockedAt = shard.loop.now
        updateInterest()
    }

    func updateInterest() {
        guard let registration, !isClosed else { return }
        var interest: IOInterest = []
        let isRead = !isReadingStopped && !lateness.isLate && !isUnwatched
        if isRead || peer.isEnding { interest.insert(.readable) }
        if isBlocked { interest.insert(.writable) }
        shard.loop.update(registration, interest)
    }

    /// Everything is said: the socket goes once the client has read it and closed its end.
    private func finish() {
        guard !isSaid else { return }
        isSaid = true
        do {
            try carrier.shutdownSending()
            updateInterest()
        } catch {
            close()
        }
    }
}

// MARK: - Time and the end

extension Connection {
    func tick(_ now: UInt64) {
        let second: UInt64 = 1_000_000_000
        if isBlocked, now - min(now, blockedAt) > second / 20 { peer.out.unpin() }
        // Nothing was written between two ticks: the memory of its queue is free for others.
        if sentAt < tickedAt { peer.out.release() }
        tickedAt = now
        guard !peer.isEnding else {
            dropInput()
            let end = endsAt ?? now + UInt64(Limits.helloSecondsMax) * second
            endsAt = end
            if now >= end { close() }
            return
        }
        guard peer.isGreeted else {
            if now - min(now, acceptedAt) > UInt64(Limits.helloSecondsMax) * second {
                peer.end(Close(.idle, reason: "no HELLO in \(Limits.helloSecondsMax) s"))
            }
            return
        }
        if waitsForAssembly || isHeld || peer.isBehind || waitsToPour {
            receivedAt = now
            input.excuse(at: now)
        }
        if input.isStalled(at: now) {
            let text =
                "an unfinished frame has to bring \(ReceiveBuffer.advanceBytesMin) bytes in "
                + "\(Limits.assemblySecondsMax) s; send smaller frames"
            giveUp(Close(.idle, reason: text))
            return
        }
        let keepalive = UInt64(peer.keepaliveSeconds) * second
        let silence = now - min(now, receivedAt)
        if silence > keepalive * UInt64(Limits.keepalivesMissedMax) {
            peer.detach(Close(.idle, reason: "nothing came for two keepalives"))
        } else if now - min(now, sentAt) >= keepalive, peer.out.isEmpty {
            peer.sendPing(now)
        }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        peer.lost()
        letLoose()
        carrier.close()
        shard.forget(self)
    }

    /// Gives back what it has of the shard.
    private func letLoose() {
        if let registration { shard.loop.deregister(registration) }
        registration = nil
        if isListedUnfinished { shard.unlistUnfinished(self) }
        dropInput()
        shard.queuedBytes -= queued
        bookQueue(0)
    }
}

// MARK: - From shard to shard

extension Connection {
    /// Leaves for the shard where its client goes on, with what is read and not understood.
    private func depart(with slab: Slab) {
        guard let departure = peer.departure, !isClosed else { return }
        let traveller = Traveller(
            carrier: carrier,
            peer: peer,
            unread: slab.withBytes { $0.array(in: input.parsed..<$0.byteCount) },
            acceptedAt: acceptedAt,
            receivedAt: receivedAt,
            sentAt: sentAt
        )
        isClosed = true
        peer.depart()
        letLoose()
        shard.send(traveller, to: departure.engine, from: self)
    }

    /// Does what brought it here, and takes what was read on the way.
    func arrive(with unread: [UInt8]) throws(SystemError) {
        try start()
        peer.arrive(at: shard.engine)
        if !peer.out.isEmpty { wantFlush() }
        let slab =
            unread.count > shard.pool.slabBytes
            ? Slab(capacity: unread.count) : shard.pool.make()
        _ = slab.append(unread.span.bytes)
        input.move(to: slab, isOwn: false)
        wasRead = true
        shard.reading.append(self)
        guard peer.departure == nil else {
            depart(with: slab)
            return
        }
        understand(slab)
    }
}
