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
        var next = start
        var count: UInt32 = 0
        while count < events, end - next >= Record.headBytes {
            let head = UInt32(
                bigEndian: unsafe records.unsafeLoadUnaligned(
                    fromByteOffset: next,
                    as: UInt32.self
                )
            )
            let recordEnd = next + Record.headBytes + Int(head & 0xFF_FFFF)
            guard recordEnd <= end, recordEnd - start <= bytes else { break }
            next = recordEnd
            count += 1
        }
        position = next
        return count
    }
}
