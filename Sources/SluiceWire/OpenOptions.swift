import SluiceCore

/// The tags of the options in OPEN.
enum OptionTag: UInt8 {
    case group = 1
    case dispatcher = 2
    case start = 3
    case demand = 4
    case name = 5
    case available = 6
    case resume = 7
    case weight = 8
    case priority = 9
    case lag = 10
    case partitions = 11
    case claim = 12
    case filter = 13
    case sample = 14
    case batch = 15
    case rate = 16
    case ephemeral = 17
    case patience = 18

    /// The only role that the option is for; nil for both.
    var role: Role? {
        switch self {
        case .available: .source
        case .name, .resume: nil
        default: .sink
        }
    }

    /// Set by a sender that would rather be refused than have the option skipped.
    static let critical: UInt8 = 0x80
}

enum StartKind: UInt8 {
    case new = 0
    case first = 1
    case offset = 2
    case time = 3
}

extension FieldReader {
    mutating func open(from span: RawSpan) throws(WireError) -> Open {
        let role: UInt8 = try next(span)
        let topicCount = Int(try next(span, as: UInt8.self))
        let topic = try take(topicCount)
        // The structure is read to its end first: what is cut short is PROTOCOL, whatever it says.
        var walker = self
        while walker.left > 0 { _ = try walker.nextOption(from: span) }
        guard let known = Role(rawValue: role) else { throw .badValue(.role, UInt64(role)) }
        var text = FieldReader(type: type, in: topic)
        var open = Open(
            role: known,
            topic: try text.name(
                .topic,
                count: topicCount,
                maximum: Limits.topicNameBytesMax,
                from: span
            )
        )
        var seen: UInt32 = 0
        while left > 0 {
            let (tag, value) = try nextOption(from: span)
            guard let known = OptionTag(rawValue: tag & ~OptionTag.critical) else {
                guard tag & OptionTag.critical == 0 else { throw .unknownOption(tag) }
                continue
            }
            let bit: UInt32 = 1 << known.rawValue
            guard seen & bit == 0 else { throw .repeatedOption(known.rawValue) }
            seen |= bit
            guard known.role == nil || known.role == open.role else { continue }
            var fields = FieldReader(type: type, in: value)
            try fields.apply(known, to: &open, from: span)
        }
        return open
    }

    private mutating func nextOption(
        from span: RawSpan
    ) throws(WireError) -> (tag: UInt8, value: Range<Int>) {
        let tag: UInt8 = try next(span)
        let count: UInt16 = try next(span)
        return (tag, try take(Int(count)))
    }
}

// MARK: - The value of one option

extension FieldReader {
    /// Reads the value that the reader is left with; what a later version appended is ignored.
    private mutating func apply(
        _ tag: OptionTag,
        to open: inout Open,
        from span: RawSpan
    ) throws(WireError) {
        switch tag {
        case .group:
            let maximum = Limits.groupNameBytesMax
            open.group = Name(try name(.group, count: left, maximum: maximum, from: span))
        case .start: open.start = try start(from: span)
        case .demand:
            open.demandEvents = try next(span)
            open.demandBytes = try next(span)
        case .name where left == 0: open.name = nil
        case .name:
            let maximum = Limits.clientNameBytesMax
            open.name = try name(.linkName, count: left, maximum: maximum, from: span)
        case .available: open.available = try next(span, as: UInt64.self)
        case .resume:
            var resume = Resume()
            resume.position = try next(span)
            resume.positionBytes = try next(span)
            resume.asked = try next(span)
            resume.askedBytes = try next(span)
            resume.stoppedTo = try next(span)
            resume.drainedTo = try next(span)
            if left >= 8 { resume.gaps = try next(span) }
            open.resume = resume
        case .dispatcher, .lag, .partitions, .ephemeral, .patience:
            try apply(tag, to: &open.wish, from: span)
        case .weight, .priority, .claim, .filter, .sample, .batch, .rate:
            try apply(tag, to: &open.member, from: span)
        }
    }

    private mutating func start(from span: RawSpan) throws(WireError) -> Start {
        let kind: UInt8 = try next(span)
        let value: UInt64 = try next(span)
        switch StartKind(rawValue: kind) {
        case .new?: return .new
        case .first?: return .first
        case .offset?: return .offset(value)
        case .time?: return .time(value)
        case nil: throw .badValue(.start, UInt64(kind))
        }
    }
}

// MARK: - Groups and members

// Only what needs no knowledge of the group is judged here; the rest is the core's to refuse.
extension FieldReader {
    private mutating func apply(
        _ tag: OptionTag,
        to wish: inout GroupWish,
        from span: RawSpan
    ) throws(WireError) {
        switch tag {
        case .dispatcher:
            let kind: UInt8 = try next(span)
            guard let known = DispatcherKind(rawValue: kind) else {
                throw .badValue(.dispatcher, UInt64(kind))
            }
            wish.dispatcher = known
        case .lag: wish.lag = try lag(from: span)
        case .partitions:
            let count: UInt16 = try next(span)
            guard count > 0, count <= Limits.partitionsMax else {
                throw .badValue(.partitions, UInt64(count))
            }
            wish.partitions = count
        case .ephemeral:
            let value: UInt8 = try next(span)
            guard value <= 1 else { throw .badValue(.ephemeral, UInt64(value)) }
            wish.isEphemeral = value == 1
        default: wish.patienceMilliseconds = try atLeastOne(.patience, from: span)
        }
    }

    private mutating func apply(
        _ tag: OptionTag,
        to member: inout MemberOptions,
        from span: RawSpan
    ) throws(WireError) {
        switch tag {
        case .weight: member.weight = try atLeastOne(.weight, from: span)
        case .priority: member.priority = try next(span)
        case .claim: member.claims = try claims(from: span)
        case .filter:
            let encoded = try take(left)
            do {
                member.filter = try Filter(encoded: span.array(in: encoded))
            } catch { throw .badFilter(error) }
        case .sample: member.sampleOneIn = try atLeastOne(.sample, from: span)
        case .batch:
            member.batch = BatchRule(
                eventsMax: try atLeastOne(.batch, from: span),
                waitMilliseconds: try next(span)
            )
        default:
            member.rate = RateLimit(
                eventsPerSecond: try atLeastOne(.rate, from: span),
                burst: try atLeastOne(.rate, from: span)
            )
        }
    }

    private mutating func atLeastOne<Value: FixedWidthInteger & BitwiseCopyable>(
        _ field: WireError.Field,
        from span: RawSpan
    ) throws(WireError) -> Value {
        let value: Value = try next(span)
        guard value > 0 else { throw .badValue(field, 0) }
        return value
    }

    private mutating func lag(from span: RawSpan) throws(WireError) -> LagLimit {
        let policy: UInt8 = try next(span)
        let events: UInt32 = try next(span)
        guard let known = LagPolicy(rawValue: policy) else {
            throw .badValue(.lagPolicy, UInt64(policy))
        }
        // Who waits for it needs no limit, and who does not cannot be without.
        guard (known == .block) == (events == 0) else { throw .badValue(.lag, UInt64(events)) }
        return LagLimit(known, events: events)
    }

    private mutating func claims(from span: RawSpan) throws(WireError) -> [UInt16] {
        guard left > 0 else { throw .badValue(.claims, 0) }
        var claims: [UInt16] = []
        var seen: Set<UInt16> = []
        while left > 0 {
            let claim: UInt16 = try next(span)
            guard claim < Limits.partitionsMax, seen.insert(claim).inserted else {
                throw .badValue(.claims, UInt64(claim))
            }
            claims.append(claim)
        }
        return claims
    }
}
