import FoundationEssentials
import Logging
import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

/// A client as the engine's tests see it: what it was told, in order.
final class Listener: Peer {
    enum Word: Hashable {
        case opened(UInt32, resumed: Bool, asked: UInt64)
        case refused(UInt32, CloseCode)
        case events(UInt32, first: UInt64, [String])
        case gap(UInt32, from: UInt64, to: UInt64, GapReason)
        case mark(UInt32, Mark, offset: UInt64)
        case ask(UInt32, events: UInt32, flags: UInt8)
        case settle(UInt32, from: UInt64, count: UInt32, Outcome, UInt32)
        case drained(UInt32, delivered: UInt64, forfeited: UInt64, available: UInt64)
        case status(UInt32, BlockedBy)
        case closed(UInt32, CloseCode)
        case pong(UInt64)
        case replaced
        case kicked(CloseCode)
    }

    private(set) var words: [Word] = []
    private(set) var statuses: [Status] = []
    private(set) var lastRefusal: Close?
    /// Done when the engine says that the session goes on elsewhere.
    var onReplaced: () -> Void = {}
    /// Done with the bytes of events when they are delivered, before the engine goes on.
    var onDeliver: (UInt32, Int) -> Void = { _, _ in }
    /// Bytes of events for which the engine still waits to hear that they were written.
    var unwritten: [(link: UInt32, bytes: Int)] = []
    var unwrittenBytes: Int { unwritten.reduce(0) { $0 + $1.bytes } }

    var eventBytesMax = Limits.eventBytesMax
    var traffic: Traffic { Traffic(bytesIn: 1, bytesOut: 2, queuedBytes: 3) }

    func take() -> [Word] {
        defer { words = [] }
        return words
    }

    /// What was shown, as documents of an inspection.
    func documents<Document: Decodable>(as type: Document.Type) throws -> [Document] {
        var documents: [Document] = []
        for case .events(_, _, let payloads) in take() {
            documents += try payloads.map {
                try JSONDecoder().decode(type, from: Data($0.utf8))
            }
        }
        return documents
    }

    func opened(_ link: UInt32, _ opened: Opened) {
        words.append(.opened(link, resumed: opened.resumed, asked: opened.asked))
    }

    func refused(_ link: UInt32, _ close: Close) {
        words.append(.refused(link, close.code))
        lastRefusal = close
    }

    func deliver(_ link: UInt32, firstSequence: UInt64, runs: ArraySlice<Run>, bytes: Int) {
        var payloads: [String] = []
        for run in runs {
            run.slab.withBytes { span in
                var reader = RecordReader(run.bytes)
                while let record = try? reader.next(from: span) {
                    payloads.append(
                        String(decoding: span.array(in: record.payload), as: UTF8.self)
                    )
                }
            }
        }
        words.append(.events(link, first: firstSequence, payloads))
        unwritten.append((link, bytes))
        onDeliver(link, bytes)
    }

    func gap(_ link: UInt32, _ gap: Gap, nextSequence: UInt64) {
        words.append(.gap(link, from: gap.from, to: gap.to, gap.reason))
    }

    func mark(_ link: UInt32, _ mark: Mark, offset: UInt64, nextSequence: UInt64) {
        words.append(.mark(link, mark, offset: offset))
    }

    func ask(_ link: UInt32, _ ask: Ask) {
        words.append(.ask(link, events: ask.events, flags: ask.flags.rawValue))
    }

    func settle(_ link: UInt32, _ settlement: Settlement) {
        words.append(
            .settle(
                link,
                from: settlement.from,
                count: settlement.count,
                settlement.outcome,
                settlement.argument
            )
        )
    }

    func status(_ link: UInt32, _ status: Status) {
        statuses.append(status)
        guard status.isDrained else {
            words.append(.status(link, status.blockedBy))
            return
        }
        words.append(
            .drained(
                link,
                delivered: status.delivered,
                forfeited: status.forfeited,
                available: status.available
            )
        )
    }

    func closed(_ link: UInt32, _ close: Close) { words.append(.closed(link, close.code)) }

    func pong(_ opaque: UInt64) { words.append(.pong(opaque)) }

    func kicked(_ close: Close) { words.append(.kicked(close.code)) }

    func replaced() {
        words.append(.replaced)
        onReplaced()
    }
}

/// An engine and its clock in the hands of a test.
struct Bench {
    let engine: Engine

