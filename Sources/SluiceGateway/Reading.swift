import DequeModule
import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceNet
import SluiceWire

/// A consumer's link whose events are the body of an answer.
///
/// The body is taken as the client's window and socket let it; what is not taken keeps the link's
/// write window shut, and stays with the topic.
final class Reading: LinkHandler, BodySource {
    /// How much it asks for.
    enum Demand {
        /// So many events and no more, or what there is when the time is over.
        case exactly(UInt32, wait: Duration)
        /// So many on their way: as many as were taken are asked for anew.
        case window(UInt32)
        /// What the client says, a line each: `{"demand":7}`.
        case spoken
        /// All documents of an inspection, of those that are wanted.
        case round(isWanted: (([UInt8]) -> Bool)?)
    }

    /// What waits to be taken, in order.
    private enum Item {
        case run(RunText)
        /// A text, and the bytes of the link's window that it holds.
        case text([UInt8], window: Int)
    }

    private unowned let gateway: Gateway
    let exchange: HTTPExchange
    let link: HeldLink
    private let topic: String
    private let demand: Demand
    private let form: EventText
    private var ledger = Ledger()
    private var items = Deque<Item>()
    private var queuedBytes = 0
    /// What is text already, and how much of that is taken.
    private var text: [UInt8] = []
    private var taken = 0
    /// Events that were made text, and those of them that were before what is taken now.
    private var encoded: UInt64 = 0
    private var encodedBefore: UInt64 = 0
    private var isFirst = true
    private var isDone = false
    private var isClosingSaid = false
    /// Events that were taken since the last DEMAND.
    private var owed: UInt32 = 0
    private var timer: TimerID?
    /// What the client said and has not ended yet.
    private var heard: [UInt8] = []

    init(
        _ exchange: HTTPExchange,
        of topic: String,
        _ demand: Demand,
        as form: EventText,
        _ gateway: Gateway
    ) {
        self.exchange = exchange
        self.topic = topic
        self.demand = demand
        self.form = form
        self.gateway = gateway
        link = HeldLink(of: exchange)
        text = form.opening
    }

    /// Opens the link with its demand.
    func begin(_ wish: Open) {
        var open = wish
        switch demand {
        case .exactly(let count, _), .window(let count): open.demandEvents = count
        case .round: open.demandEvents = UInt32(Limits.demandMax)
        case .spoken: break
        }
        if open.demandEvents > 0 { _ = ledger.ask(events: open.demandEvents) }
        link.open(open, for: self)
        guard link.isOpen else { return }
        switch demand {
        case .exactly(_, wait: .zero): ask(flags: .drain)
        case .exactly(_, let wait): scheduleStop(after: wait)
        case .window where isServerSent, .spoken where isServerSent: scheduleBeat()
        case .window, .spoken, .round: break
        }
    }

    var isOpenEnded: Bool {
        switch demand {
        case .window, .spoken: true
        case .exactly, .round: false
        }
    }

    private var isServerSent: Bool { if case .serverSent = form { true } else { false } }

    private func ask(_ events: UInt32 = 0, flags: AskFlags = []) {
        guard link.isOpen else { return }
        link.demand(ledger.ask(events: events, flags: flags))
    }

    private func scheduleStop(after wait: Duration) {
        timer = gateway.loop.schedule(after: wait) { [weak self] in
            guard let self, !isDone else { return }
            timer = nil
            gateway.readClocks()
            ask(flags: .stop)
        }
    }

    /// Says a word without meaning now and then, so that a silent stream is not taken for dead.
    private func scheduleBeat() {
        timer = gateway.loop.schedule(after: .seconds(Limits.streamBeatSeconds)) { [weak self] in
            guard let self, !isDone else { return }
            if items.isEmpty, text.isEmpty { add(.text(Array(":\n\n".utf8), window: 0)) }
            scheduleBeat()
        }
    }
}

// MARK: - What the link brings

extension Reading {
    func opened(_ opened: Opened) { answer() }

    private func answer() {
        let headers = [
            Header("content-type", form.contentType), Header("cache-control", "no-store"),
        ]
        exchange.respond(ResponseHead(200, headers), .source(self))
    }

    func refused(_ close: Close) {
        link.lose()
        exchange.refuse(Problem(close))
    }

