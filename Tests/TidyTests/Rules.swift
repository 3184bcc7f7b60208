/// The rules of the house that no compiler knows, each a pure function over a file's text.
enum Rules {
    static let fileLinesMax = 500
    static let functionLinesMax = 70
    static let lineColumnsMax = 100

    static func swiftFile(_ text: String, at path: String) -> [Breach] {
        let code = CodeOnly(text)
        return fileLength(text, at: path) + lineLengths(text, at: path)
            + functionLengths(code, at: path) + imports(code, at: path) + names(code, at: path)
    }

    static func fileLength(_ text: String, at path: String) -> [Breach] {
        let count = lines(of: text).count
        guard count > fileLinesMax else { return [] }
        return [Breach(path: path, line: count, rule: "a file has at most \(fileLinesMax) lines")]
    }

    static func lineLengths(_ text: String, at path: String) -> [Breach] {
        everyLine(of: text, at: path) { line in
            line.unicodeScalars.count > lineColumnsMax
                ? "a line has at most \(lineColumnsMax) columns" : nil
        }
    }

    static func functionLengths(_ code: CodeOnly, at path: String) -> [Breach] {
        FunctionLengths(code).found.filter { $0.lines > functionLinesMax }.map { function in
            Breach(
                path: path,
                line: function.line,
                rule: "a function has at most \(functionLinesMax) lines, not \(function.lines)"
            )
        }
    }

    static func imports(_ code: CodeOnly, at path: String) -> [Breach] {
        guard let room = Rooms.room(of: path) else { return [] }
        guard let allowed = Rooms.allowed[room] else {
            return [Breach(path: path, line: 1, rule: "\(room) is missing in the table of rooms")]
        }
        return code.lines.enumerated().compactMap { index, line in
            guard let module = importedModule(of: line), !allowed.contains(module) else {
                return nil
            }
            return Breach(path: path, line: index + 1, rule: "\(room) may not import \(module)")
        }
    }

    /// What the broker keeps by a name from the wire, it keeps by a `Name`: strings that look alike
    /// are equal, and clients that never said the same name would share it.
    static func names(_ code: CodeOnly, at path: String) -> [Breach] {
        let modules = ["Core", "Wire", "Engine", "Server", "Gateway"].map { "Sources/Sluice\($0)/" }
        guard modules.contains(where: path.hasPrefix), !ownWords.contains(path) else { return [] }
        let keyed = ["[String:", "Set<String>", "Dictionary<String"]
        let declared = ["topic: String", "group: String"]
        let isCore = path.hasPrefix(modules[0])
        return code.lines.enumerated().compactMap { index, line in
            guard (keyed + (isCore ? declared : [])).contains(where: line.contains) else {
                return nil
            }
            let rule = "a name that came over the wire is a Name, not a String"
            return Breach(path: path, line: index + 1, rule: rule)
        }
    }

    /// Files whose tables have words of the broker's own as keys, or JSON's.
    private static let ownWords: Set = [
        "Sources/SluiceEngine/EngineSnapshots.swift", "Sources/SluiceEngine/JSONBytes.swift",
        "Sources/SluiceGateway/EventForm.swift", "Sources/SluiceGateway/MetricFamilies.swift",
        "Sources/SluiceWire/Snapshots.swift",
    ]

    /// Notes of unfinished work belong into an issue.
    static func notes(_ text: String, at path: String) -> [Breach] {
        // Put together here, so that this file does not break its own rule.
        let words: Set = ["TO" + "DO", "FIX" + "ME"]
        return everyLine(of: text, at: path) { line in
            line.split { !($0.isLetter || $0.isNumber || $0 == "_") }
                .contains { words.contains(String($0)) }
                ? "unfinished work is an issue, not a note" : nil
        }
    }

    /// A test cannot fail without an expectation.
    static func expectations(of files: [(path: String, text: String)]) -> [Breach] {
        let found = files.map { ($0.path, Expectations.functions(of: CodeOnly($0.text))) }
        let expectations = Expectations(found.flatMap(\.1))
        return found.flatMap { path, functions in
            functions.filter { $0.isTest && !expectations.expects($0) }.map { test in
                Breach(path: path, line: test.line, rule: "the test \(test.name) expects nothing")
            }
        }
    }

    /// A port that a broker or another test may have at the same time.
    static func fixedPorts(_ text: String, at path: String) -> [Breach] {
        everyLine(of: text, at: path) { line in
            numbers(in: line).contains { number, before in
                (1_024..<65_535).contains(number) && portHeads.contains { before.ends(with: $0) }
            } ? "a fixed port: let the system pick one" : nil
        }
    }

    /// What stands before a port.
    private static let portHeads: [[UInt8]] = {
        let hosts = ["127.0.0.1", "localhost", "0.0.0.0", "::1", "::"]
        let separators = [":", "]:", "\", ", "', ", "\", port: "]
        let heads = hosts.flatMap { host in separators.map { host + $0 } }
        let names = [" port: ", "(port: ", " port = ", " port=", "(port="]
        return (heads + names).map { Array($0.utf8) }
    }()

    /// The whole numbers of a line, each with what stands before it.
    private static func numbers(in line: Substring) -> [(number: Int, before: ArraySlice<UInt8>)] {
        func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
        let bytes = Array(line.utf8)
        var numbers: [(Int, ArraySlice<UInt8>)] = []
        var rest = bytes[...]
        while let start = rest.firstIndex(where: isDigit) {
            let digits = bytes[start...].prefix { isDigit($0) || $0 == UInt8(ascii: "_") }
            let text = String(decoding: digits.filter(isDigit), as: UTF8.self)
            if let number = Int(text) { numbers.append((number, bytes[..<start])) }
            rest = bytes[digits.endIndex...]
        }
        return numbers
    }

    /// A path that exists on one machine only.
    static func machinePaths(_ text: String, at path: String) -> [Breach] {
        let roots = ["work", "tmp", "root", "home"].map { "/" + $0 + "/" }
        return everyLine(of: text, at: path) { line in
            roots.contains { root in
                line.ranges(of: root).contains { range in
                    guard range.lowerBound > line.startIndex else { return true }
                    let before = line[line.index(before: range.lowerBound)]
                    // `example/work/a` and `$DIRECTORY/tmp/b` are places inside something else.
                    return !(before.isLetter || before.isNumber || "._-})~".contains(before))
                }
            } ? "a path of one machine" : nil
        }
    }

    private static func importedModule(of line: String) -> String? {
        var words = line.split(separator: " ")[...]
        let modifiers: Set = ["public", "package", "internal", "fileprivate", "private"]
        while let first = words.first, first.hasPrefix("@") || modifiers.contains(String(first)) {
            words.removeFirst()
        }
        guard words.first == "import" else { return nil }
        let kinds: Set = [
            "struct", "class", "enum", "protocol", "func", "var", "let", "typealias",
        ]
        let names = words.dropFirst().drop { kinds.contains(String($0)) }
        return names.first?.split(separator: ".").first.map { String($0) }
    }

    private static func everyLine(
        of text: String,
        at path: String,
        rule: (Substring) -> String?
    ) -> [Breach] {
        lines(of: text).enumerated().compactMap { index, line in
            rule(line).map { Breach(path: path, line: index + 1, rule: $0) }
        }
    }

    static func lines(of text: String) -> [Substring] {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        return lines.last == "" ? lines.dropLast() : lines
    }
}

extension ArraySlice<UInt8> {
    fileprivate func ends(with part: [UInt8]) -> Bool { suffix(part.count).elementsEqual(part) }
}
