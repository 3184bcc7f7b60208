import DequeModule

/// A consumer's link: the broker is its source.
package struct ConsumerLink: Sendable {
    package internal(set) var ledger = Ledger()
    package internal(set) var group: Int
    package internal(set) var isAttached = true
    /// Bytes of events that may enter the link's connection now.
    package internal(set) var room = Limits.writeWindowBytes
    package internal(set) var window = Limits.writeWindowBytes
    /// The largest record that the consumer can take.
    var eventBytesMax: Int {
        didSet { deliveryBytesMax = Self.deliveryBytes(within: eventBytesMax) }
    }
    /// What the group counts on; kept here so that the group's sum changes by the difference.
    var deliverable: UInt64 = 0
    /// Whether its group counts it among those with credit.
    var isCredited = false
    /// The entry of the group's order that is valid; others are stale.
    var ticket: UInt64 = 0
    /// Whether others of its group are served in its place.
    package internal(set) var isStandby = false
    package internal(set) var priority: UInt8 = 0
    /// Its share among members that share by weight.
    package internal(set) var weight: UInt16 = 1
    /// What it was given so far, divided by its weight.
    var virtualTime: UInt64 = 0
    /// The number of the first of the topic's marks that it has not been told.
    var nextMark: UInt64 = 0
    /// Whose link it is; 0 for nobody's.
    var owner: UInt64 = 0
    /// Events that its rate lets pass now.
    var allowance = UInt64.max
    /// What few links have, in an array that is empty for all others.
    var special: [Special] = []
    /// How long its client may take to answer; nil for as long as its topic's clients may.
    var answerMilliseconds: UInt64?
    /// Up to which sequence it is asked to show what it has received.
    var provesTo: UInt64 = 0
    /// Set while a DRAIN is being answered: deliver nothing from here on.
    var drainsUntil: UInt64?
    /// What the next event needs when byte credit is too small for it; 0 else.
    package internal(set) var needBytes: UInt32 = 0
    /// The highest number of an ECHO that was asked with one.
    package internal(set) var echo: UInt64 = 0
    /// Delivered and not known to be received, oldest first.
    var unreceived = Deque<Stretch>()
    /// A loss that could not be announced yet.
    var gap: Gap?
    /// Gaps that were announced.
    var gapsTold: UInt64 = 0
    /// Those of them that may not have arrived, oldest first.
    var gaps = Deque<PlacedGap>()
    /// Those that a resume has left to be told, in their order.
    var untoldGaps = Deque<PlacedGap>()
    /// Marks that it was told and may not have received, and behind them those it is to be told.
    var words = Deque<Word>()
    var toldWords = 0
    var untoldWords = 0
    /// What of them, and of deliveries and gaps, is counted in the topic's memory.
    var countedEntries: UInt32 = 0
    /// Whether it stands among those that have something to announce.
    var isAnnounced = false
    package internal(set) var askedAt: Instant?
    package internal(set) var movedAt: Instant?

    /// Bytes of one delivery: with the heads of its runs it still fits into the consumer's frames.
    ///
    /// A window that is wider holds several: between them others of the group have their turn.
    private(set) var deliveryBytesMax: Int

    init(group: Int, eventBytesMax: Int) {
        self.group = group
        self.eventBytesMax = eventBytesMax
        deliveryBytesMax = Self.deliveryBytes(within: eventBytesMax)
    }

    private static func deliveryBytes(within eventBytesMax: Int) -> Int {
        let fitting = eventBytesMax - eventBytesMax / 16
        let least = min(eventBytesMax, Limits.writeWindowBytes)
        return min(max(fitting, least), Limits.writeBurstBytes)
    }

    /// Fills the place of what is no consumer.
    static let none = ConsumerLink(group: 0, eventBytesMax: 0)

    /// Whether it does not take every event as it comes.
    var picks: Bool { special.first?.picks ?? false }
    var filterParts: Int { special.first?.filter?.parts ?? 0 }

    /// Up to which sequence the sink has said that it received.
    package internal(set) var received: UInt64 = 0

    /// Deliveries with consecutive sequences.
    // `to` − `from` = `count` unless stretches were joined: offsets do not always rise from one to
    // the next (lanes, a group that is sought back), so all of them lie in the range, in any order.
    struct Stretch: Sendable {
        var sequence: UInt64
        var count: UInt64
        var from: UInt64
        /// The offset after the last.
        var to: UInt64

        /// Whether its offsets follow on like its sequences.
        var isExact: Bool { to - from == count }
    }

    /// Whether events may enter its connection: what is left of a window that is nearly full would
    /// only cut batches into slivers.
    static func isWritable(_ room: Int, of window: Int) -> Bool { room > 0 && room >= window / 4 }

    package var isWritable: Bool { Self.isWritable(room, of: window) }

    /// A gap that the sink may not have, in its place.
    struct PlacedGap: Sendable {
        var gap: Gap
        /// Which of the link's gaps it is, the last of them if it stands for several; 0 until it
        /// is told.
        var number: UInt64
        /// The event behind it: who has that has the gap too.
        var sequence: UInt64
    }

    /// Remembers a delivery until the sink has said that it received it.
    mutating func remember(sequence: UInt64, offset: UInt64, count: UInt64) {
        if let last = unreceived.last, last.isExact, last.to == offset {
            unreceived[unreceived.count - 1].count += count
            unreceived[unreceived.count - 1].to += count
            return
        }
        if unreceived.count >= Limits.cutRangesMax {
            // Beyond the limit the two oldest become one that covers both: exact in count only.
            let oldest = unreceived.removeFirst()
            unreceived[0].from = min(oldest.from, unreceived[0].from)
            unreceived[0].to = max(oldest.to, unreceived[0].to)
            unreceived[0].sequence = oldest.sequence
            unreceived[0].count += oldest.count
        }
        unreceived.append(
            Stretch(sequence: sequence, count: count, from: offset, to: offset + count)
        )
    }

    /// The gap to be told next.
    var nextGap: Gap? { (untoldGaps.first?.gap ?? gap)?.tellable }

    /// Counts that gap as told, and keeps it until the sink is known to have it.
    mutating func noteGapTold() {
        if untoldGaps.isEmpty, let gap {
            self.gap = nil
            leave(gap)
        }
        guard var next = untoldGaps.popFirst() else { return }
        let told = next.gap.tellable
        gapsTold += 1
        gaps.append(PlacedGap(gap: told, number: gapsTold, sequence: next.sequence))
        if next.gap.count > told.count {
            next.gap.count -= told.count
            untoldGaps.prepend(next)
        }
        guard gaps.count > Limits.cutRangesMax else { return }
        // Beyond the limit the two oldest become one that covers both.
        let oldest = gaps.removeFirst()
        gaps[0].gap.cover(oldest.gap)
    }

    private mutating func leave(_ gap: Gap) {
        untoldGaps.append(PlacedGap(gap: gap, number: 0, sequence: ledger.delivered + 1))
    }

    /// Leaves to be told, to a sink that is back and has had `heard` gaps, those that it has not,
    /// and what it was given and has not received, each in its place.
    // Not all at once: there may be many more of them than a step has effects.
    mutating func retell(after heard: UInt64) {
        var unheard = (gaps.filter { $0.number > heard } + untoldGaps)[...]
        gaps = []
        untoldGaps = []
        gapsTold = heard
        for stretch in unreceived {
            while let next = unheard.first, next.sequence <= stretch.sequence {
                leave(next.gap)
                unheard.removeFirst()
            }
            leave(Gap(from: stretch.from, to: stretch.to, count: stretch.count, reason: .cut))
        }
        for next in unheard { leave(next.gap) }
        unreceived = []
    }

    /// Forgets what the sink has received.
    mutating func forget(upTo received: UInt64) {
        self.received = received
        while let first = gaps.first, first.sequence <= received { gaps.removeFirst() }
        if toldWords > 0 { forgetWords(upTo: received) }
        while let first = unreceived.first {
            guard first.sequence + first.count - 1 > received else {
                unreceived.removeFirst()
                continue
            }
            if received >= first.sequence {
                let known = received - first.sequence + 1
                unreceived[0].sequence += known
                unreceived[0].count -= known
                if first.isExact { unreceived[0].from += known }
            }
            break
        }
        if unreceived.isEmpty { unreceived = [] }
    }
}