    func deliver(firstSequence: UInt64, runs: ArraySlice<Run>, bytes: Int) {
        let events = runs.reduce(0) { $0 + UInt64($1.count) }
        do {
            try ledger.receive(
                firstSequence: firstSequence,
                events: events,
                bytes: UInt64(bytes)
            )
        } catch {
            preconditionFailure("the engine keeps within what was asked: \(error)")
        }
        queuedBytes += bytes
        gateway.queuedBytes += bytes
        for run in runs { items.append(.run(RunText(run, topic: topic))) }
        if case .exactly = demand, ledger.credit == 0 { finish() }
        exchange.resume()
    }

    func gap(_ gap: Gap) {
        let object = "{\"from\":\(gap.from),\"to\":\(gap.to),\"count\":\(gap.count)}"
        add("gap", Array(object.utf8), window: Limits.gapWindowBytes)
    }

    func mark(_ mark: Mark, offset: UInt64) {
        switch mark {
        case .end: add("end", Array("{\"offset\":\(offset)}".utf8), window: mark.windowBytes)
        case .marker(let words):
            var object = Array("{\"offset\":\(offset),\"text\":".utf8)
            JSONText.append(String(decoding: words, as: UTF8.self), to: &object)
            add("marker", object + Array("}".utf8), window: mark.windowBytes)
        }
    }

    private func add(_ name: String, _ object: [UInt8], window: Int) {
        var text: [UInt8] = []
        form.appendWord(name, object, to: &text)
        add(.text(text, window: window))
    }

    private func add(_ item: Item) {
        if case .text(_, let window) = item {
            queuedBytes += window
            gateway.queuedBytes += window
        }
        items.append(item)
        exchange.resume()
    }

    func status(_ status: Status) {
        guard status.isDrained, !isDone else { return }
        try? ledger.book(
            forfeited: status.forfeited,
            forfeitedBytes: status.forfeitedBytes
        )
        if case .window = demand { return }
        if case .spoken = demand, !exchange.isBodyComplete { return }
        finish()
        exchange.resume()
    }

    func closed(_ close: Close) {
        link.lose()
        say(close)
    }

    /// Ends a stream with why it ends.
    private func say(_ close: Close) {
        isDone = true
        switch demand {
        case .window, .spoken:
            var object = Array("{\"code\":\"\(close.code)\",\"detail\":".utf8)
            JSONText.append(close.reason, to: &object)
            add("closed", object + Array("}".utf8), window: 0)
        case .exactly, .round: break
        }
        exchange.resume()
    }

    /// Nothing more comes on the link.
    private func finish() {
        isDone = true
        link.closeSoon()
    }

    func end() {
        isDone = true
        if let timer { gateway.loop.cancel(timer) }
        timer = nil
        items = []
        gateway.queuedBytes -= queuedBytes
        queuedBytes = 0
        link.close()
    }

    func leave() {
        isDone = true
        if exchange.isAnswered {
            exchange.resume()
        } else {
            exchange.refuse(Problem(.brokerHasStopped))
        }
    }
}

// MARK: - What the client says

extension Reading {
    private struct Words: Decodable { let demand: UInt32 }

    func receive(_ bytes: [UInt8]) {
        guard case .spoken = demand, !isDone else { return }
        heard += bytes
        while let end = heard.firstIndex(of: UInt8(ascii: "\n")) {
            let line = Data(heard[..<end])
            heard.removeFirst(end + 1)
            if !line.isEmpty { hear(line) }
        }
        guard heard.count > Limits.helloBytesMax else { return }
        refuse("a line has at most \(Limits.helloBytesMax) bytes")
    }

    private func hear(_ line: Data) {
        guard !isDone else { return }
        guard let words = try? JSONDecoder().decode(Words.self, from: line), words.demand > 0,
            ledger.credit + UInt64(words.demand) <= Limits.demandMax
        else {
            let most = Limits.demandMax
            return refuse("a line is {\"demand\":n}; at most \(most) may be asked for at a time")
        }
        ask(words.demand)
    }

    private func refuse(_ text: String) {
        heard = []
        let close = Close(.badDemand, reason: text)
        if exchange.isAnswered {
            say(close)
        } else {
            // The link may open on another shard still, and is closed before it can tell so.
            isDone = true
            exchange.refuse(Problem(close))
        }
        finish()
    }

