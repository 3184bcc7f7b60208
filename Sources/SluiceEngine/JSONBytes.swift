/// Plain values as JSON, written straight into bytes in the order in which they were declared.
///
/// Foundation's encoder builds a tree of objects first, which costs ten times as much: a page of a
/// hundred thousand topics cannot afford it. It knows what documents consist of: objects, arrays,
/// strings, numbers and truths. A number that JSON has no word for is 0.
package enum JSONBytes {
    package static func of(_ value: some Encodable) -> [UInt8] {
        let text = JSONSink()
        do {
            try text.append(value)
        } catch {
            preconditionFailure("a document is plain data: \(error)")
        }
        return text.bytes
    }
}

/// The text that is being written.
private final class JSONSink {
    var bytes: [UInt8] = []

    func append<Value: Encodable>(_ value: Value) throws {
        switch value {
        case let value as String: JSONText.append(value, to: &bytes)
        case let value as UInt64: append(number: value)
        case let value as Int: append(number: value)
        case let value as Double: append(value)
        default:
            let encoder = JSONNode(self)
            try value.encode(to: encoder)
            if let end = encoder.end { bytes.append(end) }
        }
    }

    func append(number: some BinaryInteger) { bytes += Array(number.description.utf8) }

    func append(_ number: Double) {
        guard number.isFinite else { return append(number: 0) }
        if number == number.rounded(), number.magnitude < 1e15 {
            append(number: Int64(number))
        } else {
            bytes += Array(number.description.utf8)
        }
    }

    func append(_ truth: Bool) { bytes += Array((truth ? "true" : "false").utf8) }
}

/// One value on its way: what it is decides how it ends.
private final class JSONNode: Encoder {
    let text: JSONSink
    var end: UInt8?
    var isFirst = true
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    init(_ text: JSONSink) { self.text = text }

    private func begin(_ start: UInt8, _ end: UInt8) {
        precondition(self.end == nil, "a document's value is one object, array or scalar")
        text.bytes.append(start)
        self.end = end
    }

    func separate() {
        if !isFirst { text.bytes.append(UInt8(ascii: ",")) }
        isFirst = false
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        begin(UInt8(ascii: "{"), UInt8(ascii: "}"))
        return KeyedEncodingContainer(JSONMembers<Key>(node: self))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        begin(UInt8(ascii: "["), UInt8(ascii: "]"))
        return JSONElements(node: self)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer { JSONScalar(text: text) }

    static func unused() -> Never { preconditionFailure("no document nests containers by hand") }
}

private struct JSONMembers<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let node: JSONNode
    var codingPath: [any CodingKey] { [] }

    private func name(_ key: Key) -> JSONSink {
        node.separate()
        JSONText.append(key.stringValue, to: &node.text.bytes)
        node.text.bytes.append(UInt8(ascii: ":"))
        return node.text
    }

    mutating func encodeNil(forKey key: Key) { name(key).bytes += Array("null".utf8) }
    mutating func encode(_ value: Bool, forKey key: Key) { name(key).append(value) }
    mutating func encode(_ value: String, forKey key: Key) {
        let text = name(key)
        JSONText.append(value, to: &text.bytes)
    }
    mutating func encode(_ value: Double, forKey key: Key) { name(key).append(value) }
    mutating func encode(_ value: Float, forKey key: Key) { name(key).append(Double(value)) }
    mutating func encode(_ value: Int, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: Int8, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: Int16, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: Int32, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: Int64, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: UInt, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: UInt8, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: UInt16, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: UInt32, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: UInt64, forKey key: Key) { name(key).append(number: value) }
    mutating func encode(_ value: some Encodable, forKey key: Key) throws {
        try name(key).append(value)
    }

    mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type,
        forKey key: Key
    ) -> KeyedEncodingContainer<Nested> { JSONNode.unused() }
    mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        JSONNode.unused()
    }
    mutating func superEncoder() -> any Encoder { JSONNode.unused() }
    mutating func superEncoder(forKey key: Key) -> any Encoder { JSONNode.unused() }
}

private struct JSONElements: UnkeyedEncodingContainer {
    let node: JSONNode
    var codingPath: [any CodingKey] { [] }
    var count: Int { 0 }

    mutating func encodeNil() {
        node.separate()
        node.text.bytes += Array("null".utf8)
    }
    mutating func encode(_ value: some Encodable) throws {
        node.separate()
        try node.text.append(value)
    }

    mutating func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type
    ) -> KeyedEncodingContainer<Nested> { JSONNode.unused() }
    mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { JSONNode.unused() }
    mutating func superEncoder() -> any Encoder { JSONNode.unused() }
}

private struct JSONScalar: SingleValueEncodingContainer {
    let text: JSONSink
    var codingPath: [any CodingKey] { [] }

    mutating func encodeNil() { text.bytes += Array("null".utf8) }
    mutating func encode(_ value: Bool) { text.append(value) }
    mutating func encode(_ value: String) { JSONText.append(value, to: &text.bytes) }
    mutating func encode(_ value: Double) { text.append(value) }
    mutating func encode(_ value: Float) { text.append(Double(value)) }
    mutating func encode(_ value: Int) { text.append(number: value) }
    mutating func encode(_ value: Int8) { text.append(number: value) }
    mutating func encode(_ value: Int16) { text.append(number: value) }
    mutating func encode(_ value: Int32) { text.append(number: value) }
    mutating func encode(_ value: Int64) { text.append(number: value) }
    mutating func encode(_ value: UInt) { text.append(number: value) }
    mutating func encode(_ value: UInt8) { text.append(number: value) }
    mutating func encode(_ value: UInt16) { text.append(number: value) }
    mutating func encode(_ value: UInt32) { text.append(number: value) }
    mutating func encode(_ value: UInt64) { text.append(number: value) }
    mutating func encode(_ value: some Encodable) throws { try text.append(value) }
}
