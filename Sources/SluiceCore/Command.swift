/// What a full topic does with new events.
package enum FullPolicy: String, Sendable, CaseIterable {
    /// Producers get no credit.
    case block
    /// The oldest events go, counted and announced to the groups that lose them.
    case dropOldest = "drop-oldest"
    /// New events are refused, counted and told to their producer.
    case dropNewest = "drop-newest"
}

/// The settings of a topic.
package struct TopicOptions: Hashable, Sendable {
    /// Events the topic may hold.
    package var capacity: UInt64 = Limits.bufferEventsDefault
    /// Bytes the topic may hold.
    package var bufferBytes: UInt64 = Limits.bufferBytesDefault
    /// Events producers may be granted beyond what consumers want.
    package var ahead: UInt64 = Limits.bufferEventsDefault
    package var onFull: FullPolicy = .block
    /// What a new group is, as far as the consumer that makes it does not say itself.
    ///
    /// A named group of an independent topic is by demand: it cannot be one consumer's own.
    package var group = GroupWish()
    /// How fast producers may bring events; nil for as fast as they can.
    package var rate: RateLimit?
    /// The topic ends with its last link.
    package var isEphemeral = false
    package var limits = TopicLimits()
    package var groupExpiry = GroupExpiry()
    /// How long a client may take to answer of whose link nothing else is known.
    package var recallMilliseconds: UInt64 =
        UInt64(Limits.keepaliveSecondsDefault * Limits.keepalivesMissedMax) * 1_000

    package init() {}
}

/// A consumer's wish to join.
package struct ConsumerOpening: Hashable, Sendable {
    /// Empty for the default group.
    package var group: Name
    package var start: Start?
    package var events: UInt32
    package var bytes: UInt32
    /// The largest record that the consumer can take.
    package var eventBytesMax: Int
    package var wish = GroupWish()
    package var member = MemberOptions()
    /// Whose link it is, 0 for nobody's: no owner gets the events of a broadcast twice.
    package var owner: UInt64 = 0

    package init(
        group: Name = "",
        start: Start? = nil,
        events: UInt32 = 0,
        bytes: UInt32 = 0,
        eventBytesMax: Int = Limits.eventBytesMax
    ) {
        self.group = group
        self.start = start
        self.events = events
        self.bytes = bytes
        self.eventBytesMax = eventBytesMax
    }
}

/// How much a producer says is waiting for credit.
package enum Backlog: Hashable, Sendable {
    /// It answers demand as it comes and cannot say.
    case unknown
    case events(UInt64)
}

/// Events that arrived on a producer's link.
package struct Publication: Sendable {
    package var firstSequence: UInt64
    package var events: UInt64
    package var bytes: UInt64
    /// The first run, and those behind it: most have only one, which needs no array.
    package var run: Run
    package var more: [Run] = []
    /// The wall clock, in microseconds since 1970 (UTC).
    package var time: UInt64

    package init(
        firstSequence: UInt64,
        events: UInt64,
        bytes: UInt64,
        run: Run,
        more: [Run] = [],
        time: UInt64
    ) {
        self.firstSequence = firstSequence
        self.events = events
        self.bytes = bytes
        self.run = run
        self.more = more
        self.time = time
    }

    /// There must be a run.
    package init(
        firstSequence: UInt64,
        events: UInt64,
        bytes: UInt64,
        runs: [Run],
        time: UInt64
    ) {
        self.init(
            firstSequence: firstSequence,
            events: events,
            bytes: bytes,
            run: runs[0],
            more: Array(runs.dropFirst()),
            time: time
        )
    }
}

/// What a producer's STATUS says.
package struct ProducerReport: Hashable, Sendable {
    package var isDrained: Bool
    package var asked: UInt64
    package var forfeited: UInt64
    package var forfeitedBytes: UInt64
    package var available: UInt64
    /// Not 0 when the next event does not fit into the granted bytes.
    package var needBytes: UInt32

    package init(
        isDrained: Bool,
        asked: UInt64,
        forfeited: UInt64,
        forfeitedBytes: UInt64,
        available: UInt64,
        needBytes: UInt32 = 0
    ) {
        self.isDrained = isDrained
        self.asked = asked
        self.forfeited = forfeited
        self.forfeitedBytes = forfeitedBytes
        self.available = available
        self.needBytes = needBytes
    }
}

