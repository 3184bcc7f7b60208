import FoundationEssentials
import SluiceCore
import SluiceWire

/// Takes the events out of a body, a part of it in each step.
///
/// A body of four megabytes may say 300,000 events, which would hold up everybody else. What is one
/// too many ends the reading, before it is looked at.
struct EventReading {
    enum Progress {
        case more
        case done(EventRecords)
        /// More events or bytes than a batch may have.
        case tooMuch
    }

    private let form: EventForm
    private let request: RequestHead
    private let body: [UInt8]
    private var cutter: JSONCutter
    private var writer = FrameWriter()
    private var events = 0
    private let decoder = JSONDecoder()

    init(_ body: [UInt8], as form: EventForm, of request: RequestHead) {
        self.body = body
        self.request = request
        let first = body.first { $0 > UInt8(ascii: " ") }
        let isOne = form == .json && first != UInt8(ascii: "[")
        self.form = isOne ? .one(contentType: "application/json") : form
        cutter = JSONCutter(isArray: form != .lines)
    }

    /// Goes on for a while: so many bytes, or so many events.
    mutating func step() throws(Refusal) -> Progress {
        switch form {
        case .one(let contentType): return try readOne(contentType)
        case .records: return try readRecords()
        case .lines, .json, .cloudEvents: break
        }
        let bytesEnd = min(body.count, cutter.position + Limits.httpReadBytesPerTurnMax)
        let eventsEnd = events + Limits.httpReadEventsPerTurnMax
        while events < eventsEnd {
            switch cutter.next(in: body, upTo: bytesEnd) {
            case .more: return .more
            case .end: return .done(EventRecords(bytes: writer.take(), events: events))
            case .broken: throw Refusal("the body is no array of JSON: it breaks off, or goes on")
            case .element(let range):
                events += 1
                guard events <= Limits.batchEventsMax else { return .tooMuch }
                try append(body[range])
                guard writer.bytes.count <= Limits.eventBytesMax else { return .tooMuch }
            }
        }
        return .more
    }

    private mutating func readOne(_ contentType: String?) throws(Refusal) -> Progress {
        let headers = EventForm.headers(of: request, contentType)
        let key = request["sluice-key"].map { Array($0.utf8) }
        let body = self.body
        do throws(WireError) {
            try writer.appendRecord(key: key, headers: headers, payload: body.span.bytes)
        } catch { throw Refusal("\(error)") }
        return .done(EventRecords(bytes: writer.take(), events: 1))
    }

    private mutating func readRecords() throws(Refusal) -> Progress {
        guard body.count <= Limits.eventBytesMax else { return .tooMuch }
        var reader = RecordReader(0..<body.count)
        do throws(WireError) {
            while try reader.next(from: body.span.bytes) != nil {
                events += 1
                guard events <= Limits.batchEventsMax else { return .tooMuch }
            }
        } catch { throw Refusal("record \(events + 1): \(error)") }
        return .done(EventRecords(bytes: body, events: events))
    }

    private mutating func append(_ element: ArraySlice<UInt8>) throws(Refusal) {
        guard form == .cloudEvents else {
            let place = form == .lines ? "line \(events)" : "event \(events)"
            do {
                let document = try decoder.decode(EventDocument.self, from: Data(element))
                try document.append(to: &writer, place, from: element, decoder)
            } catch let refusal as Refusal {
                throw refusal
            } catch {
                throw Refusal(
                    "\(place) is no event: {\"payload\": \"…\"} or {\"payloadBase64\": \"…\"}, "
                        + "and if you like \"key\" (or \"keyBase64\") and \"headers\""
                )
            }
            return
        }
        do { _ = try decoder.decode(CloudEvent.self, from: Data(element)) } catch {
            throw Refusal(
                "a batch of CloudEvents is a JSON array of objects with specversion, id, source "
                    + "and type; number \(events) is none"
            )
        }
        let type = RecordHeader(name: "content-type", value: Array(EventForm.cloudEventType.utf8))
        do throws(WireError) {
            let payload = Array(element)
            try writer.appendRecord(headers: [type], payload: payload.span.bytes)
        } catch { throw Refusal("\(error)") }
    }
}

/// Cuts an array of JSON, or lines, into elements without reading them: what each is worth, whoever
/// decodes it says.
package struct JSONCutter {
    package enum Cut: Equatable {
        /// An element, without spaces around it.
        case element(Range<Int>)
        /// Nothing ended before the limit.
        case more
        case end
        case broken
    }

    private enum Phase {
        case before
        case inside
        case behind
    }

    private let isArray: Bool
    private var phase = Phase.before
    package private(set) var position = 0
    /// Where the element began that was not cut yet, once there is anything of it.
    private var start: Int?
    /// Behind the last of its bytes that is no space.
    private var end = 0
    private var depth = 0
    private var isText = false
    private var isEscaped = false
    private var hasElements = false

    package init(isArray: Bool) { self.isArray = isArray }

    /// The next element that ends before `limit`.
    package mutating func next(in body: [UInt8], upTo limit: Int) -> Cut {
        body.withUnsafeBytes { next(in: $0, upTo: limit) }
    }

    private mutating func next(in body: UnsafeRawBufferPointer, upTo limit: Int) -> Cut {
        while position < limit {
            let byte = body[position]
            position += 1
            if !isArray {
                if byte > UInt8(ascii: " ") { extend() }
                guard byte == UInt8(ascii: "\n"), let line = takeElement() else { continue }
                return line
            } else if isText {
                isText = isEscaped || byte != UInt8(ascii: "\"")
                isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
                end = position
            } else if byte > UInt8(ascii: " "), let cut = take(byte) {
                return cut
            }
        }
        guard position == body.count else { return .more }
        if !isArray { return takeElement() ?? .end }
        return phase == .behind ? .end : .broken
    }

    /// Takes a byte that is no space and stands in no text.
    private mutating func take(_ byte: UInt8) -> Cut? {
        switch phase {
        case .before:
            guard byte == UInt8(ascii: "[") else { return .broken }
            phase = .inside
            return nil
        case .behind:
            return .broken
        case .inside:
            break
        }
        if depth == 0, byte == UInt8(ascii: ",") { return takeElement() ?? .broken }
        if depth == 0, byte == UInt8(ascii: "]") {
            phase = .behind
            // Behind a comma there is an element.
            return takeElement() ?? (hasElements ? .broken : nil)
        }
        switch byte {
        case UInt8(ascii: "\""): isText = true
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
        default: break
        }
        extend()
        return nil
    }

    private mutating func extend() {
        if start == nil { start = position - 1 }
        end = position
    }

    private mutating func takeElement() -> Cut? {
        guard let start else { return nil }
        self.start = nil
        hasElements = true
        return .element(start..<end)
    }
}
