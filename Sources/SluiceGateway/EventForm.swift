import FoundationEssentials
import SluiceCore
import SluiceWire

/// Events as the topic takes them: records, one behind the other.
struct EventRecords {
    var bytes: [UInt8] = []
    var events = 0
}

/// How the body of a request says its events.
enum EventForm: Equatable {
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
    static let cloudEventType = "application/cloudevents+json"

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

    /// What of a request's headers goes with its event: those made for that.
    static func headers(
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
struct CloudEvent: Decodable {
    let specversion: String
    let id: String
    let source: String
    let type: String
}

/// An event as JSON says it, in the words that it is shown in too.
struct EventDocument: Decodable {
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

    /// Its headers in the order in which its text says them.
    private func headers(in text: ArraySlice<UInt8>, _ decoder: JSONDecoder) -> [RecordHeader]? {
        guard let headers else { return [] }
        var members = JSONMembers(text)
        var object: ArraySlice<UInt8>?
        while let (name, value) = members?.next() {
            if JSONMembers.string(name, decoder) == Key.headers.rawValue { object = value }
        }
        guard var members = object.flatMap({ JSONMembers($0) }) else {
            // The text is in another encoding.
            return headers.map { RecordHeader(name: $0.key, value: Array($0.value.utf8)) }
        }
        var found: [RecordHeader] = []
        while let (name, value) = members.next() {
            guard let name = JSONMembers.string(name, decoder),
                let value = JSONMembers.string(value, decoder)
            else { return nil }
            found.append(RecordHeader(name: name, value: Array(value.utf8)))
        }
        return found
    }

    /// Appends its record; `text` is what it was decoded from.
    func append(
        to writer: inout FrameWriter,
        _ place: String,
        from text: ArraySlice<UInt8>,
        _ decoder: JSONDecoder
    ) throws(Refusal) {
        guard (payload == nil) != (payloadBase64 == nil) else {
            throw Refusal("\(place) has either a payload or a payloadBase64")
        }
        guard key == nil || keyBase64 == nil else {
            throw Refusal("\(place) has a key and a keyBase64; one of them is meant")
        }
        let bytes = payload.map { Array($0.utf8) } ?? payloadBase64.map { Array($0) } ?? []
        guard let headers = headers(in: text, decoder) else {
            throw Refusal("\(place): the values of headers are strings")
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
