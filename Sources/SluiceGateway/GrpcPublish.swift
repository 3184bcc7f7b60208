import DequeModule
import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceGrpcMessages
import SluiceWire
import SwiftProtobuf

/// `Publish`: a producer's link of its own.
///
/// What its client was promised it may send, whatever the topic recalls meanwhile: events that have
/// no grant any more wait here, with the client's window shut, until they have one again. So a
/// client has no STOP to answer, and the topic's own account stays exact.
final class GrpcPublish: GrpcMethod, GatewayLink, BodySource {
    typealias Request = Sluice_V1_PublishRequest
    typealias Response = Sluice_V1_PublishResponse

    /// Events of one message that wait for a grant.
    private struct Waiting {
        let slab: Slab
        var position: Int
        let end: Int
        var events: UInt64
    }

    private unowned let gateway: Gateway
    private let exchange: HTTPExchange
    private let link: HeldLink
    private var isOpen = false
    private var hasBegun = false
    private var isWhole = false
    /// The topic's account, and the client's: what it was told of, and what it sent.
    private var ledger = Ledger()
    private var promised: UInt64 = 0
    private var received: UInt64 = 0
    private var confirmed: UInt64 = 0
    private var waiting = Deque<Waiting>()
    private var waitingEvents: UInt64 = 0
    private var waitingBytes = 0
    private var client = ClientBacklog()
    /// What the topic believes to wait, and that it was told of missing bytes.
    private var announced = Backlog.unknownOnWire
    private var hasToldBytes = false
    private var writer = FrameWriter()
    private let reply = GrpcReply()
    /// What is to be said once the client takes it.
    private var isOpenedDue = false
    private var creditDue: UInt64 = 0
    private var confirms = Deque<Response.Confirm>()

    init(_ exchange: HTTPExchange, _ gateway: Gateway) {
        self.exchange = exchange
        self.gateway = gateway
        link = HeldLink(of: exchange)
    }

    /// Whoever does not read what became of its events brings no more of them.
    var isHolding: Bool {
        !waiting.isEmpty || confirms.count >= Limits.grpcConfirmsMax
    }
}

// MARK: - What the client says

extension GrpcPublish {
    func take(_ message: [UInt8]) throws(GrpcFailure) {
        try checkCredit(GrpcCount.events(in: message, upTo: promised - received))
        switch try Request(grpc: message).message {
        case .open(let wish)? where !hasBegun: try begin(wish)
        case .batch(let batch)? where hasBegun: try take(batch)
        case .backlog(let backlog)? where hasBegun:
            let unseen = promised - min(promised, backlog.creditTotal)
            client.hear(backlog.available, unseen: unseen)
            reportIfNews()
        case .open?:
            throw GrpcFailure(.invalidArgument, "open comes once, as the first message")
        case .batch?, .backlog?:
            throw GrpcFailure(.invalidArgument, "open comes before anything else")
        case nil:
            let text = "the message says nothing that this broker knows; see sluice.proto"
            throw GrpcFailure(.invalidArgument, text)
        }
    }

    private func begin(_ wish: Request.Open) throws(GrpcFailure) {
        hasBegun = true
        var open = Open(role: .source, topic: try GrpcNames.topic(wish.topic))
        open.name = try GrpcNames.link(wish.name)
        if wish.hasAvailable {
            client.hear(wish.available, unseen: 0)
            announced = wish.available
            open.available = wish.available
        }
        guard !gateway.isWinding else {
            throw GrpcFailure(.unavailable, "the broker is stopping", reason: .goingAway)
        }
        link.open(open, for: self)
        publish()
    }

