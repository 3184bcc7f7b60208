import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceWire

// What there is and what is to be done with it: the documents and requests of `$sys` topics.

extension Gateway {
    /// What lies below `/v1` but for a single topic.
    func routeList(
        _ name: String,
        _ exchange: HTTPExchange,
        _ query: Query
    ) throws(Refusal) -> Bool {
        let known = ["topics", "links", "producers", "consumers", "connections", "server"]
        guard known.contains(name) else { return false }
        guard exchange.request.method == "GET" else {
            refuseMethod(exchange, "GET")
            return true
        }
        switch name {
        case "producers": listLinks("$sys/links", role: "producer", exchange)
        case "consumers": listLinks("$sys/links", role: "consumer", exchange)
        case "server": showServer(exchange)
        default: list("$sys/\(name)", exchange)
        }
        return true
    }

    /// What lies below `/v1/connections`: one of them, or one of its links.
    func routeConnection(_ rest: [String], _ exchange: HTTPExchange) throws(Refusal) -> Bool {
        guard rest.count == 1 || rest.count == 3 && rest[1] == "links" else { return false }
        guard exchange.request.method == "DELETE" else {
            refuseMethod(exchange, "DELETE")
            return true
        }
        let link = rest.count == 3 ? UInt32(rest[2]) : nil
        guard let connection = UInt64(rest[0]), rest.count == 1 || link != nil else {
            throw Refusal("connections and links have numbers")
        }
        request(Snapshot.Kick(connection: connection, link: link), exchange)
        return true
    }

    /// What lies below `/v1/topics/{t}`.
    func routeTopic(
        _ topic: String,
        _ rest: [String],
        _ exchange: HTTPExchange,
        _ query: Query
    ) throws(Refusal) -> Bool {
        let method = exchange.request.method
        switch (method, rest.count, rest.first) {
        case ("GET", 0, _): showTopic(topic, exchange)
        case ("PUT", 0, _):
            let request = Snapshot.Request(op: "create-topic", topic: topic)
            exchange.handler = SettingsRequest<TopicWish>(request, exchange, status: 201, self)
        case ("PATCH", 0, _):
            let request = Snapshot.Request(op: "change-topic", topic: topic)
            exchange.handler = SettingsRequest<TopicWish>(request, exchange, status: 204, self)
        case ("DELETE", 0, _): request(Snapshot.Request(op: "remove-topic", topic: topic), exchange)
        case (_, 0, _): refuseMethod(exchange, "GET, PUT, PATCH, DELETE")
        case ("POST", 1, let verb?) where ["pause", "resume", "purge"].contains(verb):
            request(Snapshot.Request(op: "\(verb)-topic", topic: topic), exchange)
        case ("GET", 1, "links"?): list("$sys/links/\(topic)", exchange)
        case ("GET", 1, "producers"?):
            listLinks("$sys/links/\(topic)", role: "producer", exchange)
        case ("GET", 1, "consumers"?):
            listLinks("$sys/links/\(topic)", role: "consumer", exchange)
        case ("GET", 1, "groups"?):
            showTopic(topic, exchange) { JSONBytes.of($0.groups) }
        case ("PUT", 2, "groups"?):
            var request = Snapshot.Request(op: "create-group", topic: topic)
            request.group = Self.group(rest[1])
            exchange.handler = SettingsRequest<NewGroup>(request, exchange, status: 201, self)
        case ("DELETE", 2, "groups"?):
            var removal = Snapshot.Request(op: "remove-group", topic: topic)
            removal.group = Self.group(rest[1])
            request(removal, exchange)
        case ("POST", 3, "groups"?) where rest[2] == "seek":
            var seek = Snapshot.Request(op: "seek-group", topic: topic)
            seek.group = Self.group(rest[1])
            switch try query.start("to") {
            case .first?: seek.start = "first"
            case .new?: seek.start = "new"
            case .offset(let offset)?: seek.start = "\(offset)"
            case .time?, nil: throw Refusal("to is first, new or an offset")
            }
            request(seek, exchange)
        default: return false
        }
        return true
    }

    /// The default group has no name; in a path it is called as the command line shows it.
    private static func group(_ part: String) -> String? { part == "(default)" ? nil : part }
}

// MARK: - Documents