/// The sink's end of a ledger, as it comes back after a cut.
package struct ResumePoint: Hashable, Sendable {
    package var position: UInt64
    package var positionBytes: UInt64
    package var asked: UInt64
    package var askedBytes: UInt64
    package var stoppedTo: UInt64
    package var drainedTo: UInt64
    /// Gaps that a consumer has had on the link.
    package var gaps: UInt64

    package init(
        position: UInt64,
        positionBytes: UInt64,
        asked: UInt64,
        askedBytes: UInt64,
        stoppedTo: UInt64,
        drainedTo: UInt64,
        gaps: UInt64 = 0
    ) {
        self.position = position
        self.positionBytes = positionBytes
        self.asked = asked
        self.askedBytes = askedBytes
        self.stoppedTo = stoppedTo
        self.drainedTo = drainedTo
        self.gaps = gaps
    }
}

/// The kinds of commands, for those who tell what was done last.
package enum CommandKind: UInt8, CaseIterable, Sendable {
    case none
    case openConsumer
    case openProducer
    case ask
    case publish
    case report
    case mark
    case wrote
    case window
    case close
    case fail
    case detach
    case attachConsumer
    case attachProducer
    case pause
    case change
    case purge
    case createGroup
    case removeGroup
    case seek
    case wind
    case received
    case answersWithin
}

extension Command {
    package var kind: CommandKind {
        switch self {
        case .openConsumer: .openConsumer
        case .openProducer: .openProducer
        case .ask: .ask
        case .publish: .publish
        case .report: .report
        case .mark: .mark
        case .wrote: .wrote
        case .window: .window
        case .close: .close
        case .fail: .fail
        case .detach: .detach
        case .attachConsumer: .attachConsumer
        case .attachProducer: .attachProducer
        case .pause: .pause
        case .change: .change
        case .purge: .purge
        case .createGroup: .createGroup
        case .removeGroup: .removeGroup
        case .seek: .seek
        case .wind: .wind
        case .received: .received
        case .answersWithin: .answersWithin
        }
    }
}

/// What can happen to a topic.
package enum Command: Sendable {
    indirect case openConsumer(LinkID, ConsumerOpening)
    /// Producers of one owner hold together at most half of what may be out, while others send.
    case openProducer(LinkID, Backlog, owner: UInt64 = 0)
    case ask(LinkID, Ask)
    case publish(LinkID, Publication)
    case report(LinkID, ProducerReport)
    /// A producer says a word behind what it sent.
    case mark(LinkID, Mark)
    /// The kernel took bytes of the link's events, so its write window opens by as many.
    case wrote(LinkID, bytes: Int)
    /// How large the link's write window is.
    case window(LinkID, bytes: Int)
    /// A consumer is known to have received events up to this sequence.
    case received(LinkID, UInt64)
    /// How long the link's client may take to answer: two of its keepalives.
    case answersWithin(LinkID, milliseconds: UInt64)
    case close(LinkID)
    /// Whoever keeps the producer's account for the topic found that it does not hold.
    case fail(LinkID, LedgerError)
    case detach(LinkID)
    case attachConsumer(LinkID, ResumePoint, eventBytesMax: Int)
    case attachProducer(LinkID, ResumePoint, Backlog)
    case pause(Bool)
    indirect case change(TopicChange)
    case purge
    /// A request makes a group, which begins as its first member would have it.
    indirect case createGroup(Name, GroupWish, Start?)
    case removeGroup(Name)
    /// A group goes on at another offset, as near to it as events are held.
    case seek(Name, Start)
    /// The broker is stopping: nothing more is granted, what is out is recalled.
    case wind
}
