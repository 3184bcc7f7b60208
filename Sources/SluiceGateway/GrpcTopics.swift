import SluiceCore
import SluiceEngine
import SluiceGrpcMessages
import SluiceNet
import SluiceWire
import SwiftProtobuf

// Topics and groups: the documents and requests of `$sys` topics, as messages.

extension Gateway {
    func brokerMethod(_ name: Substring, _ exchange: HTTPExchange) -> (any GrpcMethod)? {
        switch name {
        case "Publish": return GrpcPublish(exchange, self)
        case "Subscribe": return GrpcSubscribe(exchange, self)
        case "ListTopics": return unary(exchange, listTopics)
        case "GetTopic":
            return unary(exchange) { (request: Sluice_V1_GetTopicRequest) throws(GrpcFailure) in
                self.topic(try GrpcNames.topic(request.topic), exchange) { Sluice_V1_Topic($0) }
            }
        case "ListGroups":
            return unary(exchange) { (request: Sluice_V1_ListGroupsRequest) throws(GrpcFailure) in
                self.topic(try GrpcNames.topic(request.topic), exchange) { topic in
                    Sluice_V1_ListGroupsResponse.with { $0.groups = topic.groups.map { .init($0) } }
                }
            }
        case "CreateTopic": return unary(exchange, createTopic)
        case "RemoveTopic", "PauseTopic", "ResumeTopic", "PurgeTopic":
            let verb = name.dropLast("Topic".count).lowercased()
            return unary(exchange) { (request: Sluice_V1_TopicRequest) throws(GrpcFailure) in
                self.done(
                    .init(op: "\(verb)-topic", topic: try GrpcNames.topic(request.topic)),
                    exchange
                )
            }
        case "CreateGroup":
            return unary(exchange) { (wish: Sluice_V1_CreateGroupRequest) throws(GrpcFailure) in
                var request = try Self.request("create-group", wish.topic, wish.group)
                if wish.hasStart { request.start = try Self.place(wish.start) }
                if wish.hasDispatcher { request.dispatcher = wish.dispatcher }
                if wish.hasPartitions { request.partitions = UInt16(clamping: wish.partitions) }
                self.done(request, exchange)
            }
        case "RemoveGroup":
            return unary(exchange) { (request: Sluice_V1_GroupRequest) throws(GrpcFailure) in
                self.done(try Self.request("remove-group", request.topic, request.group), exchange)
            }
        case "SeekGroup":
            return unary(exchange) { (request: Sluice_V1_SeekGroupRequest) throws(GrpcFailure) in
                var seek = try Self.request("seek-group", request.topic, request.group)
                seek.start = try Self.place(request.to)
                self.done(seek, exchange)
            }
        case "GetServer":
            return unary(exchange) { (_: Sluice_V1_GetServerRequest) in self.server(exchange) }
        default: return nil
        }
    }

    private func unary<Request: SwiftProtobuf.Message>(
        _ exchange: HTTPExchange,
        _ body: @escaping (Request, HTTPExchange) throws(GrpcFailure) -> Void
    ) -> any GrpcMethod {
        GrpcUnary(exchange) { (request: Request) throws(GrpcFailure) in
            try body(request, exchange)
        }
    }

    private func unary<Request: SwiftProtobuf.Message>(
        _ exchange: HTTPExchange,
        _ body: @escaping (Request) throws(GrpcFailure) -> Void
    ) -> any GrpcMethod {
        GrpcUnary(exchange, body)
    }

    private static func request(
        _ op: String,
        _ topic: String,
        _ group: String
    ) throws(GrpcFailure) -> Snapshot.Request {
        var request = Snapshot.Request(op: op, topic: try GrpcNames.topic(topic))
        if !group.isEmpty { request.group = try GrpcNames.group(group) }
        return request
    }

    private static func place(_ start: Sluice_V1_Start) throws(GrpcFailure) -> String {
        switch try Start(start) {
        case .first: return "first"
        case .new: return "new"
        case .offset(let offset): return "\(offset)"
        case .time: throw GrpcFailure(.invalidArgument, "a group begins and goes on at no time")
        }
    }

    private func done(_ request: Snapshot.Request, _ exchange: HTTPExchange) {
        self.request(request, exchange) { exchange.reply(Sluice_V1_Done()) }
    }
}

