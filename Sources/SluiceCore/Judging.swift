/// An event while filters look at it: where its parts lie, and its headers by name if they are
/// many.
///
/// One serves event after event, so that its memory is taken once.
struct Judging {
    private var parts = RecordParts()
    private var headers = HeaderIndex()
    private var isIndexed = false
    /// What was looked at so far, in conditions on an event of few headers.
    private(set) var cost = 0

    /// Bytes of headers from which on they are looked up by name.
    private static let indexedBytesMin = 256
    /// What a condition costs that is looked up, and a header that is made ready for that.
    private static let indexedCost = 4

    /// Goes on with another event.
    mutating func begin(_ record: RawSpan) {
        parts = RecordParts(of: record)
        isIndexed = false
        cost += 1
    }

    /// Counts that it was looked who of so many could take the event.
    mutating func note(members: Int) { cost += members }

    /// Whether a filter holds for the event that was begun with.
    mutating func accepts(_ filter: Filter, _ record: RawSpan) -> Bool {
        cost += filter.parts * (isIndexed ? Self.indexedCost : 1)
        return unsafe holds(0, of: filter.encoded.span.bytes, record)
    }

    private mutating func holds(_ node: Int, of program: RawSpan, _ record: RawSpan) -> Bool {
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
            guard let block = parts.headers else { return false }
            guard block.count >= Self.indexedBytesMin else {
                return holds(operation, name, operand, of: program, block, of: record)
            }
            if !isIndexed {
                isIndexed = true
                cost += Self.indexedCost * headers.take(block, of: record)
            }
            return looksUp(operation, name, operand, of: program, record)
        }
    }

    /// Whether a header of that name fits, of few headers.
    private func holds(
        _ operation: Filter.Operation,
        _ name: Range<Int>,
        _ operand: Range<Int>,
        of program: RawSpan,
        _ block: Range<Int>,
        of record: RawSpan
    ) -> Bool {
        var next = block.lowerBound
        var values = 0
        while next < block.upperBound, values < Limits.headerValuesMax {
            let known = (next + 1)..<(next + 1 + Int(record.byte(at: next)))
            // What lies behind the block is payload.
            guard let value = record.part(at: known.upperBound),
                value.upperBound <= block.upperBound
            else { return false }
            if record.equals(known, program, name) {
                values += 1
                if fits(operation, operand, of: program, value, of: record) { return true }
            }
            next = value.upperBound
        }
        return false
    }

    /// The same, of many.
    private func looksUp(
        _ operation: Filter.Operation,
        _ name: Range<Int>,
        _ operand: Range<Int>,
        of program: RawSpan,
        _ record: RawSpan
    ) -> Bool {
        var place = headers.first(named: name, of: program, in: record)
        while let found = place {
            let value = headers.value(found)
            if fits(operation, operand, of: program, value, of: record) { return true }
            place = headers.next(found)
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

/// The headers of one event by their names, each with its first values in their order.
// Names are hashed by keys of the process's own: who sends them cannot make them meet.
private struct HeaderIndex {
    private struct Entry {
        var hash: Int
        var name: Range<UInt32>
        var value: Range<UInt32>
        /// The next value of the name, and on the first the last and how many there are.
        var next: Int32 = -1
        var last: Int32 = -1
        var count = 1
    }

    /// Numbers that no sender knows: one for what is mixed in, one that it is multiplied by.
    private static let processKeys = (
        UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max) | 1
    )
    private let keys = processKeys

    private var entries: [Entry] = []
    /// Places of first values in `entries`, plus 1, by the hash of their name.
    private var slots: [Int32] = []

    /// Takes over the headers of another event; returns how many there are.
    mutating func take(_ block: Range<Int>, of record: RawSpan) -> Int {
        entries.removeAll(keepingCapacity: true)
        var count = 0
        var next = block.lowerBound
        while next < block.upperBound {
            let name = (next + 1)..<(next + 1 + Int(record.byte(at: next)))
            guard let value = record.part(at: name.upperBound),
                value.upperBound <= block.upperBound
            else { break }
            next = value.upperBound
            count += 1
        }
        var size = 16
        while size < count * 2 { size *= 2 }
        slots.removeAll(keepingCapacity: true)
        slots.append(contentsOf: repeatElement(0, count: size))
        next = block.lowerBound
        for _ in 0..<count {
            let name = (next + 1)..<(next + 1 + Int(record.byte(at: next)))
            guard let value = record.part(at: name.upperBound) else { break }
            add(name, value, of: record)
            next = value.upperBound
        }
        return count
    }

    private mutating func add(_ name: Range<Int>, _ value: Range<Int>, of record: RawSpan) {
        var entry = Entry(
            hash: hash(name, of: record),
            name: UInt32(name.lowerBound)..<UInt32(name.upperBound),
            value: UInt32(value.lowerBound)..<UInt32(value.upperBound)
        )
        let place = Int32(entries.count)
        let slot = slot(of: entry.hash, name, record, in: record)
        guard slots[slot] > 0 else {
            entry.last = place
            entries.append(entry)
            slots[slot] = place + 1
            return
        }
        let first = Int(slots[slot] - 1)
        guard entries[first].count < Limits.headerValuesMax else { return }
        entries[Int(entries[first].last)].next = place
        entries[first].last = place
        entries[first].count += 1
        entries.append(entry)
    }

    /// The slot of a name that stands in `other`: its own, or an empty one.
    private func slot(
        of hash: Int,
        _ name: Range<Int>,
        _ other: RawSpan,
        in record: RawSpan
    ) -> Int {
        var slot = hash & (slots.count - 1)
        while slots[slot] > 0 {
            let entry = entries[Int(slots[slot] - 1)]
            let known = Int(entry.name.lowerBound)..<Int(entry.name.upperBound)
            if entry.hash == hash, record.equals(known, other, name) { return slot }
            slot = (slot + 1) & (slots.count - 1)
        }
        return slot
    }

    func first(named name: Range<Int>, of program: RawSpan, in record: RawSpan) -> Int? {
        let slot = slot(of: hash(name, of: program), name, program, in: record)
        return slots[slot] > 0 ? Int(slots[slot] - 1) : nil
    }

    func value(_ place: Int) -> Range<Int> {
        Int(entries[place].value.lowerBound)..<Int(entries[place].value.upperBound)
    }

    func next(_ place: Int) -> Int? {
        entries[place].next < 0 ? nil : Int(entries[place].next)
    }

    /// Eight bytes at a time are multiplied into 128 bits, whose halves are folded together.
    private func hash(_ name: Range<Int>, of bytes: RawSpan) -> Int {
        let (mixed, factor) = keys
        let bytes = bytes.extracting(name)
        var state = mixed ^ UInt64(name.count)
        var next = 0
        while bytes.byteCount - next >= 8 {
            state ^= unsafe bytes.unsafeLoadUnaligned(fromByteOffset: next, as: UInt64.self)
            state = Self.folded(state, factor)
            next += 8
        }
        var rest: UInt64 = 0
        while next < bytes.byteCount {
            rest = rest << 8 | UInt64(bytes.byte(at: next))
            next += 1
        }
        return Int(truncatingIfNeeded: Self.folded(Self.folded(state ^ rest, factor), mixed | 1))
    }

    private static func folded(_ one: UInt64, _ two: UInt64) -> UInt64 {
        let product = one.multipliedFullWidth(by: two)
        return product.high ^ product.low
    }
}
