/// A condition on the key and the headers of an event in the form that travels and is evaluated.
///
/// The bytes are a tree of nodes `u8 operation | u16 length | body`, which are checked once, when
/// the filter is made: evaluation allocates nothing and cannot fail.
package struct Filter: Hashable, Sendable {
    package let encoded: [UInt8]
    /// Conditions and values of sets: what an event may cost to judge.
    let parts: Int

    enum Operation: UInt8 {
        case exists = 1
        case equals = 2
        case hasPrefix = 3
        case isOneOf = 4
        case not = 5
        case all = 6
        case any = 7
    }

    static let nodeHeadBytes = 3
    static let nameBytesMax = 255

    /// Takes bytes from a stranger.
    package init(encoded: [UInt8]) throws(FilterError) {
        guard encoded.count <= Limits.filterBytesMax else { throw .tooLarge(encoded.count) }
        var check = Check()
        let end = try unsafe check.node(
            at: 0,
            upTo: encoded.count,
            depth: 1,
            of: encoded.span.bytes
        )
        guard end == encoded.count else { throw .broken(at: end) }
        self.encoded = encoded
        parts = check.parts
    }

    package init(_ condition: Condition) throws(FilterError) {
        var encoder = Encoder()
        try encoder.append(condition, depth: 1)
        try self.init(encoded: encoder.bytes)
    }

    /// Whether a record, which begins with its head, is what the consumer wants.
    package func accepts(_ record: RawSpan) -> Bool {
        var judging = Judging()
        judging.begin(record)
        return judging.accepts(self, record)
    }

    package var condition: Condition {
        Reading(bytes: encoded).condition(at: 0)
    }
}

// MARK: - Check

/// Walks bytes from a stranger: nothing is believed, and depth and size are bounded.
private struct Check {
    /// Nodes, and values of sets: what one evaluation may cost.
    var parts = 0

    /// Checks the node at `start` and returns where it ends.
    mutating func node(
        at start: Int,
        upTo end: Int,
        depth: Int,
        of bytes: RawSpan
    ) throws(FilterError) -> Int {
        guard depth <= Limits.filterDepthMax else { throw .tooDeep }
        try count()
        guard end - start >= Filter.nodeHeadBytes else { throw .broken(at: start) }
        let code = bytes.byte(at: start)
        guard let operation = Filter.Operation(rawValue: code) else {
            throw .unknownOperation(code, at: start)
        }
        let body = start + Filter.nodeHeadBytes
        let bodyEnd = body + bytes.pair(at: start + 1)
        guard bodyEnd <= end else { throw .broken(at: start) }
        switch operation {
        case .not, .all, .any:
            var next = body
            var children = 0
            while next < bodyEnd {
                next = try node(at: next, upTo: bodyEnd, depth: depth + 1, of: bytes)
                children += 1
            }
            let isLegal = operation == .not ? children == 1 : children >= 2
            guard isLegal else { throw .wrongCount(at: start) }
        case .exists, .equals, .hasPrefix, .isOneOf:
            try test(operation, at: start, in: body..<bodyEnd, of: bytes)
        }
        return bodyEnd
    }

    private mutating func test(
        _ operation: Filter.Operation,
        at start: Int,
        in body: Range<Int>,
        of bytes: RawSpan
    ) throws(FilterError) {
        guard !body.isEmpty else { throw .broken(at: start) }
        let name = body.lowerBound + 1
        let nameEnd = name + Int(bytes.byte(at: body.lowerBound))
        guard nameEnd <= body.upperBound else { throw .broken(at: start) }
        guard bytes.isText(in: name..<nameEnd) else { throw .badName(at: name) }
        switch operation {
        case .exists:
            guard nameEnd == body.upperBound else { throw .broken(at: nameEnd) }
        case .isOneOf:
            guard nameEnd < body.upperBound else { throw .wrongCount(at: start) }
            var next = nameEnd
            while next < body.upperBound {
                try count()
                guard let value = bytes.part(at: next), value.upperBound <= body.upperBound else {
                    throw .broken(at: next)
                }
                next = value.upperBound
            }
        case .equals, .hasPrefix, .not, .all, .any: break
        }
    }

