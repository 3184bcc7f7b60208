import SluiceCore
import Testing

/// A topic that is driven like the GenStage of a scenario, with `ahead` 0.
private struct Stage {
    private var topic: Topic
    private var effects = Effects()
    private let isBare: Bool
    private var answersDemand = false
    private var next = 1
    private let producer: LinkID
    private var links: [String: (id: LinkID, ledger: Ledger)] = [:]
    private var outcome = Outcome()
    private let now = Instant(nanoseconds: 1)

    init(_ words: [String]) {
        var options = TopicOptions()
        options.ahead = 0
        isBare = words[1] == "disp"
        var startsPaused = false
        options.capacity = isBare ? 0 : 10_000
        options.onFull = isBare ? .dropNewest : .dropOldest
        for word in words {
            switch word {
            case "auto=1": answersDemand = true
            case "demand=accumulate": startsPaused = true
            case "buffer_keep=first": options.onFull = .dropNewest
            case "buffer_size=infinity": options.capacity = Limits.bufferEventsMax
            case _ where word.hasPrefix("buffer_size="):
                options.capacity = UInt64(word.dropFirst("buffer_size=".count)) ?? 0
            default: continue
            }
        }
        topic = Topic(name: "stage", options: options)
        if startsPaused { topic.apply(.pause(true), at: now, into: &effects) }
        producer = topic.nextLink()
        topic.apply(.openProducer(producer, .unknown), at: now, into: &effects)
        settle()
    }

    mutating func run(_ words: [String]) -> Outcome {
        outcome = Outcome()
        switch words[0] {
        case "sub": subscribe(words[1])
        case "ask": ask(words[1], UInt32(words[2]) ?? 0)
        case "cancel", "kill": cancel(words[1])
        case "resub":
            cancel(words[1])
            subscribe(words[2])
        case "dispatch", "emit": emit(words.dropFirst().compactMap { Int($0) })
        case "mode": topic.apply(.pause(words[1] == "accumulate"), at: now, into: &effects)
        case "count": outcome.buffered = Int(topic.buffered)
        default: Issue.record("no such step: \(words)")
        }
        settle()
        return outcome
    }

    private mutating func subscribe(_ name: String) {
        guard links[name] == nil else { return outcome.cancelled.append(name) }
        let id = topic.nextLink()
        links[name] = (id, Ledger())
        topic.apply(.openConsumer(id, ConsumerOpening()), at: now, into: &effects)
    }

    private mutating func ask(_ name: String, _ events: UInt32) {
        guard let ask = links[name]?.ledger.ask(events: events), let id = links[name]?.id else {
            return outcome.cancelled.append(name)
        }
        topic.apply(.ask(id, ask), at: now, into: &effects)
    }

    private mutating func cancel(_ name: String) {
        guard let id = links.removeValue(forKey: name)?.id else { return }
        topic.apply(.close(id), at: now, into: &effects)
        // A bare dispatcher tells nobody: the stage around it does.
        if !isBare { outcome.cancelled.append(name) }
    }

    private mutating func emit(_ events: [Int]) {
        let discarded = topic.counters.discarded
        topic.consumeGrant(producer, events: UInt64(events.count))
        let kept = topic.emit(events.map(record), events: UInt64(events.count), time: 0)
        if isBare { outcome.leftover += events.dropFirst(Int(kept)) }
        settle()
        if !isBare { outcome.discarded += Int(topic.counters.discarded - discarded) }
    }

    private func record(_ number: Int) -> Run {
        let slab = Slab(capacity: 8)
        let count = slab.fill { memory in
            memory.storeBytes(of: UInt32(4).bigEndian, as: UInt32.self)
            memory.storeBytes(of: UInt32(number), toByteOffset: 4, as: UInt32.self)
            return 8
        }
        return Run(slab: slab, bytes: 0..<count, count: 1)
    }

    /// Lets the topic come to rest; a producer that answers demand does so at once.
    private mutating func settle() {
        var demand = 0
        while topic.advance(at: now, into: &effects) { continue }
        for effect in effects.list {
            switch effect {
            case .ask(_, let ask): demand += Int(ask.events)
            case .deliver(let id, let delivery): note(id, delivery)
            case .close(let id, let code, _): Issue.record("\(id) closed with \(code)")
            default: continue
            }
        }
        effects.removeAll()
        #expect(topic.violations() == [])
        #expect(topic.strandedEvents() == [])
        outcome.demand += demand
        guard answersDemand, demand > 0 else { return }
        let events = Array(next..<(next + demand))
        next += demand
        emit(events)
    }

    private mutating func note(_ id: LinkID, _ delivery: Delivery) {
        guard let name = links.first(where: { $0.value.id == id })?.key else {
            Issue.record("a delivery to nobody")
            return
        }
        for run in effects.runs[delivery.runs] {
            run.slab.withUnsafeBytes(run.bytes) { bytes in
                for position in stride(from: 4, to: bytes.count, by: 8) {
                    let number = bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)
                    outcome.deliveries[name, default: []].append(Int(number))
                }
            }
        }
    }
}

@Suite("What the real GenStage does")
struct GenStageTests {
    /// Where Sluice differs on purpose, step by step: decision 006 shows both traces.
    private static let sluice: [String: [Int: Outcome]] = [
        "S05": [
            6: Outcome(deliveries: ["c2": [1, 2, 3]]),
            7: Outcome(buffered: 0),
            8: Outcome(),
        ],
        "S06": [
            5: Outcome(buffered: 6),
            6: Outcome(deliveries: ["c1": [1, 2, 3, 4, 5]]),
        ],
        "S22": [
            5: Outcome(deliveries: ["c2": [1, 2, 3]]),
            6: Outcome(deliveries: ["c2": [4]]),
            7: Outcome(buffered: 0),
            8: Outcome(demand: 5),
        ],
        "S25": [
            0: Outcome(discarded: 3),
            1: Outcome(buffered: 2),
            2: Outcome(),
        ],
    ]

    @Test(
        "is what a topic does with nothing ahead",
        arguments: Scenario.all.filter { !Scenario.notRun.contains($0.name) }
    )
    func matches(_ scenario: Scenario) {
        var stage = Stage(scenario.steps[0].words)
        for (number, step) in scenario.steps.dropFirst().enumerated() {
            var expected = step.outcome
            if let own = Self.sluice[scenario.name]?[number] {
                expected = own
            }
            let found = stage.run(step.words)
            #expect(found == expected, "step \(number): \(step.words.joined(separator: " "))")
        }
    }

    @Test("is read from all scenarios")
    func isComplete() {
        let names = Set(Scenario.all.map(\.name))
        #expect(names.count == 32)
        #expect(names.isSuperset(of: Scenario.notRun))
    }
}
