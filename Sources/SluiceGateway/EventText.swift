import SluiceCore
import SluiceEngine
import SluiceWire

/// How an answer says events, or the documents of an inspection.
enum EventText {
    /// One JSON array.
    case array
    /// A JSON object a line.
    case lines
    /// Server-Sent Events: the offset is the id, so that a browser may name the last it saw.
    case serverSent
    /// Records as EVENTS frames carry them.
    case records

    var contentType: String {
        switch self {
        case .array: "application/json"
        case .lines: "application/x-ndjson"
        case .serverSent: "text/event-stream"
        case .records: EventForm.recordsType
        }
    }

    /// What stands before the first and behind the last.
    var opening: [UInt8] {
        if case .array = self { Array("[".utf8) } else { [] }
    }

    func closing(isEmpty: Bool) -> [UInt8] {
        guard case .array = self else { return [] }
        return Array((isEmpty ? "]\n" : "\n]\n").utf8)
    }

    /// Puts one object where it belongs.
    func append(_ object: [UInt8], id: UInt64, isFirst: Bool, to text: inout [UInt8]) {
        switch self {
        case .array: text += Array((isFirst ? "\n" : ",\n").utf8) + object
        case .lines: text += object + [UInt8(ascii: "\n")]
        case .serverSent:
            text += Array("id: \(id)\ndata: ".utf8) + object + Array("\n\n".utf8)
        case .records: text += object
        }
    }

    /// Says something that is no event, where there is a place for it.
    func appendWord(_ name: String, _ object: [UInt8], to text: inout [UInt8]) {
        switch self {
        case .array, .records: break
        case .lines:
            text += Array("{\"\(name)\":".utf8) + object + Array("}\n".utf8)
        case .serverSent:
            text += Array("event: \(name)\ndata: ".utf8) + object + Array("\n\n".utf8)
        }
    }

    /// The form that a client accepts, or the first of those offered.
    static func accepted(_ accept: String?, of forms: [EventText]) -> EventText {
        guard let accept, let standard = forms.first else { return forms[0] }
        let wanted = accept.lowercased()
        return forms.first { wanted.contains($0.contentType) } ?? standard
    }
}

/// The events of runs, one at a time as text.
struct RunText {
    /// What is shown of each.
    enum Content {
        case object
        case payload
        case record
    }

    let topic: String
    private(set) var run: Run
    private var position: Int
    private var offset: UInt64

    init(_ run: Run, topic: String) {
        self.run = run
        self.topic = topic
        position = Int(run.start)
        offset = run.offset
    }

    var isAtEnd: Bool { position >= Int(run.end) }

    /// Takes the next event: its object, its offset, and the bytes of its record.
    mutating func next(_ content: Content) -> (object: [UInt8], offset: UInt64, bytes: Int) {
        let start = position
        let record = run.record(at: start)
        position = record.payload.upperBound
        defer { offset += 1 }
        let text = run.slab.withShared(0..<position) { bytes in
            switch content {
            case .payload: return Array(bytes[record.payload])
            case .record: return Array(bytes[start..<position])
            case .object: break
            }
            var text: [UInt8] = []
            JSONText.appendEvent(
                topic: topic,
                offset: offset,
                time: run.time,
                key: record.key.map { bytes[$0] },
                headers: Self.headers(record.headers, bytes),
                payload: bytes[record.payload],
                to: &text
            )
            return text
        }
        return (text, offset, position - start)
    }

    private static func headers(
        _ block: Range<Int>?,
        _ bytes: UnsafeRawBufferPointer
    ) -> [(name: String, value: String)] {
        guard let block else { return [] }
        var reader = HeaderReader(block)
        var headers: [(name: String, value: String)] = []
        while let (name, value) = try? reader.next(from: bytes.bytes) {
            headers.append(
                (
                    String(decoding: bytes[name], as: UTF8.self),
                    String(decoding: bytes[value], as: UTF8.self)
                )
            )
        }
        return headers
    }
}
