import DequeModule
package import SluiceCore

/// A topic with producers and consumers at the far ends of slow wires, all from one seed.
///
/// Every step does one random thing, lets the topic come to rest and asks all laws.
package struct World {
    package internal(set) var random: SeededGenerator
    package internal(set) var topic: Topic
    package internal(set) var effects = Effects()
    package internal(set) var now = Instant(nanoseconds: 0)
    package internal(set) var sinks: [FakeSink] = []
    package internal(set) var sources: [FakeSource] = []
    package internal(set) var steps: UInt64 = 0
    package internal(set) var deliveries: UInt64 = 0
    package internal(set) var checks: UInt64 = 0
    /// What broke, empty as long as all laws hold.
    package internal(set) var violations: [String] = []
    /// What was seen of each group, by its number in the topic.
    var books: [GroupBook?] = []
    /// What each event carries, by its offset; and what those do that are made next.
    var stamps: [UInt32] = []
    var shapes: [Shape] = []
    var newShapes: [Shape] = []
    /// The groups that something happened to since the laws were asked, by number.
    var touched = TouchedGroups()
    var nextStamp: UInt32 = 1
    /// One event in so many has a key; 0 for none.
    let keyedIn: Int
    /// One consumer in so many chooses among events; 0 for none.
    let choosesIn: Int
    /// One step in so many says a mark, by a generator of its own; 0 for none.
    private(set) var marksIn: Int
    var markRandom: SeededGenerator
    var markBook = MarkBook()
    /// Whether the topic's settings change, and what it did or does when it is full.
    let changesSettings: Bool
    var policies: Set<FullPolicy>
    /// What the topic's rate lets pass.
    var rate: HandBucket?
    var slab = Slab(capacity: 16_384)
    /// Whether the topic said that a step is due; it gets none unasked.
    var isDue = false
    /// Nothing is cut, closed or purged any more: all must flow.
    var isEnding = false
    /// Whether its producers bring so large events that few fill the topic.
    let isHeavy: Bool
    /// One step in so many brings consumers or takes some away together; 0 for none.
    private let rushesIn: Int
    /// One producer in so many is silent; 0 for none.
    private let silentIn: Int
    private var rushRandom: SeededGenerator
    /// When groups without members end, by a generator of its own; and since when they have none.
    var expiryRandom: SeededGenerator
    var aloneSince: [Name: Instant] = [:]
    /// Groups that a request made and none has removed.
    var keptGroups: Set<Name> = []
    /// The step in which one consumer loses more stretches than a step has effects; 0 for none.
    private let scattersIn: UInt64
    /// Bytes of memory that the topic has at most, by a generator of its own; nil for any number.
    private var memory: UInt64?
    private var memoryRandom: SeededGenerator
    /// How many of each kind may be there at a time.
    private let linksMax: Int

    package init(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var options = TopicOptions()
        options.ahead = [0, 0, 3, 50, 1_000, 10_000].randomElement(using: &random) ?? 0
        options.capacity = max(options.ahead, [0, 10, 1_000].randomElement(using: &random) ?? 0)
        options.bufferBytes =
            [1_000, 100_000, 67_108_864].randomElement(using: &random) ?? 1_000
        options.onFull =
            [.block, .block, .block, .dropOldest, .dropNewest].randomElement(using: &random)
            ?? .block
        options.recallMilliseconds = [100, 20_000].randomElement(using: &random) ?? 100
        options.group = Self.defaultGroup(&random)
        if Int.random(in: 0..<6, using: &random) == 0 { options.rate = Self.rate(&random) }
        rate = options.rate.map { HandBucket($0, at: Instant(nanoseconds: 0)) }
        linksMax = [2, 6, 12, 30].randomElement(using: &random) ?? 6
        keyedIn = [0, 1, 2].randomElement(using: &random) ?? 0
        choosesIn = [0, 3, 10].randomElement(using: &random) ?? 0
        markRandom = SeededGenerator(seed: seed ^ 0x6D61_726B)
        // Those that once broke did so without marks.
        let isNew = !Self.known.contains(seed)
        marksIn = isNew ? [0, 2, 10].randomElement(using: &markRandom) ?? 0 : 0
        var limitRandom = SeededGenerator(seed: seed ^ 0x6C69_6D69_7473)
        if isNew, Int.random(in: 0..<6, using: &limitRandom) == 0 {
            options.limits.eventBytes = UInt32.random(in: 20...60, using: &limitRandom)
        }
        isHeavy = isNew && Int.random(in: 0..<10, using: &limitRandom) == 0
        var scatterRandom = SeededGenerator(seed: seed ^ 0x7363_6174_7465_72)
        let scatters = isNew && Int.random(in: 0..<20, using: &scatterRandom) == 0
        scattersIn = scatters ? UInt64.random(in: 1...200, using: &scatterRandom) : 0
        memoryRandom = SeededGenerator(seed: seed ^ 0x6D65_6D6F_7279)
        if isNew, Int.random(in: 0..<6, using: &memoryRandom) == 0 {
            memory = UInt64.random(in: 10_000...1_000_000, using: &memoryRandom)
        }
        // A marker for which there is no memory ends its producer's link.
        if memory != nil { marksIn = 0 }
        rushRandom = SeededGenerator(seed: seed ^ 0x7275_7368)
        expiryRandom = SeededGenerator(seed: seed ^ 0x6578_7069_7265)
        rushesIn = isNew ? [0, 3, 20].randomElement(using: &rushRandom) ?? 0 : 0
        silentIn = isNew ? [0, 0, 2, 5].randomElement(using: &rushRandom) ?? 0 : 0
        options.groupExpiry.afterSeconds = isNew ? Self.expiry(&expiryRandom) : 0
        changesSettings = isNew
        policies = [options.onFull]
        self.random = random
        topic = Topic(name: "world", options: options)
        topic.memoryLimit = memory ?? .max
        for _ in 0..<roll(min(6, linksMax)) { addSink() }
        for _ in 0..<roll(3) { addSource() }
        settle()
    }

    /// Seeds of worlds that once broke; they are run before any others.
    package static let known: [UInt64] = [
        // A member that stood by let wait what the active one of its group refused.
        5,
        // One that waited for a batch let wait what its filter refused.
        1,
        // The next in order was not asked for an event that did not fit the first.
        25, 175,
        // Losses of a consumer that lags were told twice, or with their ends confused.
        64, 150,
        // In a broadcast whose last picker had left, what waited went to one member alone.
        279, 1_579, 1_922,
        // An event for several windows waited on after all of them were empty.
        3_183, 9_925,
        // What a lagging consumer lacked bytes for was dropped, and the next did not follow.
        9_312,
        // A window opened for one that lacked bytes in a partition, and no other was served.
        18_446_744_073_709_000_546,
        // A producer alone was granted more bytes for an event than any may have.
        77_009_878,
        // A batch began in one partition, where nothing fitted, and no other was looked at.
        77_013_824,
        // It ended before all that waited had flowed, one event a round.
        77_384_479,
        // What was said to one that lags came with the loss, and it was not looked at again.
        77_923_941,
    ]

    /// Lets the world of a seed live and end, as long as no law is broken.
    package static func run(seed: UInt64, life: UInt64? = nil) -> World {
        var world = World(seed: seed)
        let life = life ?? Self.life(of: seed)
        while world.steps < life, world.violations.isEmpty { world.step() }
        world.end()
        return world
    }

    /// How many steps the world of a seed lives before its troubles end.
    private static func life(of seed: UInt64) -> UInt64 {
        var random = SeededGenerator(seed: ~seed)
        return UInt64.random(in: 200...500, using: &random)
    }

    /// A number from 0 up to `limit`, which it never is.
    mutating func roll(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &random) }

    package mutating func step() {
        steps += 1
        letTimePass()
        let count = (sinks: sinks.count, sources: sources.count)
        switch roll(100) {
        case 0..<5: if count.sinks < linksMax { addSink() }
        case 5..<7: if count.sources < linksMax { addSource() }
        case 7..<40: if count.sources > 0 { moveSource(roll(count.sources)) }
        case 40..<92: if count.sinks > 0 { moveSink(roll(count.sinks)) }
        case 92..<95: if count.sinks > 0 { disturbSink(roll(count.sinks)) }
        case 95..<97: if count.sources > 0 { disturbSource(roll(count.sources)) }
        default: disturbTopic()
        }
        sayMark()
        shareMemory()
        if rushesIn > 0, Int.random(in: 0..<rushesIn, using: &rushRandom) == 0 { rush() }
        settle()
        if steps == scattersIn { scatter() }
    }

    /// Time goes on by a little, up to where the topic wants a step, or far beyond.
    private mutating func letTimePass() {
        now = now.advanced(milliseconds: 1)
        switch roll(100) {
        case 0..<5: now = max(now, topic.wakesAt ?? now)
        case 5..<10: now = now.advanced(milliseconds: UInt64(roll(300)))
        case 10: now = now.advanced(milliseconds: UInt64(roll(40_000)))
        default: return
        }
    }

    /// Others take of the memory, or give it back; then the topic may try again.
    // As in an engine, which says before a step how much a topic may hold.
    private mutating func shareMemory() {
        guard let memory else { return }
        switch Int.random(in: 0..<20, using: &memoryRandom) {
        case 0: topic.memoryLimit = UInt64.random(in: 0...memory, using: &memoryRandom)
        case 1: topic.memoryLimit = memory
        case 2: topic.givesFloors.toggle()
        case 3..<6: topic.retryGrants()
        default: return
        }
        isDue = true
    }

    /// Ends all shortage of memory.
    mutating func giveMemory() {
        memory = nil
        topic.memoryLimit = .max
        topic.givesFloors = true
        topic.retryGrants()
        isDue = true
    }

    /// Runs one command and books its effects.
    mutating func apply(_ command: Command) {
        touch(command)
        noteMembers()
        let head = topic.log.head
        if topic.apply(command, at: now, into: &effects) { isDue = true }
        checkCount()
        if topic.log.head != head { touched.addAll() }
        book()
        noteOwners()
    }

    /// Lets the topic come to rest, holding every step against the laws.
    mutating func settle() {
        var rounds = 0
        while true {
            let isWoken = topic.wakesAt.map { $0 <= now } ?? false
            if isWoken { touched.addAll() }
            guard isWoken || isDue else { break }
            // What time brings members, they have before their turn comes.
            advance(in: isWoken ? [:] : firstInOrder())
            rounds += 1
            guard rounds < 10_000 else {
                violations.append("never comes to rest")
                return
            }
        }
        for index in sources.indices { checkAnswers(index) }
        checkCuts()
        checkExpiries()
        if steps & 63 == 0 { return checkAll() }
        guard !touched.isEmpty else { return }
        checks += 1
        violations += topic.violations { touched.contains($0) }
        violations += topic.strandedEvents { touched.contains($0) }
        for number in topic.groupTable.indices where touched.contains(number) {
            checkBook(of: number)
        }
        checkRate()
        touched.removeAll()
    }

    /// A step of the topic, which serves these members first of their groups.
    mutating func advance(in orders: [Int: [UInt32]] = [:]) {
        noteMembers()
        isDue = topic.advance(at: now, into: &effects)
        // Those who came since the last step have what they share from its beginning on.
        noteOwners()
        checkStep()
        checkOrder(orders)
        book()
        noteOwners()
    }

    /// Whose turn it is in the groups where that is certain.
    private func firstInOrder() -> [Int: [UInt32]] {
        var orders: [Int: [UInt32]] = [:]
        for number in topic.groupTable.indices where touched.contains(number) {
            if let first = topic.firstInOrder(ofGroup: number) { orders[number] = first }
        }
        return orders
    }

    /// All laws, whatever the last step was about.
    mutating func checkAll() {
        checks += 1
        violations += topic.violations()
        violations += topic.strandedEvents()
        for number in topic.groupTable.indices { checkBook(of: number) }
        checkRate()
        touched.removeAll()
    }

    private mutating func checkStep() {
        var moves = 0
        var granted: (events: UInt64, bytes: UInt64) = (0, 0)
        for effect in effects.list {
            switch effect {
            case .deliver: moves += 1
            case .ask(_, let ask):
                granted.events += UInt64(ask.events)
                granted.bytes += UInt64(ask.bytes)
            default: continue
            }
        }
        // What goes to all members at once is not cut between them.
        if moves > Limits.effectsPerStepMax + sinks.count {
            violations.append("L9: \(moves) deliveries")
        }
        checkCount()
        if granted.events > 0 { violations += topic.overGranted() }
        if granted.bytes > 0 { violations += topic.overGrantedBytes() }
        if granted.events + granted.bytes > 0 { violations += topic.overReserved() }
    }

    private mutating func checkCount() {
        if effects.list.count > Limits.effectsPerStepMax + 4 * (sinks.count + sources.count) + 4 {
            violations.append("L9: \(effects.list.count) effects")
        }
    }
}

