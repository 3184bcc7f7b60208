import SluiceCore
import SluiceWire

/// Events that go out together, already in the form of the wire.
///
/// Filling one costs no allocation for an event, and sending it no copy of a large one: the bytes
/// go to the socket from where they were written. What is appended after a `send` goes behind
/// them or, like any copy of a batch that is changed, into memory of its own.
public struct OutgoingBatch: Sendable {
    /// What the copies of a batch share; what is on its way to the broker holds the slab alone.
    private final class Storage: @unchecked Sendable {
        // Changed only by a batch that is the one holder of this.
        var slab: Slab

        init(_ slab: Slab) { self.slab = slab }

        deinit { SlabShelf.shared.retire(slab) }
    }

    private static let bytesMax = Int(UInt32.max)

    private var storage: Storage?
    /// Where the records lie in the slab.
    private var range = 0..<0
    /// For records that have more parts than a payload.
    private var parts = FrameWriter()
    /// How many events the batch holds.
    public private(set) var count = 0

    /// Makes an empty batch.
    public init() {}

    /// Makes a batch of `events`; throws `invalidArgument` if one breaks a limit.
    public init(_ events: some Sequence<OutgoingEvent>) throws(ClientError) {
        for event in events { try append(event) }
    }

    /// The records as they lie; nil if there are none.
    var run: Run? {
        guard count > 0, let storage else { return nil }
        return Run(slab: storage.slab, bytes: range, count: UInt32(count))
    }

    /// Whether the batch holds no events.
    public var isEmpty: Bool { count == 0 }
    /// Bytes of the events' records: 4 each, and keys, headers and payloads.
    public var byteCount: Int { range.count }

    /// Makes room for records of `byteCount` bytes altogether.
    public mutating func reserveCapacity(_ byteCount: Int) {
        makeRoom(for: max(0, min(byteCount, Self.bytesMax) - range.count))
    }

    /// Removes all events and keeps the memory.
    public mutating func removeAll() {
        count = 0
        let used = range.count
        range = range.upperBound..<range.upperBound
        guard storage != nil, isKnownUniquelyReferenced(&storage), let storage else {
            storage = nil
            range = 0..<0
            return
        }
        if isKnownUniquelyReferenced(&storage.slab) {
            storage.slab.reset()
            range = 0..<0
        } else if storage.slab.room < used {
            // The next batch will likely be as large as this one.
            let capacity = storage.slab.capacity
            SlabShelf.shared.retire(storage.slab)
            storage.slab = Self.slab(capacity)
            range = 0..<0
        }
    }

    /// Appends an event without key and headers.
    public mutating func append(payload: RawSpan) throws(ClientError) {
        let count = Record.headBytes + payload.byteCount
        guard count <= Limits.eventBytesMax else {
            throw ClientError(.invalidArgument, "\(WireError.eventTooLarge(count))")
        }
        try checkRoom(for: count)
        makeRoom(for: count).appendRecord(payload)
        add(count)
    }

    /// Appends an event without key and headers.
    public mutating func append(payload: [UInt8]) throws(ClientError) {
        try append(payload: payload.span.bytes)
    }

    /// Appends a received event as it came, key and headers included.
    public mutating func append(_ event: Event) throws(ClientError) {
        try event.withRecord { (record) throws(ClientError) in
            try checkRoom(for: record.byteCount)
            _ = makeRoom(for: record.byteCount).append(record)
            add(record.byteCount)
        }
    }

    /// Appends an event; throws `invalidArgument` if it breaks a limit.
    public mutating func append(_ event: OutgoingEvent) throws(ClientError) {
        guard event.key != nil || !event.headers.isEmpty else {
            return try append(payload: event.payload)
        }
        parts.removeAll()
        do throws(WireError) {
            try parts.appendRecord(
                key: event.key,
                headers: event.headers.map { RecordHeader(name: $0.name, value: $0.value) },
                payload: event.payload.span.bytes
            )
        } catch {
            throw ClientError(.invalidArgument, "\(error)")
        }
        let record = parts.bytes
        try checkRoom(for: record.count)
        _ = makeRoom(for: record.count).append(record.span.bytes)
        add(record.count)
    }

    private mutating func add(_ byteCount: Int) {
        range = range.lowerBound..<(range.upperBound + byteCount)
        count += 1
    }

    private func checkRoom(for byteCount: Int) throws(ClientError) {
        guard byteCount <= Self.bytesMax - range.count else {
            throw ClientError(.invalidArgument, "a batch holds at most \(Self.bytesMax) bytes")
        }
    }

    /// The slab with room for `byteCount` bytes behind the records; it is for this batch to fill.
    @discardableResult
    private mutating func makeRoom(for byteCount: Int) -> Slab {
        if isKnownUniquelyReferenced(&storage), let storage, storage.slab.room >= byteCount {
            return storage.slab
        }
        let old = storage?.slab
        let fresh = Self.slab(max(range.count + byteCount, 2 * range.count))
        if let old, !range.isEmpty {
            let records = range
            range = old.withShared(records) { fresh.append($0.bytes) }
        } else {
            range = 0..<0
        }
        storage = Storage(fresh)
        return fresh
    }

    /// An empty slab that has at least `capacity` bytes.
    private static func slab(_ capacity: Int) -> Slab {
        if capacity > SlabShelf.slabBytes { return Slab(capacity: capacity) }
        if capacity > SlabShelf.slabBytes / 4 { return SlabShelf.shared.take() }
        var rounded = 256
        while rounded < capacity { rounded *= 4 }
        return Slab(capacity: rounded)
    }
}
