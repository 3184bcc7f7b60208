import SluiceCore
import SluiceEngine
import SluiceWire

/// A request's target, taken apart: the parts of its path, and its query.
struct Target {
    let parts: [String]
    let query: [Name: String]

    /// Nil if it is no path, or badly written.
    init?(_ text: String) {
        // Bytes, because characters cost ten times as much, and every request has a target.
        let bytes = Array(text.utf8)
        guard bytes.first == UInt8(ascii: "/") else { return nil }
        let end = bytes.firstIndex(of: UInt8(ascii: "?")) ?? bytes.endIndex
        var parts: [String] = []
        let path = bytes[1..<end]
        for part in path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            guard let plain = Self.decoded(part, plusIsSpace: false) else { return nil }
            parts.append(plain)
        }
        self.parts = parts
        var query: [Name: String] = [:]
        for pair in bytes[end...].dropFirst().split(separator: UInt8(ascii: "&")) {
            let middle = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.endIndex
            guard let name = Self.decoded(pair[..<middle], plusIsSpace: true),
                let value = Self.decoded(pair[middle...].dropFirst(), plusIsSpace: true)
            else { return nil }
            query[Name(name)] = value
        }
        self.query = query
    }

    private static func decoded(_ text: ArraySlice<UInt8>, plusIsSpace: Bool) -> String? {
        let isPlain = !text.contains {
            $0 == UInt8(ascii: "%") || plusIsSpace && $0 == UInt8(ascii: "+")
        }
        if isPlain { return String(decoding: text, as: UTF8.self) }
        var bytes: [UInt8] = []
        var rest = text
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = rest.popFirst(), let low = rest.popFirst(),
                    let high = hex(high), let low = hex(low)
                else { return nil }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func hex(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// What a query says that a request takes a number, a time or a start from.
struct Query {
    private let values: [Name: String]

    init(_ target: Target) { values = target.query }

    subscript(name: Name) -> String? { values[name] }

    /// A number of events from 1 on.
    func events(_ name: String, or standard: UInt32, most: UInt32) throws(Refusal) -> UInt32 {
        guard let text = self[Name(name)] else { return standard }
        guard let count = UInt32(text), count > 0, count <= most else {
            throw Refusal("\(name) is a number from 1 to \(most)")
        }
        return count
    }

    /// A time such as `5s` or `250ms`; a bare number is seconds.
    func time(_ name: String, or standard: Duration) throws(Refusal) -> Duration {
        guard let text = self[Name(name)] else { return standard }
        let unit = text.hasSuffix("ms") ? "ms" : text.hasSuffix("s") ? "s" : ""
        let digits = text.dropLast(unit.count)
        let most = Limits.httpWaitSecondsMax
        // Int alone would also read "+5".
        guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(digits),
            number <= (unit == "ms" ? most * 1_000 : most)
        else { throw Refusal("\(name) is a time of at most \(most)s, such as 5s or 250ms") }
        return unit == "ms" ? .milliseconds(number) : .seconds(number)
    }

    func start(_ name: String) throws(Refusal) -> Start? {
        guard let text = self[Name(name)] else { return nil }
        guard let start = Start(text) else {
            throw Refusal("\(name) is first, new or an offset")
        }
        return start
    }
}

/// A request that says something that cannot be meant.
struct Refusal: Error {
    let text: String
    init(_ text: String) { self.text = text }
}

extension Gateway {
    /// Finds who answers a request; each answers or sets its handler.
    func begin(_ exchange: HTTPExchange) {
        if beginGrpc(exchange) { return }
        guard let target = target(of: exchange.request) else {
            exchange.refuse(Problem(400, .badOption, "the path or the query is badly written"))
            return
        }
        do throws(Refusal) {
            if try route(exchange, target, Query(target)) { return }
        } catch {
            exchange.refuse(Problem(400, .badOption, error.text))
            return
        }
        let text = "there is nothing at this path; Protocol/openapi.yaml lists what there is"
        exchange.refuse(Problem(404, .notFound, text))
    }

    /// Takes a request's target apart; many in a row have the same.
    private func target(of request: RequestHead) -> Target? {
        if let lastTarget, lastTarget.text == request.target { return lastTarget.target }
        guard let target = Target(request.target) else { return nil }
        lastTarget = (request.target, target)
        return target
    }

    private func route(
        _ exchange: HTTPExchange,
        _ target: Target,
        _ query: Query
    ) throws(Refusal) -> Bool {
        let parts = target.parts
        guard parts[0] == "v1" else {
            return parts.count == 1 && answerProbe(parts[0], exchange, query)
        }
        switch parts.count {
        case 2 where parts[1] == "ws":
            try openWebSocket(exchange)
            return true
        case 2: return try routeList(parts[1], exchange, query)
        case 3...: break
        default: return false
        }
        if parts[1] == "connections" {
            return try routeConnection(Array(parts.dropFirst(2)), exchange)
        }
        guard parts[1] == "topics" else { return false }
        let topic = parts[2]
        if let fault = NameRule.topic.fault(in: topic) { throw Refusal(fault) }
        switch parts.dropFirst(3) {
        case ["events"]:
            switch exchange.request.method {
            case "POST": try publish(exchange, to: topic, query)
            case "GET": try fetch(exchange, from: topic, query)
            default: refuseMethod(exchange, "GET, POST")
            }
            return true
        case ["stream"]:
            guard ["GET", "POST"].contains(exchange.request.method) else {
                refuseMethod(exchange, "GET, POST")
                return true
            }
            try stream(exchange, from: topic, query)
            return true
        default: return try routeTopic(topic, Array(parts.dropFirst(3)), exchange, query)
        }
    }

    func refuseMethod(_ exchange: HTTPExchange, _ allowed: String) {
        let text = "\(exchange.request.method) is not for this path; \(allowed) is"
        let allow = Header("allow", allowed)
        exchange.refuse(Problem(405, .badOption, text, headers: [allow]))
    }
}