    private func take(_ batch: Request.Batch) throws(GrpcFailure) {
        let count = UInt64(batch.events.count)
        guard count > 0 else { return }
        try checkCredit(count)
        for event in batch.events { try append(event) }
        let records = writer.take()
        guard gateway.heldBytes + records.count <= gateway.bodiesBytesMax else {
            throw GrpcFailure(
                .unavailable,
                "the broker holds as many bytes as it may",
                reason: .busy
            )
        }
        received += count
        let slab = Slab(capacity: records.count)
        let range = slab.append(records.span.bytes)
        waiting.append(
            Waiting(slab: slab, position: range.lowerBound, end: range.upperBound, events: count)
        )
        waitingEvents += count
        hold(records.count)
        publish()
    }

    private func checkCredit(_ count: UInt64) throws(GrpcFailure) {
        guard hasBegun, count > promised - received else { return }
        throw GrpcFailure(
            .failedPrecondition,
            "more events came than the \(promised - received) that there is credit for; "
                + "send no more than credit says",
            reason: .creditOverrun
        )
    }

    private func append(_ event: Sluice_V1_Event) throws(GrpcFailure) {
        let headers = event.headers.map { RecordHeader(name: $0.name, value: Array($0.value)) }
        let key = event.hasKey ? Array(event.key) : nil
        do throws(WireError) {
            try writer.appendRecord(key: key, headers: headers, payload: event.payload.span.bytes)
        } catch {
            throw GrpcFailure(
                .resourceExhausted,
                "an event cannot be taken: \(error)",
                reason: .eventTooLarge
            )
        }
    }

    private func hold(_ bytes: Int) {
        waitingBytes += bytes
        gateway.heldBytes += bytes
    }

    /// The client brings nothing more: the call ends with the last event's confirm.
    func complete() throws(GrpcFailure) {
        guard hasBegun else {
            throw GrpcFailure(.invalidArgument, "open comes first, and nothing came")
        }
        isWhole = true
        client.hear(0, unseen: 0)
        reportIfNews()
        finishIfDone()
    }

    private func finishIfDone() {
        if isWhole, isOpen, confirmed == received { finish(.ok) }
    }

    private func finish(_ status: GrpcStatus) {
        reply.finish(status)
        exchange.resume()
        link.closeSoon()
    }

    func fail(_ status: GrpcStatus) {
        exchange.refuse(status)
        finish(status)
    }

    func end() {
        waiting = []
        hold(-waitingBytes)
        link.close()
    }
}

// MARK: - Credit

extension GrpcPublish {
    /// Brings what is granted, in the order in which it came, and promises the rest of the grant.
    private func publish() {
        // Whoever opened may hear of a grant before the link's number is known.
        guard isOpen, link.number > 0 else { return }
        while var next = waiting.first, ledger.credit > 0 {
            var cursor = RecordCursor(at: next.position)
            let events = next.slab.withBytes { records in
                cursor.take(
                    events: UInt32(clamping: ledger.credit),
                    bytes: ledger.bytesAllowed,
                    upTo: next.end,
                    from: records
                )
            }
            guard events > 0 else { break }
            publish(next.slab, next.position..<cursor.position, events)
            next.position = cursor.position
            next.events -= UInt64(events)
            waiting.removeFirst()
            if next.events > 0 { waiting.prepend(next) }
        }
        promise()
        reportIfNews()
        exchange.letGo()
    }

    private func publish(_ slab: Slab, _ bytes: Range<Int>, _ events: UInt32) {
        let sequence = ledger.delivered + 1
        ledger.deliver(events: UInt64(events), bytes: UInt64(bytes.count))
        waitingEvents -= UInt64(events)
        hold(-bytes.count)
        hasToldBytes = false
        link.publish(
            Publication(
                firstSequence: sequence,
                events: UInt64(events),
                bytes: UInt64(bytes.count),
                run: Run(slab: slab, bytes: bytes, count: events),
                time: gateway.engine.time
            )
        )
    }

    /// Tells the client of credit that neither waiting events nor earlier promises need.
    private func promise() {
        let needed = waitingEvents + promised - received
        guard ledger.credit > needed else { return }
        let more = ledger.credit - needed
        promised += more
        creditDue += more
        client.promise(more)
        exchange.resume()
    }

