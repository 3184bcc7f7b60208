import SluiceWire

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
    private var writer = FrameWriter()
    /// How many events the batch holds.
    public private(set) var count = 0

    /// Makes an empty batch.
    public init() {}

    /// Makes a batch of `events`; throws `invalidArgument` if one breaks a limit.
    public init(_ events: some Sequence<OutgoingEvent>) throws(ClientError) {
        for event in events { try append(event) }
    }

    var records: [UInt8] { writer.bytes }

    /// Whether the batch holds no events.
    public var isEmpty: Bool { count == 0 }
    /// Bytes of the events' records: 4 each, and keys, headers and payloads.
    public var byteCount: Int { writer.bytes.count }

    /// Makes room for records of `byteCount` bytes altogether.
    public mutating func reserveCapacity(_ byteCount: Int) { writer.reserveCapacity(byteCount) }

    /// Removes all events and keeps the memory.
    public mutating func removeAll() {
        writer.removeAll()
        count = 0
    }

    /// Appends an event without key and headers.
    public mutating func append(payload: UnsafeRawBufferPointer) throws(ClientError) {
        try append(key: nil, headers: [], payload: payload.bytes)
    }

    /// Appends an event without key and headers.
    public mutating func append(payload: [UInt8]) throws(ClientError) {
        try append(key: nil, headers: [], payload: payload.span.bytes)
    }

    /// Appends a received event as it came, key and headers included.
    public mutating func append(_ event: Event) {
        event.withRecord { writer.append(records: $0) }
        count += 1
    }

    /// Appends an event; throws `invalidArgument` if it breaks a limit.
    public mutating func append(_ event: OutgoingEvent) throws(ClientError) {
        let headers = event.headers.map { RecordHeader(name: $0.name, value: $0.value) }
        try append(key: event.key, headers: headers, payload: event.payload.span.bytes)
    }

    private mutating func append(
        key: [UInt8]?,
        headers: [RecordHeader],
        payload: RawSpan
    ) throws(ClientError) {
        do throws(WireError) {
            try writer.appendRecord(key: key, headers: headers, payload: payload)
        } catch {
            throw ClientError(.invalidArgument, "\(error)")
        }
        count += 1
    }
}
