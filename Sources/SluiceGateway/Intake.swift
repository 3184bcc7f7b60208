import DequeModule
import SluiceCore
import SluiceEngine
import SluiceNet
import SluiceWire

/// What one request brings to a topic: all of it at once, or nothing.
final class Batch {
    let events: UInt64
    /// Its records, one behind the other.
    let records: [UInt8]
    /// When it is given up, in the loop's time.
    fileprivate var deadline: UInt64 = .max
    /// Events that are not settled yet, once it is in the topic's hands.
    fileprivate var unsettled: UInt64
    fileprivate var outcome = BatchOutcome()
    /// Who waits for the outcome; let go with it.
    private var done: ((Result<BatchOutcome, BatchRefusal>) -> Void)?

    init(
        events: UInt64,
        records: [UInt8],
        done: @escaping (Result<BatchOutcome, BatchRefusal>) -> Void
    ) {
        self.events = events
        self.records = records
        self.done = done
        unsettled = events
    }

    fileprivate func end(_ result: Result<BatchOutcome, BatchRefusal>) {
        let done = self.done
        self.done = nil
        done?(result)
    }
}

/// What a topic did with a batch.
struct BatchOutcome {
    /// The offset of the first, which the others follow; nil if none was taken.
    var offset: UInt64?
    var count: UInt64 = 0
    /// Events that the topic did not take by its policy or limits, and why the last of them.
    var refused: UInt64 = 0
    var code: CloseCode?
}

/// Why nothing of a batch is in its topic.
enum BatchRefusal: Error {
    /// There is credit for only so many events.
    case noCredit(UInt64)
    case closed(Close)
}

/// The gateway's producer link on one topic: batches of all requests, first come first served.
///
/// A batch waits until the link holds credit for all of it. Were there a link for each, two that
/// got half of what they need would wait for each other.
final class Intake: GatewayLink {
    private unowned let intakes: Intakes
    private let topic: String
    private var link: UInt32 = 0
    private var isOpen = false
    private var ledger = Ledger()
    private var waiting = Deque<Batch>()
    private var waitingEvents: UInt64 = 0
    private var underWay = Deque<Batch>()
    /// What the topic believes to be waiting beyond credit, and that it was told of missing bytes.
    private var announced: UInt64
    private var hasToldBytes = false
    private var needsReport = false
    /// Runs while something waits, until the first of it is due or earlier: what gets its credit at
    /// once, as most does, has set no timer of its own.
    private var timer: (id: TimerID, deadline: UInt64)?
    private(set) var usedAt: UInt64 = 0

    init(_ topic: String, first batch: Batch, _ intakes: Intakes) {
        self.topic = topic
        self.intakes = intakes
        announced = batch.events
    }

    var isIdle: Bool { waiting.isEmpty && underWay.isEmpty }
    var hasPublished: Bool { !underWay.isEmpty }

    func open() {
        var open = Open(role: .source, topic: topic)
        open.available = announced
        link = intakes.session.open(open, for: self)
    }

    func close() { intakes.session.close(link) }

    func add(_ batch: Batch, wait: Duration) {
        usedAt = intakes.loop.now
        intakes.hold(batch.records.count)
        waiting.append(batch)
        waitingEvents += batch.events
        publish()
        guard batch === waiting.last else { return }
        batch.deadline = intakes.loop.deadline(after: wait)
        awaitDeadline(batch.deadline)
        wantReport()
    }

    private func awaitDeadline(_ deadline: UInt64) {
        if let timer {
            guard deadline < timer.deadline else { return }
            intakes.loop.cancel(timer.id)
        }
        let id = intakes.loop.schedule(at: deadline) { [weak self] in self?.giveUpLate() }
        timer = (id, deadline)
    }

    private func giveUpLate() {
        timer = nil
        let now = intakes.loop.now
        for batch in waiting where batch.deadline <= now { giveUp(batch) }
        if let next = waiting.lazy.map(\.deadline).min() { awaitDeadline(next) }
    }

