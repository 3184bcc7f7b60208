package import SluiceCore

/// The type byte of a frame.
package enum FrameType: UInt8, Sendable, CaseIterable {
    case hello = 1
    case welcome = 2
    case ping = 3
    case open = 4
    case opened = 5
    case demand = 6
    case events = 7
    case settle = 8
    case status = 9
    case close = 10
}

/// The flag bits of frame headers; which type knows which bit stands in `Protocol/protocol.md`.
package enum FrameFlags {
    /// A receiver that does not know the type skips the frame instead of closing.
    package static let ignorable: UInt8 = 0x80
    /// WELCOME, OPENED: the session or the link goes on from where it was cut.
    package static let resumed: UInt8 = 0x01
    /// PING: the answer to one.
    package static let pong: UInt8 = 0x01
    /// EVENTS: no events; a stretch that will never come.
    package static let gap: UInt8 = 0x01
    /// EVENTS: no events; the end of the stream.
    package static let end: UInt8 = 0x02
    /// EVENTS: no events; a text in their midst.
    package static let marker: UInt8 = 0x04
    /// STATUS: nothing more will come for what was asked up to the DRAIN or STOP.
    package static let drained: UInt8 = 0x01
    /// STATUS: the answer to a DEMAND with ECHO.
    package static let echoed: UInt8 = 0x04
    /// CLOSE: finish in peace; the sender still delivers what has credit.
    package static let graceful: UInt8 = 0x01
}

/// `u24 length | u8 type | u8 flags | u32 link`, big-endian.
package struct FrameHeader: Hashable, Sendable {
    package static let byteCount = 9

    /// Bytes of the body.
    package var length: Int
    package var type: UInt8
    package var flags: UInt8
    package var link: UInt32

    package init(length: Int, type: UInt8, flags: UInt8 = 0, link: UInt32 = 0) {
        self.length = length
        self.type = type
        self.flags = flags
        self.link = link
    }
}

/// The client's first frame.
package struct Hello: Hashable, Sendable {
    /// "SLCE".
    package static let magic: UInt32 = 0x534C_4345
    package var versions: ClosedRange<UInt8> = 1...1
    package var keepaliveSeconds: UInt16 = UInt16(Limits.keepaliveSecondsDefault)
    package var capabilities: UInt32 = 0
    package var maxFrame: UInt32 = UInt32(Limits.frameBytesMax)
    /// Empty, or the token of the session to resume.
    package var session: [UInt8] = []
    package var authKind: UInt8 = 0
    package var auth: [UInt8] = []
    package var name: String = ""

    package init() {}
}

/// The broker's answer: what it chose and what its limits are.
package struct Welcome: Hashable, Sendable {
    package var resumed = false
    package var version: UInt8 = 1
    package var keepaliveSeconds: UInt16 = UInt16(Limits.keepaliveSecondsDefault)
    package var capabilities: UInt32 = 0
    package var maxFrame: UInt32 = UInt32(Limits.frameBytesMax)
    package var maxEvent: UInt32 = UInt32(Limits.eventBytesMax)
    package var maxDemand: UInt32 = UInt32(Limits.demandMax)
    package var maxDemandBytes: UInt32 = UInt32(Limits.demandBytesMax)
    package var maxLinks: UInt32 = UInt32(Limits.linksPerConnectionMax)
    package var resumeWindowMilliseconds: UInt32 = UInt32(Limits.resumeWindowMilliseconds)
    package var session: [UInt8] = []
    package var name: String = ""

    package init() {}
}

/// A sign of life, and its answer with the same number.
package struct Ping: Hashable, Sendable {
    package var isAnswer = false
    package var opaque: UInt64 = 0

    package init(opaque: UInt64 = 0, isAnswer: Bool = false) {
        self.opaque = opaque
        self.isAnswer = isAnswer
    }
}

/// What an opener tells of a link that was cut: its end of the ledger.
package struct Resume: Hashable, Sendable {
    /// Events received (sink) or sent (source) so far.
    package var position: UInt64 = 0
    package var positionBytes: UInt64 = 0
    package var asked: UInt64 = 0
    package var askedBytes: UInt64 = 0
    package var stoppedTo: UInt64 = 0
    package var drainedTo: UInt64 = 0
    /// Gaps that a sink has received.
    package var gaps: UInt64 = 0

    package init() {}
}

/// Asks for a link.
package struct Open: Hashable, Sendable {
    package var role: Role
    package var topic: Name
    /// Nil for the topic's default group.
    package var group: Name?
    package var start: Start?
    /// What it wishes of the group, and says of its place in it.
    package var wish = GroupWish()
    package var member = MemberOptions()
    /// Demand that comes with the link, as a first DEMAND would bring it.
    package var demandEvents: UInt32 = 0
    package var demandBytes: UInt32 = 0
    package var name: String?
    /// A producer's backlog; nil if it does not know: it answers demand as it comes.
    package var available: UInt64?
    package var resume: Resume?

    package init(role: Role, topic: String) {
        self.role = role
        self.topic = Name(topic)
    }
}

