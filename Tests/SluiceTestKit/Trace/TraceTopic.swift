import SluiceCore

/// A topic that is driven like the GenStage of a scenario, with `ahead` 0.
///
/// A bare dispatcher is a topic of capacity 0: what it cannot deliver goes back to its caller.
/// In a stage by partition or with selectors the producer hands over what is wanted and keeps the
/// rest, as GenStage's buffer lies before the hash and the selectors; in the others the topic's own
/// buffer takes it.
struct TraceTopic {
    struct Consumer {
        var name: String
        var id: LinkID
        var process: String
        var owner: UInt64
        var partition: UInt16?
        /// What a bare dispatcher's consumer wants; it pays for what it refuses, as nobody is
        /// there to ask again for it.
        var selector: Filter?
        var ledger = Ledger()
    }

    /// An event or a mark that waits at the producer.
    struct Pending {
        var number = 0
        var marker: String?
    }

    let beginning: Scenario.Beginning
    let records: NumberRecords
    var topic: Topic
    var effects = Effects()
    let producer: LinkID
    /// The newest, or who asked last, first.
    var consumers: [Consumer] = []
    /// Whether the producer keeps what is not wanted.
    let holdsBack: Bool
    var backlog: [Pending] = []
    /// Marks that nobody has heard, and the offsets before which they were said.
    var markers: [(text: String, offset: UInt64)] = []
    /// Marks that were heard in this step.
    var heard: [String] = []
    var nextNumber = 1
    /// Demand that is passed on when the step's own is.
    var later: [Int] = []
    var lines: [String] = []
    /// The laws that were broken on the way.
    var broken: [String] = []
    var refusal: CloseCode?
    let now = Instant(nanoseconds: 1)
    private static let windowBytes = 1 << 30

    var isBare: Bool { beginning.kind == .bare }
    var isByPartition: Bool { beginning.dispatcher == .partition }

    init(_ scenario: Scenario, _ beginning: Scenario.Beginning) {
        self.beginning = beginning
        records = NumberRecords(scenario, beginning)
        var options = TopicOptions()
        options.ahead = 0
        options.capacity = beginning.bufferSize ?? Limits.bufferEventsMax
        options.onFull = beginning.keepsFirst ? .dropNewest : .dropOldest
        holdsBack =
            beginning.kind != .bare
            && (beginning.dispatcher == .partition
                || beginning.dispatcher == .broadcast && records.hasSelectors)
        if holdsBack || beginning.dispatcher == .partition {
            options.capacity = Limits.bufferEventsMax
            options.onFull = .block
        } else if beginning.kind == .bare {
            options.capacity = 0
            options.onFull = .dropNewest
        }
        topic = Topic(name: "trace", options: options)
        // It sees how small the records are: not knowing, it would grant fewer than are asked.
        _ = topic.emit([records.run(of: [0])], events: 1, time: 0)
        topic.apply(.purge, at: now, into: &effects)
        if beginning.accumulates { topic.apply(.pause(true), at: now, into: &effects) }
        producer = topic.nextLink()
        topic.apply(.openProducer(producer, .unknown), at: now, into: &effects)
        _ = settle()
    }
}

// MARK: - Steps

extension TraceTopic {
    mutating func subscribe(_ name: String, _ member: Scenario.Member) {
        guard consumer(name) == nil else { return refuse(name, "duplicated_subscription") }
        var opening = ConsumerOpening()
        opening.wish.dispatcher = DispatcherKind(beginning.dispatcher)
        if isByPartition {
            guard let partition = member.partition else {
                return refuse(
                    name,
                    "the :partition option is required when subscribing to a producer "
                        + "with partition dispatcher",
                    .badOption
                )
            }
            // Several may have a partition in Sluice; in GenStage only one may.
            guard !consumers.contains(where: { $0.partition == partition }) else {
                return refuse(name, "the partition \(partition) is already taken by <PID>", .exists)
            }
            opening.wish.partitions = beginning.partitions
            opening.member.claims = [partition]
        }
        let selector = beginning.dispatcher == .broadcast ? member.selector : nil
        let filter = selector.flatMap(NumberRecords.filter)
        if !isBare { opening.member.filter = filter }
        let process = member.process ?? "of \(name)"
        opening.owner = owner(process)
        let id = topic.nextLink()
        topic.apply(.openConsumer(id, opening), at: now, into: &effects)
        // No connection lies between: what is asked could all be written at once.
        topic.apply(.window(id, bytes: Self.windowBytes), at: now, into: &effects)
        let consumer = Consumer(
            name: name,
            id: id,
            process: process,
            owner: opening.owner,
            partition: member.partition,
            selector: isBare ? filter : nil
        )
        consumers.insert(consumer, at: 0)
        let demand = settle()
        if let code = refusal {
            refusal = nil
            consumers.removeAll { $0.id == id }
            return refuse(name, code, member)
        }
        answer(demand, before: lines.count)
    }

