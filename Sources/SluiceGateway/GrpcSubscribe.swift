import DequeModule
import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceGrpcMessages
import SluiceWire
import SwiftProtobuf

/// `Subscribe`: a consumer's link whose demand the client says in messages.
///
/// The answer is taken as the client's window lets it; what is not taken keeps the link's write
/// window shut, and stays with the topic. So a call holds that window and one message.
final class GrpcSubscribe: GrpcMethod, GatewayLink, BodySource {
    typealias Request = Sluice_V1_SubscribeRequest
    typealias Response = Sluice_V1_SubscribeResponse

    /// What waits to be taken, in order.
    private enum Item {
        case run(Run, position: Int, offset: UInt64)
        /// A message, and the bytes of the link's window that it holds.
        case message([UInt8], window: Int)
    }

    let isOpenEnded = true
    private unowned let gateway: Gateway
    private let exchange: HTTPExchange
    private let link: HeldLink
    private var hasBegun = false
    private var isWhole = false
    private var ledger = Ledger()
    private var items = Deque<Item>()
    private var queuedBytes = 0
    /// The message that is being taken, and how much of it is.
    private var message: [UInt8] = []
    private var taken = 0
    /// Events that were made messages, and those of them that were before what is taken now.
    private var encoded: UInt64 = 0
    private var encodedBefore: UInt64 = 0
    /// How it ends, behind all that waits.
    private var status: GrpcStatus?

    init(_ exchange: HTTPExchange, _ gateway: Gateway) {
        self.exchange = exchange
        self.gateway = gateway
        link = HeldLink(of: exchange)
    }
}

// MARK: - What the client says

extension GrpcSubscribe {
    func take(_ message: [UInt8]) throws(GrpcFailure) {
        switch try Request(grpc: message).message {
        case .open(let wish)? where !hasBegun: try begin(wish)
        case .demand(let demand)? where hasBegun: try ask(demand)
        case .open?:
            throw GrpcFailure(.invalidArgument, "open comes once, as the first message")
        case .demand?: throw GrpcFailure(.invalidArgument, "open comes before any demand")
        case nil:
            let text = "the message says nothing that this broker knows; see sluice.proto"
            throw GrpcFailure(.invalidArgument, text)
        }
    }

    private func begin(_ wish: Request.Open) throws(GrpcFailure) {
        hasBegun = true
        var open = Open(role: .sink, topic: try GrpcNames.topic(wish.topic))
        if !wish.group.isEmpty { open.group = Name(try GrpcNames.group(wish.group)) }
        if wish.hasStart { open.start = try Start(wish.start) }
        open.name = try GrpcNames.link(wish.name)
        if wish.demand > 0 {
            try check(wish.demand)
            open.demandEvents = wish.demand
            _ = ledger.ask(events: wish.demand)
        }
        guard !gateway.isWinding else {
            throw GrpcFailure(.unavailable, "the broker is stopping", reason: .goingAway)
        }
        link.open(open, for: self)
    }

    private func check(_ events: UInt32) throws(GrpcFailure) {
        guard ledger.credit + UInt64(events) > Limits.demandMax else { return }
        throw GrpcFailure(
            .resourceExhausted,
            "at most \(Limits.demandMax) events may be asked for at a time",
            reason: .limit
        )
    }

    private func ask(_ demand: Request.Demand) throws(GrpcFailure) {
        var flags: AskFlags = []
        switch demand.then {
        case .goOn: break
        case .drain: flags = .drain
        case .stop: flags = .stop
        case .UNRECOGNIZED(let number):
            throw GrpcFailure(.invalidArgument, "then is none of \(number)", reason: .badOption)
        }
        guard demand.events > 0 || !flags.isEmpty else {
            let text = "a demand asks for at least one event, or for DRAIN or STOP"
            throw GrpcFailure(.invalidArgument, text, reason: .badDemand)
        }
        try check(demand.events)
        let ask = ledger.ask(events: demand.events, flags: flags)
        link.demand(ask)
    }

    /// The client asks for nothing more: the call ends with the last event that it asked for.
    func complete() throws(GrpcFailure) {
        guard hasBegun else {
            throw GrpcFailure(.invalidArgument, "open comes first, and nothing came")
        }
        isWhole = true
        finishIfDone()
    }

    private func finishIfDone() {
        guard isWhole, ledger.credit == 0, status == nil else { return }
        finish(.ok)
    }

    /// Ends the call behind what waits.
    private func finish(_ status: GrpcStatus) {
        self.status = status
        exchange.resume()
        link.closeSoon()
    }