    /// Its time is over, or nobody waits for its answer any more.
    func giveUp(_ batch: Batch) {
        guard let index = waiting.firstIndex(where: { $0 === batch }) else { return }
        waiting.remove(at: index)
        forget(batch)
        batch.end(.failure(.noCredit(ledger.credit)))
        publish()
        wantReport()
    }

    private func forget(_ batch: Batch) {
        waitingEvents -= batch.events
        intakes.hold(-batch.records.count)
    }
}

// MARK: - Credit

extension Intake {
    /// Hands over what there is credit for, in the order in which it came: small batches together.
    private func publish() {
        guard isOpen else { return }
        while let first = next(after: 0) {
            let sequence = ledger.delivered + 1
            var batches: [Batch] = []
            var events: UInt64 = 0
            var bytes = 0
            var following: Batch? = first
            while let batch = following {
                waiting.removeFirst()
                forget(batch)
                ledger.deliver(events: batch.events, bytes: UInt64(batch.records.count))
                events += batch.events
                bytes += batch.records.count
                batches.append(batch)
                following = next(after: bytes)
            }
            hasToldBytes = false
            underWay.append(contentsOf: batches)
            intakes.session.publish(
                link,
                Publication(
                    firstSequence: sequence,
                    events: events,
                    bytes: UInt64(bytes),
                    run: intakes.run(of: batches, events: events, bytes: bytes),
                    time: intakes.session.engine.time
                )
            )
        }
        let lacksBytes = waiting.first.map { $0.events <= ledger.credit } ?? false
        if lacksBytes, !hasToldBytes { wantReport() }
    }

    /// The batch that waits first, if there is credit for it and room in a run of so many bytes.
    private func next(after bytes: Int) -> Batch? {
        guard let batch = waiting.first, batch.events <= ledger.credit,
            batch.records.count <= ledger.bytesAllowed,
            bytes == 0 || bytes + batch.records.count <= intakes.runBytesMax
        else { return nil }
        return batch
    }

    private func wantReport() {
        guard !needsReport else { return }
        needsReport = true
        intakes.reporting.append(self)
    }

    /// Tells the topic what waits, if that is not what it believes.
    func report() {
        needsReport = false
        guard isOpen else { return }
        let wanted = waitingEvents - min(waitingEvents, ledger.credit)
        let lacksBytes = waiting.first.map { $0.events <= ledger.credit } ?? false
        guard wanted != announced || lacksBytes && !hasToldBytes else { return }
        announced = wanted
        hasToldBytes = lacksBytes
        say(isDrained: false)
    }

    private func say(isDrained: Bool) {
        var status = Status(ledger)
        status.isDrained = isDrained
        status.available = announced
        status.blockedBy = announced > 0 ? .noDemand : .noEvents
        if hasToldBytes, let batch = waiting.first {
            status.blockedBy = .bytes
            status.needBytes = UInt32(clamping: batch.records.count)
        }
        intakes.session.report(link, status)
    }

    func opened(_ opened: Opened) {
        isOpen = true
        publish()
        if !waiting.isEmpty { wantReport() }
    }

    func ask(_ ask: Ask) {
        announced -= min(announced, UInt64(ask.events))
        hasToldBytes = false
        do {
            try ledger.apply(ask)
        } catch {
            preconditionFailure("the engine keeps the account that it gave: \(error)")
        }
        if ask.flags.contains(.stop) {
            announced = waitingEvents
            say(isDrained: true)
        }
        publish()
        if !waiting.isEmpty { wantReport() }
    }
}

// MARK: - What became of it

extension Intake {
    func settle(_ settlement: Settlement) {
        var left = UInt64(settlement.count)
        var offset = settlement.offset
        while left > 0, let batch = underWay.first {
            let part = min(left, batch.unsettled)
            left -= part
            batch.unsettled -= part
            if settlement.outcome == .accept {
                batch.outcome.offset = batch.outcome.offset ?? offset
                batch.outcome.count += part
                offset = offset.map { $0 + part }
            } else {
                batch.outcome.refused += part
                batch.outcome.code = CloseCode(rawValue: UInt16(clamping: settlement.argument))
            }
            guard batch.unsettled == 0 else { continue }
            underWay.removeFirst()
            usedAt = intakes.loop.now
            batch.end(.success(batch.outcome))
        }
    }