    private mutating func count() throws(FilterError) {
        parts += 1
        guard parts <= Limits.filterPartsMax else { throw .tooManyParts }
    }
}

// MARK: - To and from conditions

private struct Encoder {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ condition: Condition, depth: Int) throws(FilterError) {
        guard depth <= Limits.filterDepthMax else { throw .tooDeep }
        let start = bytes.count
        bytes += [0, 0, 0]
        let operation: Filter.Operation
        switch condition {
        case .exists(let field):
            operation = .exists
            try append(field)
        case .equals(let field, let value):
            operation = .equals
            try append(field)
            bytes += value
        case .hasPrefix(let field, let value):
            operation = .hasPrefix
            try append(field)
            bytes += value
        case .isOneOf(let field, let values):
            operation = .isOneOf
            try append(field)
            for value in values {
                guard value.count <= Limits.filterBytesMax else { throw .tooLarge(value.count) }
                append(length: value.count)
                bytes += value
            }
        case .not(let child):
            operation = .not
            try append(child, depth: depth + 1)
        case .all(let children):
            operation = .all
            for child in children { try append(child, depth: depth + 1) }
        case .any(let children):
            operation = .any
            for child in children { try append(child, depth: depth + 1) }
        }
        // Before the length is written: it would not fit its two bytes.
        guard bytes.count <= Limits.filterBytesMax else { throw .tooLarge(bytes.count) }
        let length = bytes.count - start - Filter.nodeHeadBytes
        bytes[start] = operation.rawValue
        bytes[start + 1] = UInt8(length >> 8)
        bytes[start + 2] = UInt8(length & 0xFF)
    }

    private mutating func append(_ field: Condition.Field) throws(FilterError) {
        guard case .header(let name) = field else {
            bytes.append(0)
            return
        }
        let count = name.byteCount
        guard count > 0, count <= Filter.nameBytesMax else { throw .badName(at: bytes.count) }
        bytes.append(UInt8(count))
        bytes += Array(name.text.utf8)
    }

    private mutating func append(length: Int) {
        bytes.append(UInt8(length >> 8))
        bytes.append(UInt8(length & 0xFF))
    }
}

/// Takes a checked filter apart.
private struct Reading {
    let bytes: [UInt8]

    private func length(at place: Int) -> Int { Int(bytes[place]) << 8 | Int(bytes[place + 1]) }

    func condition(at node: Int) -> Condition {
        let body = node + Filter.nodeHeadBytes
        let end = body + length(at: node + 1)
        let nameEnd = body + 1 + Int(bytes[body])
        switch Filter.Operation(rawValue: bytes[node]) {
        case .exists?, nil: return .exists(field(at: body))
        case .equals?: return .equals(field(at: body), Array(bytes[nameEnd..<end]))
        case .hasPrefix?: return .hasPrefix(field(at: body), Array(bytes[nameEnd..<end]))
        case .isOneOf?:
            var values: [[UInt8]] = []
            var next = nameEnd
            while next < end {
                let start = next + 2
                next = start + length(at: next)
                values.append(Array(bytes[start..<next]))
            }
            return .isOneOf(field(at: body), values)
        case .not?: return .not(condition(at: body))
        case .all?: return .all(children(from: body, to: end))
        case .any?: return .any(children(from: body, to: end))
        }
    }

    private func children(from start: Int, to end: Int) -> [Condition] {
        var children: [Condition] = []
        var next = start
        while next < end {
            children.append(condition(at: next))
            next += Filter.nodeHeadBytes + length(at: next + 1)
        }
        return children
    }

    private func field(at place: Int) -> Condition.Field {
        let count = Int(bytes[place])
        guard count > 0 else { return .key }
        let name = String(decoding: bytes[(place + 1)...].prefix(count), as: UTF8.self)
        return .header(Name(name))
    }
}
