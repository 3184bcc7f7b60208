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
        var seen: UInt8 = 0
        while left > 0 {
            let (tag, value) = try nextOption(from: span)
            guard let known = OptionTag(rawValue: tag & ~OptionTag.critical) else {
                guard tag & OptionTag.critical == 0 else { throw .unknownOption(tag) }
                continue
            }
            let bit: UInt8 = 1 << known.rawValue
            guard seen & bit == 0 else { throw .repeatedOption(known.rawValue) }
            seen |= bit
            var option = OptionReader(tag: known, FieldReader(type: type, in: value))
            try option.apply(to: &open, from: span)
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

/// Reads the value of one option of OPEN.
private struct OptionReader {
    let tag: OptionTag
    var fields: FieldReader

    init(tag: OptionTag, _ fields: FieldReader) {
        self.tag = tag
        self.fields = fields
    }

    mutating func apply(to open: inout Open, from span: RawSpan) throws(WireError) {
        switch tag {
        case .group:
            open.group = try fields.name(
                .group,
                count: fields.left,
                maximum: Limits.groupNameBytesMax,
                from: span
            )
        case .dispatcher:
            try expect(bytes: 1)
            let kind: UInt8 = try fields.next(span)
            guard let known = DispatcherKind(rawValue: kind) else {
                throw .badValue(.dispatcher, UInt64(kind))
            }
            open.dispatcher = known
        case .start:
            try expect(bytes: 9)
            open.start = try start(from: span)
        case .demand:
            try expect(bytes: 8)
            open.demandEvents = try fields.next(span)
            open.demandBytes = try fields.next(span)
            guard open.demandEvents > 0 || open.demandBytes > 0 else { throw .emptyDemand }
        case .name:
            open.name = try fields.name(
                .linkName,
                count: fields.left,
                maximum: Limits.clientNameBytesMax,
                from: span
            )
        case .available:
            try expect(bytes: 8)
            open.available = try fields.next(span, as: UInt64.self)
        case .resume:
            try expect(bytes: 48)
            var resume = Resume()
            resume.position = try fields.next(span)
            resume.positionBytes = try fields.next(span)
            resume.asked = try fields.next(span)
            resume.askedBytes = try fields.next(span)
            resume.stoppedTo = try fields.next(span)
            resume.drainedTo = try fields.next(span)
            open.resume = resume
        }
    }

    private func expect(bytes count: Int) throws(WireError) {
        guard fields.left == count else { throw .badOptionLength(tag.rawValue, fields.left) }
    }

    private mutating func start(from span: RawSpan) throws(WireError) -> Start {
        let kind: UInt8 = try fields.next(span)
        let value: UInt64 = try fields.next(span)
        switch StartKind(rawValue: kind) {
        case .new?:
            guard value == 0 else { throw .badValue(.start, value) }
            return .new
        case .first?:
            guard value == 0 else { throw .badValue(.start, value) }
            return .first
        case .offset?: return .offset(value)
        case .time?: return .time(value)
        case nil: throw .badValue(.start, UInt64(kind))
        }
    }
}
