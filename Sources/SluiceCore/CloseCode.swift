/// Why a link or a connection ended, or a request was refused: the code of `CLOSE` and `SETTLE`.
package struct CloseCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    /// What ends with the code.
    package enum Grade: String, Sendable {
        /// The request alone is refused; link and connection go on.
        case answer
        /// The link ends; the connection and its other links go on.
        case link
        /// The connection ends.
        case connection
    }

    /// Who has to do something about it.
    package enum Blame: String, Sendable {
        /// Normal life.
        case nobody
        /// The peer that received the code broke the protocol.
        case peer
        /// The request was legal and is refused.
        case refused
        /// The sender of the code failed.
        case sender
    }

    /// 0 … 15 normal life, 16 … 31 the peer's bug, 32 … 47 refused, 48 and above ours.
    package var blame: Blame {
        switch rawValue {
        case 0..<16: .nobody
        case 16..<32: .peer
        case 32..<48: .refused
        default: .sender
        }
    }

    package static let normal = Self(rawValue: 0)
    package static let cancelled = Self(rawValue: 1)
    package static let complete = Self(rawValue: 2)
    package static let goingAway = Self(rawValue: 3)
    package static let replaced = Self(rawValue: 4)
    package static let topicDeleted = Self(rawValue: 5)
    package static let groupRemoved = Self(rawValue: 6)
    package static let lagged = Self(rawValue: 7)
    package static let idle = Self(rawValue: 8)
    package static let protocolError = Self(rawValue: 16)
    package static let version = Self(rawValue: 17)
    package static let frameTooLarge = Self(rawValue: 18)
    package static let creditOverrun = Self(rawValue: 19)
    package static let creditMismatch = Self(rawValue: 20)
    package static let badLink = Self(rawValue: 21)
    package static let badOption = Self(rawValue: 22)
    package static let badDemand = Self(rawValue: 23)
    package static let eventTooLarge = Self(rawValue: 24)
    package static let recallTimeout = Self(rawValue: 25)
    package static let authFailed = Self(rawValue: 32)
    package static let forbidden = Self(rawValue: 33)
    package static let notFound = Self(rawValue: 34)
    package static let limit = Self(rawValue: 35)
    package static let busy = Self(rawValue: 36)
    package static let exists = Self(rawValue: 38)
    package static let discarded = Self(rawValue: 39)
    package static let kicked = Self(rawValue: 40)
    package static let internalError = Self(rawValue: 48)

    /// One row of the table of codes in `Protocol/protocol.md`.
    package struct Description: Sendable {
        package let code: CloseCode
        package let name: String
        package let grade: Grade
        /// What the receiver of the code should do next.
        package let advice: String
    }

    /// Every code that this version knows, in the order of its number.
    package static let known: [Description] = [
        row(.normal, "NORMAL", .link, "nothing: the peer is done"),
        row(.cancelled, "CANCELLED", .link, "nothing: the link was cancelled"),
        row(.complete, "COMPLETE", .link, "nothing: the stream has ended"),
        row(.goingAway, "GOING_AWAY", .connection, "reconnect after the retry time"),
        row(.replaced, "REPLACED", .connection, "find who uses the same session elsewhere"),
        row(.topicDeleted, "TOPIC_DELETED", .link, "open the topic anew if it should exist"),
        row(.groupRemoved, "GROUP_REMOVED", .link, "open the link anew to start a fresh group"),
        row(.lagged, "LAGGED", .link, "consume faster, or choose another lag policy"),
        row(
            .idle,
            "IDLE",
            .connection,
            "send PING within the agreed keepalive, and each frame without long pauses"
        ),
        row(.protocolError, "PROTOCOL", .connection, "mend the client: the frame is malformed"),
        row(.version, "VERSION", .connection, "offer a version that the broker names"),
        row(.frameTooLarge, "FRAME_TOO_LARGE", .connection, "split: see max_frame in WELCOME"),
        row(.creditOverrun, "CREDIT_OVERRUN", .link, "send no more than was asked for"),
        row(.creditMismatch, "CREDIT_MISMATCH", .link, "mend the client: n and total disagree"),
        row(.badLink, "BAD_LINK", .connection, "open a link before using its id; ids only rise"),
        row(.badOption, "BAD_OPTION", .link, "read the reason and change that option"),
        row(.badDemand, "BAD_DEMAND", .link, "ask for at least one event"),
        row(.eventTooLarge, "EVENT_TOO_LARGE", .link, "send an event no larger than max_event"),
        row(.recallTimeout, "RECALL_TIMEOUT", .link, "answer STOP with STATUS and DRAINED"),
        row(.authFailed, "AUTH_FAILED", .connection, "present a valid credential"),
        row(.forbidden, "FORBIDDEN", .link, "ask an administrator for the right"),
        row(.notFound, "NOT_FOUND", .link, "create it first, or look for a typing error"),
        row(.limit, "LIMIT", .link, "ask for less; the reason names the limit"),
        row(.busy, "BUSY", .link, "try again after the retry time"),
        row(.exists, "EXISTS", .answer, "choose another name, or use what is there"),
        row(.discarded, "DISCARDED", .answer, "the full topic drops new events; slow down"),
        row(.kicked, "KICKED", .link, "an operator ended it: ask why before coming back"),
        row(.internalError, "INTERNAL", .link, "report it with the broker's log"),
    ]

    private static func row(
        _ code: CloseCode,
        _ name: String,
        _ grade: Grade,
        _ advice: String
    ) -> Description {
        Description(code: code, name: name, grade: grade, advice: advice)
    }

    /// The row of this code, or nil for a code of a later version.
    package var known: Description? { Self.known.first { $0.code == self } }
}

extension CloseCode: CustomStringConvertible {
    package var description: String { known?.name ?? "CODE_\(rawValue)" }
}

/// What holds the flow of a link, as told by its source in STATUS.
package enum BlockedBy: UInt8, Sendable, CaseIterable {
    case nothing = 0
    case noDemand = 1
    case noEvents = 2
    case bytes = 3
    case unsettled = 4
    case paused = 5
    case filter = 6
    case window = 7
    case buffer = 8
    /// As much as its rate allows has passed.
    case rate = 9
    /// A batch waits to become full.
    case batch = 10
    /// Another member of the group is the active one.
    case standby = 11
    /// Another member of the group, without which nobody gets anything, cannot take it.
    case others = 12
    /// The member owns no partition.
    case partition = 13

    /// The word for it in documents.
    package var word: String { Self.words[Int(rawValue)] }

    // Made once: to look a case's name up takes longer than the rest of a topic's document.
    private static let words = allCases.map { "\($0)" }
}
