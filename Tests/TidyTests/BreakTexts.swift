/// The breaks of `Tests/BreakLaws/breaks.toml`: a text of the core each, and what breaks it.
enum BreakTexts {
    static let path = "Tests/BreakLaws/breaks.toml"

    struct Break: Equatable {
        let file: String
        let old: String
        let line: Int
    }

    /// Breaks whose text stands no longer once in the core, so that they break nothing.
    static func breaches(of breaks: [Break], in core: [String: String]) -> [Breach] {
        breaks.compactMap { item in
            let found = (core[item.file] ?? "").ranges(of: item.old).count
            guard found != 1 else { return nil }
            let rule = "its text stands \(found) times in \(item.file)"
            return Breach(path: path, line: item.line, rule: rule)
        }
    }

    static func breaks(of text: String) -> [Break] {
        var found: [Break] = []
        var file = ""
        var old: [Substring]?
        for (index, line) in Rules.lines(of: text).enumerated() {
            if let lines = old {
                let end = line.firstRange(of: "'''")
                old = lines + [line[..<(end?.lowerBound ?? line.endIndex)]]
                guard end != nil, let whole = old?.joined(separator: "\n") else { continue }
                found.append(Break(file: file, old: whole, line: index + 1))
                old = nil
            } else if line.hasPrefix("file = \"") {
                file = String(line.dropFirst(8).dropLast())
            } else if line.hasPrefix("old = '''") {
                old = []
            }
        }
        return found
    }
}
