package import SluiceCore

/// What a record of a world carries beside its number: a key or none, a header or none.
package struct Shape: Hashable, Sendable {
    /// 0 without a key, 1 with an empty one, else the place in `keys` plus 2.
    package var key: UInt8 = 0
    package var hasHeader = false

    package static let keys: [[UInt8]] = [
        "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "x0", "x1", "x2", "a-long-one",
    ].map { Array($0.utf8) }

    /// The bytes of the key; nil without one.
    package var keyBytes: [UInt8]? {
        switch key {
        case 0: nil
        case 1: []
        default: Self.keys[Int(key) - 2]
        }
    }

    /// The block of headers, with its length: `h: 1`.
    private static let headers: [UInt8] = [0, 5, 1, UInt8(ascii: "h"), 0, 1, UInt8(ascii: "1")]

    /// What precedes the payload of a record of `size` bytes.
    package func head(size: Int) -> [UInt8] {
        let flags =
            (key > 0 ? Record.keyFlag : 0) | (hasHeader ? Record.headersFlag : 0)
        let length = UInt32(size - Record.headBytes)
        let key = keyBytes
        var bytes: [UInt8] = []
        bytes.reserveCapacity(headBytes)
        bytes.append(flags)
        bytes.append(UInt8(length >> 16))
        bytes.append(UInt8(length >> 8 & 0xFF))
        bytes.append(UInt8(length & 0xFF))
        if let key {
            bytes.append(0)
            bytes.append(UInt8(key.count))
            bytes += key
        }
        if hasHeader { bytes += Self.headers }
        return bytes
    }

    /// How many bytes precede the payload.
    package var headBytes: Int {
        Record.headBytes + (keyBytes.map { 2 + $0.count } ?? 0)
            + (hasHeader ? Self.headers.count : 0)
    }

    /// The partition that an event of this shape belongs to.
    package func partition(at offset: UInt64, among count: UInt16) -> Int {
        guard let key = keyBytes else { return Int(offset % UInt64(count)) }
        return Int(KeyHash.partition(ofKey: key.span.bytes, among: count))
    }
}

/// What a consumer of a world wants to see, and what says so to its topic.
package struct Taste: Hashable, Sendable {
    package enum Kind: CaseIterable, Sendable {
        case one
        case several
        case prefix
        case keyed
        case header
        case noHeader
        case both
        case nothing
    }

    /// Nil for one that takes all.
    package var kind: Kind?
    package var oneIn: UInt32 = 1

    package var selects: Bool { kind != nil || oneIn > 1 }

    package var filter: Filter? {
        guard let kind else { return nil }
        let keys = Shape.keys
        let header = Condition.exists(.header("h"))
        let condition: Condition =
            switch kind {
            case .one: .equals(.key, keys[0])
            case .several: .isOneOf(.key, [keys[1], keys[2], keys[8]])
            case .prefix: .hasPrefix(.key, Array("k".utf8))
            case .keyed: .exists(.key)
            case .header: header
            case .noHeader: .not(header)
            case .both: .all([.exists(.key), header])
            case .nothing: .equals(.key, Array("nobody".utf8))
            }
        return try? Filter(condition)
    }

    package func accepts(_ shape: Shape, at offset: UInt64) -> Bool {
        guard offset % UInt64(oneIn) == 0 else { return false }
        return switch kind {
        case nil: true
        case .one: shape.key == 2
        case .several: [3, 4, 10].contains(shape.key)
        case .prefix: (2..<10).contains(shape.key)
        case .keyed: shape.key > 0
        case .header: shape.hasHeader
        case .noHeader: !shape.hasHeader
        case .both: shape.key > 0 && shape.hasHeader
        case .nothing: false
        }
    }
}

/// A rate counted by hand, to hold the topic's own against.
package struct HandBucket: Sendable {
    private let limit: RateLimit
    private var level: UInt64
    private var at: Instant

    package init(_ limit: RateLimit, at now: Instant) {
        self.limit = limit
        level = UInt64(limit.burst) * 1_000_000_000
        at = now
    }

    /// Lets events pass; false if the rate does not.
    package mutating func take(_ events: UInt64, at now: Instant) -> Bool {
        guard holds(events, at: now) else { return false }
        level -= events * 1_000_000_000
        return true
    }

    /// Whether so many events may pass.
    package mutating func holds(_ events: UInt64, at now: Instant) -> Bool {
        let full = UInt64(limit.burst) * 1_000_000_000
        let passed = now.nanoseconds - at.nanoseconds
        at = now
        let brought = passed.multipliedReportingOverflow(by: UInt64(limit.eventsPerSecond))
        level = brought.overflow ? full : min(full, level + brought.partialValue)
        return events * 1_000_000_000 <= level
    }
}