    /// The client asks for nothing more: it gets what waits, and the rest is forfeited.
    func complete() {
        guard case .spoken = demand, !isDone else { return }
        let rest = Data(heard)
        heard = []
        if !rest.isEmpty { hear(rest) }
        guard !isDone else { return }
        ask(flags: .drain)
    }
}

// MARK: - What the client takes

extension Reading {
    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyPart {
        var filled = 0
        var window = 0
        while filled < buffer.count {
            if taken == text.count, !encode(&window) { break }
            let count = text.copy(from: taken, into: buffer, behind: filled)
            taken += count
            filled += count
        }
        give(window)
        replenish()
        if filled > 0 { return .bytes(filled) }
        return isDone ? .ended : .nothingNow
    }

    /// Makes text of what comes next; false if there is nothing.
    private func encode(_ window: inout Int) -> Bool {
        text.removeAll(keepingCapacity: true)
        taken = 0
        encodedBefore = encoded
        switch items.popFirst() {
        case nil:
            guard isDone, !isClosingSaid else { return false }
            isClosingSaid = true
            text = form.closing(isEmpty: isFirst)
            return !text.isEmpty
        case .text(let words, let bytes)?:
            text = words
            window += bytes
        case .run(var events)?:
            let (object, offset, bytes) = events.next(content)
            if !events.isAtEnd { items.prepend(.run(events)) }
            window += bytes
            owed += 1
            encoded += 1
            if case .round(let isWanted?) = demand, !isWanted(object) { return true }
            form.append(object, id: offset, isFirst: isFirst, to: &text)
            isFirst = false
        }
        return true
    }

    var eventsTaken: UInt64 { taken == text.count ? encoded : encodedBefore }

    private var content: RunText.Content {
        if case .round = demand { return .payload }
        if case .records = form { return .record }
        return .object
    }

    /// Gives the link the room back that was taken: what comes by that comes in a later turn.
    private func give(_ bytes: Int) {
        guard bytes > 0 else { return }
        queuedBytes -= bytes
        gateway.queuedBytes -= bytes
        link.wrote(bytes: bytes)
    }

    private func replenish() {
        guard case .window(let most) = demand, link.isOpen, owed > 0 else { return }
        guard owed >= max(1, most / 2) || items.isEmpty else { return }
        let events = owed
        owed = 0
        ask(events)
    }
}

extension Gateway {
    func fetch(
        _ exchange: HTTPExchange,
        from topic: String,
        _ query: Query
    ) throws(Refusal) {
        if isWinding {
            refuseStopping(exchange)
            return
        }
        let count = try query.events("demand", or: 1, most: UInt32(Limits.demandMax))
        let wait = try query.time("wait", or: .zero)
        let reading = Reading(
            exchange,
            of: topic,
            .exactly(count, wait: wait),
            as: .accepted(exchange.request["accept"], of: [.array, .lines, .records]),
            self
        )
        exchange.handler = reading
        reading.begin(try consumer(of: topic, query))
    }

    func stream(
        _ exchange: HTTPExchange,
        from topic: String,
        _ query: Query
    ) throws(Refusal) {
        if isWinding {
            refuseStopping(exchange)
            return
        }
        let demand: Reading.Demand
        if exchange.request.method == "POST" {
            demand = .spoken
        } else {
            demand = .window(
                try query.events(
                    "demand",
                    or: UInt32(Limits.streamDemandDefault),
                    most: UInt32(Limits.demandMax)
                )
            )
        }
        let forms: [EventText] = [.lines, .serverSent, .records]
        let form = EventText.accepted(exchange.request["accept"], of: forms)
        let reading = Reading(exchange, of: topic, demand, as: form, self)
        exchange.handler = reading
        reading.begin(try consumer(of: topic, query))
    }

    private func consumer(of topic: String, _ query: Query) throws(Refusal) -> Open {
        var open = Open(role: .sink, topic: topic)
        if let group = query["group"] {
            if let fault = NameRule.group.fault(in: group) { throw Refusal(fault) }
            open.group = Name(group)
        }
        open.start = try query.start("from")
        return open
    }
}
