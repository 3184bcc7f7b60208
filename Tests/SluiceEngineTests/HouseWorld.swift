import SluiceCore
import SluiceEngine
import SluiceTestKit
import SluiceWire

/// Clients on three engines that use topics on all of them, while messages take their time.
///
/// Every client has a sink and a source on each topic, loses its connection now and then, and comes
/// back with its end of each ledger.
final class HouseWorld {
    let house = EngineHouse(3) { $0.topicDefaults.ahead = 20 }
    private(set) var violations: [String] = []
    private var random: SeededGenerator
    private var clients: [HouseClient] = []
    private let topics: [String]
    /// Events that clients got, by topic; no event twice.
    private var delivered: [[String: Int]]

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        topics = [house.topic(on: 0), house.topic(on: 1), house.topic(on: 2)]
        delivered = Array(repeating: [:], count: topics.count)
        for number in 0..<Int.random(in: 2...4, using: &random) {
            let home = Int.random(in: 0..<3, using: &random)
            let client = HouseClient(number, house.engines[home], home, topics)
            client.onEvent = { [unowned self] topic, id in
                delivered[topic][id, default: 0] += 1
                if delivered[topic][id] != 1 { violations.append("\(id) came twice") }
            }
            client.onViolation = { [unowned self] text in violations.append(text) }
            clients.append(client)
        }
        for client in clients { client.open() }
    }

    func step() {
        let client = clients[Int.random(in: 0..<clients.count, using: &random)]
        let topic = Int.random(in: 0..<topics.count, using: &random)
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<4: client.ask(topic, UInt32.random(in: 1...9, using: &random))
        case 4..<8: client.publish(topic, upTo: Int.random(in: 1...6, using: &random))
        case 8..<10: client.write()
        case 10: client.stop(topic)
        case 11 where client.isConnected: client.lose()
        case 11, 12: if !client.isConnected { client.comeBack() }
        case 13..<16: turn(Int.random(in: 0..<3, using: &random))
        default:
            let sender = Int.random(in: 0..<3, using: &random)
            house.deliver(from: sender, to: Int.random(in: 0..<3, using: &random))
        }
    }

    /// Lets an engine work, and holds every law against what it granted and delivered.
    private func turn(_ engine: Int) {
        let before = house.engines[engine].cores.reduce(into: [:]) { $0[$1.name] = $1.granted }
        house.turn(engine)
        for core in house.engines[engine].cores {
            violations += core.violations() + core.strandedEvents()
            if core.granted > before[core.name, default: 0] { violations += core.overGranted() }
        }
    }

    /// Everybody comes back and takes all there is: nothing may be missing.
    func end() {
        for client in clients where !client.isConnected { client.comeBack() }
        house.settle()
        for _ in 0..<50 {
            for client in clients {
                client.write()
                for topic in topics.indices { client.ask(topic, 50) }
            }
            house.settle()
        }
        for (index, topic) in topics.enumerated() {
            let cores = house.engines[index].cores
            guard let core = cores.first(where: { $0.name == Name(topic) }) else { continue }
            violations += core.violations()
            let lost = core.counters.cut
            if core.log.head != UInt64(delivered[index].count) + lost {
                violations.append(
                    "\(topic): \(core.log.head) came, \(delivered[index].count) went, \(lost) lost"
                )
            }
            if core.counters.ledgerErrors > 0 { violations.append("\(topic): a ledger broke") }
        }
    }
}

/// A client that keeps its end of each link's account across its connections.
private final class HouseClient: Peer {
    private struct Sink {
        var ledger = Ledger()
        var isOpen = false
    }

    private struct Source {
        var ledger = Ledger()
        var isOpen = false
        /// Events by sequence that are sent and not known to have arrived; then those to send.
        var sent: [String] = []
        var firstSent: UInt64 = 1
        var waiting: [String] = []
        var made = 0
    }