/// The broker's answer to OPEN: where both ledgers stand.
package struct Opened: Hashable, Sendable {
    package var resumed = false
    /// The sequence of the next event on the link.
    package var nextSequence: UInt64 = 1
    /// The offset that the topic's next event will get.
    package var head: UInt64 = 0
    package var asked: UInt64 = 0
    package var askedBytes: UInt64 = 0
    package var delivered: UInt64 { nextSequence - 1 }
    package var deliveredBytes: UInt64 = 0
    package var forfeited: UInt64 = 0
    package var forfeitedBytes: UInt64 = 0
    package var stoppedTo: UInt64 = 0
    package var drainedTo: UInt64 = 0

    package init() {}
}

/// What an EVENTS frame says of one run; its records follow it in the frame.
package struct RunHeader: Hashable, Sendable {
    package static let byteCount = 28

    package var count: UInt32
    /// Bytes of the run's records.
    package var length: UInt32
    package var offset: UInt64
    package var time: UInt64
    package var attempt: UInt16

    package init(
        count: UInt32,
        length: UInt32,
        offset: UInt64 = 0,
        time: UInt64 = 0,
        attempt: UInt16 = 0
    ) {
        self.count = count
        self.length = length
        self.offset = offset
        self.time = time
        self.attempt = attempt
    }
}

/// What became of a stretch of sequences.
package enum Outcome: UInt8, Sendable {
    case accept = 0
    case release = 1
    case retry = 2
    case reject = 3
    case extend = 4
}

/// One stretch of a SETTLE.
package struct Settlement: Hashable, Sendable {
    package var from: UInt64
    package var count: UInt32
    package var outcome: Outcome
    /// Milliseconds for retry and extend, a close code for reject, else 0.
    package var argument: UInt32
    /// Where the first of accepted events came to stand in the topic; no part of the frame.
    package var offset: UInt64?

    package init(
        from: UInt64,
        count: UInt32,
        outcome: Outcome = .accept,
        argument: UInt32 = 0,
        offset: UInt64? = nil
    ) {
        self.from = from
        self.count = count
        self.outcome = outcome
        self.argument = argument
        self.offset = offset
    }
}

/// The source's ledger in clear.
package struct Status: Hashable, Sendable {
    package var isDrained = false
    package var isEcho = false
    package var asked: UInt64 = 0
    package var delivered: UInt64 = 0
    package var forfeited: UInt64 = 0
    package var askedBytes: UInt64 = 0
    package var deliveredBytes: UInt64 = 0
    package var forfeitedBytes: UInt64 = 0
    package var stoppedTo: UInt64 = 0
    package var drainedTo: UInt64 = 0
    /// Events that wait at the source and could be sent for more demand.
    package var available: UInt64 = 0
    /// Deliveries not yet settled.
    package var unsettled: UInt32 = 0
    /// Age of the oldest unsettled delivery.
    package var oldestMilliseconds: UInt32 = 0
    package var blockedBy: BlockedBy = .nothing
    /// Bytes that the next event needs, when bytes are what blocks.
    package var needBytes: UInt32 = 0
    /// The highest number of those ECHOs that it answers; 0 if they had none.
    package var echo: UInt64 = 0

    package init() {}

    package init(_ ledger: Ledger) {
        asked = ledger.asked
        delivered = ledger.delivered
        forfeited = ledger.forfeited
        askedBytes = ledger.askedBytes
        deliveredBytes = ledger.deliveredBytes
        forfeitedBytes = ledger.forfeitedBytes
        stoppedTo = ledger.stoppedTo
        drainedTo = ledger.drainedTo
    }
}

/// Ends a link, or on link 0 the connection.
package struct Close: Hashable, Sendable {
    package var code: CloseCode
    package var isGraceful = false
    /// When the peer may try again, in milliseconds; 0 says nothing about it.
    package var retryMilliseconds: UInt32 = 0
    package var reason: String = ""

    package init(
        _ code: CloseCode,
        reason: String = "",
        retryMilliseconds: UInt32 = 0,
        isGraceful: Bool = false
    ) {
        self.code = code
        self.reason = reason
        self.retryMilliseconds = retryMilliseconds
        self.isGraceful = isGraceful
    }

    /// Whether a refusal is one for now: the same may be tried again by itself.
    package var isForNow: Bool { code == .busy || retryMilliseconds > 0 }
}
