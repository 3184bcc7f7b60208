/// Numbers of lanes, a bit for each.
package struct LaneSet: Hashable, Sendable {
    private var words: [UInt64] = []
    package private(set) var count = 0

    package var isEmpty: Bool { count == 0 }

    package func contains(_ lane: Int) -> Bool {
        let word = lane >> 6
        return word < words.count && words[word] & Self.bit(lane) != 0
    }

    mutating func insert(_ lane: Int) {
        let word = lane >> 6
        if word >= words.count {
            words += repeatElement(0, count: word + 1 - words.count)
        }
        guard words[word] & Self.bit(lane) == 0 else { return }
        words[word] |= Self.bit(lane)
        count += 1
    }

    mutating func remove(_ lane: Int) {
        guard contains(lane) else { return }
        words[lane >> 6] &= ~Self.bit(lane)
        count -= 1
    }

    mutating func set(_ lane: Int, to isIn: Bool) {
        if isIn { insert(lane) } else { remove(lane) }
    }

    /// Forgets all of them, and the memory that they took.
    mutating func removeAll() { self = Self() }

    /// The first from `lane` on.
    package func next(from lane: Int) -> Int? {
        guard count > 0 else { return nil }
        var word = lane >> 6
        guard word < words.count else { return nil }
        var rest = words[word] & (.max << UInt64(lane & 63))
        while rest == 0 {
            word += 1
            guard word < words.count else { return nil }
            rest = words[word]
        }
        return word << 6 + rest.trailingZeroBitCount
    }

    /// The last; nil if there is none.
    var last: Int? {
        for word in words.indices.reversed() where words[word] != 0 {
            return word << 6 + 63 - words[word].leadingZeroBitCount
        }
        return nil
    }

    private static func bit(_ lane: Int) -> UInt64 { 1 << UInt64(lane & 63) }
}

extension LaneSet: Sequence {
    package struct Iterator: IteratorProtocol {
        fileprivate let lanes: LaneSet
        fileprivate var from = 0

        package mutating func next() -> Int? {
            guard let lane = lanes.next(from: from) else { return nil }
            from = lane + 1
            return lane
        }
    }

    package func makeIterator() -> Iterator { Iterator(lanes: self) }
}
