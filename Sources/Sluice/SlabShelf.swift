import SluiceCore
import SluiceNet

/// Where slabs wait for their last holder, so that their memory is filled again.
///
/// Fresh memory of this size costs the kernel a page fault every 4 KiB.
final class SlabShelf: Sendable {
    /// The shelf of the process.
    static let shared = SlabShelf()

    /// The one size that is kept.
    static let slabBytes = Limits.receiveSlabBytes
    private static let keptMax = 16

    private let kept = Lock<[Slab]>([])

    /// An empty slab that nobody else holds.
    func take() -> Slab {
        let used: Slab? = kept.withLock { kept in
            // The last is the likeliest to be in a cache.
            for index in kept.indices.reversed() where isKnownUniquelyReferenced(&kept[index]) {
                return kept.remove(at: index)
            }
            return nil
        }
        used?.reset()
        return used ?? Slab(capacity: Self.slabBytes)
    }

    /// Keeps `slab` for the time when those who still hold it have let go of it.
    func retire(_ slab: Slab) {
        guard slab.capacity == Self.slabBytes else { return }
        // What falls off the shelf may be the last reference: it is freed outside the lock.
        let oldest: Slab? = kept.withLock { kept in
            kept.append(slab)
            return kept.count > Self.keptMax ? kept.removeFirst() : nil
        }
        _ = oldest
    }
}