    private let engine: Engine
    private let topics: [String]
    private let name: String
    private var session: Session?
    private var sinks: [Sink]
    private var sources: [Source]
    private var unwritten: [(link: UInt32, bytes: Int)] = []
    private(set) var isConnected = true
    var onEvent: (Int, String) -> Void = { _, _ in }
    var onViolation: (String) -> Void = { _ in }
    let eventBytesMax = Limits.eventBytesMax
    var traffic: Traffic { Traffic(bytesIn: 0, bytesOut: 0, queuedBytes: 0) }

    init(_ number: Int, _ engine: Engine, _ home: Int, _ topics: [String]) {
        self.engine = engine
        self.topics = topics
        name = "c\(number)@\(home)"
        sinks = topics.map { _ in Sink() }
        sources = topics.map { _ in Source() }
    }

    private func sinkLink(_ topic: Int) -> UInt32 { UInt32(2 * topic + 1) }
    private func sourceLink(_ topic: Int) -> UInt32 { UInt32(2 * topic + 2) }

    func open() {
        let session = engine.connect(name: name, peerAddress: "", peer: self)
        self.session = session
        for (index, topic) in topics.enumerated() {
            var sink = Open(role: .sink, topic: topic)
            sink.group = "g"
            sink.start = .first
            engine.open(session, sinkLink(index), sink)
            engine.open(session, sourceLink(index), Open(role: .source, topic: topic))
        }
    }

    func ask(_ topic: Int, _ events: UInt32) {
        guard isConnected, sinks[topic].isOpen, let session else { return }
        guard sinks[topic].ledger.credit < 200 else { return }
        let ask = sinks[topic].ledger.ask(events: events)
        engine.demand(session, sinkLink(topic), ask)
    }

    func stop(_ topic: Int) {
        guard isConnected, sinks[topic].isOpen, let session else { return }
        let ask = sinks[topic].ledger.ask(events: 0, flags: .stop)
        engine.demand(session, sinkLink(topic), ask)
    }

    func publish(_ topic: Int, upTo most: Int) {
        guard isConnected, sources[topic].isOpen, let session else { return }
        let count = min(most, Int(sources[topic].ledger.credit))
        guard count > 0 else { return }
        while sources[topic].waiting.count < count {
            sources[topic].made += 1
            sources[topic].waiting.append("\(name)/\(sources[topic].made)")
        }
        let events = Array(sources[topic].waiting.prefix(count))
        let first = sources[topic].ledger.delivered + 1
        guard let publication = try? Publication(first: first, events),
            publication.bytes <= sources[topic].ledger.byteCredit ?? 0
        else { return }
        sources[topic].waiting.removeFirst(count)
        sources[topic].sent += events
        sources[topic].ledger.deliver(events: UInt64(count), bytes: publication.bytes)
        engine.publish(session, sourceLink(topic), publication)
    }

    func write() {
        guard isConnected, let session else { return }
        let written = unwritten
        unwritten = []
        for (link, bytes) in written { engine.wrote(session, link, bytes: bytes) }
    }

    func lose() {
        guard let session else { return }
        isConnected = false
        unwritten = []
        for topic in topics.indices {
            sinks[topic].isOpen = false
            sources[topic].isOpen = false
        }
        engine.disconnect(session, links: LinkTable())
    }

    func comeBack() {
        guard let session,
            engine.resume(session.token.bytes, peerAddress: "", peer: self) != nil
        else {
            onViolation("\(name) is not known any more")
            return
        }
        isConnected = true
        for (index, topic) in topics.enumerated() {
            var sink = Open(role: .sink, topic: topic)
            sink.group = "g"
            sink.resume = point(of: sinks[index].ledger)
            engine.open(session, sinkLink(index), sink)
            var source = Open(role: .source, topic: topic)
            source.resume = point(of: sources[index].ledger)
            engine.open(session, sourceLink(index), source)
        }
    }

    private func point(of ledger: Ledger) -> Resume {
        var point = Resume()
        point.position = ledger.delivered
        point.positionBytes = ledger.deliveredBytes
        point.asked = ledger.asked
        point.askedBytes = ledger.askedBytes
        point.stoppedTo = ledger.stoppedTo
        return point
    }

