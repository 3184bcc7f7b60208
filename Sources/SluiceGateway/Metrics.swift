import SluiceCore
import SluiceEngine
import SluiceNet
import SluiceWire

/// The text that Prometheus reads, in either of its forms; written a piece at a time.
package struct MetricsText {
    package enum Form {
        /// Prometheus' text format 0.0.4.
        case plain
        /// OpenMetrics 1.0.0.
        case open

        var contentType: String {
            switch self {
            case .plain: "text/plain; version=0.0.4; charset=utf-8"
            case .open: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        }
    }

    enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    typealias Label = (name: String, value: String)

    /// What is told of one kind: its head, and rows of samples that are made when they are written.
    struct Family {
        let name: String
        /// Nil if nothing is told, only made ready.
        let kind: Kind?
        let help: String
        let rows: () -> Int
        let write: (Int, inout SampleWriter) -> Void
    }

    package let form: Form
    private var families: [Family] = []
    /// What is written next: a row of a family, or its head.
    private var family = 0
    private var row: Int?

    init(_ form: Form) { self.form = form }

    /// Adds a family with rows of samples.
    ///
    /// A counter's name ends in `_total`.
    mutating func add(
        _ name: String,
        _ kind: Kind,
        _ help: String,
        rows: @escaping @autoclosure () -> Int,
        _ write: @escaping (Int, inout SampleWriter) -> Void
    ) {
        let rows = { rows() }
        families.append(Family(name: name, kind: kind, help: help, rows: rows, write: write))
    }

    /// Has something done before the families that are added later, a step after the other.
    mutating func prepare(steps: Int, _ body: @escaping (Int) -> Void) {
        let steps = { steps }
        families.append(Family(name: "", kind: nil, help: "", rows: steps) { row, _ in body(row) })
    }

    /// Adds a family of a few samples.
    mutating func add(
        _ name: String,
        _ kind: Kind,
        _ help: String,
        _ samples: [(labels: [Label], value: Double)]
    ) {
        add(name, kind, help, rows: samples.count) { row, writer in
            writer.add(name, SampleWriter.text(of: samples[row].labels), samples[row].value)
        }
    }

    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
        add(name, kind, help, [([], value)])
    }

    /// Whether all is written.
    package var isOver: Bool { family > families.count }

    /// Rows of one piece, so that it is soon made whatever they are.
    private static let rowsPerPieceMax = 512

    /// The next piece, at most about so large; what is made ready leaves it empty.
    package mutating func next(bytes most: Int) -> [UInt8] {
        var writer = SampleWriter()
        var left = Self.rowsPerPieceMax
        while writer.bytes.count < most, left > 0, !isOver {
            left -= 1
            guard family < families.count else {
                if form == .open { writer.bytes += Array("# EOF\n".utf8) }
                family += 1
                break
            }
            let now = families[family]
            guard let row else {
                writer.begin(now, form)
                self.row = 0
                continue
            }
            if row < now.rows() {
                now.write(row, &writer)
                self.row = row + 1
            } else {
                family += 1
                self.row = nil
            }
        }
        return writer.bytes
    }
}

/// Samples as text.
struct SampleWriter {
    fileprivate(set) var bytes: [UInt8] = []

    fileprivate mutating func begin(_ family: MetricsText.Family, _ form: MetricsText.Form) {
        guard let kind = family.kind else { return }
        var name = family.name
        if form == .open, kind == .counter {
            name = String(name.dropLast("_total".count))
        }
        let text = "# HELP \(name) \(family.help)\n# TYPE \(name) \(kind.rawValue)\n"
        bytes += Array(text.utf8)
    }

    /// Adds a sample with labels that are text already.
    mutating func add(_ name: String, _ labels: String, _ value: Double) {
        bytes += name.utf8
        if !labels.isEmpty {
            bytes.append(UInt8(ascii: "{"))
            bytes += labels.utf8
            bytes.append(UInt8(ascii: "}"))
        }
        bytes.append(UInt8(ascii: " "))
        let isWhole = value == value.rounded() && value.magnitude < 1e15
        bytes += (isWhole ? Int64(value).description : value.description).utf8
        bytes.append(UInt8(ascii: "\n"))
    }

    static func text(of labels: [MetricsText.Label]) -> String {
        labels.map { "\($0.name)=\"\(escaped($0.value))\"" }.joined(separator: ",")
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}

/// A scrape as the body of an answer: each turn of the loop writes a piece of it.
private final class MetricsBody: BodySource {
    private var text: MetricsText
    private let exchange: HTTPExchange
    private var piece: [UInt8] = []
    private var taken = 0
    private var hasPieceSoon = false

    init(_ text: MetricsText, of exchange: HTTPExchange) {
        self.text = text
        self.exchange = exchange
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyPart {
        if taken == piece.count {
            guard !text.isOver else { return .ended }
            writeSoon()
            return .nothingNow
        }
        let count = piece.copy(from: taken, into: buffer)
        taken += count
        return .bytes(count)
    }

    private func writeSoon() {
        guard !hasPieceSoon else { return }
        hasPieceSoon = true
        exchange.connection.gateway.queue { [weak self] in
            guard let self else { return }
            hasPieceSoon = false
            piece = text.next(bytes: Limits.httpWriteBytes)
            taken = 0
            if exchange.handler != nil { exchange.resume() }
        }
    }
}

extension Gateway {
    /// Tells of the broker, and of as many topics as a scrape may be about one by one.
    func answerMetrics(_ exchange: HTTPExchange) {
        let accept = exchange.request["accept"] ?? ""
        let form: MetricsText.Form =
            accept.contains("application/openmetrics-text") ? .open : .plain
        gather(.server, for: exchange) { [unowned self] reply in
            guard case .server(let server) = reply else { return }
            gather(.summary, for: exchange) { reply in
                guard case .topics(let found) = reply else { return }
                let topics = found.topics + (found.others.map { [$0] } ?? [])
                exchange.respond(
                    ResponseHead(200, [Header("content-type", form.contentType)]),
                    .source(MetricsBody(MetricsText.page(form, server, topics), of: exchange))
                )
            }
        }
    }
}
