package import SluiceCore

/// Why bytes are not a legal frame.
///
/// Each case knows the close code for the peer, what has to end, and a text for who mends it.
package enum WireError: Error, Hashable, Sendable {
    /// The length in the header is above the limit in force.
    case frameTooLarge(length: Int, maximum: Int)
    /// The type is none of version 1 and not marked IGNORABLE.
    case unknownType(UInt8)
    /// Flag bits that the type does not know.
    case unknownFlags(FrameType, UInt8)
    /// Flags of which the type takes only one.
    case mixedFlags(FrameType, UInt8)
    /// A frame of the connection on a link, or a frame of a link on link 0.
    case wrongLink(FrameType, UInt32)
    /// The body ends before its fields do.
    case truncated(FrameType)
    /// The first frame does not begin with "SLCE".
    case badMagic(UInt32)
    /// A number that the field does not allow.
    case badValue(Field, UInt64)
    /// More bytes or entries than the limit of the field.
    case tooLong(Field, count: Int, maximum: Int)
    /// A text that is not UTF-8.
    case badText(Field)
    /// A name that is empty or has characters that no name has.
    case badName(Field)
    /// GRACEFUL in the CLOSE of a link.
    case gracefulLink
    /// An option of OPEN that is unknown and critical.
    case unknownOption(UInt8)
    /// An option of OPEN that occurs twice.
    case repeatedOption(UInt8)
    /// The filter of an OPEN that is none.
    case badFilter(FilterError)
    /// Runs or records that do not fill exactly the bytes announced for them.
    case brokenRun
    /// A record whose key or headers do not lie within its body.
    case brokenRecord
    /// A record above the limit.
    case eventTooLarge(Int)

    /// The field that a number or a text was meant for.
    package enum Field: String, Sendable {
        case versions = "version range"
        case maxFrame = "max_frame"
        case sessionToken = "session token"
        case credential = "credential"
        case connectionName = "connection name"
        case linkName = "link name"
        case topic = "topic name"
        case group = "group name"
        case role = "role"
        case dispatcher = "dispatcher"
        case start = "start"
        case weight = "weight"
        case lagPolicy = "lag policy"
        case lag = "events that may wait"
        case partitions = "number of partitions"
        case claims = "claim"
        case sample = "sample"
        case batch = "batch"
        case rate = "rate or burst"
        case ephemeral = "ephemeral"
        case patience = "patience"
        case nextSequence = "next_sequence"
        case runCount = "count of a run"
        case runs = "list of runs"
        case gap = "gap"
        case gapReason = "gap reason"
        case marker = "text of a marker"
        case markOffset = "offset of a marker or end"
        case settlement = "settlement"
        case outcome = "outcome"
        case blockedBy = "blocked_by"
        case reason = "reason"
        case recordFlags = "record flags"
        case key = "key"
        case headers = "headers"
        case headerName = "header name"

        /// Names in OPEN, which are refused without an end to the connection.
        fileprivate var isNameOfLink: Bool {
            switch self {
            case .linkName, .topic, .group: true
            default: false
            }
        }

        /// Values of options in OPEN, which are refused likewise.
        fileprivate var isOption: Bool {
            switch self {
            case .dispatcher, .start, .weight, .lagPolicy, .lag, .partitions, .claims, .sample,
                .batch, .rate, .ephemeral, .patience:
                true
            default: false
            }
        }
    }

    package var closeCode: CloseCode {
        switch self {
        case .frameTooLarge: .frameTooLarge
        case .unknownType, .unknownFlags, .mixedFlags, .wrongLink: .protocolError
        case .truncated, .badMagic: .protocolError
        case .badValue(let field, _) where field.isOption: .badOption
        case .tooLong(.key, _, _), .tooLong(.headers, _, _), .eventTooLarge: .eventTooLarge
        case .tooLong(let field, _, _) where field.isNameOfLink: .badOption
        case .badName(let field) where field.isNameOfLink: .badOption
        case .unknownOption, .repeatedOption, .badFilter: .badOption
        case .badValue, .tooLong, .badText, .badName, .gracefulLink: .protocolError
        case .brokenRun, .brokenRecord: .protocolError
        }
    }

    /// What the error ends.
    package var grade: CloseCode.Grade { closeCode.known?.grade ?? .connection }
}

extension WireError: CustomStringConvertible {
    /// What is wrong and what to do next; fits into the reason of a CLOSE.
    package var description: String {
        switch self {
        case .frameTooLarge(let length, let maximum):
            "a frame of \(length) bytes is above max_frame (\(maximum)); split it"
        case .unknownType(let type):
            "frame type \(type) is unknown; send version 1 types, or set IGNORABLE"
        case .unknownFlags(let type, let flags):
            "\(type) does not know the flags 0x\(String(flags, radix: 16)); send them as 0"
        case .mixedFlags(let type, let flags):
            "\(type) cannot have the flags 0x\(String(flags, radix: 16)) together; send one"
        case .wrongLink(let type, let link):
            "\(type) is not legal on link \(link); "
                + "HELLO, WELCOME and PING go on link 0, OPEN to STATUS on a link above 0"
        case .truncated(let type): "\(type) ends before its fields do; see its layout"
        case .badMagic(let magic):
            "the magic is 0x\(String(magic, radix: 16)), not SLCE; is this a Sluice client?"
        case .badValue(let field, let value):
            "\(value) is not legal as \(field.rawValue); see the field in the protocol"
        case .tooLong(let field, let count, let maximum):
            "the \(field.rawValue) has \(count), the limit is \(maximum); send less"
        case .badText(let field):
            "the \(field.rawValue) is not UTF-8; encode it"
        case .badName(let field):
            "the \(field.rawValue) is no name: it is not empty and has \(NameRule.text)"
        case .gracefulLink: "GRACEFUL is for link 0; end a link by STOP, DRAINED and CLOSE"
        case .unknownOption(let tag):
            "option \(tag & 0x7F) is critical and unknown; leave it out for version 1"
        case .repeatedOption(let tag): "option \(tag) occurs twice; send it once"
        case .badFilter(let error): error.description
        case .brokenRun: "runs and records do not fill the frame exactly; count the bytes again"
        case .brokenRecord: "key or headers leave their record; count the bytes again"
        case .eventTooLarge(let count):
            "an event of \(count) bytes is above max_event (\(Limits.eventBytesMax)); send less"
        }
    }
}

extension FrameType: CustomStringConvertible {
    package var description: String {
        switch self {
        case .hello: "HELLO"
        case .welcome: "WELCOME"
        case .ping: "PING"
        case .open: "OPEN"
        case .opened: "OPENED"
        case .demand: "DEMAND"
        case .events: "EVENTS"
        case .settle: "SETTLE"
        case .status: "STATUS"
        case .close: "CLOSE"
        }
    }
}