// MARK: - What can happen

extension World {
    /// Consumers come and go, and the topic has no step between them.
    private mutating func rush() {
        for _ in 0..<Int.random(in: 2...8, using: &rushRandom) {
            if Bool.random(using: &rushRandom), sinks.count < linksMax {
                addSink()
            } else if !sinks.isEmpty {
                let index = Int.random(in: 0..<sinks.count, using: &rushRandom)
                apply(.close(sinks[index].id))
                sinks.remove(at: index)
            }
        }
    }

    mutating func addSource() {
        let id = topic.nextLink()
        var kind = FakeSource.Kind.allCases[roll(3)]
        if !isEnding, silentIn > 0, Int.random(in: 0..<silentIn, using: &rushRandom) == 0 {
            kind = .silent
        }
        var source = FakeSource(id: id, kind: kind)
        if kind == .announcing { source.waiting.append(contentsOf: sizes(1 + roll(50))) }
        let backlog = source.report().available
        sources.append(source)
        let owner = UInt64.random(in: 0..<3, using: &rushRandom)
        apply(.openProducer(id, Backlog(available: backlog), owner: owner))
    }

    /// Sizes of so many records, or fewer if they are large: else few are larger than a window.
    mutating func sizes(_ count: Int) -> [Int] {
        guard !isHeavy else {
            return (0..<min(count, 10)).map { _ in
                8 + roll(roll(3) > 0 ? 60 : Limits.eventBytesMax - 8)
            }
        }
        return (0..<count).map { _ in
            guard roll(400) == 0 else { return 8 + roll(60) }
            return 8 + roll(roll(20) == 0 ? 1_000_000 : 90_000)
        }
    }

