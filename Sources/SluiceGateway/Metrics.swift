import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceWire

/// The text that Prometheus reads, in either of its forms.
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

    package let form: Form
    package private(set) var bytes: [UInt8] = []

    init(_ form: Form) { self.form = form }

    /// Adds a family: what it is, and its samples.
    ///
    /// A counter's name ends in `_total`.
    mutating func add(
        _ name: String,
        _ kind: Kind,
        _ help: String,
        _ samples: [(labels: [Label], value: Double)]
    ) {
        begin(name, kind, help)
        for sample in samples { add(name, sample.labels, sample.value) }
    }

    /// Says of which kind the samples are that follow.
    mutating func begin(_ name: String, _ kind: Kind, _ help: String) {
        var family = name
        if form == .open, kind == .counter { family = String(name.dropLast("_total".count)) }
        bytes += Array("# HELP \(family) \(help)\n# TYPE \(family) \(kind.rawValue)\n".utf8)
    }

    /// Adds a sample of the family that was begun.
    mutating func add(_ name: String, _ labels: [Label], _ value: Double) {
        bytes += Array(name.utf8)
        if !labels.isEmpty {
            let labels = labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }
            bytes += Array("{\(labels.joined(separator: ","))}".utf8)
        }
        bytes += Array(" \(Self.text(value))\n".utf8)
    }

    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
        add(name, kind, help, [([], value)])
    }

    mutating func finish() { if form == .open { bytes += Array("# EOF\n".utf8) } }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && value.magnitude < 1e15 ? "\(Int64(value))" : "\(value)"
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

extension Gateway {
    /// Tells of the broker, and of as many topics as a scrape may be about one by one.
    func answerMetrics(_ exchange: HTTPExchange) {
        let accept = exchange.request["accept"] ?? ""
        let form: MetricsText.Form =
            accept.contains("application/openmetrics-text") ? .open : .plain
        collect("$sys/server", most: 1, exchange) { [unowned self] servers in
            let server = servers.first.flatMap {
                try? JSONDecoder().decode(Snapshot.Server.self, from: Data($0))
            }
            exchange.endHandler()
            let decoder = JSONDecoder()
            var topics: [Snapshot.Topic] = []
            var other: Snapshot.Topic?
            collect(
                "$sys/topics",
                most: Limits.topicsMax,
                exchange,
                each: { document in
                    guard let topic = try? decoder.decode(Snapshot.Topic.self, from: Data(document))
                    else { return }
                    if topics.count < Limits.metricsTopicsMax {
                        topics.append(topic)
                    } else {
                        if other == nil { other = Snapshot.Topic(topic: MetricsText.other) }
                        other?.add(topic)
                    }
                },
                done: {
                    if let other { topics.append(other) }
                    let text = MetricsText.page(form, server, topics)
                    exchange.respond(
                        ResponseHead(200, [Header("content-type", form.contentType)]),
                        .bytes(text.bytes)
                    )
                }
            )
        }
    }
}
