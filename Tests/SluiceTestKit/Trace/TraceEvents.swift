// Events that come to the topic of a trace, and those that go out of it.

import SluiceCore

extension TraceTopic {
    /// A bare dispatcher is given events, or the stage's producer sends them.
    mutating func emit(_ numbers: [Int]) {
        if isBare { dispatch(numbers) } else { send(numbers) }
    }

    // MARK: A bare dispatcher

    private mutating func dispatch(_ numbers: [Int]) {
        let start = lines.count
        var kept = numbers.count
        var paid = numbers.count
        switch beginning.dispatcher {
        case .demand: kept = put(numbers)
        case .broadcast:
            kept = put(numbers)
            paid = kept
        case .partition:
            (kept, paid) = routed(numbers)
            _ = put(Array(numbers.prefix(kept)))
        }
        topic.consumeGrant(producer, events: UInt64(paid))
        _ = settle()
        lines.insert(Self.line("= leftover", Array(numbers.dropFirst(kept))), at: start)
        lines.insert(contentsOf: numbers.prefix(kept).compactMap(unknownPartition), at: start)
    }

    /// How many of the numbers go to partitions before what was granted is used up, and how many
    /// of those use it.
    private func routed(_ numbers: [Int]) -> (kept: Int, paid: Int) {
        var paid = 0
        for (place, number) in numbers.enumerated() {
            guard paid < topic.granted else { return (place, paid) }
            if records.isRouted(number) { paid += 1 }
        }
        return (numbers.count, paid)
    }

    /// What GenStage says of a number that its hash leads nowhere.
    private func unknownPartition(_ number: Int) -> String? {
        guard isByPartition, let partition = records.partition(of: number),
            !records.isRouted(number)
        else { return nil }
        let known = (0..<beginning.partitions).map(String.init).joined(separator: ", ")
        return "= error unknown partition \(partition) computed for GenStage event \(number). "
            + "The known partitions are [\(known)]. See the :partitions option to set your own. "
            + "This event has been discarded."
    }

    // MARK: A stage

    private mutating func send(_ numbers: [Int]) {
        let demand = take(numbers)
        handleDemand(demand)
    }

    /// Takes what the producer sends; returns what is asked of it then.
    mutating func take(_ numbers: [Int]) -> Int {
        let discarded = topic.counters.discarded
        let granted = topic.granted
        lines += numbers.compactMap(unknownPartition)
        topic.consumeGrant(producer, events: UInt64(numbers.count))
        guard holdsBack else {
            _ = put(numbers)
            let demand = settle()
            showLoss(Int(topic.counters.discarded - discarded))
            return demand
        }
        let now = backlog.isEmpty ? min(numbers.count, wanted(granted: granted)) : 0
        _ = put(Array(numbers.prefix(now)))
        backlog += numbers.dropFirst(now).map { Pending(number: $0) }
        showLoss(boundBacklog())
        return settle()
    }

    private mutating func showLoss(_ events: Int) {
        if events > 0 { lines.append("- discarded \(events)") }
    }

    /// Events that may be handed over now: what was granted before the hash, what all members can
    /// take before the selectors.
    private func wanted(granted: UInt64) -> Int {
        guard !isByPartition else { return Int(granted) }
        return topic.groups.isEmpty ? 0 : Int(topic.credit(ofGroup: 0))
    }

    /// Drops what the stage's buffer does not hold; the marks among it are free to be told.
    private mutating func boundBacklog() -> Int {
        guard let most = beginning.bufferSize.map(Int.init) else { return 0 }
        var lost = 0
        while backlog.count(where: { $0.marker == nil }) > most {
            let isNumber = { (pending: Pending) in pending.marker == nil }
            let place =
                beginning.keepsFirst
                ? backlog.lastIndex(where: isNumber) : backlog.firstIndex(where: isNumber)
            if let place { backlog.remove(at: place) }
            lost += 1
        }
        return lost
    }

    /// Asks the producer, which answers at once if it is made so.
    mutating func handleDemand(_ first: Int) {
        var demands = [first] + later
        later = []
        guard beginning.kind == .stage else { return }
        var rounds = 0
        while !demands.isEmpty {
            let demand = demands.removeFirst()
            guard demand > 0 else { continue }
            lines.append("^ demand \(demand)")
            // A consumer that refuses everything would be served for ever.
            rounds += 1
            guard beginning.answersDemand, rounds < Self.roundsMax else { continue }
            let numbers = Array(nextNumber..<(nextNumber + demand))
            nextNumber += demand
            demands.append(take(numbers))
            demands += later
            later = []
        }
    }