    /// One thing that a producer or its wire does.
    mutating func moveSource(_ index: Int) {
        guard sources[index].isAttached else { return attachSource(index) }
        switch roll(8) {
        case 0..<3: receiveAsk(index)
        case 3..<6: receivePublication(index)
        case 6:
            sources[index].send(upTo: 1 + roll(roll(4) == 0 ? 2_000 : 10))
        default:
            guard sources[index].kind != .silent else { return }
            let room = sources[index].kind == .idle && roll(10) > 0 && !isEnding
            guard !room, sources[index].waiting.count < 2_000 else { return }
            let more = sizes(1 + roll(roll(10) == 0 ? 500 : 20))
            sources[index].waiting.append(contentsOf: more)
            if sources[index].kind != .unknown {
                sources[index].outbox.append(.report(sources[index].report()))
            }
        }
    }

    /// The next DEMAND arrives at the producer; a STOP is answered at once.
    mutating func receiveAsk(_ index: Int) {
        guard let ask = sources[index].inbox.popFirst() else { return }
        do {
            try sources[index].ledger.apply(ask)
        } catch {
            violations.append("L2 at a producer: \(error) by \(ask)")
        }
        if ask.flags.contains(.stop) {
            sources[index].outbox.append(.report(sources[index].report(isDrained: true)))
        }
    }

