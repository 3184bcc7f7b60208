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
        slab = Slab(capacity: Limits.receiveSlabBytes)
        start = 0
    }

    /// Reads once.
    mutating func read(from socket: Descriptor) throws(SystemError) -> Descriptor.Receipt {
        makeRoom()
        var receipt = Descriptor.Receipt.wouldBlock
        _ = try slab.fill { (buffer) throws(SystemError) in
            receipt = try socket.receive(into: buffer)
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
        let fresh = Slab(capacity: max(Limits.receiveSlabBytes, tail.count + needed))
        slab.withBytes { span in _ = fresh.append(span.extracting(tail)) }
        slab = fresh
        start = 0
    }
}

/// Frames on their way to the socket: one buffer being sent, one being filled.
struct Outlet {
    /// Bytes of events that may wait; what else there is comes on top.
    static let eventBytesMax = 262_144
    /// Bytes that may wait altogether: OPENs of the most links, and more answers than a broker in
    /// its right mind asks for before it reads.
    static let bytesMax = 16_777_216

    /// Where new frames go.
    var writer = FrameWriter()
    private var sending = FrameWriter()
    private var sent = 0

    /// Bytes that wait.
    var backlog: Int { sending.bytes.count - sent + writer.bytes.count }

    mutating func reset() { self = Outlet() }

    /// Sends once; false if the socket takes no more.
    mutating func send(to socket: Descriptor) throws(SystemError) -> Bool {
        if sent == sending.bytes.count {
            sending.removeAll()
            sent = 0
            swap(&sending, &writer)
        }
        // The span lends the bytes to a call with typed errors; the closure of an array cannot.
        let result = try sending.bytes.span.withUnsafeBytes { (bytes) throws(SystemError) in
            try socket.send(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
        }
        guard case .bytes(let count) = result else { return false }
        sent += count
        return true
    }
}