    private func topic(_ link: UInt32) -> (index: Int, isSink: Bool) {
        (Int(link - 1) / 2, link % 2 == 1)
    }

    func opened(_ link: UInt32, _ opened: Opened) {
        let (index, isSink) = topic(link)
        guard isSink else {
            sources[index].isOpen = true
            sources[index].ledger = Ledger(opened)
            // What had arrived is done; the rest has to go again.
            let arrived = Int(opened.delivered + 1 - sources[index].firstSent)
            let lost = sources[index].sent.dropFirst(arrived)
            sources[index].waiting = lost + sources[index].waiting
            sources[index].sent = []
            sources[index].firstSent = opened.nextSequence
            return
        }
        sinks[index].isOpen = true
        guard opened.resumed else { return }
        let ledger = sinks[index].ledger
        if opened.delivered != ledger.delivered || opened.asked != ledger.asked {
            onViolation("\(name) \(link): opened with \(opened), has \(ledger)")
        }
        sinks[index].ledger.resumeAsSink(
            forfeited: opened.forfeited,
            forfeitedBytes: opened.forfeitedBytes
        )
    }

    func deliver(_ link: UInt32, firstSequence: UInt64, runs: ArraySlice<Run>, bytes: Int) {
        let (index, _) = topic(link)
        let events = runs.reduce(0) { $0 + UInt64($1.count) }
        do {
            try sinks[index].ledger.receive(
                firstSequence: firstSequence,
                events: events,
                bytes: UInt64(bytes)
            )
        } catch { onViolation("\(name) \(link): L1 \(error)") }
        unwritten.append((link, bytes))
        for run in runs {
            run.slab.withBytes { span in
                var reader = RecordReader(run.bytes)
                while let record = try? reader.next(from: span) {
                    onEvent(index, String(decoding: span.array(in: record.payload), as: UTF8.self))
                }
            }
        }
    }

    func gap(_ link: UInt32, _ gap: Gap, nextSequence: UInt64) {
        if nextSequence != sinks[topic(link).index].ledger.delivered + 1 {
            onViolation("\(name) \(link): gap before \(nextSequence)")
        }
        unwritten.append((link, Limits.gapWindowBytes))
    }

    func mark(_ link: UInt32, _ mark: Mark, offset: UInt64, nextSequence: UInt64) {
        if nextSequence != sinks[topic(link).index].ledger.delivered + 1 {
            onViolation("\(name) \(link): mark before \(nextSequence)")
        }
        unwritten.append((link, mark.windowBytes))
    }

    func ask(_ link: UInt32, _ ask: Ask) {
        let (index, _) = topic(link)
        do { try sources[index].ledger.apply(ask) } catch {
            onViolation("\(name) \(link): L2 \(error)")
        }
        guard ask.flags.contains(.stop), let session else { return }
        var status = Status(sources[index].ledger)
        status.isDrained = true
        status.available = Backlog.unknownOnWire
        engine.report(session, link, status)
    }

    func status(_ link: UInt32, _ status: Status) {
        let (index, _) = topic(link)
        do {
            try sinks[index].ledger.book(
                forfeited: status.forfeited,
                forfeitedBytes: status.forfeitedBytes
            )
        } catch { onViolation("\(name) \(link): L2 \(error)") }
    }

    func settle(_ link: UInt32, _ settlement: Settlement) {
        let (index, _) = topic(link)
        let done = min(Int(settlement.count), sources[index].sent.count)
        if settlement.from != sources[index].firstSent || done != Int(settlement.count) {
            onViolation("\(name) \(link): settled \(settlement)")
        }
        sources[index].sent.removeFirst(done)
        sources[index].firstSent += UInt64(done)
    }

    func refused(_ link: UInt32, _ close: Close) { onViolation("\(name) \(link): \(close)") }
    func closed(_ link: UInt32, _ close: Close) { onViolation("\(name) \(link): \(close)") }
    func pong(_ opaque: UInt64) {}
    func replaced() {}
    func kicked(_ close: Close) {}
}