    func refused(_ close: Close) { closed(close) }

    func closed(_ close: Close) {
        intakes.remove(topic)
        fail(close)
    }

    /// Refuses what waits; what is under way has no answer either once the link is gone.
    func fail(_ close: Close) {
        isOpen = false
        let batches = waiting
        waiting = []
        for batch in batches { forget(batch) }
        let lost = underWay
        underWay = []
        for batch in Array(batches) + Array(lost) { batch.end(.failure(.closed(close))) }
    }

    /// Refuses what has no credit: there will be none any more.
    func wind() {
        let batches = waiting
        waiting = []
        for batch in batches {
            forget(batch)
            let close = Close(
                .goingAway,
                reason: "the broker is stopping",
                retryMilliseconds: intakes.session.engine.nextRetry()
            )
            batch.end(.failure(.closed(close)))
        }
    }
}

/// The gateway's producer links, one a topic, in a session of their own.
final class Intakes {
    private unowned let gateway: Gateway
    private var intakes: [Name: Intake] = [:]
    fileprivate var reporting: [Intake] = []
    fileprivate lazy var session = GatewaySession(
        gateway.engine,
        name: "http",
        address: "http"
    ) { Traffic(bytesIn: 0, bytesOut: 0, queuedBytes: 0) }
    private var isUsed = false
    private let slabs = SlabPool(slabBytes: 65_536, keptMax: 4)
    /// Where small batches of this turn lie side by side.
    private var slab: Slab?

    init(_ gateway: Gateway) { self.gateway = gateway }

    fileprivate var loop: EventLoop { gateway.loop }

    fileprivate func hold(_ bytes: Int) { gateway.heldBytes += bytes }

    /// Brings a batch to its topic; tells what became of it, perhaps before this returns.
    func add(_ batch: Batch, to topic: String, wait: Duration) -> Intake {
        isUsed = true
        let name = Name(topic)
        if let intake = intakes[name] {
            intake.add(batch, wait: wait)
            return intake
        }
        let intake = Intake(topic, first: batch, self)
        intakes[name] = intake
        intake.add(batch, wait: wait)
        intake.open()
        return intake
    }

    fileprivate func remove(_ topic: String) { intakes[Name(topic)] = nil }

    /// Bytes of small batches that go together.
    fileprivate var runBytesMax: Int { slabs.slabBytes / 4 }

    fileprivate func run(of batches: [Batch], events: UInt64, bytes: Int) -> Run {
        let target: Slab
        if bytes > runBytesMax {
            target = Slab(capacity: bytes)
        } else if let slab, slab.room >= bytes {
            target = slab
        } else {
            target = slabs.make()
            slab = target
        }
        var range: Range<Int>?
        for batch in batches {
            let records = batch.records
            let part = target.append(records.span.bytes)
            range = (range?.lowerBound ?? part.lowerBound)..<part.upperBound
        }
        return Run(slab: target, bytes: range ?? 0..<0, count: UInt32(events))
    }

    /// At the end of a turn: what the topics have to know.
    func report() {
        slab = nil
        guard !reporting.isEmpty else { return }
        let due = reporting
        reporting.removeAll(keepingCapacity: true)
        for intake in due { intake.report() }
    }

    /// Closes links that nobody has used for a while, with the credit that they hold.
    func tick(_ now: UInt64) {
        let patience = UInt64(Limits.httpIntakeIdleSeconds) * 1_000_000_000
        for (topic, intake) in intakes where intake.isIdle && now - intake.usedAt > patience {
            intakes[topic] = nil
            intake.close()
        }
    }

    func wind() { for intake in intakes.values { intake.wind() } }

    var isDrained: Bool { !intakes.values.contains { $0.hasPublished } }

    func end() {
        guard isUsed else { return }
        let open = intakes
        intakes = [:]
        for intake in open.values {
            intake.fail(.brokerHasStopped)
        }
        session.end()
    }
}
