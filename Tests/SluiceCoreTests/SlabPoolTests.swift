import SluiceCore
import Testing

@Suite struct SlabPoolTests {
    private static func address(of slab: Slab) -> UnsafeRawPointer? {
        slab.withUnsafeBytes(0..<0) { $0.baseAddress }
    }

    @Test("The memory that was given back last goes out first")
    func newestFirst() {
        let pool = SlabPool(slabBytes: 64, keptMax: 4)
        var slabs = (0..<4).map { _ in pool.make() }
        let addresses = slabs.map(Self.address)
        // Slab after slab, the first one first.
        while !slabs.isEmpty { slabs.removeFirst() }
        let again = (0..<4).map { _ in pool.make() }
        #expect(again.map(Self.address) == addresses.reversed())
        #expect(Set(addresses).count == 4)
    }

    @Test("Memory beyond what is kept is not handed out twice")
    func bounded() {
        let pool = SlabPool(slabBytes: 64, keptMax: 1)
        var slabs = (0..<3).map { _ in pool.make() }
        slabs.removeAll()
        slabs = (0..<3).map { _ in pool.make() }
        #expect(Set(slabs.map(Self.address)).count == 3)
    }
}