// MARK: - Documents

extension Gateway {
    private func topic<Answer: SwiftProtobuf.Message>(
        _ name: String,
        _ exchange: HTTPExchange,
        _ answer: @escaping (Snapshot.Topic) -> Answer
    ) {
        gather(.topic(Name(name)), for: exchange) { reply in
            guard case .topics(let found) = reply, let topic = found.topics.first else {
                let text = "it does not exist; create it first"
                exchange.refuse(GrpcStatus(.notFound, text, reason: .notFound))
                return
            }
            exchange.reply(answer(topic))
        }
    }

    private func server(_ exchange: HTTPExchange) {
        gather(.server, for: exchange) { reply in
            guard case .server(let server) = reply else { return }
            exchange.reply(Sluice_V1_Server(server))
        }
    }

    private func listTopics(_ request: Sluice_V1_ListTopicsRequest, _ exchange: HTTPExchange) {
        let most = Limits.grpcTopicsMax
        let count = request.pageSize == 0 ? most : min(most, Int(request.pageSize))
        let start = request.pageToken.isEmpty ? nil : Name(request.pageToken)
        addTopics(after: start, most: count, to: [], exchange)
    }

    /// Adds the next topics to a page, a few in each turn of the loop.
    ///
    /// The page is bytes from the start: messages one behind the other are their sum.
    private func addTopics(
        after start: Name?,
        most count: Int,
        to page: [UInt8],
        _ exchange: HTTPExchange
    ) {
        let few = min(count, Self.topicsPerTurn)
        gather(.topics(after: start, most: few), for: exchange) { [unowned self] reply in
            guard case .topics(let found) = reply else { return }
            var part = Sluice_V1_ListTopicsResponse()
            part.topics = found.topics.map { .init($0) }
            let left = count - found.topics.count
            let size = page.count + 256 * part.topics.reduce(0) { $0 + 1 + $1.groups.count }
            let isFull = left <= 0 || size >= Limits.grpcTopicsBytesMax
            if isFull, found.hasMore { part.nextPageToken = found.topics.last?.topic ?? "" }
            let page = page + part.bytes
            if found.hasMore, !isFull {
                let last = found.topics.last.map { Name($0.topic) }
                addTopics(after: last, most: left, to: page, exchange)
            } else {
                exchange.reply(bytes: page)
            }
        }
    }

    private static var topicsPerTurn: Int { 128 }

    private func createTopic(
        _ wish: Sluice_V1_CreateTopicRequest,
        _ exchange: HTTPExchange
    ) throws(GrpcFailure) {
        let name = try GrpcNames.topic(wish.topic)
        var request = Snapshot.Request(op: "create-topic", topic: name)
        try wish.fill(&request)
        self.request(request, exchange) { [unowned self] in
            // In the next turn: the link that did it is in the midst of telling.
            loop.schedule(after: .zero) { [self] in
                guard exchange.handler != nil, !exchange.isAnswered else { return }
                readClocks()
                exchange.endHandler()
                topic(name, exchange) { Sluice_V1_Topic($0) }
            }
        }
    }
}

// MARK: - Names

/// Names that clients say, judged before anything is done with them.
enum GrpcNames {
    static func topic(_ name: String) throws(GrpcFailure) -> String {
        try check(name, as: .topic)
    }

    static func group(_ name: String) throws(GrpcFailure) -> String {
        try check(name, as: .group)
    }

    static func link(_ name: String) throws(GrpcFailure) -> String? {
        name.isEmpty ? nil : try check(name, as: .link)
    }

    private static func check(_ name: String, as kind: NameRule) throws(GrpcFailure) -> String {
        guard let fault = kind.fault(in: name) else { return name }
        throw GrpcFailure(.invalidArgument, fault, reason: .badOption)
    }
}

extension Start {
    init(_ start: Sluice_V1_Start) throws(GrpcFailure) {
        switch start.at {
        case .position(.first)?: self = .first
        case .position(.new)?: self = .new
        case .offset(let offset)?: self = .offset(offset)
        case .timeMicros(let time)?: self = .time(time)
        case .position?, nil:
            let text = "a start is FIRST, NEW, an offset or a time"
            throw GrpcFailure(.invalidArgument, text, reason: .badOption)
        }
    }
}
