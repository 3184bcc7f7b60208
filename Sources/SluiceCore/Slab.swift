import Synchronization

/// Raw memory that runs of events share: filled once from the front, then only read.
///
/// A slab is confined to the event loop that fills it. Another thread gets a view of it, or the
/// whole, when its filler has let go of it.
// filled ≤ capacity; bytes that were handed on never change
@safe
package final class Slab: @unchecked Sendable {
    package let capacity: Int
    @usableFromInline let memory: UnsafeMutableRawPointer
    // Confined to one loop, and read or written at once: the check would cost more than the access.
    @exclusivity(unchecked) @usableFromInline var filledNow = 0
    @exclusivity(unchecked) @usableFromInline var chargedNow = 0
    private let pool: SlabPool?
    /// The slab whose memory this one shows.
    private let origin: Slab?

    @inlinable
    package internal(set) var filled: Int {
        get { unsafe filledNow }
        set { unsafe filledNow = newValue }
    }

    /// Bytes of this slab that logs count as pinned now: the sum of their charges.
    @inlinable
    package var charged: Int {
        get { unsafe chargedNow }
        set { unsafe chargedNow = newValue }
    }

    package init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
        pool = nil
        origin = nil
        unsafe memory = .allocate(byteCount: capacity, alignment: 16)
    }

    fileprivate init(from pool: SlabPool, memory: UnsafeMutableRawPointer) {
        capacity = pool.slabBytes
        self.pool = pool
        origin = nil
        unsafe self.memory = memory
    }

    /// The bytes that `other` has now, with counters of their own, for another thread to read.
    ///
    /// The memory goes back where it came from when `other` and all its views are gone.
    package init(viewing other: Slab) {
        capacity = other.capacity
        pool = nil
        origin = other.origin ?? other
        unsafe memory = other.memory
        filled = other.filled
    }

    deinit {
        guard origin == nil else { return }
        if let pool {
            unsafe pool.takeBack(memory)
        } else {
            unsafe memory.deallocate()
        }
    }

    /// Bytes that can still be filled; none in a view, whose bytes are another's.
    package var room: Int { origin == nil ? capacity - filled : 0 }

    /// Lets `body` write into the unfilled part and say how many bytes it wrote.
    package func fill<Failure: Error>(
        atMost most: Int = .max,
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) -> Int {
        let most = min(room, most)
        let count = unsafe try body(
            UnsafeMutableRawBufferPointer(start: memory + filled, count: most)
        )
        precondition(count >= 0 && count <= most)
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

    /// Moves filled bytes down over bytes that nobody was given and nobody needs.
    package func move(_ range: Range<Int>, to start: Int) {
        precondition(start >= 0 && start <= range.lowerBound && range.upperBound <= filled)
        unsafe (memory + start).copyMemory(
            from: memory + range.lowerBound,
            byteCount: range.count
        )
    }

    /// Forgets what was filled; only for a slab that nobody else holds.
    package func reset() {
        filled = 0
        charged = 0
    }

    /// Lends the filled bytes.
    @inlinable
    package func withBytes<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(unsafe RawSpan(_unsafeStart: UnsafeRawPointer(memory), byteCount: filled))
    }

    /// The filled bytes, for system calls that take addresses.
    @inlinable
    package func withUnsafeBytes<Result>(
        _ range: Range<Int>,
        _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        precondition(range.lowerBound >= 0 && range.upperBound <= filled)
        return unsafe body(
            UnsafeRawBufferPointer(start: memory + range.lowerBound, count: range.count)
        )
    }

    /// Lends a part that was filled before the slab was shown to another thread.
    ///
    /// Checks against the capacity, which never changes, and not against `filled`: the filler
    /// may be appending behind that part at the same time.
    @inlinable
    package func withShared<Result, Failure: Error>(
        _ range: Range<Int>,
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        precondition(range.lowerBound >= 0 && range.upperBound <= capacity)
        return unsafe try body(
            UnsafeRawBufferPointer(start: memory + range.lowerBound, count: range.count)
        )
    }
}

/// Slabs of one size that go round: the memory of those that nobody holds is kept for the next.
///
/// Slabs are made on one event loop; their last holders may be anywhere. What is given back joins
/// a chain by one exchange, and only its maker takes from that.
@safe
package final class SlabPool: @unchecked Sendable {
    package let slabBytes: Int
    private let keptMax: Int
    private var kept: [UnsafeMutableRawPointer] = unsafe []
    /// What came back since the last look; each begins with the address of the next.
    private let returned = unsafe Atomic<UnsafeMutableRawPointer?>(nil)
    /// How many there are in both.
    private let keptCount = Atomic<Int>(0)

    package init(slabBytes: Int, keptMax: Int) {
        precondition(slabBytes >= MemoryLayout<UInt>.size)
        self.slabBytes = slabBytes
        self.keptMax = keptMax
    }

    deinit {
        collect()
        while let memory = unsafe kept.popLast() { unsafe memory.deallocate() }
    }

    /// A slab of the memory that was given back last, which the processor's caches still hold.
    package func make() -> Slab {
        collect()
        guard let memory = unsafe kept.popLast() else {
            return unsafe Slab(
                from: self,
                memory: .allocate(byteCount: slabBytes, alignment: 16)
            )
        }
        keptCount.subtract(1, ordering: .relaxed)
        return unsafe Slab(from: self, memory: memory)
    }

    /// Takes the whole chain: no other taker can pull a link out of it meanwhile.
    private func collect() {
        guard unsafe returned.load(ordering: .relaxed) != nil else { return }
        var next = unsafe returned.exchange(nil, ordering: .acquiring)
        let start = unsafe kept.count
        while let memory = unsafe next {
            unsafe next = memory.load(as: UnsafeMutableRawPointer?.self)
            unsafe kept.append(memory)
        }
        // The chain begins with the newest, which is the next to go out.
        unsafe kept[start...].reverse()
    }

    fileprivate func takeBack(_ memory: UnsafeMutableRawPointer) {
        guard keptCount.load(ordering: .relaxed) < keptMax else {
            unsafe memory.deallocate()
            return
        }
        keptCount.add(1, ordering: .relaxed)
        var first = unsafe returned.load(ordering: .relaxed)
        while true {
            unsafe memory.storeBytes(of: first, as: UnsafeMutableRawPointer?.self)
            let (isDone, now) = unsafe returned.weakCompareExchange(
                expected: first,
                desired: memory,
                ordering: .releasing
            )
            if isDone { return }
            unsafe first = now
        }
    }
}