    /// Ends the call with what is wrong, without what waits.
    func fail(_ status: GrpcStatus) {
        guard exchange.isAnswered else {
            exchange.refuse(status)
            return
        }
        dropItems()
        // Half a message cannot be ended in words.
        guard taken == message.count else { return exchange.abort() }
        finish(status)
    }

    private func dropItems() {
        items = []
        gateway.queuedBytes -= queuedBytes
        queuedBytes = 0
    }

    func end() {
        status = status ?? .ok
        dropItems()
        link.close()
    }
}

// MARK: - What the link brings

extension GrpcSubscribe {
    func opened(_ opened: Opened) {
        guard status == nil else { return }
        exchange.respond(ResponseHead(200, HTTPExchange.grpcHeaders), .source(self))
        add(.with { $0.opened = .with { $0.head = opened.head } })
    }

    func refused(_ close: Close) {
        link.lose()
        status = GrpcStatus(close)
        exchange.refuse(GrpcStatus(close))
    }

    func deliver(firstSequence: UInt64, runs: ArraySlice<Run>, bytes: Int) {
        do {
            try ledger.receive(
                firstSequence: firstSequence,
                events: runs.reduce(0) { $0 + UInt64($1.count) },
                bytes: UInt64(bytes)
            )
        } catch {
            preconditionFailure("the engine keeps within what was asked: \(error)")
        }
        hold(bytes)
        for run in runs { items.append(.run(run, position: Int(run.start), offset: run.offset)) }
        finishIfDone()
        exchange.resume()
    }

    func gap(_ gap: Gap) {
        let message = Response.with {
            $0.gap = .with {
                $0.from = gap.from
                $0.to = gap.to
                $0.count = gap.count
            }
        }
        add(message, window: Limits.gapWindowBytes)
    }

    func mark(_ mark: Mark, offset: UInt64) {
        let message = Response.with {
            switch mark {
            case .end: $0.end = .with { $0.offset = offset }
            case .marker(let text):
                $0.marker = .with {
                    $0.offset = offset
                    $0.text = Data(text)
                }
            }
        }
        add(message, window: mark.windowBytes)
    }

    func status(_ status: Status) {
        guard status.isDrained, self.status == nil else { return }
        try? ledger.book(forfeited: status.forfeited, forfeitedBytes: status.forfeitedBytes)
        let message = Response.with {
            $0.drained = .with {
                $0.delivered = status.delivered
                $0.forfeited = status.forfeited
            }
        }
        add(message)
        finishIfDone()
    }

    func closed(_ close: Close) {
        link.lose()
        if status == nil { finish(GrpcStatus(close)) }
    }

    private func add(_ message: Response, window: Int = 0) {
        hold(window)
        items.append(.message(message.framed, window: window))
        exchange.resume()
    }

    private func hold(_ bytes: Int) {
        queuedBytes += bytes
        gateway.queuedBytes += bytes
    }
}

// MARK: - What the client takes

extension GrpcSubscribe {
    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyPart {
        var filled = 0
        while filled < buffer.count {
            guard taken < message.count || encode() else { break }
            let count = message.copy(from: taken, into: buffer, behind: filled)
            taken += count
            filled += count
        }
        if filled > 0 { return .bytes(filled) }
        return status.map { .endedWith($0.trailers) } ?? .nothingNow
    }

    /// Makes a message of what comes next; false if there is nothing.
    private func encode() -> Bool {
        message = []
        taken = 0
        encodedBefore = encoded
        var window = 0
        if case .message(let bytes, let held)? = items.first {
            items.removeFirst()
            message = bytes
            window = held
        } else {
            var batch = GrpcBatch()
            while case .run(let run, var position, var offset)? = items.first {
                let before = batch.events
                batch.take(run, from: &position, offset: &offset)
                guard batch.events > before else { break }
                items.removeFirst()
                guard position == Int(run.end) else {
                    items.prepend(.run(run, position: position, offset: offset))
                    break
                }
            }
            guard !batch.isEmpty else { return false }
            message = batch.framed()
            window = batch.recordBytes
            encoded += UInt64(batch.events)
        }
        give(window)
        return true
    }

    var eventsTaken: UInt64 { taken == message.count ? encoded : encodedBefore }

    /// Gives the link the room back that was taken.
    private func give(_ window: Int) {
        guard window > 0 else { return }
        queuedBytes -= window
        gateway.queuedBytes -= window
        link.wrote(bytes: window)
    }
}
