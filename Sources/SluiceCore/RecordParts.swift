/// Where the key and the headers of one record lie; its bytes were checked when they came.
///
/// Every load is checked all the same: of a record that is broken there is nothing.
struct RecordParts {
    private(set) var key: Range<Int>?
    /// The block of headers: `u8 | name | u16 | value`, repeated.
    private(set) var headers: Range<Int>?

    /// Of nothing there is nothing.
    init() {}

    /// Takes apart a record with its head.
    init(of record: RawSpan) {
        guard record.byteCount >= Record.headBytes else { return }
        let flags = record.byte(at: 0)
        var next = Record.headBytes
        if flags & Record.keyFlag != 0 {
            guard let part = record.part(at: next) else { return }
            key = part
            next = part.upperBound
        }
        if flags & Record.headersFlag != 0 { headers = record.part(at: next) }
    }
}

extension RawSpan {
    func byte(at offset: Int) -> UInt8 {
        unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    func pair(at offset: Int) -> Int {
        Int(
            UInt16(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
        )
    }

    /// Whether the bytes at `range` are UTF-8, without making a string of them.
    // Names are short and nearly all of them ASCII.
    package func isText(in range: Range<Int>) -> Bool {
        let bytes = extracting(range)
        var all: UInt8 = 0
        for offset in 0..<bytes.byteCount { all |= bytes.byte(at: offset) }
        guard all >= 0x80 else { return true }
        return unsafe bytes.withUnsafeBytes { bytes in
            let bytes = unsafe bytes.bindMemory(to: UInt8.self)
            return unsafe (try? UTF8Span(validating: bytes.span)) != nil
        }
    }

    /// The part at `offset` after its length of two bytes; nil if it leaves the span.
    func part(at offset: Int) -> Range<Int>? {
        guard byteCount - offset >= 2 else { return nil }
        let start = offset + 2
        let end = start + pair(at: offset)
        return end <= byteCount ? start..<end : nil
    }

    /// Whether the bytes in `range` are those of `other` in `otherRange`.
    func equals(_ range: Range<Int>, _ other: RawSpan, _ otherRange: Range<Int>) -> Bool {
        guard range.count == otherRange.count else { return false }
        let count = range.count
        var done = 0
        while count - done >= 8 {
            let mine = unsafe unsafeLoadUnaligned(
                fromByteOffset: range.lowerBound + done,
                as: UInt64.self
            )
            let others = unsafe other.unsafeLoadUnaligned(
                fromByteOffset: otherRange.lowerBound + done,
                as: UInt64.self
            )
            guard mine == others else { return false }
            done += 8
        }
        while done < count {
            guard
                byte(at: range.lowerBound + done)
                    == other.byte(at: otherRange.lowerBound + done)
            else { return false }
            done += 1
        }
        return true
    }
}
