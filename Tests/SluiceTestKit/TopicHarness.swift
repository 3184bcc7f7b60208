import DequeModule
package import SluiceCore

/// A topic with its links' far ends in hand, for tests that set up one situation.
package struct TopicHarness {
    package var topic: Topic
    package var now = Instant(nanoseconds: 1)
    /// The effects since the last look.
    package private(set) var seen: [Effect] = []
    package private(set) var ledgers: [LinkID: Ledger] = [:]
    /// What each consumer was given, as offsets.
    package private(set) var given: [LinkID: [UInt64]] = [:]
    package private(set) var givenBytes: [LinkID: Int] = [:]
    /// What each consumer was told, in its order: events by offset, and marks.
    package private(set) var stories: [LinkID: [String]] = [:]

    package init(ahead: UInt64 = 0, _ change: (inout TopicOptions) -> Void = { _ in }) {
        var options = TopicOptions()
        options.ahead = ahead
        change(&options)
        topic = Topic(name: "test", options: options)
    }

    package mutating func apply(_ command: Command) {
        var effects = Effects()
        if topic.apply(command, at: now, into: &effects) {
            while topic.advance(at: now, into: &effects) { continue }
        }
        note(effects)
    }

    package mutating func expireRecalls() {
        var effects = Effects()
        topic.expireRecalls(at: now, into: &effects)
        note(effects)
        rest()
    }

    private mutating func note(_ effects: Effects) {
        for effect in effects.list {
            switch effect {
            case .ask(let id, let ask): try? ledgers[id]?.apply(ask)
            case .deliver(let id, let delivery):
                for run in effects.runs[delivery.runs] {
                    given[id, default: []] += run.offset..<run.endOffset
                    stories[id, default: []] += (run.offset..<run.endOffset).map { "\($0)" }
                }
                givenBytes[id, default: 0] += Int(delivery.bytes)
            case .mark(let id, let mark, let offset, _):
                stories[id, default: []].append("\(mark.name)@\(offset)")
            default: continue
            }
        }
        seen += effects.list
    }

    /// What breaks a law now.
    package func broken() -> [String] { topic.violations() + topic.strandedEvents() }

    /// Where the marks stood that a consumer was told since the last look.
    package func marks(_ id: LinkID) -> [UInt64] {
        seen.compactMap { effect in
            if case .mark(id, _, let offset, _) = effect { offset } else { nil }
        }
    }

    /// The losses that a consumer was told of since the last look.
    package func gaps(_ id: LinkID) -> [Gap] {
        seen.compactMap { effect in
            if case .gap(id, let gap, _) = effect { gap } else { nil }
        }
    }

    /// The code that a link was closed with since the last look.
    package func code(_ id: LinkID) -> CloseCode? {
        for case .close(id, let code, _) in seen { return code }
        return nil
    }

    package mutating func look() -> [Effect] {
        defer { seen = [] }
        return seen
    }

    /// Opens a consumer that asks at once.
    package mutating func consumer(
        _ group: Name = "",
        asks events: UInt32 = 0,
        bytes: UInt32 = 0,
        start: Start? = nil,
        eventBytesMax: Int = Limits.eventBytesMax,
        _ change: (inout ConsumerOpening) -> Void = { _ in }
    ) -> LinkID {
        let id = topic.nextLink()
        var ledger = Ledger()
        if events > 0 || bytes > 0 { _ = ledger.ask(events: events, bytes: bytes) }
        ledgers[id] = ledger
        var opening = ConsumerOpening(
            group: group,
            start: start,
            events: events,
            bytes: bytes,
            eventBytesMax: eventBytesMax
        )
        change(&opening)
        apply(.openConsumer(id, opening))
        return id
    }

    package mutating func producer(_ backlog: Backlog, owner: UInt64 = 0) -> LinkID {
        let id = topic.nextLink()
        ledgers[id] = Ledger()
        apply(.openProducer(id, backlog, owner: owner))
        return id
    }

    package mutating func ask(
        _ id: LinkID,
        _ events: UInt32 = 0,
        bytes: UInt32 = 0,
        flags: AskFlags = []
    ) {
        guard let ask = ledgers[id]?.ask(events: events, bytes: bytes, flags: flags) else { return }
        apply(.ask(id, ask))
    }

    /// A consumer has received so many events: its next ask says so.
    package mutating func receive(_ id: LinkID, _ events: UInt64) {
        ledgers[id]?.deliver(events: events, bytes: 0)
    }

    /// A consumer is back that has received so many events, asked for so many and had so many gaps.
    package mutating func attach(
        _ id: LinkID,
        received: UInt64,
        asked: UInt64,
        gaps: UInt64 = 0
    ) {
        let point = ResumePoint(position: received, asked: asked, gaps: gaps)
        apply(.attachConsumer(id, point, eventBytesMax: Limits.eventBytesMax))
    }

    /// What a producer was granted and has not used.
    package func credit(_ id: LinkID) -> UInt64 { ledgers[id]?.credit ?? 0 }

    /// A producer sends records of one size.
    package mutating func publish(_ id: LinkID, _ count: Int, bytes size: Int = 10) {
        guard let before = ledgers[id] else { return }
        let publication = Publication(
            firstSequence: before.delivered + 1,
            events: UInt64(count),
            bytes: UInt64(count * size),
            runs: Self.records(count, bytes: size),
            time: 1
        )
        if UInt64(count) <= before.credit, UInt64(count * size) <= before.byteCredit ?? 0 {
            ledgers[id]?.deliver(events: UInt64(count), bytes: UInt64(count * size))
        }
        apply(.publish(id, publication))
    }

    /// Events out of nowhere.
    package mutating func emit(_ count: Int, bytes size: Int = 10) {
        _ = topic.emit(Self.records(count, bytes: size), events: UInt64(count), time: 1)
        rest()
    }

    package mutating func report(
        _ id: LinkID,
        available: UInt64,
        isDrained: Bool = false,
        needs bytes: UInt32 = 0
    ) {
        guard let ledger = ledgers[id] else { return }
        apply(
            .report(
                id,
                ProducerReport(
                    isDrained: isDrained,
                    asked: ledger.asked,
                    forfeited: ledger.forfeited,
                    forfeitedBytes: ledger.forfeitedBytes,
                    available: available,
                    needBytes: bytes
                )
            )
        )
    }

    /// Events with keys, out of nowhere; nil for one without.
    package mutating func emit(keys: [String?]) {
        let slab = Slab(capacity: keys.reduce(0) { $0 + 8 + ($1?.utf8.count ?? 0) })
        for key in keys { Self.append(key, to: slab) }
        let run = Run(slab: slab, bytes: 0..<slab.filled, count: UInt32(keys.count))
        _ = topic.emit([run], events: UInt64(keys.count), time: 1)
        rest()
    }

    private static func append(_ key: String?, to slab: Slab) {
        let bytes = Array((key ?? "").utf8)
        let flags = key == nil ? 0 : UInt32(Record.keyFlag)
        let body = key == nil ? 0 : 2 + bytes.count
        _ = slab.fill { memory in
            let head = (flags << 24 | UInt32(body)).bigEndian
            memory.storeBytes(of: head, as: UInt32.self)
            guard key != nil else { return Record.headBytes }
            let length = UInt16(bytes.count).bigEndian
            memory.storeBytes(of: length, toByteOffset: Record.headBytes, as: UInt16.self)
            let start = Record.headBytes + 2
            memory[start..<start + bytes.count].copyBytes(from: bytes)
            return start + bytes.count
        }
    }

    /// Lets time go by; the topic gets a step when it asked for one.
    package mutating func pass(milliseconds: UInt64) {
        now = now.advanced(milliseconds: milliseconds)
        guard let time = topic.wakesAt, time <= now else { return }
        rest()
    }

    private mutating func rest() {
        var effects = Effects()
        while topic.advance(at: now, into: &effects) { continue }
        note(effects)
    }

    /// Records of one size in one run.
    package static func records(_ count: Int, bytes size: Int) -> [Run] {
        guard count > 0 else { return [] }
        let slab = Slab(capacity: count * size)
        for _ in 0..<count {
            _ = slab.fill { memory in
                let head = UInt32(size - Record.headBytes).bigEndian
                memory.storeBytes(of: head, as: UInt32.self)
                return size
            }
        }
        return [Run(slab: slab, bytes: 0..<slab.filled, count: UInt32(count))]
    }
}

extension Mark {
    fileprivate var name: String {
        switch self {
        case .marker(let text): String(decoding: text, as: UTF8.self)
        case .end: "end"
        }
    }
}

extension ResumePoint {
    /// A link comes back that counts no bytes.
    package init(position: UInt64 = 0, asked: UInt64, gaps: UInt64 = 0) {
        self.init(
            position: position,
            positionBytes: 0,
            asked: asked,
            askedBytes: 0,
            stoppedTo: 0,
            drainedTo: 0,
            gaps: gaps
        )
    }
}
