package import FoundationEssentials

/// Walks the members of an object of JSON that a decoder has found legal.
///
/// A decoder keeps one of two names that are the same or only look alike: in an object of headers
/// each is one of its own.
package struct JSONMembers {
    private let text: ArraySlice<UInt8>
    private var position: Int

    /// `text` begins with the brace; nil if it is no object in UTF-8.
    package init?(_ text: ArraySlice<UInt8>) {
        guard text.first == UInt8(ascii: "{") else { return nil }
        self.text = text
        position = text.startIndex + 1
    }

    /// The next member, its name and its value as they stand there.
    package mutating func next() -> (name: ArraySlice<UInt8>, value: ArraySlice<UInt8>)? {
        skip { $0 <= UInt8(ascii: " ") || $0 == UInt8(ascii: ",") }
        let name = position
        guard takeString() else { return nil }
        let nameEnd = position
        skip { $0 <= UInt8(ascii: " ") || $0 == UInt8(ascii: ":") }
        let value = position
        takeValue()
        return (text[name..<nameEnd], text[value..<position])
    }

    private mutating func skip(_ isSkipped: (UInt8) -> Bool) {
        while position < text.endIndex, isSkipped(text[position]) { position += 1 }
    }

    private mutating func takeString() -> Bool {
        guard position < text.endIndex, text[position] == UInt8(ascii: "\"") else { return false }
        position += 1
        while position < text.endIndex {
            let byte = text[position]
            position += 1
            if byte == UInt8(ascii: "\"") { return true }
            if byte == UInt8(ascii: "\\") { position = min(position + 1, text.endIndex) }
        }
        return false
    }

    private mutating func takeValue() {
        var depth = 0
        while position < text.endIndex {
            switch text[position] {
            case UInt8(ascii: "\""):
                guard takeString() else { return }
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                guard depth > 0 else { return }
                depth -= 1
            case UInt8(ascii: ",") where depth == 0: return
            default: break
            }
            position += 1
        }
    }

    /// What a string means as it stands in the text; nil if it is none.
    package static func string(_ text: ArraySlice<UInt8>, _ decoder: JSONDecoder) -> String? {
        guard text.contains(UInt8(ascii: "\\")) else {
            let inner = text.dropFirst().dropLast()
            let isString = text.count >= 2 && text.first == UInt8(ascii: "\"")
            return isString ? String(validating: inner, as: UTF8.self) : nil
        }
        return try? decoder.decode(String.self, from: Data(text))
    }
}
