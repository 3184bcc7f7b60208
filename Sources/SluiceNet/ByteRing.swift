import Glibc
import Synchronization

/// Bytes on their way from one thread to another through memory, one writer and one reader.
// taken ≤ filled ≤ taken + capacity
final class ByteRing: @unchecked Sendable {
    /// Bytes that may be on their way; as little as still lets both ends work at the same time.
    static let capacity = 262_144

    // The writer has the part from `filled` on, the reader the part from `taken` on.
    private let bytes = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
    /// All that was ever written and read.
    private let filled = Atomic<Int>(0)
    private let taken = Atomic<Int>(0)
    /// Whether somebody is to be told when there is something to read, or room again.
    private let readerWaits = Atomic<Bool>(false)
    private let writerWaits = Atomic<Bool>(false)
    private let ended = Atomic<Bool>(false)
    private let abandoned = Atomic<Bool>(false)

    deinit { bytes.deallocate() }

    /// The writer has said all there is.
    var isEnded: Bool { ended.load(ordering: .acquiring) }
    /// The reader is gone.
    var isAbandoned: Bool { abandoned.load(ordering: .acquiring) }

    // In one total order with the stores: either one end sees the other's wish, or its work.
    var count: Int {
        filled.load(ordering: .sequentiallyConsistent)
            - taken.load(ordering: .sequentiallyConsistent)
    }

    var room: Int { Self.capacity - count }

    func end() { ended.store(true, ordering: .releasing) }

    func abandon() { abandoned.store(true, ordering: .releasing) }

    func awaitBytes() { readerWaits.store(true, ordering: .sequentiallyConsistent) }

    func awaitRoom() { writerWaits.store(true, ordering: .sequentiallyConsistent) }

    /// Whether the reader waits for bytes; true once for each `awaitBytes`.
    func takesReader() -> Bool {
        readerWaits.exchange(false, ordering: .sequentiallyConsistent)
    }

    /// Whether the writer waits for room; true once for each `awaitRoom`.
    func takesWriter() -> Bool {
        writerWaits.exchange(false, ordering: .sequentiallyConsistent)
    }

    /// Takes as much of `source` as there is room for; returns how much.
    func write(_ source: UnsafeRawBufferPointer) -> Int {
        let start = filled.load(ordering: .relaxed)
        let free = Self.capacity - (start - taken.load(ordering: .acquiring))
        let count = min(free, source.count)
        guard count > 0, let base = source.baseAddress else { return 0 }
        let place = start % Self.capacity
        let first = min(count, Self.capacity - place)
        memcpy(bytes + place, base, first)
        if count > first { memcpy(bytes, base + first, count - first) }
        filled.store(start + count, ordering: .sequentiallyConsistent)
        return count
    }

    /// Gives as much as there is and fits; returns how much.
    func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        let start = taken.load(ordering: .relaxed)
        let there = filled.load(ordering: .acquiring) - start
        let count = min(there, target.count)
        guard count > 0, let base = target.baseAddress else { return 0 }
        let place = start % Self.capacity
        let first = min(count, Self.capacity - place)
        memcpy(base, bytes + place, first)
        if count > first { memcpy(base + first, bytes, count - first) }
        taken.store(start + count, ordering: .sequentiallyConsistent)
        return count
    }
}
