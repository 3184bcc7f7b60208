/// The lengths of a file's functions, measured by their braces from the first line to the last.
///
/// Initializers, subscripts and computed properties count as functions.
struct FunctionLengths {
    struct Function: Equatable {
        let line: Int
        let lines: Int
    }

    private enum Brace {
        case function(line: Int)
        case other
    }

    private let code: [UInt8]
    private var line = 1
    private var braces: [Brace] = []
    private var brackets = 0
    /// Where a declaration began whose body has not opened yet.
    private var declared: (line: Int, brackets: Int, endsWithLine: Bool)?
    private(set) var found: [Function] = []

    init(_ code: CodeOnly) {
        self.code = code.bytes
        var index = 0
        while index < self.code.count {
            let length = wordLength(at: index)
            if length > 0 {
                word(at: index..<(index + length))
                index += length
            } else {
                mark(self.code[index])
                index += 1
            }
        }
    }

    private mutating func mark(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "("), UInt8(ascii: "["):
            brackets += 1
        case UInt8(ascii: ")"), UInt8(ascii: "]"):
            brackets -= 1
        case UInt8(ascii: "{"):
            if let declared, declared.brackets == brackets {
                braces.append(.function(line: declared.line))
                self.declared = nil
            } else {
                braces.append(.other)
            }
        case UInt8(ascii: "}"):
            if declared?.brackets == brackets { declared = nil }
            if case .function(let first) = braces.popLast() {
                found.append(Function(line: first, lines: line - first + 1))
            }
        case newline:
            if let declared, declared.endsWithLine, declared.brackets == brackets {
                self.declared = nil
            }
            line += 1
        default:
            break
        }
    }

    private mutating func word(at range: Range<Int>) {
        let before = range.lowerBound > 0 ? code[range.lowerBound - 1] : newline
        // `.init` is a call and `` `init` `` a name.
        guard before != UInt8(ascii: "."), before != UInt8(ascii: "`") else { return }
        switch String(decoding: code[range], as: UTF8.self) {
        case "func", "init", "deinit", "subscript":
            declared = (line, brackets, endsWithLine: false)
        case "var":
            declared = (line, brackets, endsWithLine: true)
        default:
            break
        }
    }

    private func wordLength(at start: Int) -> Int {
        var end = start
        while end < code.count, isWord(code[end]) { end += 1 }
        return end - start
    }

    private func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default:
            false
        }
    }
}
