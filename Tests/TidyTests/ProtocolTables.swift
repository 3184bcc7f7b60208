import SluiceCore

/// The tables of `Protocol/protocol.md` that must say what the code says.
enum ProtocolTables {
    struct Limit: Equatable {
        let name: String
        /// Nil where the value is not written as a plain number.
        let number: UInt64?
        let line: Int
    }

    struct Row: Equatable {
        let cells: [String]
        let heading: String
        let line: Int
    }

    static let path = "Protocol/protocol.md"

    /// Holds the constants of a Swift source against the rows of the specification, both ways.
    static func limits(source: String, at sourcePath: String, specification: String) -> [Breach] {
        let constants = constants(of: source)
        let documented = limitRows(of: specification)
        let missing = constants.compactMap { constant in
            breach(of: constant, in: documented).map { rule in
                Breach(path: sourcePath, line: constant.line, rule: "\(constant.name) \(rule)")
            }
        }
        let unknown = documented.filter { row in !constants.contains { $0.name == row.name } }
        return missing
            + unknown.map { row in
                Breach(path: path, line: row.line, rule: "\(row.name) is no limit of the code")
            }
    }

    /// Holds the codes that the broker knows against the specification's table, both ways.
    static func codes(_ known: [CloseCode.Description], specification: String) -> [Breach] {
        let documented = codeRows(of: specification)
        let missing = known.filter { description in
            !documented.contains { Array($0.cells.prefix(4)) == cells(of: description) }
        }
        let unknown = documented.filter { row in
            !known.contains { String($0.code.rawValue) == row.cells[0] }
        }
        return missing.map { description in
            let row = cells(of: description).joined(separator: " | ")
            return Breach(path: path, line: 1, rule: "the table of codes needs the row | \(row) |")
        }
            + unknown.map { row in
                Breach(path: path, line: row.line, rule: "\(row.cells[1]) is no code of the code")
            }
            + documented.filter { !isCitation($0.cells.last { !$0.isEmpty } ?? "") }.map { row in
                Breach(path: path, line: row.line, rule: "\(row.cells[1]) names no rule or section")
            }
    }

    private static func isCitation(_ cell: String) -> Bool {
        cell.hasPrefix("R-") || cell.hasPrefix("§")
    }

    /// The constants `static let name = 1_000` of a Swift source.
    static func constants(of source: String) -> [Limit] {
        Rules.lines(of: source).enumerated().compactMap { index, line in
            let halves = line.split(separator: "=", maxSplits: 1)
            guard halves.count == 2, let declared = halves[0].firstRange(of: "static let ") else {
                return nil
            }
            let name = halves[0][declared.upperBound...].prefix { $0.isLetter || $0.isNumber }
            return Limit(name: String(name), number: number(halves[1]), line: index + 1)
        }
    }

    /// The rows `` | `name` | 1,000 | … `` below a heading that names the limits.
    static func limitRows(of specification: String) -> [Limit] {
        rows(of: specification).compactMap { row in
            guard row.heading.lowercased().contains("limits"), row.cells.count >= 2 else {
                return nil
            }
            guard row.cells[0].hasPrefix("`"), let number = number(row.cells[1][...]) else {
                return nil
            }
            return Limit(name: row.cells[0].filter { $0 != "`" }, number: number, line: row.line)
        }
    }

    /// The rows `| 19 | CREDIT_OVERRUN | link | peer | … |`, wherever they stand.
    static func codeRows(of specification: String) -> [Row] {
        rows(of: specification).compactMap { row in
            let cells = row.cells.map { cell in cell.filter { $0 != "`" && $0 != "*" } }
            guard
                cells.count >= 4, UInt16(cells[0]) != nil,
                CloseCode.Grade(rawValue: cells[2]) != nil
            else { return nil }
            return Row(cells: cells, heading: row.heading, line: row.line)
        }
    }

    static let rulesPath = "Protocol/reactive-streams.md"

    /// Holds the tests named by a rule's number against the page on Reactive Streams, both ways.
    static func rules(tests: String, at testsPath: String, page: String) -> [Breach] {
        let named = ruleTests(of: tests)
        let told = rows(of: page).filter { isRule($0.cells[0]) && $0.cells.count > 2 }
            .map { Limit(name: "\($0.cells[0]) \($0.cells[2])", number: nil, line: $0.line) }
        let untested = told.filter { row in !named.contains { $0.name == row.name } }
        let untold = named.filter { test in !told.contains { $0.name == test.name } }
        return untested.map { Breach(path: rulesPath, line: $0.line, rule: "no test \($0.name)") }
            + untold.map { Breach(path: testsPath, line: $0.line, rule: "no row \($0.name)") }
    }

    /// The tests whose names begin with a rule's number, as in `@Test("3.9 to ask …")`.
    static func ruleTests(of source: String) -> [Limit] {
        Rules.lines(of: source).enumerated().compactMap { index, line in
            guard let start = line.firstRange(of: "@Test(\"") else { return nil }
            let name = line[start.upperBound...].prefix { $0 != "\"" }
            guard isRule(String(name.prefix { $0 != " " })) else { return nil }
            return Limit(name: String(name), number: nil, line: index + 1)
        }
    }

    private static func isRule(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { UInt8($0) != nil }
    }

    private static func breach(of constant: Limit, in documented: [Limit]) -> String? {
        guard let number = constant.number else { return "is not written as a plain number" }
        let rows = documented.filter { $0.name == constant.name }
        guard let row = rows.first else { return "is missing in the limits of \(path)" }
        guard rows.count == 1 else { return "stands twice in the limits of \(path)" }
        return row.number == number ? nil : "has another number in \(path), line \(row.line)"
    }

    private static func cells(of description: CloseCode.Description) -> [String] {
        let code = description.code
        return [
            String(code.rawValue), description.name, description.grade.rawValue,
            code.blame.rawValue,
        ]
    }

    private static func rows(of specification: String) -> [Row] {
        var heading = ""
        var rows: [Row] = []
        for (index, line) in Rules.lines(of: specification).enumerated() {
            if line.hasPrefix("#") { heading = String(line) }
            guard line.hasPrefix("|") else { continue }
            let cells = line.split(separator: "|", omittingEmptySubsequences: false)
                .dropFirst()
                .map { cell in
                    String(cell.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
                }
            rows.append(Row(cells: cells, heading: heading, line: index + 1))
        }
        return rows
    }

    private static func number(_ text: Substring) -> UInt64? {
        UInt64(text.filter { !" _,".contains($0) })
    }
}