extension Gateway {
    private func list(_ topic: String, _ exchange: HTTPExchange) {
        list(topic, exchange, isWanted: nil)
    }

    private func listLinks(_ topic: String, role: String, _ exchange: HTTPExchange) {
        // A quote within a text is escaped: nothing else reads like this member.
        let member = Array("\"role\":\"\(role)\"".utf8)
        list(topic, exchange) { $0.firstRange(of: member) != nil }
    }

    private func list(
        _ topic: String,
        _ exchange: HTTPExchange,
        isWanted: (([UInt8]) -> Bool)?
    ) {
        let reading = Reading(
            exchange,
            of: topic,
            .round(isWanted: isWanted),
            as: .accepted(exchange.request["accept"], of: [.array, .lines]),
            self
        )
        exchange.handler = reading
        reading.begin(Open(role: .sink, topic: topic))
    }

    /// Shows a topic, or a part of it.
    private func showTopic(
        _ name: String,
        _ exchange: HTTPExchange,
        _ part: @escaping (Snapshot.Topic) -> [UInt8] = { JSONBytes.of($0) }
    ) {
        gather(.topic(Name(name)), for: exchange) { reply in
            guard case .topics(let found) = reply, let topic = found.topics.first else {
                exchange.refuse(Problem(404, .notFound, "it does not exist; create it first"))
                return
            }
            exchange.respond(json: part(topic) + [UInt8(ascii: "\n")])
        }
    }

    private func showServer(_ exchange: HTTPExchange) {
        gather(.server, for: exchange) { reply in
            guard case .server(let server) = reply else { return }
            exchange.respond(json: JSONBytes.of(server) + [UInt8(ascii: "\n")])
        }
    }

    /// Asks the broker something for an exchange, and hands over the answer if that still waits.
    func gather(
        _ query: StatsQuery,
        for exchange: HTTPExchange,
        _ done: @escaping (StatsReply) -> Void
    ) {
        if exchange.handler == nil { exchange.handler = Question(of: exchange) }
        engine.gather(query) { [weak exchange] reply in
            guard let exchange, exchange.handler != nil, !exchange.isAnswered else { return }
            done(reply)
        }
    }
}

/// An exchange that waits for what the broker knows of itself.
private final class Question: ExchangeHandler {
    private unowned let exchange: HTTPExchange

    init(of exchange: HTTPExchange) { self.exchange = exchange }

    func leave() { exchange.refuse(Problem(.brokerHasStopped)) }
}

// MARK: - Requests

extension Gateway {
    /// Has a request done that needs no body.
    func request(_ request: some Encodable, _ exchange: HTTPExchange, status: Int = 204) {
        self.request(request, exchange) { exchange.respond(ResponseHead(status)) }
    }

    func request(
        _ request: some Encodable,
        _ exchange: HTTPExchange,
        _ done: @escaping () -> Void
    ) {
        let link = RequestLink(exchange, done)
        exchange.handler = link
        link.begin(request, at: engine.time)
    }
}

/// `PUT` and `PATCH`: makes or changes something, as the JSON in the body wants it.
private final class SettingsRequest<Settings: RequestSettings>: ExchangeHandler {
    private unowned let gateway: Gateway
    private let exchange: HTTPExchange
    private let status: Int
    private var request: Snapshot.Request
    private var body: [UInt8] = []

    init(
        _ request: Snapshot.Request,
        _ exchange: HTTPExchange,
        status: Int,
        _ gateway: Gateway
    ) {
        self.request = request
        self.exchange = exchange
        self.status = status
        self.gateway = gateway
    }

    func receive(_ bytes: [UInt8]) {
        guard body.count + bytes.count <= Limits.httpHeadersBytesMax else {
            exchange.refuse(Problem(413, .limit, "the settings are a few lines"))
            return
        }
        body += bytes
    }

    func complete() {
        guard !exchange.isAnswered else { return }
        if !body.isEmpty {
            do {
                try JSONDecoder().decode(Settings.self, from: Data(body)).fill(&request)
            } catch {
                let text = "the settings are no JSON object as Protocol/openapi.yaml has it"
                exchange.refuse(Problem(400, .badOption, text))
                return
            }
        }
        gateway.request(request, exchange, status: status)
    }

