package import SluiceCore

/// What an EVENTS frame carries; its records stay where they are.
package struct Events: Hashable, Sendable {
    /// The sequence of the first event, or for a gap or mark of the next one to come.
    package var firstSequence: UInt64
    package var content: Content
    /// Events of all runs.
    package var eventCount: UInt64 = 0
    /// Bytes of all records with their heads: what credit in bytes counts.
    package var byteCount: UInt64 = 0
    /// Whether a run has an offset, a time or an attempt, which only the broker gives.
    package private(set) var isNumbered = false

    package enum Content: Hashable, Sendable {
        case runs(RunSlices)
        case gap(Gap)
        /// All events before `offset` came before it; 0 from a producer.
        case mark(Mark, offset: UInt64)
    }

    package init(firstSequence: UInt64, content: Content) {
        self.firstSequence = firstSequence
        self.content = content
        if case .runs(let runs) = content { count(runs) }
    }

    init(firstSequence: UInt64, runs: RunSlices) {
        self.firstSequence = firstSequence
        content = .runs(runs)
        count(runs)
    }

    private mutating func count(_ runs: RunSlices) {
        for index in 0..<runs.count {
            let header = runs[index].header
            eventCount += UInt64(header.count)
            byteCount += UInt64(header.length)
            if header.isNumbered { isNumbered = true }
        }
    }
}

extension RunHeader {
    /// Whether it has an offset, a time or an attempt, which only the broker gives.
    var isNumbered: Bool { offset | time > 0 || attempt > 0 }
}

/// The runs of a frame; most have only one, which needs no array.
package struct RunSlices: Hashable, Sendable, RandomAccessCollection {
    private let first: RunSlice
    private var more: [RunSlice] = []

    package init(_ first: RunSlice) { self.first = first }

    package mutating func append(_ run: RunSlice) { more.append(run) }

    package var startIndex: Int { 0 }
    package var endIndex: Int { more.count + 1 }
    package var count: Int { more.count + 1 }

    package subscript(position: Int) -> RunSlice {
        position == 0 ? first : more[position - 1]
    }
}

/// One run of a received EVENTS: `records` lies in the span that the frame was decoded from.
package struct RunSlice: Hashable, Sendable {
    package var header: RunHeader
    package var records: Range<Int>

    package init(header: RunHeader, records: Range<Int>) {
        self.header = header
        self.records = records
    }
}

extension FieldReader {
    mutating func events(flags: UInt8, from span: RawSpan) throws(WireError) -> Events {
        let sequence: UInt64 = try next(span)
        guard flags & type.knownFlags == 0 else {
            return Events(
                firstSequence: sequence,
                content: try content(flags: flags & type.knownFlags, from: span)
            )
        }
        guard left > 0 else { throw .truncated(type) }
        var runs = RunSlices(try run(from: span))
        while left > 0 {
            guard runs.count < Limits.runsPerFrameMax else {
                throw .tooLong(.runs, count: runs.count + 1, maximum: Limits.runsPerFrameMax)
            }
            runs.append(try run(from: span))
        }
        return Events(firstSequence: sequence, runs: runs)
    }

    mutating func run(from span: RawSpan) throws(WireError) -> RunSlice {
        let header = try runHeader(from: span)
        guard Int(header.length) <= left else { throw .brokenRun }
        let records = try take(Int(header.length))
        try checkRecords(in: records, count: header.count, of: span)
        return RunSlice(header: header, records: records)
    }

    private mutating func runHeader(from span: RawSpan) throws(WireError) -> RunHeader {
        guard left >= RunHeader.byteCount else { throw .brokenRun }
        let start = position
        position += RunHeader.byteCount
        let header = RunHeader(
            count: span.bigEndian(at: start),
            length: span.bigEndian(at: start + 4),
            offset: span.bigEndian(at: start + 8),
            time: span.bigEndian(at: start + 16),
            attempt: span.bigEndian(at: start + 24)
        )
        let end = header.offset.addingReportingOverflow(UInt64(header.count))
        guard header.count > 0, !end.overflow else {
            throw .badValue(.runCount, UInt64(header.count))
        }
        return header
    }

    /// What an EVENTS without events says.
    private mutating func content(
        flags: UInt8,
        from span: RawSpan
    ) throws(WireError) -> Events.Content {
        switch flags {
        case FrameFlags.gap: return .gap(try gap(from: span))
        case FrameFlags.end: return .mark(.end, offset: try next(span))
        case FrameFlags.marker:
            let offset: UInt64 = try next(span)
            let count = Int(try next(span, as: UInt16.self))
            let text = try take(count)
            guard count > 0 else { throw .badValue(.marker, 0) }
            guard count <= Limits.markerBytesMax else {
                throw .tooLong(.marker, count: count, maximum: Limits.markerBytesMax)
            }
            guard span.isText(in: text) else { throw .badText(.marker) }
            return .mark(.marker(span.array(in: text)), offset: offset)
        default: throw .mixedFlags(type, flags)
        }
    }

    private mutating func gap(from span: RawSpan) throws(WireError) -> Gap {
        let from: UInt64 = try next(span)
        let to: UInt64 = try next(span)
        let count: UInt64 = try next(span)
        let reason: UInt8 = try next(span)
        guard from < to, count > 0, count <= to - from else { throw .badValue(.gap, count) }
        guard let reason = GapReason(rawValue: reason) else {
            throw .badValue(.gapReason, UInt64(reason))
        }
        return Gap(from: from, to: to, count: count, reason: reason)
    }
}

