import DequeModule
import SluiceCore
import SluiceWire
import Synchronization

// The memory of the broker: what each step of a topic may take of it, and who waits for it.

extension Engine {
    /// Tells a topic before a step how much it may hold and grant.
    @inline(__always)
    func lendMemory(to box: TopicBox) {
        guard memory.budget.isLimited else { return }
        let room = room(for: box)
        let isCrowded = room.isShare ? !waitingForShare.isEmpty : !waitingForMemory.isEmpty
        var most = box.bookedBytes + room.bytes
        if isCrowded, !box.hasTurnForMemory {
            // What comes free is for those that wait, but for a little, and step by step.
            let little = min(most, Limits.writeWindowBytes)
            most = max(box.bookedBytes - box.bookedBytes / 8, little)
        }
        box.hasTurnForMemory = false
        box.core.memoryLimit = UInt64(most)
        box.core.givesFloors = !memory.isTight
    }

    /// Bytes that a topic may take now beside those that it has, and whether it is the share of
    /// the address that made it which leaves no more.
    @inline(__always)
    private func room(for box: TopicBox) -> (bytes: Int, isShare: Bool) {
        var room = memory.roomForGrants()
        if !waitingForMemory.isEmpty {
            // Its part, but not so little that nobody gets anything.
            room = min(room, max(room / (waitingForMemory.count + 1), Limits.writeWindowBytes))
        }
        guard let account = box.account else { return (room, false) }
        let share = share(of: account)
        return (min(room, share), share < room)
    }

    /// Bytes that topics which an address made may still be granted: once half of the memory is
    /// used, they hold together at most half as much as is left.
    private func share(of account: AddressAccount) -> Int {
        let left = memory.budget.grantsMost - memory.budget.used
        guard left < memory.budget.grantsMost / 2 else { return .max }
        return max(0, left / 2 - account.memory.load(ordering: .relaxed))
    }

    /// Whether the address that made the topic, or would make it, may take what an OPEN needs.
    func hasShare(for open: Open, of session: Session) -> Bool {
        guard memory.budget.isLimited else { return true }
        let bytes = openingBytes(open)
        guard let box = topics[open.topic] else {
            let account = place.census.account(of: session.address)
            return share(of: account) >= bytes
        }
        return box.account.map { share(of: $0) >= bytes } ?? true
    }

    /// Counts what a topic takes after a step.
    @inline(__always)
    func bookMemory(of box: TopicBox) {
        guard memory.budget.isLimited else { return }
        let use = box.core.memoryUse
        let bytes = Int(use.held + use.reserved)
        let hasGrown = bytes > box.bookedBytes
        if bytes != box.bookedBytes { book(bytes, of: box) }
        reservedBytes += Int(use.reserved) - box.reservedBytes
        box.reservedBytes = Int(use.reserved)
        if use.isShort { goOn(box, hasGrown: hasGrown) }
        if use.holdsUnused, !box.isHoldingUnused {
            box.isHoldingUnused = true
            holdingUnused.append(box)
        }
    }

    private func book(_ bytes: Int, of box: TopicBox) {
        let change = bytes - box.bookedBytes
        box.bookedBytes = bytes
        usedBytes += change
        memory.book(change)
        if change < 0 { hasFreedMemory = true }
        guard let account = box.account else { return }
        box.untoldBytes += change
        let most = min(Self.untoldBytesMax, bytes / 8)
        guard abs(box.untoldBytes) > most else { return }
        account.memory.add(box.untoldBytes, ordering: .relaxed)
        box.untoldBytes = 0
    }

    /// What a topic takes that the account of its address does not know of: an eighth, or this.
    private static let untoldBytesMax = 65_536

    /// The topic is gone, with all that it held.
    func forgetMemory(of box: TopicBox) {
        guard memory.budget.isLimited else { return }
        book(0, of: box)
        reservedBytes -= box.reservedBytes
        box.reservedBytes = 0
    }

    /// Bytes of the broker's memory that are counted for what is here.
    package var memoryInUse: Int { usedBytes }

    /// Counts what something other than a topic takes, or gives back if negative.
    package func bookMemory(_ bytes: Int) {
        usedBytes += bytes
        memory.book(bytes)
    }

    /// Counts what a connection or a link takes; false if there is no room for it.
    package func takeMemory(_ bytes: Int, forSystem isSystem: Bool = false) -> Bool {
        guard memory.hasRoom(for: bytes, ofSystem: isSystem) else { return false }
        bookMemory(bytes)
        return true
    }
}

