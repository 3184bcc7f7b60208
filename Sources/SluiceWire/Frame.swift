package import SluiceCore

/// One frame, decoded.
package enum Frame: Hashable, Sendable {
    // What is large and rare is held at a distance, so that a frame of events is cheap to hand on.
    indirect case hello(Hello)
    indirect case welcome(Welcome)
    case ping(Ping)
    indirect case open(Open)
    indirect case opened(Opened)
    case demand(Ask)
    case events(Events)
    case settle([Settlement])
    indirect case status(Status)
    case close(Close)
    /// A type of a later version that asks to be skipped.
    case ignorable(type: UInt8)

    /// Decodes the body at `range` of `span`, which holds the `header.length` bytes of the body.
    ///
    /// The ranges in a decoded EVENTS are positions in `span`.
    package static func decode(
        _ header: FrameHeader,
        body span: RawSpan,
        in range: Range<Int>
    ) throws(WireError) -> Frame {
        precondition(range.count == header.length && range.upperBound <= span.byteCount)
        guard let type = try header.knownType() else { return .ignorable(type: header.type) }
        var fields = FieldReader(type: type, in: range)
        let flags = header.flags
        return switch type {
        case .hello: .hello(try fields.hello(from: span))
        case .welcome: .welcome(try fields.welcome(flags: flags, from: span))
        case .ping: .ping(try fields.ping(flags: flags, from: span))
        case .open: .open(try fields.open(from: span))
        case .opened: .opened(try fields.opened(flags: flags, from: span))
        case .demand: .demand(try fields.demand(flags: flags, from: span))
        case .events: .events(try fields.events(flags: flags, from: span))
        case .settle: .settle(try fields.settlements(from: span))
        case .status: .status(try fields.status(flags: flags, from: span))
        case .close: .close(try fields.close(flags: flags, from: span))
        }
    }
}

extension FrameHeader {
    /// Reads a header at `offset`; nil while fewer than nine bytes are there.
    package static func decode(from span: RawSpan, at offset: Int) -> FrameHeader? {
        guard offset >= 0, span.byteCount - offset >= byteCount else { return nil }
        let first: UInt32 = span.bigEndian(at: offset)
        let flags: UInt8 = span.bigEndian(at: offset + 4)
        return FrameHeader(
            length: Int(first >> 8),
            type: UInt8(first & 0xFF),
            flags: flags,
            link: span.bigEndian(at: offset + 5)
        )
    }

    /// Refuses a length above the limit in force; to be asked before room is made for the body.
    package func checkLength(maximum: Int) throws(WireError) {
        guard length <= maximum else { throw .frameTooLarge(length: length, maximum: maximum) }
    }

    /// The type, its flags and link checked; nil for an unknown type that may be skipped.
    package func knownType() throws(WireError) -> FrameType? {
        guard let type = FrameType(rawValue: type) else {
            guard flags & FrameFlags.ignorable != 0 else { throw .unknownType(self.type) }
            return nil
        }
        let unknown = flags & ~(type.knownFlags | FrameFlags.ignorable)
        guard unknown == 0 else { throw .unknownFlags(type, unknown) }
        let isLegal =
            switch type {
            case .hello, .welcome, .ping: link == 0
            case .open, .opened, .demand, .events, .settle, .status: link > 0
            case .close: true
            }
        guard isLegal else { throw .wrongLink(type, link) }
        guard type != .close || link == 0 || flags & FrameFlags.graceful == 0 else {
            throw .gracefulLink
        }
        return type
    }
}

extension FrameType {
    var knownFlags: UInt8 {
        switch self {
        case .hello, .open, .settle: 0
        case .welcome, .opened: FrameFlags.resumed
        case .ping: FrameFlags.pong
        case .demand: AskFlags.drain.rawValue | AskFlags.stop.rawValue | AskFlags.echo.rawValue
        case .events: FrameFlags.gap | FrameFlags.end | FrameFlags.marker
        case .status: FrameFlags.drained | FrameFlags.echoed
        case .close: FrameFlags.graceful
        }
    }
}

extension RawSpan {
    /// The one place where received bytes become integers; traps outside the span.
    func bigEndian<Value: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int,
        as type: Value.Type = Value.self
    ) -> Value {
        Value(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: Value.self))
    }

    /// The text at `range`, or nil if that is not UTF-8.
    package func text(in range: Range<Int>) -> String? {
        unsafe extracting(range).withUnsafeBytes { bytes in
            unsafe String(validating: bytes, as: UTF8.self)
        }
    }

    /// A copy of the bytes at `range`.
    package func array(in range: Range<Int>) -> [UInt8] {
        unsafe extracting(range).withUnsafeBytes { bytes in unsafe Array(bytes) }
    }
}
