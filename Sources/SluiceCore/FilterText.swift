/// The text of a condition: `key = "a" and not (header.kind in ("x", "y") or header.trace exists)`.
package struct FilterTextError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The column of the first character that does not fit, from 1.
    package let column: Int
    package let expected: String
    /// What stands there instead.
    package let found: String

    package var description: String { "column \(column): expected \(expected), found \(found)" }
}

extension Condition {
    /// Reads a text.
    package init(_ text: String) throws(FilterTextError) {
        var parser = FilterParser(text)
        self = try parser.wholeCondition()
    }
}

extension Condition: CustomStringConvertible {
    /// A text that reads back as the same condition.
    package var description: String {
        switch self {
        case .exists(let field): "\(field) exists"
        case .equals(let field, let value): "\(field) = \(Self.quoted(value))"
        case .hasPrefix(let field, let value): "\(field) ^= \(Self.quoted(value))"
        case .isOneOf(let field, let values):
            "\(field) in (\(values.map(Self.quoted).joined(separator: ", ")))"
        case .not(let child): "not \(child.part)"
        case .all(let children): children.map(\.part).joined(separator: " and ")
        case .any(let children): children.map(\.part).joined(separator: " or ")
        }
    }

    /// In parentheses, where it would otherwise be joined with what stands beside it.
    private var part: String {
        switch self {
        case .all, .any: "(\(self))"
        case .exists, .equals, .hasPrefix, .isOneOf, .not: "\(self)"
        }
    }

    fileprivate static func quoted(_ bytes: [UInt8]) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            return "\"" + bytes.map(escaped).joined() + "\""
        }
        let scalars = text.unicodeScalars.map { scalar in
            scalar.isASCII ? escaped(UInt8(scalar.value)) : String(scalar)
        }
        return "\"" + scalars.joined() + "\""
    }

    private static func escaped(_ byte: UInt8) -> String {
        switch byte {
        case UInt8(ascii: "\""): return "\\\""
        case UInt8(ascii: "\\"): return "\\\\"
        case 0x20..<0x7F: return String(Unicode.Scalar(byte))
        default:
            let digits = String(byte, radix: 16)
            return "\\x" + (digits.count == 1 ? "0" + digits : digits)
        }
    }
}

extension Condition.Field: CustomStringConvertible {
    package var description: String {
        guard case .header(let name) = self else { return "key" }
        let text = name.text
        let isWord = !text.isEmpty && text.unicodeScalars.allSatisfy(FilterParser.isOfWord)
        return "header." + (isWord ? text : Condition.quoted(Array(text.utf8)))
    }
}

// MARK: - Parser

/// Reads from left to right, a method for each rule: or, and, not, parentheses, test.
private struct FilterParser {
    private let text: [Unicode.Scalar]
    private var place = 0
    private var depth = 0

    init(_ text: String) { self.text = Array(text.unicodeScalars) }

    static func isOfWord(_ scalar: Unicode.Scalar) -> Bool {
        "a"..."z" ~= scalar || "A"..."Z" ~= scalar || "0"..."9" ~= scalar
            || scalar == "_" || scalar == "-" || scalar == "."
    }

    mutating func wholeCondition() throws(FilterTextError) -> Condition {
        let condition = try alternatives()
        skipSpaces()
        guard place == text.count else { throw wanted("and, or, or the end") }
        return condition
    }

    private mutating func alternatives() throws(FilterTextError) -> Condition {
        var children = [try conjunction()]
        while takeWord("or") { children.append(try conjunction()) }
        return children.count == 1 ? children[0] : .any(children)
    }

    private mutating func conjunction() throws(FilterTextError) -> Condition {
        var children = [try factor()]
        while takeWord("and") { children.append(try factor()) }
        return children.count == 1 ? children[0] : .all(children)
    }

