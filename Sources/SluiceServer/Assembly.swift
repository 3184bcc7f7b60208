// Frames that come in part: their memory, and what becomes of those that stand still.

import DequeModule
import SluiceCore
import SluiceEngine
import SluiceNet
import SluiceWire

extension Shard {
    /// Between two looks for frames that stand still while others wait.
    private static let reliefNanoseconds: UInt64 = 10_000_000

    /// Lets a slab hold an unfinished frame alone; the oldest of too many is moved out of its slab.
    func listUnfinished(_ connection: Connection) {
        guard !connection.isListedUnfinished else { return }
        connection.isListedUnfinished = true
        unfinished.append(connection)
        guard unfinished.count > Limits.slabsUnfinishedMax, let oldest = unfinished.popFirst()
        else { return }
        oldest.isListedUnfinished = false
        oldest.leaveSlab()
    }

    func unlistUnfinished(_ connection: Connection) {
        connection.isListedUnfinished = false
        unfinished.removeAll { $0 === connection }
    }

    /// Serves connections that wait for memory, in this turn, and again as long as some wait.
    func relieveAssembly() {
        guard assembly.isShort, !isReliefDue else { return }
        isReliefDue = true
        loop.schedule(after: .zero) { [weak self] in
            self?.isReliefDue = false
            self?.serveAssembly()
        }
    }

    private func serveAssembly() {
        let now = loop.now
        let mayEvict = now - min(now, assemblyRelievedAt) >= Self.reliefNanoseconds
        if mayEvict { assemblyRelievedAt = now }
        let relief = assembly.relieve(at: now, mayEvict: mayEvict)
        countAssembly()
        for slot in relief.evicted { connections[slot]?.loseAssembly() }
        for slot in relief.admitted { connections[slot]?.goOnWithAssembly() }
        guard assembly.isShort, !isReliefTimed else { return }
        isReliefTimed = true
        loop.schedule(after: .nanoseconds(Self.reliefNanoseconds)) { [weak self] in
            self?.isReliefTimed = false
            self?.serveAssembly()
        }
    }
}

extension Connection {
    /// Makes sure that there is room for what comes; false if that has to wait.
    func prepareSlab() -> Bool {
        input.recycle()
        if input.hasRoom { return true }
        guard input.slab != nil, input.wanted > Limits.receiveSlabBytes else {
            let wasOwn = input.isOwn
            input.move(to: shard.pool.make(), isOwn: false)
            if wasOwn { releaseAssembly() }
            return true
        }
        guard takeAssembly() else { return false }
        input.move(to: Slab(capacity: input.wanted), isOwn: true)
        return true
    }

    /// Takes the memory for the whole frame; if there is none, the connection is not read until
    /// there is.
    private func takeAssembly() -> Bool {
        let before = peer.bytesIn - min(peer.bytesIn, UInt64(input.beginning))
        if input.isOwn { shard.assembly.release(slot) }
        let isTaken = shard.assembly.take(
            input.wanted,
            for: slot,
            of: peer.address,
            isProven: before >= UInt64(input.wanted),
            at: shard.loop.now
        )
        shard.countAssembly()
        guard !isTaken else { return true }
        waitsForAssembly = true
        stopReading()
        shard.relieveAssembly()
        return false
    }

    /// Moves the beginning of a frame out of a slab that it would pin alone.
    func leaveSlab() {
        guard !isClosed, !input.isOwn, input.beginning > 0 else { return }
        if !waitsForAssembly, takeAssembly() {
            input.move(to: Slab(capacity: input.wanted), isOwn: true)
            return
        }
        let bytes = input.beginning
        guard shard.assembly.keepBeginning(bytes, of: slot) else {
            let text = "too many unfinished frames wait for memory; send whole or smaller frames"
            giveUp(Close(.idle, reason: text))
            return
        }
        shard.countAssembly()
        input.move(to: Slab(capacity: bytes), isOwn: true)
    }

    /// The frame that waited has its memory.
    func goOnWithAssembly() {
        input.move(to: Slab(capacity: input.wanted), isOwn: true)
        waitsForAssembly = false
        resumeReading()
    }

    /// Others wait for the memory of its frame, which stood still.
    func loseAssembly() {
        let text = "the frame stood still while others waited for memory; send smaller frames"
        giveUp(Close(.idle, reason: text))
    }

    /// Notes that the frame has come on, or is whole.
    func updateAssembly() {
        guard input.parsed == 0 else {
            // Its memory is for one frame, not for what comes after it.
            dropInput()
            return
        }
        if input.takesStep() { shard.assembly.note(slot, at: shard.loop.now) }
    }

    /// Ends the connection, but not its session, and frees what its frame has.
    func giveUp(_ close: Close) {
        peer.detach(close)
        dropInput()
        updateInterest()
    }

    /// Gives back what was read and is not decoded, with its memory.
    func dropInput() {
        input.drop()
        waitsForAssembly = false
        releaseAssembly()
    }

    private func releaseAssembly() {
        shard.assembly.release(slot)
        shard.countAssembly()
        shard.relieveAssembly()
    }
}
