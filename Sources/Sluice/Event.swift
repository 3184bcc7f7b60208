import SluiceCore
import SluiceWire

/// A stretch of received bytes: a view into the buffer that its batch shares.
///
/// Holding one keeps the whole buffer alive; copy with `Array(bytes)` what is to be kept long.
public struct EventBytes: Sendable, RandomAccessCollection {
    private let slab: Slab
    private let range: Range<Int>

    init(slab: Slab, range: Range<Int>) {
        self.slab = slab
        self.range = range
    }

    /// The first index, always 0.
    public var startIndex: Int { 0 }
    /// The number of bytes.
    public var endIndex: Int { range.count }

    /// The byte at `position`.
    public subscript(position: Int) -> UInt8 {
        precondition(position >= 0 && position < endIndex)
        return slab.withShared(range) { $0[position] }
    }

    /// Lends the bytes for the length of the call.
    public func withBytes<Result>(_ body: (RawSpan) throws -> Result) rethrows -> Result {
        try slab.withShared(range) { try body($0.bytes) }
    }

    /// Lends the bytes to calls that take addresses.
    public func withContiguousStorageIfAvailable<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result? {
        try slab.withShared(range) { try $0.withMemoryRebound(to: UInt8.self, body) }
    }

    /// The bytes read as UTF-8; what is not UTF-8 becomes U+FFFD.
    public var string: String {
        slab.withShared(range) { String(decoding: $0, as: UTF8.self) }
    }
}

extension EventBytes: Hashable {
    /// Whether both hold the same bytes, wherever they lie.
    public static func == (left: Self, right: Self) -> Bool { left.elementsEqual(right) }

    /// Feeds the bytes to `hasher`.
    public func hash(into hasher: inout Hasher) {
        slab.withShared(range) { hasher.combine(bytes: $0) }
    }
}

/// A name and a value that travel with an event.
public struct EventHeader: Hashable, Sendable {
    /// At most 255 bytes of UTF-8.
    public var name: String
    /// At most 65,535 bytes, and 65,535 for all headers of an event together.
    public var value: [UInt8]

    /// Makes a header of bytes.
    public init(name: String, value: [UInt8]) {
        self.name = name
        self.value = value
    }

    /// Makes a header of text.
    public init(name: String, value: String) {
        self.init(name: name, value: Array(value.utf8))
    }
}

/// One received event: a view into the buffer that its batch shares.
public struct Event: Sendable {
    private let slab: Slab
    private let start: UInt32
    private let end: UInt32
    private let attemptNumber: UInt16
    /// The offset of the event in its topic, counted from 0.
    public let offset: UInt64
    /// When the broker took the event, in microseconds since 1970 (UTC).
    public let time: UInt64

    init(in run: Run, at position: Int, index: Int) {
        slab = run.slab
        start = UInt32(position)
        end = run.end
        attemptNumber = run.attempt
        offset = run.offset &+ UInt64(index)
        time = run.time
    }

    /// How often the event was delivered before, plus one.
    public var attempt: Int { Int(attemptNumber) }

    private var run: Run { Run(slab: slab, bytes: Int(start)..<Int(end), count: 1) }
    private var record: RecordSlice { run.record(at: Int(start)) }

    /// The payload, without a copy.
    public var payload: EventBytes { EventBytes(slab: slab, range: record.payload) }

    /// The payload read as UTF-8; what is not UTF-8 becomes U+FFFD.
    public var payloadString: String { payload.string }

    /// The key, without a copy; nil if the event has none.
    public var key: EventBytes? { record.key.map { EventBytes(slab: slab, range: $0) } }

    /// The headers, in the order in which the producer set them.
    public var headers: [EventHeader] {
        guard let block = record.headers else { return [] }
        var headers: [EventHeader] = []
        slab.withShared(0..<block.upperBound) { bytes in
            var reader = HeaderReader(block)
            while let (name, value) = try? reader.next(from: bytes.bytes) {
                headers.append(
                    EventHeader(
                        name: String(decoding: bytes[name], as: UTF8.self),
                        value: Array(bytes[value])
                    )
                )
            }
        }
        return headers
    }

    /// Bytes of the record: 4, and key, headers and payload.
    var byteCount: Int { run.endOfRecord(at: Int(start)) - Int(start) }

    /// Lends the record as it came, for one that goes on as it is.
    func withRecord<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let end = run.endOfRecord(at: Int(start))
        return try slab.withShared(Int(start)..<end) { (bytes) throws(Failure) in
            try body(bytes.bytes)
        }
    }
}