    mutating func receivePublication(_ index: Int) {
        guard let frame = sources[index].outbox.popFirst() else { return }
        let id = sources[index].id
        switch frame {
        case .report(let report): apply(.report(id, report))
        case .events(let sequence, let sizes):
            let runs = records(sizes)
            let bytes = UInt64(sizes.reduce(0, +))
            let publication = Publication(
                firstSequence: sequence,
                events: UInt64(sizes.count),
                bytes: bytes,
                runs: runs,
                time: steps
            )
            let largest = topic.options.limits.eventBytes
            mark(sizes, upTo: largest)
            markBook.publish(id, allTooLarge: sizes.allSatisfy { $0 > Int(largest) })
            if rate?.take(publication.events, at: now) == false {
                violations.append("\(publication.events) came beyond the topic's rate")
            }
            let head = topic.log.head
            apply(.publish(id, publication))
            expectAnswers(to: sizes, from: sequence, kept: Int(topic.log.head - head), of: id)
        }
    }

    /// One thing that a consumer or its wire does.
    mutating func moveSink(_ index: Int) {
        guard sinks[index].isAttached else { return attachSink(index) }
        switch roll(10) {
        case 0..<4: read(index)
        case 4..<7:
            guard let ask = sinks[index].outbox.popFirst() else { return }
            apply(.ask(sinks[index].id, ask))
        default: ask(index)
        }
    }

    mutating func ask(_ index: Int) {
        var flags: AskFlags = []
        if !isEnding {
            if roll(30) == 0 { flags.insert(.stop) }
            if roll(30) == 0 { flags.insert(.drain) }
            if roll(20) == 0 { flags.insert(.echo) }
        }
        let ledger = sinks[index].ledger
        var events = ledger.credit < 100_000 ? 1 + roll(roll(5) == 0 ? 5_000 : 30) : 0
        var bytes = 0
        if sinks[index].tracksBytes, ledger.byteCredit ?? 0 < 10_000_000 {
            bytes = 1 + roll(roll(5) == 0 ? 1_100_000 : 3_000)
        }
        if isEnding { bytes = sinks[index].tracksBytes ? bytes + 100_000 : 0 }
        if roll(3) == 0, bytes > 0 || !flags.isEmpty { events = 0 }
        guard events > 0 || bytes > 0 || !flags.isEmpty else { return }
        let ask = sinks[index].ledger.ask(
            events: UInt32(events),
            bytes: UInt32(bytes),
            flags: flags
        )
        sinks[index].outbox.append(ask)
    }
}
