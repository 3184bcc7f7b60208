import ArgumentParser

/// How data is printed.
package enum OutputForm: String, CaseIterable, Sendable, ExpressibleByArgument {
    case table
    case json
    case jsonl
    case raw
}

/// Colours of a terminal, or nothing where they are not wanted.
struct Paint {
    let isOn: Bool

    func bold(_ text: String) -> String { isOn ? "\u{1B}[1m\(text)\u{1B}[0m" : text }
    func dim(_ text: String) -> String { isOn ? "\u{1B}[2m\(text)\u{1B}[0m" : text }
    func red(_ text: String) -> String { isOn ? "\u{1B}[31m\(text)\u{1B}[0m" : text }
    func green(_ text: String) -> String { isOn ? "\u{1B}[32m\(text)\u{1B}[0m" : text }
    func yellow(_ text: String) -> String { isOn ? "\u{1B}[33m\(text)\u{1B}[0m" : text }
}

/// Rows in aligned columns.
package struct Table {
    /// On which side of its column a text stands.
    package enum Side {
        case left
        case right
    }

    private let heads: [(name: String, side: Side)]
    private var rows: [[String]] = []

    package init(_ heads: [(name: String, side: Side)]) { self.heads = heads }

    package mutating func add(_ row: [String]) {
        precondition(row.count == heads.count, "a row has a text for each column")
        rows.append(row)
    }

    /// The lines, the heads first; the last column is not filled up.
    package var lines: [String] {
        let all = [heads.map(\.name)] + rows
        let widths = heads.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            var line = ""
            for (column, text) in row.enumerated() {
                let fill = String(repeating: " ", count: widths[column] - text.count)
                let isLast = column == heads.count - 1
                switch heads[column].side {
                case .left: line += isLast ? text : text + fill
                case .right: line += fill + text
                }
                if !isLast { line += "  " }
            }
            return line
        }
    }
}
