import FoundationEssentials
import SluiceCore
import SluiceWire

/// Events as the topic takes them: records, one behind the other.
struct EventRecords {
    var bytes: [UInt8] = []
    var events = 0
}

/// How the body of a request says its events.
enum EventForm {
    /// The body is the payload, whatever it is.
    case one(contentType: String?)
    /// A JSON object a line.
    case lines
    /// A JSON array of objects; any other JSON is one payload.
    case json
    /// A JSON array of CloudEvents, each of which is a payload.
    case cloudEvents
    /// Records as EVENTS frames carry them.
    case records

    /// The type of records; the specification of the protocol has their form.
    static let recordsType = "application/vnd.sluice.records"
    private static let cloudEventType = "application/cloudevents+json"

    init(contentType: String?) {
        let type = contentType?.split(separator: ";").first.map {
            $0.lowercased().trimmingSpaces
        }
        switch type {
        case "application/x-ndjson"?, "application/ndjson"?, "application/jsonl"?: self = .lines
        case "application/json"?: self = .json
        case "application/cloudevents-batch+json"?: self = .cloudEvents
        case Self.recordsType?: self = .records
        // What curl says if it is told nothing is nothing that anybody meant.
        case "application/x-www-form-urlencoded"?, "application/octet-stream"?:
            self = .one(contentType: nil)
        default: self = .one(contentType: contentType)
        }
    }

    func records(of body: [UInt8], _ request: RequestHead) throws(Refusal) -> EventRecords {
        var writer = FrameWriter()
        var events = 0
        switch self {
        case .one(let contentType):
            let headers = Self.headers(of: request, contentType)
            let key = request["sluice-key"].map { Array($0.utf8) }
            do throws(WireError) {
                try writer.appendRecord(key: key, headers: headers, payload: body.span.bytes)
            } catch { throw Refusal("\(error)") }
            events = 1
        case .lines:
            for line in body.split(separator: UInt8(ascii: "\n"))
            where line.contains(where: { $0 > UInt8(ascii: " ") }) {
                events += 1
                let document = try Self.decode(EventDocument.self, line, "line \(events)")
                try document.append(to: &writer, "line \(events)")
            }
        case .json where body.first(where: { $0 > UInt8(ascii: " ") }) != UInt8(ascii: "["):
            return try Self.one(contentType: "application/json").records(of: body, request)
        case .json:
            let documents = try Self.decode([EventDocument].self, body[...], "the body")
            for document in documents {
                events += 1
                try document.append(to: &writer, "event \(events)")
            }
        case .cloudEvents:
            let elements = try Self.cloudEvents(of: body)
            let type = RecordHeader(
                name: "content-type",
                value: Array(Self.cloudEventType.utf8)
            )
            for element in elements {
                let payload = Array(element)
                do throws(WireError) {
                    try writer.appendRecord(headers: [type], payload: payload.span.bytes)
                } catch { throw Refusal("\(error)") }
            }
            events = elements.count
        case .records:
            var reader = RecordReader(0..<body.count)
            do throws(WireError) {
                while try reader.next(from: body.span.bytes) != nil { events += 1 }
            } catch { throw Refusal("record \(events + 1): \(error)") }
            return EventRecords(bytes: body, events: events)
        }
        return EventRecords(bytes: writer.take(), events: events)
    }

    /// The events of a batch, byte for byte.
    private static func cloudEvents(of body: [UInt8]) throws(Refusal) -> [ArraySlice<UInt8>] {
        do {
            _ = try JSONDecoder().decode([CloudEvent].self, from: Data(body))
        } catch {
            throw Refusal(
                "a batch of CloudEvents is a JSON array of objects with specversion, id, source "
                    + "and type"
            )
        }
        return elements(of: body)
    }

    /// Cuts an array of objects, which is known to be one, at the ends of its objects.
    private static func elements(of array: [UInt8]) -> [ArraySlice<UInt8>] {
        var elements: [ArraySlice<UInt8>] = []
        var depth = 0
        var start = 0
        var isText = false
        var isEscaped = false
        for (index, byte) in array.enumerated() {
            if isText {
                if byte == UInt8(ascii: "\""), !isEscaped { isText = false }
                isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isText = true
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                if depth == 1 { start = index }
                depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 1 { elements.append(array[start...index]) }
            default: break
            }
        }
        return elements
    }

    private static func decode<Value: Decodable>(
        _ type: Value.Type,
        _ bytes: ArraySlice<UInt8>,
        _ place: String
    ) throws(Refusal) -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(bytes))
        } catch {
            throw Refusal(
                "\(place) is no event: {\"payload\": \"…\"} or {\"payloadBase64\": \"…\"}, "
                    + "and if you like \"key\" (or \"keyBase64\") and \"headers\""
            )
        }
    }

    /// What of a request's headers goes with its event: those made for that.
    private static func headers(
        of request: RequestHead,
        _ contentType: String?
    ) -> [RecordHeader] {
        let prefix = "sluice-header-"
        var headers: [RecordHeader] = []
        if let contentType {
            headers.append(RecordHeader(name: "content-type", value: Array(contentType.utf8)))
        }
        for header in request.headers {
            let name: String
            switch header.name {
            case "traceparent", "tracestate": name = header.name
            case let own where own.hasPrefix(prefix) && own.count > prefix.count:
                name = String(own.dropFirst(prefix.count))
            case let event where event.hasPrefix("ce-"): name = event
            default: continue
            }
            headers.append(RecordHeader(name: name, value: Array(header.value.utf8)))
        }
        return headers
    }
}

/// What every CloudEvent has.
private struct CloudEvent: Decodable {
    let specversion: String
    let id: String
    let source: String
    let type: String
}

/// An event as JSON says it, in the words that it is shown in too.
private struct EventDocument: Decodable {
    let key: String?
    let keyBase64: Data?
    let headers: [String: String]?
    let payload: String?
    let payloadBase64: Data?

    private enum Key: String, CodingKey {
        case key, keyBase64, headers, payload, payloadBase64
    }

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: Key.self)
        key = try members.member(.key)
        keyBase64 = try members.member(.keyBase64)
        headers = try members.member(.headers)
        payload = try members.member(.payload)
        payloadBase64 = try members.member(.payloadBase64)
    }

    func append(to writer: inout FrameWriter, _ place: String) throws(Refusal) {
        guard (payload == nil) != (payloadBase64 == nil) else {
            throw Refusal("\(place) has either a payload or a payloadBase64")
        }
        guard key == nil || keyBase64 == nil else {
            throw Refusal("\(place) has a key and a keyBase64; one of them is meant")
        }
        let bytes = payload.map { Array($0.utf8) } ?? payloadBase64.map { Array($0) } ?? []
        let headers = (headers ?? [:]).sorted { $0.key < $1.key }.map {
            RecordHeader(name: $0.key, value: Array($0.value.utf8))
        }
        do throws(WireError) {
            try writer.appendRecord(
                key: key.map { Array($0.utf8) } ?? keyBase64.map { Array($0) },
                headers: headers,
                payload: bytes.span.bytes
            )
        } catch { throw Refusal("\(place): \(error)") }
    }
}

extension KeyedDecodingContainer {
    /// A member that may be left out, but not be null: that would be no value of its type.
    func member<Value: Decodable>(_ key: Key) throws -> Value? {
        contains(key) ? try decode(Value.self, forKey: key) : nil
    }
}

extension String {
    /// Without spaces at either end.
    var trimmingSpaces: String {
        var rest = self[...]
        while rest.first == " " { rest.removeFirst() }
        while rest.last == " " { rest.removeLast() }
        return String(rest)
    }
}
