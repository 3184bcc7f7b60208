import SluiceCore

/// A stretch of received bytes: a view into the buffer that its batch shares.
///
/// Holding one keeps the whole buffer alive; copy with `Array(bytes)` what is to be kept long.
public struct EventBytes: Sendable, RandomAccessCollection {
    let slab: Slab
    let start: Int
    let end: Int

    /// The first index, always 0.
    public var startIndex: Int { 0 }
    /// The number of bytes.
    public var endIndex: Int { end - start }

    /// The byte at `position`.
    public subscript(position: Int) -> UInt8 {
        precondition(position >= 0 && position < endIndex)
        return slab.withShared(start..<end) { $0[position] }
    }

    /// Lends the bytes for the length of the call.
    public func withBytes<Result>(_ body: (RawSpan) throws -> Result) rethrows -> Result {
        try slab.withShared(start..<end) { try body($0.bytes) }
    }

    /// Lends the bytes to calls that take addresses.
    public func withContiguousStorageIfAvailable<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result? {
        try slab.withShared(start..<end) { try $0.withMemoryRebound(to: UInt8.self, body) }
    }

    /// The bytes read as UTF-8; what is not UTF-8 becomes U+FFFD.
    public var string: String {
        slab.withShared(start..<end) { String(decoding: $0, as: UTF8.self) }
    }
}

extension EventBytes: Hashable {
    /// Whether both hold the same bytes, wherever they lie.
    public static func == (left: Self, right: Self) -> Bool { left.elementsEqual(right) }

    /// Feeds the bytes to `hasher`.
    public func hash(into hasher: inout Hasher) {
        slab.withShared(start..<end) { hasher.combine(bytes: $0) }
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
    let slab: Slab
    let recordStart: UInt32
    let recordEnd: UInt32
    private let parts: RecordParts
    /// The offset of the event in its topic, counted from 0.
    public let offset: UInt64
    /// When the broker took the event, in microseconds since 1970 (UTC).
    public let time: UInt64
    /// How often the event was delivered before, plus one.
    public let attempt: Int

    init(record: Range<Int>, in run: Run, index: Int) {
        slab = run.slab
        recordStart = UInt32(record.lowerBound)
        recordEnd = UInt32(record.upperBound)
        parts = run.slab.withShared(record) { RecordParts($0) }
        offset = run.offset &+ UInt64(index)
        time = run.time
        attempt = Int(run.attempt)
    }

    private func bytes(from first: UInt32, to last: UInt32) -> EventBytes {
        EventBytes(slab: slab, start: Int(recordStart + first), end: Int(recordStart + last))
    }

    /// The payload, without a copy.
    public var payload: EventBytes {
        bytes(from: parts.payloadStart, to: recordEnd - recordStart)
    }

    /// The payload read as UTF-8; what is not UTF-8 becomes U+FFFD.
    public var payloadString: String { payload.string }

    /// The key, without a copy; nil if the event has none.
    public var key: EventBytes? {
        guard parts.hasKey else { return nil }
        return bytes(from: parts.keyStart, to: parts.keyEnd)
    }

    /// The headers, in the order in which the producer set them.
    public var headers: [EventHeader] {
        guard parts.headersEnd > parts.headersStart else { return [] }
        let block = bytes(from: parts.headersStart, to: parts.headersEnd)
        var headers: [EventHeader] = []
        var next = 0
        while next < block.count {
            let nameEnd = next + 1 + Int(block[next])
            guard nameEnd + 2 <= block.count else { break }
            let valueEnd = nameEnd + 2 + Int(block[nameEnd]) << 8 + Int(block[nameEnd + 1])
            guard valueEnd <= block.count else { break }
            headers.append(
                EventHeader(
                    name: String(decoding: block[(next + 1)..<nameEnd], as: UTF8.self),
                    value: Array(block[(nameEnd + 2)..<valueEnd])
                )
            )
            next = valueEnd
        }
        return headers
    }
}

/// Where the parts of a record lie, counted from its head.
///
/// Lengths that do not fit make the whole body the payload: the bytes come from strangers.
struct RecordParts: Sendable {
    private(set) var hasKey = false
    private(set) var keyStart: UInt32 = 0
    private(set) var keyEnd: UInt32 = 0
    private(set) var headersStart: UInt32 = 0
    private(set) var headersEnd: UInt32 = 0
    private(set) var payloadStart = UInt32(Record.headBytes)

    init(_ record: UnsafeRawBufferPointer) {
        guard let flags = record.first, flags != 0 else { return }
        var parts = Self()
        var next = Record.headBytes
        func block() -> Range<UInt32>? {
            guard next + 2 <= record.count else { return nil }
            let start = next + 2
            let end = start + Int(record[next]) << 8 + Int(record[next + 1])
            guard end <= record.count else { return nil }
            next = end
            return UInt32(start)..<UInt32(end)
        }
        if flags & Record.keyFlag != 0 {
            guard let range = block() else { return }
            parts.hasKey = true
            parts.keyStart = range.lowerBound
            parts.keyEnd = range.upperBound
        }
        if flags & Record.headersFlag != 0 {
            guard let range = block() else { return }
            parts.headersStart = range.lowerBound
            parts.headersEnd = range.upperBound
        }
        parts.payloadStart = UInt32(next)
        self = parts
    }

    private init() {}
}
