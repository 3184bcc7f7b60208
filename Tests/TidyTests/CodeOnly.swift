/// Swift source with the bytes of comments and literals turned into spaces; lines stay lines.
///
/// Without it a brace in a text or the word "import" in a sample would be taken for code. Regular
/// expression literals are not understood; the sources have none.
struct CodeOnly {
    private let source: [UInt8]
    private var index = 0
    private(set) var bytes: [UInt8]

    init(_ text: String) {
        source = Array(text.utf8)
        bytes = source
        scanCode(insideInterpolation: false)
    }

    var lines: [String] {
        bytes.split(separator: newline, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
    }

    private mutating func scanCode(insideInterpolation: Bool) {
        var depth = 0
        while index < source.count {
            if isAt("//") {
                blank { !$0.isAt("\n") }
            } else if isAt("/*") {
                blankBlockComment()
            } else if let hashes = hashesOfLiteral() {
                scanLiteral(hashes: hashes)
            } else {
                if isAt("(") { depth += 1 }
                if isAt(")") { depth -= 1 }
                index += 1
                if insideInterpolation, depth == 0 { return }
            }
        }
    }

    private mutating func blankBlockComment() {
        var depth = 0
        repeat {
            if isAt("/*") {
                depth += 1
                blank(2)
            } else if isAt("*/") {
                depth -= 1
                blank(2)
            } else {
                blank(1)
            }
        } while depth > 0 && index < source.count
    }

    /// The number of `#` before a literal's quote, or nil where no literal begins.
    private func hashesOfLiteral() -> Int? {
        var end = index
        while end < source.count, source[end] == UInt8(ascii: "#") { end += 1 }
        guard end < source.count, source[end] == UInt8(ascii: "\"") else { return nil }
        return end - index
    }

    private mutating func scanLiteral(hashes: Int) {
        let fence = String(repeating: "#", count: hashes)
        blank(hashes)
        let quote = isAt("\"\"\"") ? "\"\"\"" : "\""
        blank(quote.utf8.count)
        while index < source.count {
            if isAt(quote + fence) {
                blank(quote.utf8.count + hashes)
                return
            }
            if isAt("\\" + fence) {
                blank(1 + hashes)
                if isAt("(") {
                    scanCode(insideInterpolation: true)
                } else {
                    blank(1)
                }
            } else {
                blank(1)
            }
        }
    }

    private func isAt(_ text: String) -> Bool {
        source[index...].starts(with: text.utf8)
    }

    private mutating func blank(_ count: Int) {
        for _ in 0..<count where index < source.count {
            if source[index] != newline { bytes[index] = UInt8(ascii: " ") }
            index += 1
        }
    }

    private mutating func blank(while condition: (Self) -> Bool) {
        while index < source.count, condition(self) { blank(1) }
    }
}

let newline = UInt8(ascii: "\n")
