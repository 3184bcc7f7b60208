/// A stretch of events with consecutive offsets inside one slab: what moves instead of events.
package struct Run: Sendable {
    package var slab: Slab
    /// Where the records lie in the slab.
    package var start: UInt32
    package var end: UInt32
    /// How many records that is.
    package var count: UInt32
    /// How often the events have been delivered before, plus one.
    package var attempt: UInt16
    /// The offset of the first event in its topic.
    package var offset: UInt64
    /// When the broker took the events, in microseconds since 1970 (UTC).
    package var time: UInt64

    package init(
        slab: Slab,
        bytes: Range<Int>,
        count: UInt32,
        offset: UInt64 = 0,
        time: UInt64 = 0,
        attempt: UInt16 = 0
    ) {
        self.slab = slab
        self.start = UInt32(bytes.lowerBound)
        self.end = UInt32(bytes.upperBound)
        self.count = count
        self.offset = offset
        self.time = time
        self.attempt = attempt
    }

    package var bytes: Range<Int> { Int(start)..<Int(end) }
    package var byteCount: Int { Int(end - start) }
    package var endOffset: UInt64 { offset + UInt64(count) }
}

/// The head of a record: one byte of flags, three of length.
package enum Record {
    package static let headBytes = 4
    /// A key precedes the headers and the payload.
    package static let keyFlag: UInt8 = 0x01
    /// A block of headers precedes the payload.
    package static let headersFlag: UInt8 = 0x02
}

/// Walks records `u8 flags | u24 length | body`; a plain struct, so the loop stays in registers.
///
/// Every load is checked against the span: the bytes come from strangers.
package struct RecordCursor {
    package private(set) var position: Int

    package init(at position: Int) { self.position = position }

    /// Takes whole records while both credits last, up to `end`; returns how many.
    ///
    /// Stops before a record that does not end by `end`.
    package mutating func take(
        events: UInt32,
        bytes: Int,
        upTo end: Int,
        from records: RawSpan
    ) -> UInt32 {
        let start = position
        let last = bytes < end - start ? start + bytes : end
        var next = start
        var count: UInt32 = 0
        var former: UInt32?
        while count < events, last - next >= Record.headBytes {
            let head = UInt32(
                bigEndian: unsafe records.unsafeLoadUnaligned(
                    fromByteOffset: next,
                    as: UInt32.self
                )
            )
            let size = Record.headBytes + Int(head & 0xFF_FFFF)
            guard next + size <= last else { break }
            next += size
            count += 1
            if head == former {
                let row = Record.row(of: head, in: records, next..<last, most: events - count)
                next += Int(row) * size
                count += row
            }
            former = head
        }
        position = next
        return count
    }
}

extension Record {
    /// Counts records in `range` that all have this head: in fours, up to `most`.
    ///
    /// Records of one size come in rows. To look where the next four would be waits for none of
    /// them, while each by itself waits until the one before it was loaded.
    package static func row(
        of head: UInt32,
        in records: RawSpan,
        _ range: Range<Int>,
        most: UInt32
    ) -> UInt32 {
        precondition(range.lowerBound >= 0 && range.upperBound <= records.byteCount)
        // No overflow: all is within memory, and 24 bits are added.
        let size = headBytes &+ Int(head & 0xFF_FFFF)
        let last = range.upperBound &- 4 &* size
        let bits = head.bigEndian
        var next = range.lowerBound
        var left = most
        // In bounds: four whole records are, and with them the head of the fourth.
        while left >= 4, next <= last {
            let first = unsafe self.bits(at: next, of: records) ^ bits
            let second = unsafe self.bits(at: next &+ size, of: records) ^ bits
            let third = unsafe self.bits(at: next &+ 2 &* size, of: records) ^ bits
            let fourth = unsafe self.bits(at: next &+ 3 &* size, of: records) ^ bits
            guard first | second | third | fourth == 0 else { break }
            next &+= 4 &* size
            left &-= 4
        }
        return most &- left
    }

    @inline(__always)
    @unsafe
    private static func bits(at offset: Int, of records: RawSpan) -> UInt32 {
        unsafe records.unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt32.self)
    }
}
