import SluiceCore
import SluiceWire

/// What a connection has read: after each read, what is not decoded is the beginning of one frame.
struct ReceiveBuffer {
    /// Where the bytes lie: memory of the loop's pool, or of this frame alone.
    private(set) var slab: Slab?
    /// Bytes before this are decoded.
    private(set) var parsed = 0
    /// Bytes of the frame that begins there; 0 while its header is not complete.
    private(set) var frameBytes = 0
    /// Whether the slab holds this frame alone.
    private(set) var isOwn = false
    /// Bytes of the frame that had come when it last came on, and when that was; 0 before its
    /// first bytes.
    private var notedBytes = 0
    private var notedAt: UInt64 = 0
    /// The same in steps of the frame, for its place among those that hold memory.
    private var steppedBytes = 0

    /// Bytes of the frame that have come.
    var beginning: Int { slab.map { $0.filled - parsed } ?? 0 }

    /// Bytes that the frame, or at least its header, takes.
    var wanted: Int { max(frameBytes, FrameHeader.byteCount) }

    /// Whether the slab has room for the next read.
    var hasRoom: Bool {
        guard let slab else { return false }
        let rest = beginning
        let missing = max(frameBytes - rest, 1)
        return slab.room >= missing && (slab.room >= min(4_096, slab.capacity) || rest > 0)
    }

    /// Uses the slab anew if all of it is decoded and nobody else holds it.
    mutating func recycle() {
        guard let filled = slab?.filled, parsed == filled, isKnownUniquelyReferenced(&slab) else {
            return
        }
        slab?.reset()
        parsed = 0
        notedAt = 0
    }

    /// Goes on in an empty slab with the beginning of the frame.
    mutating func move(to fresh: Slab, isOwn: Bool) {
        if let slab {
            let range = parsed..<slab.filled
            slab.withBytes { _ = fresh.append($0.extracting(range)) }
        }
        slab = fresh
        parsed = 0
        self.isOwn = isOwn
    }

    /// Notes how far the bytes of a read were decoded.
    mutating func note(_ progress: ReadProgress, at now: UInt64) {
        if progress.parsed != parsed || notedAt == 0 {
            notedBytes = 0
            steppedBytes = 0
            notedAt = now
        }
        parsed = progress.parsed
        frameBytes = progress.frameBytes
    }

    mutating func drop() { self = ReceiveBuffer() }

    // MARK: Time

    /// Bytes that a frame has to bring in `Limits.assemblySecondsMax`.
    static let advanceBytesMin = Limits.assemblyBytesPerSecondMin * Limits.assemblySecondsMax

    /// Whether the frame has not come on for too long.
    mutating func isStalled(at now: UInt64) -> Bool {
        let come = beginning
        guard come > 0, come < notedBytes + Self.advanceBytesMin else {
            notedBytes = come
            notedAt = now
            return false
        }
        let patience = UInt64(Limits.assemblySecondsMax) * 1_000_000_000
        return now - min(now, notedAt) > patience
    }

    /// The frame had no chance to come on.
    mutating func excuse(at now: UInt64) { notedAt = now }

    /// Whether the frame came on by a sixteenth since this last was so.
    mutating func takesStep() -> Bool {
        let come = beginning
        guard come >= steppedBytes + max(1, frameBytes / 16) else { return false }
        steppedBytes = come
        return true
    }
}
