/// The breaks of `Tests/BreakLaws/breaks.toml`: a text of the core each, and what breaks it.
enum BreakTexts {
    static let path = "Tests/BreakLaws/breaks.toml"

    struct Break: Equatable {
        let file: String
        let old: String
        let new: String
        let line: Int
    }

    /// Breaks whose text stands no longer once in the core, into which those before them went.
    static func breaches(of breaks: [Break], in core: [String: String]) -> [Breach] {
        var core = core
        return breaks.compactMap { item in
            let found = (core[item.file] ?? "").ranges(of: item.old).count
            core[item.file]?.replace(item.old, with: item.new)
            guard found != 1 else { return nil }
            let rule = "its text stands \(found) times in \(item.file)"
            return Breach(path: path, line: item.line, rule: rule)
        }
    }

    static func breaks(of text: String) -> [Break] {
        var found: [Break] = []
        var file = ""
        var texts: [String] = []
        var lines: [Substring]?
        for (index, line) in Rules.lines(of: text).enumerated() {
            if let before = lines {
                let end = line.firstRange(of: "'''")
                let more = before + [line[..<(end?.lowerBound ?? line.endIndex)]]
                lines = end == nil ? more : nil
                if end != nil { texts.append(more.joined(separator: "\n")) }
                guard texts.count == 2 else { continue }
                found.append(Break(file: file, old: texts[0], new: texts[1], line: index + 1))
                texts = []
            } else if line.hasPrefix("file = \"") {
                file = String(line.dropFirst(8).dropLast())
            } else if line.hasPrefix("old = '''") || line.hasPrefix("new = '''") {
                lines = []
            }
        }
        return found
    }
}