/// A producer's link: the broker is its sink.
package struct ProducerLink: Sendable {
    package internal(set) var ledger = Ledger()
    package internal(set) var isAttached = true
    /// What it announced and was not granted yet.
    package internal(set) var backlog: Backlog
    /// The part of its credit that was granted against an announcement.
    var announcedCredit: UInt64 = 0
    /// The queue of those to be served that it stands in.
    var queue: ProducerQueue?
    var needBytes: UInt32 = 0
    /// How often the topic had ended when it said that nothing more will come; nil if it did not.
    var endedIn: UInt64?
    /// Where the last DEMAND for it stands among the effects of its step.
    var askPlace = 0
    /// How long its client may take to answer; nil for as long as its topic's clients may.
    var answerMilliseconds: UInt64?
    /// When a STOP was sent that is not answered yet.
    var recalledAt: Instant?
    /// Since when it holds credit and has sent nothing.
    var heldSince: Instant?
    /// How often in a row its grants were taken back unused, and until when others go first then.
    var lapses: UInt8 = 0
    /// The place of its owner among those of the topic.
    let owner: Int
    var waitsUntil: Instant?
    package internal(set) var askedAt: Instant?
    package internal(set) var movedAt: Instant?

    init(backlog: Backlog, owner: Int) {
        self.backlog = backlog
        self.owner = owner
    }

    /// Fills the place of what is no producer.
    static let none = ProducerLink(backlog: .unknown, owner: 0)

    /// The part of its credit that what it reports has a use for.
    func usedCredit(_ report: ProducerReport, unseen: UInt64) -> UInt64 {
        guard backlog != .unknown else { return min(announcedCredit, ledger.credit) }
        let seen = ledger.credit - min(ledger.credit, unseen)
        // What waits beyond the credit that was seen has a use for all of that.
        if report.available > 0 { return seen + min(report.available, ledger.credit - seen) }
        // What waits for bytes is one event, or as many as were announced and have not come.
        return report.needBytes > 0 ? min(max(1, announcedCredit), seen) : 0
    }

    /// Whether it holds credit that nobody announced a use for and that was not recalled.
    var isIdleHolder: Bool { recalledAt == nil && ledger.credit > announcedCredit }

    /// Whether it has announced nothing and holds nothing.
    var isFloorless: Bool {
        ledger.credit == 0 && (queue == .willing || queue == .idle)
    }

    /// Whether it has events and was granted nothing.
    var isStarved: Bool { ledger.credit == 0 && queue == .announced }

    /// Bytes that may still come; leftovers without a credit in events cannot be used.
    var grantedBytes: UInt64 { ledger.credit > 0 ? ledger.byteCredit ?? 0 : 0 }
}

/// Where producers wait to be served, by what they announced.
enum ProducerQueue: Sendable {
    case announced
    case willing
    case idle
    /// Apart, whatever it announced, until its owner may hold more.
    case parked

    init(_ backlog: Backlog) {
        switch backlog {
        case .unknown: self = .willing
        case .events(0): self = .idle
        case .events: self = .announced
        }
    }
}

/// What a place of a topic's table of links holds.
enum LinkKind: UInt8, Sendable {
    case free
    case consumer
    case producer
}
