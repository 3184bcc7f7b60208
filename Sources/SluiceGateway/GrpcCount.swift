/// Counts the events of a message without making them.
///
/// An empty event is two bytes on the wire: of a message of 4 MiB the generated types make two
/// million objects before anybody could say that there is no credit for them.
package enum GrpcCount {
    /// The events in the `batch` of a PublishRequest; no more are counted than `most` and one.
    ///
    /// What is badly written is counted up to there: whoever decodes it says so.
    package static func events(in message: [UInt8], upTo most: UInt64) -> UInt64 {
        message.withUnsafeBytes { bytes in
            var count: UInt64 = 0
            var reader = FieldReader(bytes[...])
            while count <= most, let field = reader.next() {
                guard field.number == 2 else { continue }
                var events = FieldReader(field.content)
                while count <= most, let event = events.next() {
                    count += event.number == 1 ? 1 : 0
                }
            }
            return count
        }
    }

    /// Walks the fields of a message, of which those with a length matter.
    private struct FieldReader {
        private var rest: Slice<UnsafeRawBufferPointer>

        init(_ bytes: Slice<UnsafeRawBufferPointer>) { rest = bytes }

        /// The next field with a length; nil at the end, or where nothing is legal.
        mutating func next() -> (number: UInt64, content: Slice<UnsafeRawBufferPointer>)? {
            while let tag = number() {
                switch tag & 7 {
                case 0:
                    guard number() != nil else { return nil }
                case 1:
                    guard take(8) != nil else { return nil }
                case 2:
                    guard let length = number(), let content = take(length) else { return nil }
                    return (tag >> 3, content)
                case 5:
                    guard take(4) != nil else { return nil }
                default:
                    return nil
                }
            }
            return nil
        }

        private mutating func take(_ length: UInt64) -> Slice<UnsafeRawBufferPointer>? {
            guard length <= UInt64(rest.count) else { return nil }
            defer { rest = rest.dropFirst(Int(length)) }
            return rest.prefix(Int(length))
        }

        private mutating func number() -> UInt64? {
            var number: UInt64 = 0
            for shift in stride(from: 0, to: 64, by: 7) {
                guard let byte = rest.popFirst() else { return nil }
                number |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return number }
            }
            return nil
        }
    }
}