    private mutating func factor() throws(FilterTextError) -> Condition {
        depth += 1
        defer { depth -= 1 }
        // Each level is a call deeper, so it is bounded here already.
        guard depth <= Limits.filterDepthMax else {
            throw wanted("no more than \(Limits.filterDepthMax) levels of not and (")
        }
        if takeWord("not") { return .not(try factor()) }
        guard take("(") else { return try test() }
        let condition = try alternatives()
        guard take(")") else { throw wanted("and, or, or )") }
        return condition
    }

    private mutating func test() throws(FilterTextError) -> Condition {
        let field = try field()
        if takeWord("exists") { return .exists(field) }
        if take("^=") { return .hasPrefix(field, try value()) }
        if take("=") { return .equals(field, try value()) }
        guard takeWord("in") else { throw wanted("=, ^=, in or exists") }
        guard take("(") else { throw wanted("( and the values") }
        var values = [try value()]
        while take(",") { values.append(try value()) }
        guard take(")") else { throw wanted(", or )") }
        return .isOneOf(field, values)
    }

    private mutating func field() throws(FilterTextError) -> Condition.Field {
        skipSpaces()
        let start = place
        let word = nextWord()
        if word == "key" {
            place += word.count
            return .key
        }
        guard word.hasPrefix("header.") else {
            throw wanted("key, header.NAME, not or (")
        }
        place += word.count
        guard word == "header." else { return .header(Name(String(word.dropFirst(7)))) }
        guard place < text.count, text[place] == "\"" else { throw wanted("a name after header.") }
        let bytes = try value()
        let isLegal = (1...Filter.nameBytesMax).contains(bytes.count)
        guard isLegal, let name = String(validating: bytes, as: UTF8.self) else {
            place = start
            throw wanted("a name of 1 to \(Filter.nameBytesMax) bytes of UTF-8")
        }
        return .header(Name(name))
    }

    private mutating func value() throws(FilterTextError) -> [UInt8] {
        guard take("\"") else { throw wanted("a value in double quotes") }
        var bytes: [UInt8] = []
        while place < text.count {
            let scalar = text[place]
            place += 1
            switch scalar {
            case "\"": return bytes
            case "\\": bytes.append(try escape())
            default: bytes += Array(String(scalar).utf8)
            }
        }
        throw wanted("a closing \"")
    }

    private mutating func escape() throws(FilterTextError) -> UInt8 {
        let rest = text[place...].prefix(3)
        if let first = rest.first, first == "\"" || first == "\\" {
            place += 1
            return UInt8(first.value)
        }
        let digits = rest.dropFirst()
        guard rest.first == "x", digits.count == 2,
            digits.allSatisfy({ $0.properties.isASCIIHexDigit }),
            let byte = UInt8(String(String.UnicodeScalarView(digits)), radix: 16)
        else { throw wanted("\\\\, \\\" or \\xHH") }
        place += 3
        return byte
    }

    // MARK: Characters

    private mutating func skipSpaces() {
        while place < text.count, text[place].properties.isWhitespace { place += 1 }
    }

    /// The word that begins here, which may be empty.
    private func nextWord() -> String {
        String(String.UnicodeScalarView(text[place...].prefix(while: Self.isOfWord)))
    }

    private mutating func takeWord(_ word: String) -> Bool {
        skipSpaces()
        guard nextWord() == word else { return false }
        place += word.unicodeScalars.count
        return true
    }

    private mutating func take(_ sign: String) -> Bool {
        skipSpaces()
        guard text[place...].starts(with: sign.unicodeScalars) else { return false }
        place += sign.unicodeScalars.count
        return true
    }

    private func wanted(_ expected: String) -> FilterTextError {
        guard place < text.count else {
            return FilterTextError(column: place + 1, expected: expected, found: "the end")
        }
        let word = nextWord()
        let found = word.isEmpty ? String(text[place]) : word
        return FilterTextError(column: place + 1, expected: expected, found: "`\(found)`")
    }
}