    private static let roundsMax = 10_000

    /// Tells upstream what came of a step; a bare dispatcher returns it before what it delivers.
    mutating func answer(_ demand: Int, before place: Int) {
        if isBare {
            lines.insert("= demand \(demand)", at: place)
        } else {
            handleDemand(demand)
        }
    }

    // MARK: The topic

    /// Gives the topic events; returns how many it kept.
    ///
    /// GenStage's hash may lead nowhere, where the topic's always finds a partition: what it leads
    /// nowhere is discarded here.
    private mutating func put(_ numbers: [Int]) -> Int {
        let routed = isByPartition ? numbers.filter(records.isRouted) : numbers
        guard !routed.isEmpty else { return 0 }
        return Int(topic.emit([records.run(of: routed)], events: UInt64(routed.count), time: 0))
    }

    /// Lets the topic come to rest; returns what it asks of its producer.
    mutating func settle() -> Int {
        var demand = advance()
        while let next = backlog.first, next.marker != nil || wanted(granted: topic.granted) > 0 {
            if let marker = next.marker {
                backlog.removeFirst()
                say(marker)
            } else {
                let wanted = wanted(granted: topic.granted)
                let numbers = backlog.prefix { $0.marker == nil }.prefix(wanted).map(\.number)
                backlog.removeFirst(numbers.count)
                topic.consumeGrant(producer, events: UInt64(numbers.count))
                _ = put(numbers)
                demand = max(0, demand - numbers.count)
            }
            let more = advance()
            // What is asked again for refused events comes behind the ask that they were for.
            if backlog.isEmpty, demand > 0, more > 0 { later.append(more) } else { demand += more }
        }
        broken += topic.violations() + topic.strandedEvents()
        return demand
    }

    private mutating func advance() -> Int {
        var demand = 0
        var given: [Given] = []
        var wrote: [(id: LinkID, bytes: Int)] = []
        repeat {
            while topic.advance(at: now, into: &effects) { continue }
            wrote = []
            for effect in effects.list {
                switch effect {
                case .ask(_, let ask): demand += Int(ask.events)
                case .deliver(let id, let delivery):
                    for run in effects.runs[delivery.runs] { note(run, for: id, in: &given) }
                    wrote.append((id, Int(delivery.bytes)))
                case .close(_, let code, _): refusal = code
                default: continue
                }
            }
            effects.removeAll()
            for (id, bytes) in wrote {
                topic.apply(.wrote(id, bytes: bytes), at: now, into: &effects)
            }
        } while !wrote.isEmpty
        show(given)
        return demand
    }

    /// What a consumer was given at once, between two marks.
    private struct Given {
        var id: LinkID
        /// How many marks lie before it.
        var stretch: Int
        var numbers: [Int]
    }

    private func note(_ run: Run, for id: LinkID, in given: inout [Given]) {
        for (place, number) in NumberRecords.numbers(in: run).enumerated() {
            let offset = run.offset + UInt64(place)
            let stretch = markers.count { $0.offset <= offset }
            if let known = given.firstIndex(where: { $0.id == id && $0.stretch == stretch }) {
                given[known].numbers.append(number)
            } else {
                given.append(Given(id: id, stretch: stretch, numbers: [number]))
            }
        }
    }

    /// Shows deliveries in the order in which GenStage sends them.
    private mutating func show(_ given: [Given]) {
        var given = given
        if beginning.dispatcher == .broadcast {
            let order = consumers.map(\.id)
            given = order.flatMap { id in given.filter { $0.id == id } }
        }
        let stretches = Set(given.map(\.stretch)).sorted()
        for delivery in stretches.flatMap({ stretch in given.filter { $0.stretch == stretch } }) {
            guard let consumer = consumers.first(where: { $0.id == delivery.id }) else { continue }
            let numbers = delivery.numbers
            let taken = numbers.filter { number in
                guard let selector = consumer.selector else { return true }
                let run = records.run(of: [number])
                return run.slab.withBytes { selector.accepts($0.extracting(run.bytes)) }
            }
            if taken.count < numbers.count {
                lines.append("~ \(consumer.name) \(numbers.count - taken.count)")
            }
            if !taken.isEmpty { lines.append(Self.line("! \(consumer.name)", taken)) }
        }
    }

    static func line(_ start: String, _ numbers: [Int]) -> String {
        ([start] + numbers.map(String.init)).joined(separator: " ")
    }
}