    func leave() { exchange.refuse(Problem(.brokerHasStopped)) }
}

/// What a body may say of a request.
private protocol RequestSettings: Decodable {
    func fill(_ request: inout Snapshot.Request)
}

/// How a group is made: where it begins, and how it hands out events.
private struct NewGroup: RequestSettings {
    private enum Key: String, CodingKey { case start, dispatcher, partitions }

    private let start: String?
    private let dispatcher: String?
    private let partitions: UInt16?

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: Key.self)
        start = try members.member(.start)
        dispatcher = try members.member(.dispatcher)
        partitions = try members.member(.partitions)
    }

    func fill(_ request: inout Snapshot.Request) {
        request.start = start
        request.dispatcher = dispatcher
        request.partitions = partitions
    }
}

/// The settings of a topic, by the names that its document has.
private struct TopicWish: RequestSettings {
    private enum Key: String, CodingKey {
        case capacity, bufferBytes, ahead, onFull, dispatcher, partitions, lag, maxLag, rate, burst
        case isEphemeral, maxProducers, maxConsumers, maxGroups, maxEventBytes
        case groupExpireAfter
    }

    private var request = Snapshot.Request(op: "", topic: "")

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: Key.self)
        request.buffer = try members.member(.capacity)
        request.bufferBytes = try members.member(.bufferBytes)
        request.ahead = try members.member(.ahead)
        request.onFull = try members.member(.onFull)
        request.dispatcher = try members.member(.dispatcher)
        request.partitions = try members.member(.partitions)
        request.lag = try members.member(.lag)
        request.maxLag = try members.member(.maxLag)
        request.rate = try members.member(.rate)
        request.burst = try members.member(.burst)
        request.isEphemeral = try members.member(.isEphemeral)
        request.maxProducers = try members.member(.maxProducers)
        request.maxConsumers = try members.member(.maxConsumers)
        request.maxGroups = try members.member(.maxGroups)
        request.maxEventBytes = try members.member(.maxEventBytes)
        request.groupExpireAfter = try members.member(.groupExpireAfter)
    }

    func fill(_ request: inout Snapshot.Request) {
        var filled = self.request
        filled.op = request.op
        filled.topic = request.topic
        request = filled
    }
}

/// A producer's link on `$sys/ctl` with one request; its settlement is the answer.
private final class RequestLink: LinkHandler {
    let exchange: HTTPExchange
    let link: HeldLink
    private let done: () -> Void
    private var records: [UInt8] = []
    private var time: UInt64 = 0
    private var ledger = Ledger()

    init(_ exchange: HTTPExchange, _ done: @escaping () -> Void) {
        self.exchange = exchange
        self.done = done
        link = HeldLink(of: exchange)
    }

    func begin(_ request: some Encodable, at time: UInt64) {
        self.time = time
        var writer = FrameWriter()
        let bytes = JSONBytes.of(request)
        do {
            try writer.appendRecord(payload: bytes.span.bytes)
        } catch {
            exchange.refuse(Problem(413, .limit, "the request is too large"))
            return
        }
        records = writer.take()
        var open = Open(role: .source, topic: "$sys/ctl")
        open.available = 1
        link.open(open, for: self)
        publish()
    }

    func ask(_ ask: Ask) {
        do {
            try ledger.apply(ask)
        } catch {
            preconditionFailure("the engine keeps the account that it gave: \(error)")
        }
        publish()
    }

    /// Sends the request once there is credit and the link has its number.
    private func publish() {
        guard link.number > 0, ledger.credit > 0, ledger.delivered == 0 else { return }
        ledger.deliver(events: 1, bytes: UInt64(records.count))
        let slab = Slab(capacity: records.count)
        let range = slab.append(records.span.bytes)
        link.publish(
            Publication(
                firstSequence: 1,
                events: 1,
                bytes: UInt64(records.count),
                run: Run(slab: slab, bytes: range, count: 1),
                time: time
            )
        )
    }

    func settle(_ settlement: Settlement) {
        guard settlement.outcome != .accept else {
            done()
            return
        }
        let code = CloseCode(rawValue: UInt16(clamping: settlement.argument))
        let text = code.known?.advice ?? "the broker refused it"
        exchange.refuse(Problem(Close(code, reason: text)))
    }
}
