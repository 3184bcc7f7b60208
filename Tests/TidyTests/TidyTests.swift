import SluiceCore
import Testing

@Suite("The house")
struct TidyTests {
    private let tree = Tree()

    @Test("Swift files keep to their room's imports and to the lengths of files, functions, lines")
    func swiftFiles() throws {
        // A generator's files are as long as what it read; nobody reads or changes them.
        let files = try tree.files().filter {
            $0.path.hasSuffix(".swift") && !$0.path.hasSuffix(".pb.swift")
        }
        try #require(files.contains { $0.path == "Sources/SluiceCore/Limits.swift" })
        expectNone(files.flatMap { Rules.swiftFile($0.text, at: $0.path) })
    }

    @Test("Python and shell files keep to the length of lines")
    func scripts() throws {
        let files = try tree.files().filter { $0.path.hasSuffix(".py") || $0.path.hasSuffix(".sh") }
        expectNone(files.flatMap { Rules.lineLengths($0.text, at: $0.path) })
    }

    @Test("no file holds notes of unfinished work or the path of one machine")
    func everyFile() throws {
        let files = try tree.files()
        try #require(files.contains { $0.path == "README.md" })
        expectNone(files.flatMap { Rules.notes($0.text, at: $0.path) })
        expectNone(files.flatMap { Rules.machinePaths($0.text, at: $0.path) })
    }

    @Test("every test expects something")
    func expectations() throws {
        let files = try tree.files().filter {
            $0.path.hasPrefix("Tests/") && $0.path.hasSuffix(".swift")
        }
        let modules = Dictionary(grouping: files) { $0.path.split(separator: "/")[1] }
        try #require(modules.count > 8)
        expectNone(modules.values.flatMap { Rules.expectations(of: $0.map { ($0.path, $0.text) }) })
    }

    @Test("no test listens on a port that somebody else may have")
    func fixedPorts() throws {
        let files = try tree.files().filter { file in
            ["Tests/", "Protocol/python/", "Benchmarks/tests/"].contains { file.path.hasPrefix($0) }
                && !file.path.hasSuffix(".md")
        }
        expectNone(files.flatMap { Rules.fixedPorts($0.text, at: $0.path) })
    }

    @Test("every limit stands in the specification with the same number, and no other does")
    func limits() throws {
        let path = "Sources/SluiceCore/Limits.swift"
        let source = try tree.text(of: path)
        try #require(!ProtocolTables.constants(of: source).isEmpty)
        let specification = try tree.text(of: ProtocolTables.path)
        expectNone(ProtocolTables.limits(source: source, at: path, specification: specification))
    }

    @Test(
        "every close code stands in the specification with its grade and blame, and no other does"
    )
    func codes() throws {
        let specification = try tree.text(of: ProtocolTables.path)
        expectNone(ProtocolTables.codes(CloseCode.known, specification: specification))
    }

    @Test("every break of the laws finds its text in the core")
    func breaks() throws {
        let breaks = BreakTexts.breaks(of: try tree.text(of: BreakTexts.path))
        try #require(breaks.count > 70)
        let core = "Sources/SluiceCore/"
        let files = try tree.files().filter { $0.path.hasPrefix(core) }
        let texts = files.map { (String($0.path.dropFirst(core.count)), $0.text) }
        expectNone(BreakTexts.breaches(of: breaks, in: Dictionary(uniqueKeysWithValues: texts)))
    }

    @Test("every rule of Reactive Streams in the specification has its test, and no other has")
    func reactiveStreams() throws {
        let path = "Tests/SluiceServerTests/ReactiveStreamsTests.swift"
        let tests = try tree.text(of: path)
        try #require(ProtocolTables.ruleTests(of: tests).count == 17)
        let page = try tree.text(of: ProtocolTables.rulesPath)
        expectNone(ProtocolTables.rules(tests: tests, at: path, page: page))
    }

    @Test("every rule of the specification has a number of its own, and no file names another")
    func ruleNumbers() throws {
        let specification = try tree.text(of: ProtocolTables.path)
        let known = RuleNumbers.known(of: specification)
        try #require(known.count > 60)
        expectNone(RuleNumbers.breaches(of: specification))
        let files = try tree.files().filter { $0.path.hasPrefix("Protocol/") }
        expectNone(files.flatMap { RuleNumbers.unknown(in: $0.text, at: $0.path, known: known) })
    }

    private func expectNone(
        _ breaches: [Breach],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for breach in breaches {
            Issue.record(Comment(rawValue: breach.description), sourceLocation: sourceLocation)
        }
    }
}
