import SluiceCore
import Testing

@Suite("The rules of the house")
struct RuleTests {
    private let core = "Sources/SluiceCore/Sample.swift"

    @Test("501 lines are caught, 500 are not")
    func fileLength() {
        let line = "let a = 1\n"
        #expect(Rules.fileLength(String(repeating: line, count: 500), at: core).isEmpty)
        #expect(Rules.fileLength(String(repeating: line, count: 501), at: core).count == 1)
    }

    @Test(
        "a name from the wire that is kept as a String is caught, where names come from the wire",
        arguments: [
            ("    var topics: [String: Int] = [:]", 1), ("    let seen: Set<String>", 1),
            ("    var group: String", 1), ("    var topics: [Name: Int] = [:]", 0),
            ("    // a [String: Int] was here", 0), ("    let words: [String]", 0),
        ]
    )
    func names(line: String, breaches: Int) {
        #expect(Rules.names(CodeOnly(line), at: core).count == breaches)
        #expect(Rules.names(CodeOnly(line), at: "Sources/SluiceDoor/Sample.swift").isEmpty)
    }

    @Test("101 columns are caught, 100 are not")
    func lineLength() {
        let line = String(repeating: "é", count: 100)
        #expect(Rules.lineLengths("\(line)\n\(line)e\n", at: core).map(\.line) == [2])
    }

    @Test(
        "a body of 71 lines is caught, one of 70 is not",
        arguments: [
            "func f() {", "init(a: Int) throws(E) {", "deinit {", "var a: Int {",
            "func f(\n    body: () -> Void = {}\n)\nwhere A: B\n{",
            "subscript(index: Int) -> Int {",
        ]
    )
    func functionLength(head: String) {
        func sample(_ lines: Int) -> String {
            let inside = lines - head.split(separator: "\n").count - 1
            return "struct A {\n\(head)\n" + String(repeating: "if a { b() }\n", count: inside)
                + "}\n}"
        }
        #expect(Rules.functionLengths(CodeOnly(sample(70)), at: core).isEmpty)
        #expect(Rules.functionLengths(CodeOnly(sample(71)), at: core).map(\.line) == [2])
    }

    @Test("a long type of short functions, calls of init and requirements are no long functions")
    func shortFunctions() {
        let body = String(repeating: "func f() { A.init(b).c { d } }\nvar e: Int\n", count: 50)
        let text = "protocol P {\nfunc g()\n}\nlet a = A.init(b)\nstruct A {\n\(body)}\n"
        #expect(Rules.functionLengths(CodeOnly(text), at: core).isEmpty)
    }

    @Test("a brace in a text or a comment ends no function")
    func bracesInLiterals() {
        let inside = String(
            repeating: "a(\"}\\(b(\"}\"))\", #\"\\\"}\"#) // }\n/* } /* } */ } */\n",
            count: 40
        )
        #expect(Rules.functionLengths(CodeOnly("func f() {\n\(inside)}\n"), at: core).count == 1)
        let text = "func f() {\nlet a = \"\"\"\n\(inside)\"\"\"\n}\n"
        #expect(FunctionLengths(CodeOnly(text)).found == [.init(line: 1, lines: 84)])
    }

