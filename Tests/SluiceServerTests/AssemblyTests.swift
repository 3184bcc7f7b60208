import SluiceCore
import SluiceEngine
import SluiceTestKit
import Testing

@testable import SluiceServer
@testable import SluiceWire

@Suite("Memory for unfinished frames")
struct AssemblyTests {
    private static let megabyte = 1_048_576
    private static let millisecond: UInt64 = 1_000_000
    private let first = ClientAddress("192.0.2.1:1")
    private let second = ClientAddress("192.0.2.2:1")

    /// Sixteen megabytes: an unproven address gets seven of them.
    private func budget() -> AssemblyBudget {
        AssemblyBudget(most: 16 * Self.megabyte, beginningsMost: Self.megabyte)
    }

    private func fill(
        _ budget: inout AssemblyBudget,
        _ slots: Range<Int>,
        of address: ClientAddress,
        isProven: Bool = false
    ) -> [Int] {
        slots.filter {
            budget.take(Self.megabyte, for: $0, of: address, isProven: isProven, at: 0)
        }
    }

    @Test("One address gets no more than half, and another still gets memory")
    func shares() {
        var budget = budget()
        #expect(fill(&budget, 0..<20, of: first) == Array(0..<7))
        #expect(budget.isShort)
        #expect(budget.relieve(at: 0, mayEvict: true) == AssemblyBudget.Relief())
        #expect(budget.heldBytes == 7 * Self.megabyte)
        var other = self.budget()
        #expect(fill(&other, 0..<7, of: first).count == 7)
        #expect(fill(&other, 7..<14, of: second).count == 7)
    }

    @Test("The last eighth is for the proven")
    func reserve() {
        var budget = budget()
        #expect(fill(&budget, 0..<8, of: first).count == 7)
        #expect(fill(&budget, 8..<10, of: first, isProven: true) == [8])
        #expect(budget.heldBytes == 8 * Self.megabyte)
    }

    @Test("While others wait, the frame that has stood still longest loses its memory")
    func eviction() {
        var budget = budget()
        _ = fill(&budget, 0..<9, of: first)
        let patience = Limits.assemblyStallMilliseconds * Self.millisecond
        budget.note(0, at: patience)
        #expect(budget.relieve(at: patience - 1, mayEvict: true).evicted.isEmpty)
        #expect(budget.relieve(at: patience, mayEvict: false).evicted.isEmpty)
        let relief = budget.relieve(at: patience, mayEvict: true)
        #expect(relief == AssemblyBudget.Relief(admitted: [7, 8], evicted: [1, 2]))
        #expect(!budget.isShort && budget.heldBytes == 7 * Self.megabyte)
    }

    @Test("A proven connection may stand still longer, and goes before others")
    func proven() {
        var budget = budget()
        _ = fill(&budget, 0..<7, of: first)
        _ = fill(&budget, 7..<8, of: first, isProven: true)
        _ = fill(&budget, 8..<9, of: first)
        _ = fill(&budget, 9..<10, of: first, isProven: true)
        let patience = Limits.assemblyStallMilliseconds * Self.millisecond
        let relief = budget.relieve(at: patience, mayEvict: true)
        #expect(relief.admitted == [9, 8])
        #expect(!relief.evicted.contains(7))
    }

    @Test("An address that holds less loses nothing to one that holds more")
    func poorer() {
        var budget = budget()
        _ = fill(&budget, 0..<7, of: first)
        _ = fill(&budget, 10..<15, of: second)
        let third = ClientAddress("192.0.2.3:1")
        _ = fill(&budget, 20..<22, of: third)
        _ = fill(&budget, 30..<31, of: first)
        #expect(budget.heldBytes == 14 * Self.megabyte)
        let relief = budget.relieve(at: 1_000 * Self.millisecond, mayEvict: true)
        // Its own address is at its share: one of its own goes.
        #expect(relief.admitted == [30] && relief.evicted == [0])
    }

    @Test("Addresses are served in turn, and what is given back goes to the next")
    func turns() {
        var budget = budget()
        _ = fill(&budget, 0..<7, of: first)
        _ = fill(&budget, 10..<17, of: second)
        _ = fill(&budget, 20..<23, of: first)
        _ = fill(&budget, 30..<33, of: second)
        for slot in [0, 1, 10, 11] { budget.release(slot) }
        #expect(budget.relieve(at: 0, mayEvict: false).admitted == [20, 30, 21, 31])
        budget.release(22)
        budget.release(12)
        budget.release(2)
        #expect(budget.relieve(at: 0, mayEvict: false).admitted == [32])
        #expect(!budget.isShort)
    }

