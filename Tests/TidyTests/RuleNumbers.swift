/// The numbers of the protocol's rules, as in `- **R-7.3** …`.
enum RuleNumbers {
    /// Sections whose points are rules; the others are words, layouts, tables and procedures.
    private static let sections: Set<Int> = [2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15]

    /// Points without a number, and numbers that stand twice or in another section.
    static func breaches(of specification: String) -> [Breach] {
        var section = 0
        var isCode = false
        var seen: Set<String> = []
        var found: [Breach] = []
        for (index, line) in Rules.lines(of: specification).enumerated() {
            if line.hasPrefix("```") { isCode.toggle() }
            guard !isCode else { continue }
            if line.hasPrefix("##"), let number = number(ofHeading: line) { section = number }
            guard line.hasPrefix("- "), sections.contains(section) else { continue }
            let breach = { Breach(path: ProtocolTables.path, line: index + 1, rule: $0) }
            guard let rule = numbers(in: line).first, line.hasPrefix("- **\(rule)** ") else {
                found.append(
                    breach("a rule of §\(section) begins with its number, **R-\(section).…**")
                )
                continue
            }
            if !rule.hasPrefix("R-\(section).") {
                found.append(breach("\(rule) is not of §\(section)"))
            }
            if !seen.insert(rule).inserted { found.append(breach("\(rule) stands twice")) }
        }
        return found
    }

    /// The rules that the specification has.
    static func known(of specification: String) -> Set<String> {
        let rules = Rules.lines(of: specification).lazy.filter { $0.hasPrefix("- **R-") }
        return Set(rules.compactMap { numbers(in: $0).first })
    }

    /// Rules that a file names and the specification does not have.
    static func unknown(in text: String, at path: String, known: Set<String>) -> [Breach] {
        Rules.lines(of: text).enumerated().flatMap { index, line in
            numbers(in: line).filter { !known.contains($0) }.map {
                Breach(path: path, line: index + 1, rule: "\($0) is no rule of the protocol")
            }
        }
    }

    /// Everything in a line that is written as a rule's number.
    static func numbers(in line: Substring) -> [String] {
        // Looked for by hand: a regular expression takes minutes for all files.
        var found: [String] = []
        var rest = line.utf8[...]
        while let start = rest.firstIndex(of: UInt8(ascii: "R")) {
            let digits = rest[start...].prefix { byte in
                "R-.".utf8.contains(byte) || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte
            }
            rest = rest[rest.index(after: start)...]
            let name = String(Substring(digits)).split(separator: ".")
            guard name.count >= 2, name[0].hasPrefix("R-"), UInt8(name[0].dropFirst(2)) != nil,
                UInt8(name[1]) != nil
            else { continue }
            found.append("\(name[0]).\(name[1])")
        }
        return found
    }

    private static func number(ofHeading line: Substring) -> Int? {
        let words = line.split(separator: " ")
        return words.count > 1 ? words[1].split(separator: ".").first.flatMap { Int($0) } : nil
    }
}