// MARK: - What others take

extension Engine {
    /// Bytes that the engine's loop may keep for unfinished frames: its part of a sixteenth of the
    /// memory, and room for a few of the largest.
    package var assemblyBytesMax: Int {
        guard memory.budget.isLimited else { return Limits.assemblyLoopBytesMax }
        let share = memory.budget.most / 16 / place.count
        return max(4 * Limits.frameBytesMax, min(Limits.assemblyLoopBytesMax, share))
    }

    /// Bytes of requests over HTTP that may be held: an eighth of the memory at most.
    package var bodiesBytesMax: Int { min(Limits.httpBodiesBytesMax, memory.budget.most / 8) }

    /// Bytes that a group takes in which nothing waits.
    func newGroupBytes(partitions: UInt16?) -> UInt64 {
        Limits.memoryGroupBytes + UInt64(partitions ?? 0) * Limits.memoryPartitionBytes
    }

    /// Bytes that what an OPEN asks for takes at most.
    func openingBytes(_ open: Open) -> Int {
        guard !open.topic.isReserved else { return Limits.memorySessionLinkBytes }
        var bytes = UInt64(Limits.memorySessionLinkBytes) + Limits.memoryLinkBytes
        if topics[open.topic] == nil { bytes += Limits.memoryTopicBytes }
        guard open.role == .sink else { return Int(bytes) }
        bytes += newGroupBytes(partitions: open.wish.partitions)
        bytes += UInt64(open.member.filter?.encoded.count ?? 0)
        bytes += UInt64(open.member.claims?.count ?? 0) * 16
        return Int(bytes)
    }
}

// MARK: - Topics that wait for memory

extension Engine {
    /// Topics that may try again in one turn.
    private static let retriesPerTurnMax = 8

    /// Lets a topic that was short of memory try again at once, if it used what it had and there
    /// is more; else it waits for its turn.
    private func goOn(_ box: TopicBox, hasGrown: Bool) {
        let room = room(for: box)
        if hasGrown, room.bytes > Limits.segmentBytes, waitingForMemory.isEmpty {
            box.core.retryGrants()
            mark(box)
            return
        }
        guard !box.isShortOfMemory, !box.isRemoved else { return }
        box.isShortOfMemory = true
        // Who has used up his share holds up nobody else.
        if room.isShare { waitingForShare.append(box) } else { waitingForMemory.append(box) }
    }

    /// Lets topics that could not grant for lack of memory try again, in turn.
    func retryForMemory() {
        hasFreedMemory = false
        retry(&waitingForShare)
        guard memory.roomForGrants() > Limits.segmentBytes else { return }
        retry(&waitingForMemory)
    }

    private func retry(_ waiting: inout Deque<TopicBox>) {
        for _ in 0..<min(Self.retriesPerTurnMax, waiting.count) {
            guard let box = waiting.popFirst() else { return }
            box.isShortOfMemory = false
            guard !box.isRemoved else { continue }
            box.hasTurnForMemory = true
            box.core.retryGrants()
            mark(box)
        }
    }

    /// Topics whose unused grants are recalled in one tick.
    private static let recallsPerTickMax = 256

    /// Recalls grants that nobody has announced a use for, as topics wait for their memory.
    func recallUnused() {
        guard memory.isTight else { return }
        for _ in 0..<min(Self.recallsPerTickMax, holdingUnused.count) {
            guard let box = holdingUnused.popFirst() else { return }
            box.isHoldingUnused = false
            guard !box.isRemoved else { continue }
            var effects = takeEffects()
            box.core.recallUnused(at: now, into: &effects)
            perform(&effects, of: box)
            bookMemory(of: box)
            watchRecalls(of: box)
        }
    }

    /// What to do when memory is short, for the text of a refusal.
    static let shareAdvice =
        "more than half of the broker's memory is used, and topics that your address made hold "
        + "their share of the rest: consume or purge what waits in them, or remove some"

    package var memoryAdvice: String {
        let limit = memory.budget.limit ?? 0
        return "the broker's memory is used up (--memory-limit \(limit) bytes): consume or purge "
            + "what waits, remove topics, or give it more"
    }

    /// Refuses for want of memory, of which there may be more in a moment.
    func lacking(_ advice: String) -> Close {
        Close(.limit, reason: advice, retryMilliseconds: nextRetry())
    }
}
