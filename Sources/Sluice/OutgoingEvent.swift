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
