/// Which tests of a module expect nothing, so that they cannot fail whatever the code does.
///
/// A test expects something if it says so, or calls a function of the same module that does.
/// Functions are known by their names alone: two with one name count as one.
struct Expectations {
    struct Function: Equatable {
        let name: String
        let line: Int
        let isTest: Bool
        /// What its body calls.
        let words: Set<String>
    }

    /// `Unheard` is thrown by clients that wait in vain.
    private static let saying: Set = ["#expect", "#require", "confirmation", "record", "Unheard"]

    private var expecting: Set<String> = []

    /// Takes the functions of a module, tests and others.
    init(_ functions: [Function]) {
        var isLarger = true
        while isLarger {
            // By its name no initializer can be told from another.
            let found = functions.filter { !$0.isTest && $0.name != "init" && expects($0) }
                .map(\.name)
            isLarger = !expecting.isSuperset(of: found)
            expecting.formUnion(found)
        }
    }

    func expects(_ function: Function) -> Bool {
        !function.words.isDisjoint(with: Self.saying)
            || !function.words.isDisjoint(with: expecting)
    }

    /// The functions of a file, with those inside of others.
    static func functions(of code: CodeOnly) -> [Function] { FunctionReader(code.bytes).found }
}

/// Finds functions and initializers with the words of their bodies.
private struct FunctionReader {
    /// A declaration whose body has begun or will.
    private struct Open {
        let name: String
        let line: Int
        let isTest: Bool
        /// The depth of braces outside of the body, once that has begun.
        var depth: Int?
        var words: Set<String> = []
    }

    private let code: [UInt8]
    private var line = 1
    private var depth = 0
    private var brackets = 0
    private var isTest = false
    private var open: [Open] = []
    private(set) var found: [Expectations.Function] = []

    init(_ code: [UInt8]) {
        self.code = code
        var index = 0
        while index < code.count {
            let word = word(at: index)
            if word.isEmpty {
                mark(code[index])
                index += 1
            } else {
                read(word, at: index)
                index += word.utf8.count
            }
        }
    }

    private mutating func read(_ word: String, at index: Int) {
        switch word {
        case "@Test":
            isTest = true
        case "func", "init":
            // `.init` is a call.
            guard index == 0 || code[index - 1] != UInt8(ascii: ".") else { return }
            let name = word == "init" ? word : wordAfter(index + word.utf8.count)
            open.append(Open(name: name, line: line, isTest: isTest))
            brackets = 0
            isTest = false
        default:
            guard isCalled(at: index + word.utf8.count) else { return }
            for place in open.indices where open[place].depth != nil {
                open[place].words.insert(word)
            }
        }
    }

    /// Whether a word that ends here has arguments, or is one.
    private func isCalled(at end: Int) -> Bool {
        let next = code[end...].first { $0 != UInt8(ascii: " ") }
        return [UInt8(ascii: "("), UInt8(ascii: "{"), UInt8(ascii: ")")].contains(next)
    }

    private mutating func mark(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "("):
            brackets += 1
        case UInt8(ascii: ")"):
            brackets -= 1
        case UInt8(ascii: "{"):
            if brackets == 0, let last = open.indices.last, open[last].depth == nil {
                open[last].depth = depth
            }
            depth += 1
        case UInt8(ascii: "}"):
            depth -= 1
            // A requirement of a protocol has no body.
            while let last = open.last, last.depth == nil { open.removeLast() }
            if let last = open.last, last.depth == depth { close(open.removeLast()) }
        case newline:
            line += 1
        default:
            break
        }
    }

    private mutating func close(_ last: Open) {
        let function = Expectations.Function(
            name: last.name,
            line: last.line,
            isTest: last.isTest,
            words: last.words
        )
        found.append(function)
    }

    private func wordAfter(_ start: Int) -> String {
        guard let next = code[start...].firstIndex(where: { $0 != UInt8(ascii: " ") }) else {
            return ""
        }
        return word(at: next)
    }

    /// A word with the `#` or `@` before it.
    private func word(at start: Int) -> String {
        let isMarked = code[start] == UInt8(ascii: "#") || code[start] == UInt8(ascii: "@")
        let rest = code[(start + (isMarked ? 1 : 0))...]
        return String(decoding: code[start..<rest.startIndex], as: UTF8.self)
            + String(decoding: rest.prefix(while: isWord), as: UTF8.self)
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