    /// What waits beyond the topic's credit, here or at the client.
    private var backlog: UInt64 {
        let lacking = waitingEvents - min(waitingEvents, ledger.credit)
        return client.onWire(lacking: lacking)
    }

    private var needsBytes: Bool { !waiting.isEmpty && ledger.credit > 0 }

    private func reportIfNews() {
        guard isOpen, link.number > 0, link.isOpen else { return }
        guard backlog != announced || needsBytes && !hasToldBytes else { return }
        report(isDrained: false)
    }

    private func report(isDrained: Bool) {
        announced = backlog
        var status = Status(ledger)
        status.isDrained = isDrained
        status.available = announced
        status.blockedBy = waiting.isEmpty ? .noEvents : .noDemand
        hasToldBytes = needsBytes
        if needsBytes, let next = waiting.first {
            status.blockedBy = .bytes
            status.needBytes = UInt32(clamping: sizeOfFirst(next))
        }
        link.report(status)
    }

    private func sizeOfFirst(_ next: Waiting) -> Int {
        Run(slab: next.slab, bytes: next.position..<next.end, count: 1)
            .endOfRecord(at: next.position) - next.position
    }

    func ask(_ ask: Ask) {
        if announced != Backlog.unknownOnWire { announced -= min(announced, UInt64(ask.events)) }
        hasToldBytes = false
        do {
            try ledger.apply(ask)
        } catch {
            preconditionFailure("the engine keeps the account that it gave: \(error)")
        }
        if ask.flags.contains(.stop) { report(isDrained: true) }
        publish()
    }
}

// MARK: - What the link says

extension GrpcPublish {
    func opened(_ opened: Opened) {
        isOpen = true
        isOpenedDue = true
        exchange.respond(ResponseHead(200, HTTPExchange.grpcHeaders), .source(self))
        publish()
        finishIfDone()
    }

    func settle(_ settlement: Settlement) {
        confirmed += UInt64(settlement.count)
        var confirm = Response.Confirm()
        confirm.firstSequence = settlement.from
        confirm.count = UInt64(settlement.count)
        if settlement.outcome == .accept {
            if let offset = settlement.offset { confirm.offset = offset }
        } else {
            confirm.code = "\(CloseCode(rawValue: UInt16(clamping: settlement.argument)))"
        }
        if let last = confirms.last, last.isFollowed(by: confirm) {
            confirms[confirms.count - 1].count += confirm.count
        } else {
            confirms.append(confirm)
        }
        finishIfDone()
        exchange.resume()
    }

    func refused(_ close: Close) { closed(close) }

    func closed(_ close: Close) {
        link.lose()
        isOpen = false
        fail(GrpcStatus(close))
    }
}

// MARK: - What the client takes

extension GrpcPublish {
    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyPart {
        if reply.waiting == 0 { sayWhatIsDue() }
        return reply.read(into: buffer)
    }

    private func sayWhatIsDue() {
        if isOpenedDue {
            isOpenedDue = false
            reply.add(Response.with { $0.opened = .init() }.framed)
        }
        if creditDue > 0 {
            let credit = Response.with {
                $0.credit = .with {
                    $0.events = creditDue
                    $0.total = promised
                }
            }
            creditDue = 0
            reply.add(credit.framed)
        }
        guard !confirms.isEmpty else { return }
        while let confirm = confirms.popFirst() {
            reply.add(Response.with { $0.confirm = confirm }.framed)
            guard reply.waiting < Limits.httpWriteBytes else { break }
        }
        exchange.letGo()
    }
}

extension Sluice_V1_PublishResponse.Confirm {
    /// Whether both are said as one.
    fileprivate func isFollowed(by next: Self) -> Bool {
        guard firstSequence + count == next.firstSequence, code == next.code,
            hasOffset == next.hasOffset
        else { return false }
        return !hasOffset || offset + count == next.offset
    }
}
