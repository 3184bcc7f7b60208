import SluiceCore
import SluiceNet
import SluiceWire

/// Received bytes on their way into frames; what is delivered keeps its slab alive.
struct Inlet {
    /// Less room than this is not worth a read.
    private static let readBytesMin = 16_384

    private(set) var slab = Slab(capacity: Limits.receiveSlabBytes)
    /// Where the first byte lies that is not part of a whole frame taken before.
    private(set) var start = 0

    /// Forgets everything: a new connection begins.
    mutating func reset() {
        replaceSlab(with: SlabShelf.shared.take())
        start = 0
    }

    /// Whether the last read took all that there was room for, so that there may be more.
    var isFull: Bool { slab.room == 0 }

    /// Reads once.
    mutating func read(from carrier: Carrier) throws(SystemError) -> Descriptor.Receipt {
        makeRoom()
        var receipt = Descriptor.Receipt.wouldBlock
        _ = try slab.fill { (buffer) throws(SystemError) in
            receipt = try carrier.receive(into: buffer)
            guard case .bytes(let count) = receipt else { return 0 }
            return count
        }
        return receipt
    }

    /// Forgets what came: nothing of this connection is read any more.
    mutating func discard() { start = slab.filled }

    /// A whole frame was taken; the next begins at `position`.
    mutating func advance(to position: Int) { start = position }

    /// Bytes that the frame at `start` still lacks, or a read's worth if that is not known.
    private var missing: Int {
        let slab = slab
        let start = start
        let total = slab.withBytes { span in
            FrameHeader.decode(from: span, at: start).map { FrameHeader.byteCount + $0.length }
        }
        guard let total else { return Self.readBytesMin }
        return max(0, total - (slab.filled - start))
    }

    private mutating func makeRoom() {
        if start == slab.filled, isKnownUniquelyReferenced(&slab) {
            slab.reset()
            start = 0
        }
        let needed = missing
        guard slab.room < max(needed, min(Self.readBytesMin, slab.capacity)) else { return }
        let tail = start..<slab.filled
        let isLarge = tail.count + needed > SlabShelf.slabBytes
        let fresh =
            isLarge ? Slab(capacity: tail.count + needed) : SlabShelf.shared.take()
        slab.withBytes { span in _ = fresh.append(span.extracting(tail)) }
        replaceSlab(with: fresh)
        start = 0
    }

    private mutating func replaceSlab(with fresh: Slab) {
        SlabShelf.shared.retire(slab)
        slab = fresh
    }
}
