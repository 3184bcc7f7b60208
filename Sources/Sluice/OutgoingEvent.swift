import SluiceCore

/// An event that a producer sends.
public struct OutgoingEvent: Hashable, Sendable {
    /// The payload; with key, headers and the 4-byte head at most 1,048,000 bytes.
    public var payload: [UInt8]
    /// The key, at most 1,024 bytes; nil for none.
    public var key: [UInt8]?
    /// Headers, at most 65,535 bytes together, names and lengths included.
    public var headers: [EventHeader]

    /// Makes an event of bytes.
    public init(_ payload: [UInt8], key: [UInt8]? = nil, headers: [EventHeader] = []) {
        self.payload = payload
        self.key = key
        self.headers = headers
    }

    /// Makes an event of text, carried as UTF-8.
    public init(_ text: String, key: String? = nil, headers: [EventHeader] = []) {
        self.init(Array(text.utf8), key: key.map { Array($0.utf8) }, headers: headers)
    }
}

/// Events that go out together, already in the form of the wire.
///
/// Filling one costs no allocation for an event; sending it costs one copy of its bytes.
public struct OutgoingBatch: Sendable {
    private(set) var records: [UInt8] = []
    /// How many events the batch holds.
    public private(set) var count = 0

    /// Makes an empty batch.
    public init() {}

    /// Makes a batch of `events`; throws `invalidArgument` if one breaks a limit.
    public init(_ events: some Sequence<OutgoingEvent>) throws(ClientError) {
        for event in events { try append(event) }
    }

    /// Whether the batch holds no events.
    public var isEmpty: Bool { count == 0 }
    /// Bytes of the events' records: 4 each, and keys, headers and payloads.
    public var byteCount: Int { records.count }

    /// Makes room for `byteCount` more bytes of records.
    public mutating func reserveCapacity(_ byteCount: Int) {
        records.reserveCapacity(records.count + byteCount)
    }

    /// Removes all events and keeps the memory.
    public mutating func removeAll() {
        records.removeAll(keepingCapacity: true)
        count = 0
    }

    /// Appends an event without key and headers.
    public mutating func append(payload: UnsafeRawBufferPointer) throws(ClientError) {
        try appendHead(flags: 0, bodyBytes: payload.count)
        records.append(contentsOf: payload)
    }

    /// Appends an event without key and headers.
    public mutating func append(payload: [UInt8]) throws(ClientError) {
        try appendHead(flags: 0, bodyBytes: payload.count)
        records.append(contentsOf: payload)
    }

    /// Appends a received event as it came, key and headers included.
    public mutating func append(_ event: Event) {
        let record = Int(event.recordStart)..<Int(event.recordEnd)
        event.slab.withShared(record) { records.append(contentsOf: $0) }
        count += 1
    }

    /// Appends an event; throws `invalidArgument` if it breaks a limit.
    public mutating func append(_ event: OutgoingEvent) throws(ClientError) {
        guard event.key != nil || !event.headers.isEmpty else {
            return try append(payload: event.payload)
        }
        var flags: UInt8 = 0
        var prefix: [UInt8] = []
        if let key = event.key {
            guard key.count <= Limits.keyBytesMax else {
                throw Self.tooLong("the key", key.count, Limits.keyBytesMax)
            }
            flags |= Record.keyFlag
            prefix.appendLength(key.count)
            prefix += key
        }
        if !event.headers.isEmpty {
            flags |= Record.headersFlag
            let block = try Self.block(event.headers)
            prefix.appendLength(block.count)
            prefix += block
        }
        try appendHead(flags: flags, bodyBytes: prefix.count + event.payload.count)
        records += prefix
        records += event.payload
    }

    private mutating func appendHead(flags: UInt8, bodyBytes: Int) throws(ClientError) {
        guard bodyBytes + Record.headBytes <= Limits.eventBytesMax else {
            throw Self.tooLong("the event", bodyBytes + Record.headBytes, Limits.eventBytesMax)
        }
        records.append(flags)
        records.append(UInt8(truncatingIfNeeded: bodyBytes >> 16))
        records.append(UInt8(truncatingIfNeeded: bodyBytes >> 8))
        records.append(UInt8(truncatingIfNeeded: bodyBytes))
        count += 1
    }

    private static func block(_ headers: [EventHeader]) throws(ClientError) -> [UInt8] {
        var block: [UInt8] = []
        for header in headers {
            let name = Array(header.name.utf8)
            guard name.count <= UInt8.max else {
                throw tooLong("the header name", name.count, Int(UInt8.max))
            }
            guard header.value.count <= UInt16.max else {
                throw tooLong("the header value", header.value.count, Int(UInt16.max))
            }
            block.append(UInt8(name.count))
            block += name
            block.appendLength(header.value.count)
            block += header.value
        }
        guard block.count <= Limits.headersBytesMax else {
            throw tooLong("the headers", block.count, Limits.headersBytesMax)
        }
        return block
    }

    private static func tooLong(_ what: String, _ found: Int, _ limit: Int) -> ClientError {
        ClientError(.invalidArgument, "\(what) has \(found) bytes; the limit is \(limit)")
    }
}

extension [UInt8] {
    /// Appends a length as `u16`.
    fileprivate mutating func appendLength(_ length: Int) {
        append(UInt8(truncatingIfNeeded: length >> 8))
        append(UInt8(truncatingIfNeeded: length))
    }
}
