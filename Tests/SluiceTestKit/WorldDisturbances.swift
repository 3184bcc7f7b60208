import DequeModule
import SluiceCore

extension World {
    mutating func disturbSink(_ index: Int) {
        guard !isEnding else { return }
        switch roll(5) {
        case 0:
            apply(.close(sinks[index].id))
            sinks.remove(at: index)
        case 1...2:
            guard sinks[index].isAttached else { return }
            // Some of what is on the wire arrives still, the rest never does.
            for _ in 0..<roll(4) { read(index) }
            cutSink(index)
        case 3: sinks[index].reads.toggle()
        default:
            guard sinks[index].isAttached else { return }
            apply(.window(sinks[index].id, bytes: [4_096, 65_536][roll(2)]))
        }
    }

    private mutating func cutSink(_ index: Int) {
        sinks[index].isAttached = false
        lose(sinks[index].inbox, index)
        sinks[index].inbox = []
        sinks[index].outbox = []
        sinks[index].unwritten = 0
        if let ledger = topic.consumer(sinks[index].id)?.ledger {
            sinks[index].askedAtCut = ledger.asked
            sinks[index].creditAtCut = ledger.credit
        }
        apply(.detach(sinks[index].id))
    }

    /// A consumer of every other event, or of partitions, has a window full of them when its wire
    /// is cut, comes back, and is cut off again while it is told of more losses than a step has
    /// effects.
    mutating func scatter() {
        var opening = ConsumerOpening(events: UInt32(Limits.demandMax))
        // The one of partitions reads, and never says so: more is under way than is remembered.
        let isSilent = roll(3) == 0
        if isSilent {
            opening.group = "scattered"
            opening.wish.dispatcher = .partition
            opening.wish.partitions = 8
        } else {
            opening.wish.dispatcher = .independent
            opening.member.sampleOneIn = 2
        }
        open(opening, Taste(oneIn: isSilent ? 1 : 2), nil)
        guard let id = sinks.last?.id else { return }
        if isSilent { sinks[sinks.count - 1].reads = true }
        for _ in 0..<(isSilent ? 400 : 100) where sink(id) != nil {
            emitLocally()
            settle()
            if isSilent { while let index = sink(id), !sinks[index].inbox.isEmpty { read(index) } }
        }
        for steps in [1 + roll(3), 10_000] {
            guard let index = sink(id) else { return }
            cutSink(index)
            attachSink(index)
            for _ in 0..<steps where isDue { advance() }
            for _ in 0..<roll(600) { if let index = sink(id) { read(index) } }
        }
    }

    /// What was on the wire of a consumer goes with it, and has to be told when it comes back.
    private mutating func lose(_ frames: Deque<FakeSink.Frame>, _ index: Int) {
        var gaps = Deque<Gap>()
        for frame in frames {
            switch frame {
            case .events(_, _, let offsets): sinks[index].lost += offsets
            case .gap(let gap, _) where gap.reason == .cut:
                sinks[index].lost.append(gap.from..<gap.to)
            case .gap(let gap, _): gaps.append(gap)
            // What was said on the wire that broke is said again.
            case .mark(let number, _): sinks[index].awaited.insert(number)
            case .status, .proof: continue
            }
        }
        // What was on the wire was told before what an earlier cut has left to be told.
        sinks[index].lostGaps.prepend(contentsOf: gaps)
    }

    mutating func attachSink(_ index: Int) {
        let ledger = sinks[index].ledger
        let point = ResumePoint(
            position: ledger.delivered,
            positionBytes: ledger.deliveredBytes,
            asked: ledger.asked,
            askedBytes: ledger.askedBytes,
            stoppedTo: ledger.stoppedTo,
            drainedTo: ledger.drainedTo,
            gaps: sinks[index].gaps
        )
        sinks[index].isAttached = true
        let largest = Limits.eventBytesMax
        let id = sinks[index].id
        apply(.attachConsumer(id, point, eventBytesMax: largest))
    }

    mutating func disturbSource(_ index: Int) {
        guard !isEnding else { return }
        if roll(2) == 0 {
            apply(.close(sources[index].id))
            markBook.leave(sources.remove(at: index).id)
            endIfDue()
            return
        }
        guard sources[index].isAttached else { return }
        for _ in 0..<roll(4) { receivePublication(index) }
        sources[index].isAttached = false
        // What was sent and is lost waits again: the producer keeps it until it is confirmed.
        for case .events(_, let sizes) in sources[index].outbox.reversed() {
            for size in sizes.reversed() { sources[index].waiting.prepend(size) }
        }
        sources[index].inbox = []
        sources[index].outbox = []
        apply(.detach(sources[index].id))
        sources[index].answers = []
        sources[index].expected = []
    }

    mutating func attachSource(_ index: Int) {
        let ledger = sources[index].ledger
        let point = ResumePoint(
            position: ledger.delivered,
            positionBytes: ledger.deliveredBytes,
            asked: ledger.asked,
            askedBytes: ledger.askedBytes,
            stoppedTo: ledger.stoppedTo,
            drainedTo: ledger.drainedTo
        )
        sources[index].isAttached = true
        // A resumed link has no credit, so that all of it waits beyond.
        let available = UInt64(sources[index].waiting.count)
        let backlog: Backlog =
            switch sources[index].kind {
            case .unknown: .unknown
            case .silent: .events(1 << 63)
            case .announcing, .idle: .events(available)
            }
        apply(.attachProducer(sources[index].id, point, backlog))
    }

    mutating func disturbTopic() {
        guard !isEnding else { return }
        switch roll(30) {
        case 0: apply(.pause(true))
        case 1..<6: apply(.pause(false))
        case 6: purge()
        case 7:
            removeGroup(Self.groupNames.randomElement(using: &random) ?? "")
        case 8:
            touched.addAll()
            topic.expireRecalls(at: now, into: &effects)
            isDue = true
            book()
        case 9..<12: emitLocally()
        case 12..<14: changeSettings()
        case 14: createGroup()
        default: return
        }
    }

    /// Gives the topic another size and another policy; what it holds by then stays.
    private mutating func changeSettings() {
        guard changesSettings else { return }
        var change = TopicChange(topic.options)
        change.ahead = [0, 3, 50, 10_000].randomElement(using: &markRandom) ?? 0
        change.capacity = max(change.ahead, [0, 10, 1_000].randomElement(using: &markRandom) ?? 0)
        change.bufferBytes =
            [0, 1_000, 100_000, 67_108_864].randomElement(using: &markRandom) ?? 0
        change.onFull = FullPolicy.allCases.randomElement(using: &markRandom) ?? .block
        policies.insert(change.onFull)
        change.groupExpiry.afterSeconds = Self.expiry(&expiryRandom)
        apply(.change(change))
    }

    private mutating func purge() {
        for number in books.indices { books[number]?.wasPurged = true }
        apply(.purge)
    }

    /// An embedded producer emits without asking anybody.
    private mutating func emitLocally() {
        guard topic.buffered < 20_000 else { return }
        let sizes = (0..<(1 + roll(40))).map { _ in 8 + roll(100) }
        let runs = records(sizes)
        mark(sizes, upTo: .max)
        markBook.publish(nil)
        touched.addAll()
        _ = topic.emit(runs, events: UInt64(sizes.count), time: steps)
        isDue = true
    }
}