    init(
        place: Place = .alone,
        _ configure: (inout EngineConfiguration) -> Void = { _ in }
    ) {
        var configuration = EngineConfiguration()
        configure(&configuration)
        engine = Engine(
            configuration: configuration,
            logger: Logger(label: "bench", factory: { _ in SwiftLogNoOpLogHandler() }),
            now: Instant(nanoseconds: 0),
            place: place
        )
    }

    /// One that grants nothing ahead of what consumers ask for.
    static func strict() -> Self { Self { $0.topicDefaults.ahead = 0 } }

    func connect(_ name: String = "t") -> (peer: Listener, session: Session) {
        let peer = Listener()
        return (peer, engine.connect(name: name, peerAddress: "test", peer: peer))
    }

    func run() { while engine.turn() {} }

    func pass(milliseconds: UInt64) {
        engine.now = engine.now.advanced(milliseconds: milliseconds)
        engine.wake()
        engine.tick()
    }

    func openSink(
        _ session: Session,
        _ link: UInt32,
        _ topic: String,
        group: String? = nil,
        demand: UInt32 = 0,
        bytes: UInt32 = 0
    ) {
        var open = Open(role: .sink, topic: topic)
        open.group = group.map { Name($0) }
        open.demandEvents = demand
        open.demandBytes = bytes
        engine.open(session, link, open)
        run()
    }

    func openSource(_ session: Session, _ link: UInt32, _ topic: String, available: UInt64? = nil) {
        var open = Open(role: .source, topic: topic)
        open.available = available
        engine.open(session, link, open)
        run()
    }

    func publish(
        _ session: Session,
        _ link: UInt32,
        first: UInt64,
        _ payloads: [String]
    ) throws {
        engine.publish(session, link, try Publication(first: first, payloads))
        run()
    }

    /// Events of a producer that comes and goes.
    func publish(to topic: String, _ payloads: [String]) throws {
        let (_, session) = connect("writer")
        openSource(session, 1, topic, available: UInt64(payloads.count))
        try publish(session, 1, first: 1, payloads)
        engine.close(session, 1)
        run()
    }

    /// A producer gives back what it was granted, and has sent nothing.
    func giveBack(_ session: Session, _ link: UInt32, _ events: UInt64) {
        var status = Status()
        status.isDrained = true
        status.asked = events
        status.forfeited = events
        engine.report(session, link, status)
        run()
    }

    func ask(
        _ session: Session,
        _ link: UInt32,
        _ events: UInt32,
        total: UInt64,
        bytes: UInt32 = 0,
        bytesTotal: UInt64 = 0,
        flags: AskFlags = []
    ) {
        let ask = Ask(
            events: events,
            total: total,
            bytes: bytes,
            bytesTotal: bytesTotal,
            flags: flags
        )
        engine.demand(session, link, ask)
        run()
    }

    /// The documents that a fresh session is shown.
    func documents<Document: Decodable>(
        _ topic: String,
        as type: Document.Type
    ) throws -> [Document] {
        let (peer, session) = connect("inspector")
        openSink(session, 1, topic, demand: 1_000)
        defer { engine.end(session) }
        return try peer.documents(as: type)
    }

    /// What a request on `$sys/ctl` is answered; nil is accept.
    func request(_ json: String) throws -> CloseCode? {
        let (peer, session) = connect("operator")
        openSource(session, 1, "$sys/ctl", available: 1)
        defer { engine.end(session) }
        try publish(session, 1, first: 1, [json])
        for case .settle(_, 1, 1, let outcome, let argument) in peer.take() {
            return outcome == .accept ? nil : CloseCode(rawValue: UInt16(argument))
        }
        Issue.record("\(json) was not answered")
        return nil
    }
}

extension Publication {
    /// Plain events that a client sends, the first with this sequence.
    init(first: UInt64, _ payloads: [String]) throws {
        var writer = FrameWriter()
        for payload in payloads { try writer.appendRecord(payload: Array(payload.utf8).span.bytes) }
        let slab = Slab(capacity: writer.bytes.count)
        let range = slab.append(writer.bytes.span.bytes)
        self.init(
            firstSequence: first,
            events: UInt64(payloads.count),
            bytes: UInt64(range.count),
            runs: [Run(slab: slab, bytes: range, count: UInt32(payloads.count))],
            time: 1
        )
    }
}