    @Test(
        "an import that the room's line does not name is caught",
        arguments: [
            "import Foundation", "package import Glibc", "@preconcurrency import Dispatch",
            "import struct Foundation.Date", "    public import SluiceWire",
        ]
    )
    func forbiddenImport(line: String) {
        #expect(
            Rules.imports(CodeOnly("import DequeModule\n\(line)\n"), at: core).map(\.line) == [2]
        )
    }

    @Test("an import in a comment or a text is none, and a file outside the rooms may import")
    func harmlessImports() {
        let text = "// import Foundation\nlet a = \"\"\"\nimport Foundation\n\"\"\"\n"
        #expect(Rules.imports(CodeOnly(text), at: core).isEmpty)
        #expect(Rules.imports(CodeOnly("import PackageDescription\n"), at: "Package.swift").isEmpty)
    }

    @Test("a room without a line in the table is caught")
    func unknownRoom() {
        #expect(Rules.imports(CodeOnly(""), at: "Sources/Cellar/A.swift").count == 1)
    }

    @Test("no room's line names a room of its own floor or above")
    func floors() {
        let floors = [
            ["SluiceCore", "SluiceNet"], ["SluiceWire"], ["SluiceEngine", "Sluice"],
            ["SluiceServer"], ["SluiceDoor"],
        ]
        for (floor, rooms) in floors.enumerated() {
            let tooHigh = Set(floors[floor...].joined())
            for room in rooms {
                #expect(Rooms.allowed["Sources/\(room)"]?.isDisjoint(with: tooHigh) == true)
            }
        }
    }

    @Test("a swift file is held against every rule for Swift")
    func allRules() {
        let long = String(repeating: "a", count: 101)
        let text =
            "import Foundation\nfunc f() {\n" + String(repeating: "\(long)\n", count: 500) + "}\n"
        let rules = Set(Rules.swiftFile(text, at: core).map(\.rule))
        #expect(rules.count == 4)
    }

    @Test(
        "notes of unfinished work are caught as whole words",
        arguments: ["TO" + "DO", "FIX" + "ME"]
    )
    func notes(word: String) {
        #expect(Rules.notes("a\n// \(word): b\n", at: core).map(\.line) == [2])
        #expect(Rules.notes("let \(word)S = \(word)_1\n", at: core).isEmpty)
    }

    @Test("a test that expects nothing is caught, one that a helper expects for is not")
    func expectations() {
        let helpers = "func check() { #expect(a) }\nfunc look() { x.check() }\nfunc go() { f() }\n"
        func caught(_ body: String) -> Bool {
            let text = "\(helpers)struct A {\n@Test(\"#expect\", arguments: f { a })\nfunc t() {"
            let file = (path: core, text: "\(text) \(body) }\nfunc u() { b() }\n}")
            return !Rules.expectations(of: [file]).isEmpty
        }
        for body in ["", "a()", "go()", "_ = try? a()", "\"#expect(a)\"", "check = 1", "t()"] {
            #expect(caught(body), "\(body)")
        }
        for body in [
            "#expect(a)", "try #require(a)", "look()", "with { look() }", "map(look)",
            "Issue.record(a)", "func b() { #expect(a) }; b()", "throw Unheard(a)",
        ] {
            #expect(!caught(body), "\(body)")
        }
    }

    @Test("fixed ports are caught, numbers that are none and port 0 are not")
    func fixedPorts() {
        let port = "74" + "50"
        for text in [
            "127.0.0.1:\(port)", "localhost:\(port)/v1", "[::1]:\(port)",
            "(\"127.0.0.1\", \(port))",
            "host: \"::1\", port: \(port)", "f(port=\(port))", "bind(('0.0.0.0', \(port)))",
            "let port = 7_\(450)",
        ] {
            #expect(Rules.fixedPorts(text, at: core).count == 1, "\(text)")
        }
        for text in [
            "127.0.0.1:0", "127.0.0.1:1", "broker:\(port)", "(port: 70000)", "report(\(port))",
        ] {
            #expect(Rules.fixedPorts(text, at: core).isEmpty, "\(text)")
        }
    }

    @Test("paths of one machine are caught, the same names inside other paths are not")
    func machinePaths() {
        for root in ["work", "tmp", "root", "home"] {
            #expect(Rules.machinePaths("see '/\(root)/a'", at: core).count == 1)
            #expect(Rules.machinePaths("/\(root)/a", at: core).count == 1)
            #expect(Rules.machinePaths("host.example/\(root)/a and $D/\(root)", at: core).isEmpty)
        }
    }
}

@Suite("The tables of the specification")
struct ProtocolTableTests {
    private let source = """
        static let frameBytesMax = 1_000
        static let demandMax: UInt64 = 2_000
        """
    private let rows = """
        ## 9 Limits
        | name | number | unit | what it stops |
        |---|---|---|---|
        | `frameBytesMax` | 1,000 | bytes | a |
        | `demandMax` | 2000 | events | b |
        """