    @Test("Each frame counts something, and the beginnings of waiting ones are bounded")
    func smallFrames() {
        var budget = budget()
        let count = 7 * Self.megabyte / Limits.assemblyFrameBytesMin
        func take(_ slot: Int) -> Bool {
            budget.take(9, for: slot, of: first, isProven: false, at: 0)
        }
        for slot in 0..<count {
            #expect(take(slot))
        }
        #expect(!take(count))
        let isKept = budget.keepBeginning(Self.megabyte, of: count)
        let isTooMuch = !budget.keepBeginning(1, of: count + 1)
        #expect(isKept && isTooMuch)
        budget.release(0)
        let relief = budget.relieve(at: 0, mayEvict: false)
        #expect(relief.admitted == [count])
        #expect(budget.beginningBytes == 0)
    }

    @Test("A random history never holds more than it may, and balances", arguments: 0..<8)
    func history(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var budget = budget()
        let addresses = (0..<4).map { ClientAddress("192.0.2.\($0):1") }
        var holding: Set<Int> = []
        var waiting: Set<Int> = []
        for step in 0..<4_000 {
            let slot = Int.random(in: 0..<64, using: &random)
            let now = UInt64(step) * Self.millisecond
            if holding.contains(slot) || waiting.contains(slot) {
                budget.release(slot)
                holding.remove(slot)
                waiting.remove(slot)
            } else {
                let bytes = Int.random(in: 1...Self.megabyte, using: &random)
                let isTaken = budget.take(
                    bytes,
                    for: slot,
                    of: addresses[slot % 4],
                    isProven: Bool.random(using: &random),
                    at: now
                )
                if isTaken { holding.insert(slot) } else { waiting.insert(slot) }
            }
            let relief = budget.relieve(at: now, mayEvict: Bool.random(using: &random))
            for slot in relief.evicted { #expect(holding.remove(slot) != nil) }
            for slot in relief.admitted {
                #expect(waiting.remove(slot) != nil)
                holding.insert(slot)
            }
            #expect(budget.heldBytes <= 16 * Self.megabyte)
            #expect(budget.isShort == !waiting.isEmpty)
        }
        for slot in 0..<64 { budget.release(slot) }
        #expect(budget.heldBytes == 0 && budget.beginningBytes == 0 && !budget.isShort)
    }

    @Test("A frame that brings too little in its time has stood still")
    func progress() {
        var buffer = ReceiveBuffer()
        let second: UInt64 = 1_000_000_000
        let slab = Slab(capacity: 100_000)
        buffer.move(to: slab, isOwn: false)
        func bring(_ count: Int, at now: UInt64) {
            _ = slab.append([UInt8](repeating: 0, count: count).span.bytes)
            var progress = ReadProgress(from: 0)
            progress.frameBytes = 90_000
            buffer.note(progress, at: now)
        }
        func stalls(at seconds: UInt64) -> Bool { buffer.isStalled(at: seconds * second) }
        bring(1, at: second)
        for time in 2...11 {
            bring(1, at: UInt64(time) * second)
            #expect(!stalls(at: UInt64(time)))
        }
        #expect(stalls(at: 12))
        bring(ReceiveBuffer.advanceBytesMin, at: 13 * second)
        #expect(!stalls(at: 13) && !stalls(at: 23))
        #expect(stalls(at: 24))
        buffer.excuse(at: 24 * second)
        #expect(!stalls(at: 34))
    }

    @Test("Shares go by the address without its port, and by the network of IPv6")
    func addresses() {
        #expect(ClientAddress("192.0.2.1:1") == ClientAddress("192.0.2.1:65535"))
        #expect(ClientAddress("192.0.2.1:1") != ClientAddress("192.0.2.2:1"))
        #expect(ClientAddress("[::ffff:192.0.2.1]:9") == ClientAddress("192.0.2.1:1"))
        #expect(ClientAddress("[2001:db8::1]:9") == ClientAddress("[2001:db8:0:0:9::]:8"))
        #expect(ClientAddress("[2001:db8::1]:9") != ClientAddress("[2001:db8:0:1::1]:9"))
        #expect(ClientAddress("[::1]:9") == ClientAddress("::1"))
        #expect(ClientAddress("[::1]:9") != ClientAddress("unix"))
        #expect(ClientAddress("unix") != ClientAddress("memory"))
        #expect(ClientAddress("") == ClientAddress(""))
    }
}
