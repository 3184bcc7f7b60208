/// A name that came over the wire: two names are the same if their bytes are the same.
///
/// Swift compares strings by what they look like: "é" as one scalar equals "é" as two, and U+212A
/// (Kelvin) equals "K". A topic or a group that is found by such a comparison is shared by clients
/// that never said the same name. Whatever the wire names is therefore a `Name`, not a `String`.
// ==, hash and < are those of `text.utf8`
package struct Name: Hashable, Comparable, Sendable {
    package let text: String

    package init(_ text: String) { self.text = text }

    package static func == (left: Self, right: Self) -> Bool {
        let (one, two) = (left.text.utf8Span.span, right.text.utf8Span.span)
        guard one.count == two.count else { return false }
        for index in one.indices where one[index] != two[index] { return false }
        return true
    }

    package func hash(into hasher: inout Hasher) {
        let bytes = text.utf8Span.span
        hasher.combine(bytes.count)
        unsafe bytes.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    }

    /// The order of the bytes.
    package static func < (left: Self, right: Self) -> Bool {
        let (one, two) = (left.text.utf8Span.span, right.text.utf8Span.span)
        for index in 0..<min(one.count, two.count) where one[index] != two[index] {
            return one[index] < two[index]
        }
        return one.count < two.count
    }

    package var isEmpty: Bool { text.isEmpty }
    package var byteCount: Int { text.utf8.count }

    /// Whether it begins with `$`, as only the broker's own topics do.
    ///
    /// Asked of the bytes: a `$` with a combining mark behind it is another character.
    package var isReserved: Bool { text.utf8.first == UInt8(ascii: "$") }

    /// What stands between the first slashes, in at most so many parts.
    package func parts(most: Int) -> [Name] {
        text.utf8.split(separator: UInt8(ascii: "/"), maxSplits: most - 1).map {
            Name(String(Substring($0)))
        }
    }
}

extension Name: ExpressibleByStringLiteral, ExpressibleByStringInterpolation {
    package init(stringLiteral text: String) { self.init(text) }
}

extension Name: CustomStringConvertible {
    package var description: String { text }
}

extension Name: Codable {
    package init(from decoder: any Decoder) throws {
        self.init(try decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}