/// Demands that `count` legal records fill `range` exactly.
///
/// The hot loop of a broker that receives: a plain record costs one load and three compares, and
/// less in a row of one size.
private func checkRecords(
    in range: Range<Int>,
    count: UInt32,
    of span: RawSpan
) throws(WireError) {
    precondition(range.lowerBound >= 0 && range.upperBound <= span.byteCount)
    // No flags and a legal length in one compare: the flags are the top byte of the head.
    let plainHeadMax = UInt32(Limits.eventBytesMax - Record.headBytes)
    let end = range.upperBound
    let lastHead = end - Record.headBytes
    var next = range.lowerBound
    var left = count
    var former = UInt32.max
    while left > 0 {
        guard next <= lastHead else { throw .brokenRun }
        // In bounds by the guard, as the range lies in the span.
        let head = UInt32(
            bigEndian: unsafe span.unsafeLoadUnaligned(
                fromUncheckedByteOffset: next,
                as: UInt32.self
            )
        )
        if head > plainHeadMax { _ = try RecordSlice(at: next, upTo: end, of: span) }
        // No overflow: `next` is at most the end of memory, and 24 bits are added.
        let size = Record.headBytes &+ Int(head & 0xFF_FFFF)
        next &+= size
        left &-= 1
        if head == former, head <= plainHeadMax, next <= end {
            let row = Record.row(of: head, in: span, next..<end, most: left)
            next &+= Int(row) &* size
            left &-= row
        }
        former = head
    }
    guard next == end else { throw .brokenRun }
}

/// Where the parts of one record lie.
package struct RecordSlice: Hashable, Sendable {
    package private(set) var key: Range<Int>?
    /// The block of headers; `HeaderReader` walks it.
    package private(set) var headers: Range<Int>?
    package private(set) var payload: Range<Int>

    /// Takes apart the record at `start`, which must end by `end`.
    init(at start: Int, upTo end: Int, of span: RawSpan) throws(WireError) {
        guard end - start >= Record.headBytes else { throw .brokenRun }
        let head: UInt32 = span.bigEndian(at: start)
        let size = Record.headBytes + Int(head & 0xFF_FFFF)
        guard size <= end - start else { throw .brokenRun }
        guard size <= Limits.eventBytesMax else { throw .eventTooLarge(size) }
        let flags = UInt8(head >> 24)
        guard flags & ~(Record.keyFlag | Record.headersFlag) == 0 else {
            throw .badValue(.recordFlags, UInt64(flags))
        }
        payload = (start + Record.headBytes)..<(start + size)
        if flags & Record.keyFlag != 0 {
            let key = try cut(from: span)
            guard key.count <= Limits.keyBytesMax else {
                throw .tooLong(.key, count: key.count, maximum: Limits.keyBytesMax)
            }
            self.key = key
        }
        if flags & Record.headersFlag != 0 {
            let block = try cut(from: span)
            var reader = HeaderReader(block)
            while try reader.next(from: span) != nil {}
            headers = block
        }
    }

    /// Cuts a part with its length of two bytes from the front of what is still the payload.
    private mutating func cut(from span: RawSpan) throws(WireError) -> Range<Int> {
        guard payload.count >= 2 else { throw .brokenRecord }
        let start = payload.lowerBound + 2
        let end = start + Int(span.bigEndian(at: payload.lowerBound, as: UInt16.self))
        guard end <= payload.upperBound else { throw .brokenRecord }
        payload = end..<payload.upperBound
        return start..<end
    }
}

/// Walks the records of a run for those who want their parts.
package struct RecordReader {
    package private(set) var position: Int
    private let end: Int

    package init(_ records: Range<Int>) {
        position = records.lowerBound
        end = records.upperBound
    }

    /// The next record, or nil after the last.
    package mutating func next(from span: RawSpan) throws(WireError) -> RecordSlice? {
        guard position < end else { return nil }
        let record = try RecordSlice(at: position, upTo: end, of: span)
        position = record.payload.upperBound
        return record
    }
}

/// Walks a block of headers.
package struct HeaderReader {
    private var position: Int
    private let end: Int

    package init(_ block: Range<Int>) {
        position = block.lowerBound
        end = block.upperBound
    }

    /// Where the next name and its value lie, or nil after the last.
    package mutating func next(
        from span: RawSpan
    ) throws(WireError) -> (name: Range<Int>, value: Range<Int>)? {
        guard position < end else { return nil }
        let nameStart = position + 1
        let nameEnd = nameStart + Int(span.bigEndian(at: position, as: UInt8.self))
        guard nameEnd > nameStart else { throw .badValue(.headerName, 0) }
        let valueStart = nameEnd + 2
        guard valueStart <= end else { throw .brokenRecord }
        guard span.isText(in: nameStart..<nameEnd) else { throw .badText(.headerName) }
        let valueEnd = valueStart + Int(span.bigEndian(at: nameEnd, as: UInt16.self))
        guard valueEnd <= end else { throw .brokenRecord }
        position = valueEnd
        return (nameStart..<nameEnd, valueStart..<valueEnd)
    }
}
