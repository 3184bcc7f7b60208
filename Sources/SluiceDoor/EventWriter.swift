import Sluice
import SluiceEngine

/// Prints events in the form that was asked for.
final class EventWriter {
    private enum Style {
        case format(EventFormat)
        case form(OutputForm)
    }

    private let topic: String
    private let style: Style
    private let paint: Paint
    private let output: StandardOutput
    private var isFirst = true
    private var text: [UInt8] = []

    init(topic: String, format: String?, options: GlobalOptions) throws(Failure) {
        self.topic = topic
        paint = options.paint
        output = StandardOutput()
        if let format {
            style = .format(try EventFormat(format))
        } else {
            style = .form(options.form(piped: .raw))
        }
    }

    /// Prints a batch and hands it to the system.
    func write(_ batch: EventBatch) throws(Failure) {
        switch style {
        case .format(let format):
            for event in batch { try format.write(event, topic: topic, to: output) }
        case .form(.raw):
            for event in batch {
                try output.write(event.payload)
                output.write(UInt8(ascii: "\n"))
            }
        case .form(.jsonl):
            for event in batch { try json(event, before: "", after: "\n") }
        case .form(.json):
            for event in batch {
                try json(event, before: isFirst ? "[\n  " : ",\n  ", after: "")
                isFirst = false
            }
        case .form(.table):
            for event in batch { try output.line(row(event)) }
        }
        try output.flush()
    }

    /// Ends what the form opened.
    func finish() throws(Failure) {
        guard case .form(.json) = style else { return }
        try output.line(isFirst ? "[]" : "\n]")
        try output.flush()
    }

    private func json(_ event: Event, before: String, after: String) throws(Failure) {
        text.removeAll(keepingCapacity: true)
        text += Array(before.utf8)
        JSONText.append(event, topic: topic, to: &text)
        text += Array(after.utf8)
        try output.write(text)
    }

    private func row(_ event: Event) -> String {
        let offset = String(event.offset)
        let fill = String(repeating: " ", count: max(0, 8 - offset.count))
        let key = event.key.map { paint.yellow(Self.printable($0.string)) + "  " } ?? ""
        let time = paint.dim(UTC.timeOfDay(microseconds: event.time))
        return "\(fill)\(paint.dim(offset))  \(time)  \(key)\(Self.printable(event.payloadString))"
    }

    /// A terminal obeys control characters: an event must not command it.
    static func printable(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else { return text }
        return text.unicodeScalars.map { scalar in
            guard scalar.properties.generalCategory == .control, scalar != "\t" else {
                return String(scalar)
            }
            return scalar == "\n" ? "\u{23CE}" : "\u{B7}"
        }
        .joined()
    }
}
