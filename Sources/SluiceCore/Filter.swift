/// A condition on the key and the headers of an event in the form that travels and is evaluated.
///
/// The bytes are a tree of nodes `u8 operation | u16 length | body`, which are checked once, when
/// the filter is made: evaluation allocates nothing and cannot fail.
package struct Filter: Hashable, Sendable {
    package let encoded: [UInt8]

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
    }

    package init(_ condition: Condition) throws(FilterError) {
        var encoder = Encoder()
        try encoder.append(condition, depth: 1)
        try self.init(encoded: encoder.bytes)
    }

    /// Whether a record, which begins with its head, is what the consumer wants.
    package func accepts(_ record: RawSpan) -> Bool {
        let evaluation = Evaluation(parts: RecordParts(of: record))
        return unsafe evaluation.holds(0, of: encoded.span.bytes, record)
    }

    package var condition: Condition {
        Reading(bytes: encoded).condition(at: 0)
    }
}

// MARK: - Evaluation

/// Walks the nodes of a checked filter over one record.
private struct Evaluation {
    let parts: RecordParts

    func holds(_ node: Int, of program: RawSpan, _ record: RawSpan) -> Bool {
        guard let operation = Filter.Operation(rawValue: program.byte(at: node)) else {
            return false
        }
        var next = node + Filter.nodeHeadBytes
        let end = next + program.pair(at: node + 1)
        switch operation {
        case .not: return !holds(next, of: program, record)
        case .all, .any:
            // The first child that decides ends the walk.
            while next < end {
                if holds(next, of: program, record) == (operation == .any) {
                    return operation == .any
                }
                next += Filter.nodeHeadBytes + program.pair(at: next + 1)
            }
            return operation == .all
        case .exists, .equals, .hasPrefix, .isOneOf:
            let name = (next + 1)..<(next + 1 + Int(program.byte(at: next)))
            let operand = name.upperBound..<end
            guard !name.isEmpty else {
                guard let key = parts.key else { return false }
                return fits(operation, operand, of: program, key, of: record)
            }
            return holds(operation, name, operand, of: program, record)
        }
    }

    /// Whether a header of that name fits.
    private func holds(
        _ operation: Filter.Operation,
        _ name: Range<Int>,
        _ operand: Range<Int>,
        of program: RawSpan,
        _ record: RawSpan
    ) -> Bool {
        guard let block = parts.headers else { return false }
        var next = block.lowerBound
        while next < block.upperBound {
            let known = (next + 1)..<(next + 1 + Int(record.byte(at: next)))
            // What lies behind the block is payload.
            guard let value = record.part(at: known.upperBound),
                value.upperBound <= block.upperBound
            else { return false }
            if record.equals(known, program, name),
                fits(operation, operand, of: program, value, of: record)
            {
                return true
            }
            next = value.upperBound
        }
        return false
    }

    private func fits(
        _ operation: Filter.Operation,
        _ operand: Range<Int>,
        of program: RawSpan,
        _ value: Range<Int>,
        of record: RawSpan
    ) -> Bool {
        switch operation {
        case .equals: return record.equals(value, program, operand)
        case .hasPrefix:
            guard value.count >= operand.count else { return false }
            return record.equals(
                value.lowerBound..<(value.lowerBound + operand.count),
                program,
                operand
            )
        case .isOneOf:
            var next = operand.lowerBound
            while next < operand.upperBound {
                let start = next + 2
                next = start + program.pair(at: next)
                if record.equals(value, program, start..<next) { return true }
            }
            return false
        case .exists, .not, .all, .any: return true
        }
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
        let isText = unsafe bytes.extracting(name..<nameEnd).withUnsafeBytes { text in
            unsafe String(validating: text, as: UTF8.self) != nil
        }
        guard isText else { throw .badName(at: name) }
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
        let count = name.utf8.count
        guard count > 0, count <= Filter.nameBytesMax else { throw .badName(at: bytes.count) }
        bytes.append(UInt8(count))
        bytes += Array(name.utf8)
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
        return .header(String(decoding: bytes[(place + 1)...].prefix(count), as: UTF8.self))
    }
}
