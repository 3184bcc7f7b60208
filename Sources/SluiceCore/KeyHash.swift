/// Which partition an event belongs to: a function that every client computes alike.
///
/// `Protocol/protocol.md` §12 specifies it, `Protocol/vectors/values/keyhash.txt` has its numbers.
package enum KeyHash {
    /// MurmurHash3 of 32 bits with seed 0.
    package static func hash(_ key: RawSpan) -> UInt32 {
        var hash: UInt32 = 0
        let whole = key.byteCount & ~3
        for place in stride(from: 0, to: whole, by: 4) {
            let word = UInt32(
                littleEndian: unsafe key.unsafeLoadUnaligned(
                    fromByteOffset: place,
                    as: UInt32.self
                )
            )
            hash = rotated(hash ^ scrambled(word), by: 13) &* 5 &+ 0xE654_6B64
        }
        var rest: UInt32 = 0
        for place in (whole..<key.byteCount).reversed() {
            rest = rest << 8 | UInt32(key.byte(at: place))
        }
        return finished(hash ^ scrambled(rest) ^ UInt32(truncatingIfNeeded: key.byteCount))
    }

    /// The partition of a key among `count` of them, 1 or more.
    package static func partition(ofKey key: RawSpan, among count: UInt16) -> UInt16 {
        UInt16((UInt64(hash(key)) * UInt64(count)) >> 32)
    }

    /// The partition of a record, which begins with its head; `offset` spreads those without a key.
    package static func partition(
        of record: RawSpan,
        at offset: UInt64,
        among count: UInt16
    ) -> UInt16 {
        guard let key = RecordParts(of: record).key else {
            return UInt16(offset % UInt64(count))
        }
        return partition(ofKey: record.extracting(key), among: count)
    }

    private static func rotated(_ word: UInt32, by bits: UInt32) -> UInt32 {
        word << bits | word >> (32 - bits)
    }

    private static func scrambled(_ word: UInt32) -> UInt32 {
        rotated(word &* 0xCC9E_2D51, by: 15) &* 0x1B87_3593
    }

    /// Lets every bit of the key reach every bit of the hash.
    private static func finished(_ hash: UInt32) -> UInt32 {
        var hash = hash
        hash ^= hash >> 16
        hash = hash &* 0x85EB_CA6B
        hash ^= hash >> 13
        hash = hash &* 0xC2B2_AE35
        return hash ^ hash >> 16
    }
}
