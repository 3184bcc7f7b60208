/// Raw memory that runs of events share: filled once from the front, then only read.
///
/// A slab is confined to the event loop that fills it. It crosses to another thread only as a
/// whole, when its filler has let go of it.
// filled ≤ capacity; bytes below `filled` never change
@safe
package final class Slab: @unchecked Sendable {
    package let capacity: Int
    package private(set) var filled = 0
    /// Bytes that logs already count as pinned in this slab.
    package var charged = 0
    private let memory: UnsafeMutableRawPointer

    package init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
        unsafe memory = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { unsafe memory.deallocate() }

    /// Bytes that can still be filled.
    package var room: Int { capacity - filled }

    /// Lets `body` write into the unfilled part and say how many bytes it wrote.
    package func fill<Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) -> Int {
        let count = unsafe try body(
            UnsafeMutableRawBufferPointer(start: memory + filled, count: room)
        )
        precondition(count >= 0 && count <= room)
        filled += count
        return count
    }

    /// Appends a copy of `bytes`, which must fit, and returns where it lies.
    package func append(_ bytes: RawSpan) -> Range<Int> {
        precondition(bytes.byteCount <= room)
        let start = filled
        unsafe bytes.withUnsafeBytes { source in
            guard let base = source.baseAddress else { return }
            unsafe (memory + start).copyMemory(from: base, byteCount: source.count)
        }
        filled += bytes.byteCount
        return start..<filled
    }

    /// Forgets what was filled; only for a slab that nobody else holds.
    package func reset() {
        filled = 0
        charged = 0
    }

    /// Lends the filled bytes.
    package func withBytes<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafe RawSpan(_unsafeStart: UnsafeRawPointer(memory), byteCount: filled))
    }

    /// The filled bytes, for system calls that take addresses.
    package func withUnsafeBytes<Result>(
        _ range: Range<Int>,
        _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        precondition(range.lowerBound >= 0 && range.upperBound <= filled)
        return unsafe body(
            UnsafeRawBufferPointer(start: memory + range.lowerBound, count: range.count)
        )
    }
}
