import DequeModule
import SluiceCore
package import SluiceEngine

/// The memory for frames that have come in part: who holds how much of it, who waits for it, and
/// who has to give it back.
///
/// A frame gets its memory whole, before more of it is read. One address holds at most half of the
/// memory, and the last eighth is kept for connections that are proven: those that have brought, in
/// whole frames, as many bytes before as this frame has. Addresses that wait are served in turn,
/// the proven of each first. While somebody waits, the frame that has stood still longest loses its
/// memory, and its connection.
// Σ of what the holders hold = heldBytes ≤ most
package struct AssemblyBudget {
    private struct Holder {
        var bytes: Int
        var address: ClientAddress
        var isProven: Bool
        /// When its frame last came on by a step.
        var movedAt: UInt64

        var patience: UInt64 {
            let milliseconds =
                isProven
                ? Limits.assemblyProvenStallMilliseconds : Limits.assemblyStallMilliseconds
            return milliseconds * 1_000_000
        }
    }

    private struct Waiter {
        var slot: Int
        var bytes: Int
        var address: ClientAddress
        var isProven: Bool
        /// Tells it from what the same slot waited for before.
        var ticket: UInt64
    }

    private struct Line {
        var proven = Deque<Waiter>()
        var others = Deque<Waiter>()
    }

    /// Who got memory, and who lost it.
    package struct Relief: Equatable {
        package var admitted: [Int] = []
        package var evicted: [Int] = []
    }

    private let most: Int
    private let beginningsMost: Int
    private var holders: [Int: Holder] = [:]
    private(set) package var heldBytes = 0
    private var bytesOfAddress: [ClientAddress: Int] = [:]
    private var lines: [ClientAddress: Line] = [:]
    /// Addresses of those that wait, the next to be served first.
    private var turns = Deque<ClientAddress>()
    /// The slots that wait; entries of lines with other tickets are stale.
    private var tickets: [Int: UInt64] = [:]
    private var ticket: UInt64 = 0
    /// What waiting frames have brought so far, by slot.
    private var beginnings: [Int: Int] = [:]
    private(set) package var beginningBytes = 0

    package init(
        most: Int = Limits.assemblyLoopBytesMax,
        beginningsMost: Int = Limits.assemblyWaitingBytesMax
    ) {
        self.most = most
        self.beginningsMost = beginningsMost
    }

    /// Whether somebody waits.
    package var isShort: Bool { !tickets.isEmpty }

    private static func charge(_ bytes: Int) -> Int { max(bytes, Limits.assemblyFrameBytesMin) }

    // MARK: Taking and giving back

    /// Gives memory for a frame, or lets its connection wait in line; true if it has it.
    package mutating func take(
        _ bytes: Int,
        for slot: Int,
        of address: ClientAddress,
        isProven: Bool,
        at now: UInt64
    ) -> Bool {
        ticket += 1
        let waiter = Waiter(
            slot: slot,
            bytes: Self.charge(bytes),
            address: address,
            isProven: isProven,
            ticket: ticket
        )
        if !isShort || isProven && lines[address]?.proven.isEmpty ?? true, fits(waiter) {
            hold(waiter, at: now)
            return true
        }
        if lines[address] == nil { turns.append(address) }
        if isProven {
            lines[address, default: Line()].proven.append(waiter)
        } else {
            lines[address, default: Line()].others.append(waiter)
        }
        tickets[slot] = ticket
        return false
    }

    /// The frame came on by a step.
    package mutating func note(_ slot: Int, at now: UInt64) { holders[slot]?.movedAt = now }

    /// Takes back what a connection holds, and its place in line.
    package mutating func release(_ slot: Int) {
        tickets[slot] = nil
        endBeginning(slot)
        guard let holder = holders.removeValue(forKey: slot) else { return }
        heldBytes -= holder.bytes
        let rest = (bytesOfAddress[holder.address] ?? 0) - holder.bytes
        bytesOfAddress[holder.address] = rest > 0 ? rest : nil
    }

    /// Counts what a frame that waits has brought; false if there is too much of that already.
    package mutating func keepBeginning(_ bytes: Int, of slot: Int) -> Bool {
        guard beginningBytes + bytes <= beginningsMost else { return false }
        endBeginning(slot)
        beginnings[slot] = bytes
        beginningBytes += bytes
        return true
    }

    private mutating func endBeginning(_ slot: Int) {
        if let bytes = beginnings.removeValue(forKey: slot) { beginningBytes -= bytes }
    }

    /// Bytes that an address may hold, and all together, for a connection that is proven or not.
    private func share(_ isProven: Bool) -> Int { isProven ? most : most - most / 8 }

    private func missing(_ waiter: Waiter) -> (ofAddress: Int, ofAll: Int) {
        let share = share(waiter.isProven)
        let held = bytesOfAddress[waiter.address] ?? 0
        return (
            max(0, held + waiter.bytes - share / 2), max(0, heldBytes + waiter.bytes - share)
        )
    }

    private func fits(_ waiter: Waiter) -> Bool { missing(waiter) == (0, 0) }

    private mutating func hold(_ waiter: Waiter, at now: UInt64) {
        endBeginning(waiter.slot)
        holders[waiter.slot] = Holder(
            bytes: waiter.bytes,
            address: waiter.address,
            isProven: waiter.isProven,
            movedAt: now
        )
        heldBytes += waiter.bytes
        bytesOfAddress[waiter.address, default: 0] += waiter.bytes
    }

    // MARK: Relief

    /// Lines that are looked at in one call, and frames that get memory.
    private static let reliefMax = 64

    /// Serves those that wait as far as there is memory; takes it from frames that stand still
    /// if `mayEvict`.
    package mutating func relieve(at now: UInt64, mayEvict: Bool) -> Relief {
        var relief = Relief()
        guard isShort else {
            (lines, turns) = ([:], [])
            return relief
        }
        var stalled: [(slot: Int, holder: Holder)] = []
        if mayEvict {
            for (slot, holder) in holders where now >= holder.movedAt + holder.patience {
                stalled.append((slot, holder))
            }
            stalled.sort { ($0.holder.movedAt, $0.slot) < ($1.holder.movedAt, $1.slot) }
        }
        var looks = min(turns.count, Self.reliefMax)
        while looks > 0, relief.admitted.count < Self.reliefMax, let address = turns.popFirst() {
            looks -= 1
            guard let waiter = first(of: address) else {
                lines[address] = nil
                continue
            }
            turns.append(address)
            guard fits(waiter) || evict(for: waiter, from: &stalled, into: &relief) else {
                continue
            }
            removeFirst(of: waiter)
            hold(waiter, at: now)
            relief.admitted.append(waiter.slot)
            looks = max(looks, min(turns.count, Self.reliefMax))
        }
        return relief
    }

    /// The next in an address's line; what went away meanwhile is forgotten.
    private mutating func first(of address: ClientAddress) -> Waiter? {
        while let waiter = lines[address]?.proven.first {
            if tickets[waiter.slot] == waiter.ticket { return waiter }
            lines[address]?.proven.removeFirst()
        }
        while let waiter = lines[address]?.others.first {
            if tickets[waiter.slot] == waiter.ticket { return waiter }
            lines[address]?.others.removeFirst()
        }
        return nil
    }

    private mutating func removeFirst(of waiter: Waiter) {
        tickets[waiter.slot] = nil
        if waiter.isProven {
            lines[waiter.address]?.proven.removeFirst()
        } else {
            lines[waiter.address]?.others.removeFirst()
        }
    }

    /// Takes memory from frames that stand still until a waiting one fits; false, and nothing is
    /// taken, if they do not hold enough.
    ///
    /// An address that holds less than the waiter's loses nothing to it.
    private mutating func evict(
        for waiter: Waiter,
        from stalled: inout [(slot: Int, holder: Holder)],
        into relief: inout Relief
    ) -> Bool {
        var (ofAddress, ofAll) = missing(waiter)
        let held = bytesOfAddress[waiter.address] ?? 0
        var victims: [Int] = []
        for (index, entry) in stalled.enumerated() where ofAddress > 0 || ofAll > 0 {
            let isOwn = entry.holder.address == waiter.address
            let isRicher = bytesOfAddress[entry.holder.address] ?? 0 >= held
            guard isOwn || ofAddress == 0 && isRicher else { continue }
            victims.append(index)
            if isOwn { ofAddress -= entry.holder.bytes }
            ofAll -= entry.holder.bytes
        }
        guard ofAddress <= 0, ofAll <= 0 else { return false }
        for index in victims.reversed() {
            let slot = stalled.remove(at: index).slot
            release(slot)
            relief.evicted.append(slot)
        }
        return true
    }
}
