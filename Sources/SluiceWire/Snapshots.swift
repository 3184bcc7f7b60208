/// The JSON documents of `$sys/…` topics; `Protocol/protocol.md` describes each field.
package enum Snapshot {
    /// Stands for topics and groups that are not told one by one.
    package static let others = "_other"

    /// `$sys/server`: the broker as a whole.
    package struct Server: Codable, Sendable {
        package var name: String
        package var version: String
        package var pid: Int32
        package var uptimeSeconds: Double
        /// When the broker's process began, in seconds since 1970 (UTC).
        package var startSeconds: Double
        /// CPU time of the broker's process, user and system together.
        package var cpuSeconds: Double
        package var residentBytes: UInt64
        package var virtualBytes: UInt64
        /// What the process may take, what of it is counted at most, what is counted now, and what
        /// of that is granted and has not come; nil without a limit.
        package var memoryLimitBytes: UInt64?
        package var memoryBudgetBytes: UInt64?
        package var memoryUsedBytes: UInt64?
        package var memoryReservedBytes: UInt64?
        package var openDescriptors: Int
        package var maxDescriptors: Int
        package var connections: Int
        package var detachedSessions: Int
        package var topics: Int
        package var links: Int
        /// Events taken from producers and delivered to consumers since the start.
        package var eventsIn: UInt64
        package var eventsOut: UInt64
        package var isStopping: Bool
        package var faces: [Face]

        package init(name: String, version: String) {
            self.name = name
            self.version = version
            pid = 0
            uptimeSeconds = 0
            startSeconds = 0
            cpuSeconds = 0
            residentBytes = 0
            virtualBytes = 0
            openDescriptors = 0
            maxDescriptors = 0
            connections = 0
            detachedSessions = 0
            topics = 0
            links = 0
            eventsIn = 0
            eventsOut = 0
            isStopping = false
            faces = []
        }
    }

    /// A way in to the broker, inside `$sys/server`.
    package struct Face: Codable, Sendable {
        /// "binary" or "http".
        package var face: String
        package var connections = 0
        package var detachedSessions = 0
        /// Bytes that wait to be written.
        package var queuedBytes = 0
        /// Connections that were turned away before they could ask for anything, by reason.
        package var rejects: [String: UInt64] = [:]
        /// Connections and links that ended because the client broke the protocol, by code.
        package var protocolErrors: [String: UInt64] = [:]

        package init(_ face: String) { self.face = face }
    }

    /// `$sys/topics`: one document a topic.
    package struct Topic: Codable, Sendable {
        package var topic: String
        /// The offset the next event will get, and the offset of the oldest event held.
        package var head: UInt64
        package var first: UInt64
        package var bufferedEvents: UInt64
        package var retainedBytes: UInt64
        /// All memory that counts for it: events, and what it keeps for them, its links and groups.
        package var memoryBytes: UInt64
        /// What its grants may still bring.
        package var reservedBytes: UInt64
        package var peakBufferedEvents: UInt64
        package var peakRetainedBytes: UInt64
        package var capacity: UInt64
        package var bufferBytes: UInt64
        package var ahead: UInt64
        package var onFull: String
        /// How consumers that name no group share it.
        package var dispatcher: String
        /// Events a second that producers may bring, and at once after a rest; nil for any number.
        package var rate: UInt32?
        package var burst: UInt32?
        /// Whether it ends with its last link.
        package var isEphemeral: Bool
        /// What it allows, as far as that is less than the broker does.
        package var maxProducers: UInt32?
        package var maxConsumers: UInt32?
        package var maxGroups: UInt32?
        package var maxEventBytes: UInt32?
        /// Seconds for which a named group is kept without a member; nil for ever.
        package var groupExpireAfter: UInt64?
        package var isPaused: Bool
        package var grantedEvents: UInt64
        package var grantedBytes: UInt64
        package var producers: Int
        package var consumers: Int
        package var discardedEvents: UInt64
        package var cutEvents: UInt64
        /// Events that were refused because they were larger than the topic allows.
        package var tooLargeEvents: UInt64
        /// Groups that ended as nobody came back to them.
        package var expiredGroups: UInt64
        /// The group that has nearly filled it; nil as long as none has.
        package var alarm: Alarm?
        /// Milliseconds since the last event came, nil if none ever did.
        package var idleMilliseconds: UInt64?
        package var groups: [Group]
        /// How many more groups it has than it tells of; nil if none.
        package var groupsLeftOut: Int?
        /// What producers were asked for, and what they gave up of it, since the topic was made.
        package var producerAsked: UInt64
        package var producerForfeited: UInt64
        /// How long there were producers with events and no grant, by `blockedBy`.
        package var producerHeldSeconds: [String: Double]
        /// What independent consumers that are gone have counted.
        package var ended: Ended
        /// How old events were when they were handed out.
        package var latency: Latency
        /// Links that overran or broke their ledger since the start.
        package var ledgerErrors: UInt64

        package init(topic: String) {
            self.topic = topic
            head = 0
            first = 0
            bufferedEvents = 0
            memoryBytes = 0
            reservedBytes = 0
            retainedBytes = 0
            peakBufferedEvents = 0
            peakRetainedBytes = 0
            capacity = 0
            bufferBytes = 0
            ahead = 0
            onFull = ""
            dispatcher = "demand"
            isEphemeral = false
            isPaused = false
            grantedEvents = 0
            grantedBytes = 0
            producers = 0
            consumers = 0
            discardedEvents = 0
            cutEvents = 0
            tooLargeEvents = 0
            expiredGroups = 0
            idleMilliseconds = nil
            groups = []
            producerAsked = 0
            producerForfeited = 0
            producerHeldSeconds = [:]
            ended = Ended()
            latency = Latency(counts: [], seconds: 0)
            ledgerErrors = 0
        }
    }

    /// What of a topic is nearly full and for which group, inside `$sys/topics`.
    package struct Alarm: Codable, Hashable, Sendable {
        /// Empty for the default group.
        package var group: String
        /// "events" or "bytes".
        package var reason: String

        package init(group: String, reason: String) {
            self.group = group
            self.reason = reason
        }
    }

    /// Counts of groups that have no name to be told by, inside `$sys/topics`.
    package struct Ended: Codable, Sendable {
        package var asked: UInt64 = 0
        package var deliveries: UInt64 = 0
        package var forfeited: UInt64 = 0
        package var discarded: UInt64 = 0
        package var refused: UInt64 = 0
        package var heldSeconds: [String: Double] = [:]

        package init() {}
    }

    /// The ages of the oldest events of deliveries, inside `$sys/topics`.
    package struct Latency: Codable, Sendable {
        /// Deliveries by age: below 256 µs, and each next below four times as much; last the rest.
        package var counts: [UInt64]
        /// The sum of the ages.
        package var seconds: Double

        package init(counts: [UInt64], seconds: Double) {
            self.counts = counts
            self.seconds = seconds
        }

        /// What the entries of all but the last are below, in seconds.
        package static let bounds = (0..<10).map { Double(256 << (2 * $0)) / 1_000_000 }
    }

    /// A group of a topic, inside `$sys/topics`.
    package struct Group: Codable, Sendable {
        /// Empty for the default group.
        package var group: String
        package var dispatcher: String
        /// What happens when it falls behind by more than `maxLag`; nil there with `block`.
        package var lag: String
        package var maxLag: UInt32?
        /// Whether it ends with its last link.
        package var isEphemeral: Bool
        /// Seconds for which it is kept without a member; nil for ever.
        package var expireAfter: UInt64?
        /// How long it has had no member; nil while it has some.
        package var aloneSeconds: UInt64?
        /// When it ends if nobody joins it; nil while it has members, or if it does not.
        package var expiresInSeconds: UInt64?
        /// The offset of the oldest event that waits for the group, or of the next one.
        package var position: UInt64
        package var waiting: UInt64
        /// Events that wait in each partition, those sorted already; nil if it has none.
        package var partitions: [UInt64]?
        /// How many partitions it has if it does not tell of them; nil if it does or has none.
        package var partitionsLeftOut: Int?
        package var delivered: UInt64
        package var discarded: UInt64
        /// What no member was to have, by filter, sample or partition.
        package var refused: UInt64
        package var members: Int
        /// What its members asked for and have not received.
        package var credit: UInt64
        /// The part of it that could be delivered at once.
        package var deliverable: UInt64
        /// What its members asked for since it was made, also those that are gone.
        ///
        /// It is what they were given, what was forfeited, and credit.
        package var asked: UInt64
        /// What its members were given: a broadcast counts an event once for each.
        package var deliveries: UInt64
        package var forfeited: UInt64
        /// How long events waited that none of its members could take, by `blockedBy`.
        package var heldSeconds: [String: Double]

        package init(group: String) {
            self.group = group
            dispatcher = "demand"
            lag = ""
            isEphemeral = false
            position = 0
            waiting = 0
            delivered = 0
            discarded = 0
            refused = 0
            members = 0
            credit = 0
            deliverable = 0
            asked = 0
            deliveries = 0
            forfeited = 0
            heldSeconds = [:]
        }
    }

    /// `$sys/links`: one document a link, with the broker's end of its ledger.
    package struct Link: Codable, Sendable {
        package var connection: UInt64
        package var link: UInt32
        package var topic: String
        /// "producer" or "consumer".
        package var role: String
        package var group: String?
        /// The partitions that a consumer has; nil if its group has none.
        package var partitions: [Int]?
        package var name: String?
        package var peer: String
        package var isAttached: Bool
        package var asked: UInt64
        package var delivered: UInt64
        package var forfeited: UInt64
        package var credit: UInt64
        package var askedBytes: UInt64
        package var deliveredBytes: UInt64
        package var forfeitedBytes: UInt64
        package var deliverable: UInt64
        /// Backlog a producer announced; nil if it announced none or the link consumes.
        package var available: UInt64?
        package var blockedBy: String
        /// Milliseconds since the sink last asked, nil if it never did.
        package var sinceAskMilliseconds: UInt64?
        /// Milliseconds since events last moved on the link, nil if none ever did.
        package var sinceEventsMilliseconds: UInt64?

        package init(connection: UInt64, link: UInt32, topic: String, role: String) {
            self.connection = connection
            self.link = link
            self.topic = topic
            self.role = role
            peer = ""
            isAttached = true
            asked = 0
            delivered = 0
            forfeited = 0
            credit = 0
            askedBytes = 0
            deliveredBytes = 0
            forfeitedBytes = 0
            deliverable = 0
            blockedBy = "nothing"
        }
    }

    /// `$sys/connections`: one document a connection or detached session.
    package struct Connection: Codable, Sendable {
        package var connection: UInt64
        package var name: String
        package var peer: String
        package var isAttached: Bool
        package var connectedSeconds: Double
        package var links: Int
        package var bytesIn: UInt64
        package var bytesOut: UInt64
        package var queuedBytes: Int

        package init(connection: UInt64, name: String, peer: String) {
            self.connection = connection
            self.name = name
            self.peer = peer
            isAttached = true
            connectedSeconds = 0
            links = 0
            bytesIn = 0
            bytesOut = 0
            queuedBytes = 0
        }
    }

    /// A request on `$sys/ctl`.
    package struct Request: Codable, Sendable {
        /// create-topic, change-topic, remove-topic, purge-topic, pause-topic, resume-topic,
        /// create-group, remove-group or seek-group.
        package var op: String
        package var topic: String
        package var group: String?
        /// Where a group begins or goes on: first, new or an offset.
        package var start: String?
        package var buffer: UInt64?
        package var bufferBytes: UInt64?
        package var ahead: UInt64?
        package var onFull: String?
        /// What a new group is like, or each of a topic: a dispatcher, and what goes with it.
        package var dispatcher: String?
        package var partitions: UInt16?
        package var lag: String?
        package var maxLag: UInt32?
        /// Events per second that producers may bring, and at once after a rest.
        package var rate: UInt32?
        package var burst: UInt32?
        package var isEphemeral: Bool?
        /// What it allows, in links, in groups and in bytes of a record.
        package var maxProducers: UInt32?
        package var maxConsumers: UInt32?
        package var maxGroups: UInt32?
        package var maxEventBytes: UInt32?
        /// Seconds; 0 for ever.
        package var groupExpireAfter: UInt64?

        package init(op: String, topic: String) {
            self.op = op
            self.topic = topic
        }
    }

    /// A request on `$sys/ctl` that is about no topic: a connection or one of its links ends.
    package struct Kick: Codable, Sendable {
        package var op = "kick"
        package var connection: UInt64
        /// Nil for all of them, and the connection.
        package var link: UInt32?

        package init(connection: UInt64, link: UInt32? = nil) {
            self.connection = connection
            self.link = link
        }

        package var isOne: Bool { op == "kick" }
    }
}