    private func breaches(source: String, rows: String) -> [String] {
        ProtocolTables.limits(source: source, at: "Limits.swift", specification: rows).map(\.rule)
    }

    @Test("the same numbers are no breach, whatever parts their thousands")
    func sameNumbers() {
        #expect(breaches(source: source, rows: rows).isEmpty)
        #expect(ProtocolTables.limitRows(of: rows).map(\.number) == [1_000, 2_000])
    }

    @Test("another number is caught")
    func otherNumber() throws {
        let found = breaches(source: source, rows: rows.replacing("2000", with: "2001"))
        #expect(try #require(found.first).hasPrefix("demandMax has another number"))
    }

    @Test("a limit without a row, a row without a limit and a row twice are caught")
    func missing() {
        let fewer = rows.replacing("`demandMax`", with: "`demandMaximum`")
        #expect(breaches(source: source, rows: fewer).count == 2)
        let twice = rows + "\n| `demandMax` | 2000 | events | b |"
        #expect(breaches(source: source, rows: twice).count == 1)
    }

    @Test("rows below another heading are not the limits")
    func heading() {
        #expect(ProtocolTables.limitRows(of: rows.replacing("Limits", with: "Fields")).isEmpty)
    }

    @Test("a limit that is computed is caught")
    func computed() {
        let found = breaches(source: source.replacing("2_000", with: "1 << 11"), rows: rows)
        #expect(found == ["demandMax is not written as a plain number"])
    }

    @Test("a code whose row is missing, or has another name, grade or blame, is caught")
    func codes() {
        let known = CloseCode.known.filter { $0.code == .creditOverrun }
        let row = "| 19 | `CREDIT_OVERRUN` | link | peer | send less | R-11.9 |"
        #expect(ProtocolTables.codes(known, specification: row).isEmpty)
        #expect(ProtocolTables.codes(known, specification: "").count == 1)
        for (part, other) in [("OVERRUN", "OVER"), ("link", "connection"), ("peer", "nobody")] {
            let changed = row.replacing(part, with: other)
            #expect(ProtocolTables.codes(known, specification: changed).count == 1)
        }
        let silent = row.replacing(" R-11.9 |", with: "")
        #expect(ProtocolTables.codes(known, specification: silent).count == 1)
    }

    @Test("a row for a code that the code does not know is caught")
    func unknownCode() {
        let row = "| 90 | ODD | link | peer | nothing | R-3.2 |"
        #expect(ProtocolTables.codes([], specification: row).map(\.line) == [1])
    }

    @Test("a break whose text is gone, or stands twice, is caught")
    func breaks() {
        let text = "file = \"A.swift\"\nold = '''\n  a\n  b'''\nnew = '''\nc'''\n"
        let breaks = BreakTexts.breaks(of: text)
        #expect(breaks == [BreakTexts.Break(file: "A.swift", old: "  a\n  b", new: "c", line: 6)])
        #expect(BreakTexts.breaches(of: breaks, in: ["A.swift": "x\n  a\n  b\n"]).isEmpty)
        for other in ["x", "  a\n  b\n  a\n  b\n"] {
            #expect(BreakTexts.breaches(of: breaks, in: ["A.swift": other]).count == 1)
        }
        #expect(BreakTexts.breaches(of: breaks, in: [:]).map(\.line) == [6])
    }

    @Test("a rule without a test, a test without a rule, and another name are caught")
    func rules() {
        let tests = "    @Test(\"3.9 asks\")\n    @Test(\"what has no number\")"
        func found(_ page: String) -> [String] {
            ProtocolTables.rules(tests: tests, at: "T.swift", page: page).map(\.rule)
        }
        #expect(found("| rule | does | test |\n| 3.9 | it | asks |").isEmpty)
        #expect(found("") == ["no row 3.9 asks"])
        #expect(found("| 3.9 | it | ask |") == ["no test 3.9 ask", "no row 3.9 asks"])
    }
}