    mutating func ask(_ name: String, _ events: UInt32) {
        guard let place = consumers.firstIndex(where: { $0.name == name }) else {
            return refuse(name, "unknown_subscription")
        }
        let start = lines.count
        if events > 0 {
            var consumer = consumers.remove(at: place)
            let ask = consumer.ledger.ask(events: events)
            consumers.insert(consumer, at: 0)
            topic.apply(.ask(consumer.id, ask), at: now, into: &effects)
        }
        answer(settle(), before: start)
    }

    mutating func cancel(_ name: String, _ kind: String, _ reason: String) {
        guard let consumer = consumer(name) else {
            if isBare { lines.append("= error unknown_subscription") }
            return
        }
        leave(consumer, kind, reason)
        answer(settle(), before: lines.count)
    }

    /// A process dies with all its subscriptions.
    mutating func kill(_ name: String) {
        guard let process = consumer(name)?.process else { return cancel(name, "down", "killed") }
        for consumer in consumers.reversed() where consumer.process == process {
            cancel(consumer.name, "down", "killed")
        }
    }

    mutating func resubscribe(_ old: String, _ name: String, _ member: Scenario.Member) {
        guard consumer(name) == nil else { return refuse(name, "duplicated_subscription") }
        cancel(old, "cancel", "resub")
        subscribe(name, member)
    }

    mutating func accumulate(_ accumulates: Bool) {
        topic.apply(.pause(accumulates), at: now, into: &effects)
        answer(settle(), before: lines.count)
    }

    mutating func count() {
        lines.append("@ buffered \(Int(topic.buffered) + backlog.count { $0.marker == nil })")
    }

    private func consumer(_ name: String) -> Consumer? { consumers.first { $0.name == name } }

    /// A number for a process: no two of those that are there have the same.
    private func owner(_ process: String) -> UInt64 {
        let other = consumers.first { $0.process == process }
        return other?.owner ?? (consumers.map(\.owner).max() ?? 0) + 1
    }

    private mutating func leave(_ consumer: Consumer, _ kind: String, _ reason: String) {
        consumers.removeAll { $0.id == consumer.id }
        topic.apply(.close(consumer.id), at: now, into: &effects)
        // A bare dispatcher tells nobody: the stage around it does.
        guard !isBare else { return }
        lines.append("x \(consumer.name) :\(reason)")
        lines.append("% cancel \(kind) :\(reason) \(consumer.name)")
    }
}

// MARK: - Refusals

extension TraceTopic {
    /// Says why a subscription is not to be: a bare dispatcher in words, a stage with a reason.
    private mutating func refuse(_ name: String, _ text: String, _ code: CloseCode? = nil) {
        guard isBare else {
            let reason = code.map { $0.description.lowercased() } ?? text
            return lines.append("x \(name) :\(reason)")
        }
        lines.append("= error \(text)")
    }

    private mutating func refuse(_ name: String, _ code: CloseCode, _ member: Scenario.Member) {
        if code == .exists {
            refuse(name, "already_subscribed")
            if !isBare { lines.append("% cancel cancel :already_subscribed \(name)") }
            return
        }
        let known = (0..<beginning.partitions).map(String.init).joined(separator: ", ")
        let found = member.partition.map(String.init) ?? "none"
        refuse(name, ":partition must be one of [\(known)], got: \(found)", code)
    }
}

extension DispatcherKind {
    fileprivate init(_ dispatcher: Scenario.Beginning.Dispatcher) {
        switch dispatcher {
        case .demand: self = .demand
        case .broadcast: self = .broadcast
        case .partition: self = .partition
        }
    }
}
