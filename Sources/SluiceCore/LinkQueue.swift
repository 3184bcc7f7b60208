import DequeModule

/// Links in the order in which they came, of which any may leave at any time.
///
/// All of it takes constant time, however many stand in it: a producer that says by turns that it
/// has events and that it has none moves from queue to queue each time.
package struct LinkQueue: Sequence, Sendable {
    /// What is left of an entry whose link has left, until the entry comes to the front.
    private static let vacant = UInt32.max

    private var entries = Deque<UInt32>()
    /// Where each link stands, by its index: 1 for the entry that was the very first; 0: nowhere.
    private var places: [UInt64] = []
    /// The place of the entry in front.
    private var frontPlace: UInt64 = 1
    package private(set) var count = 0

    package init() {}

    package var isEmpty: Bool { count == 0 }

    /// Entries with those that are vacant.
    package var entryCount: Int { entries.count }

    package func contains(_ index: UInt32) -> Bool {
        Int(index) < places.count && places[Int(index)] != 0
    }

    /// Puts a link at the end, if it does not stand in the queue already.
    package mutating func append(_ index: UInt32) {
        guard !contains(index) else { return }
        while places.count <= Int(index) { places.append(0) }
        places[Int(index)] = frontPlace + UInt64(entries.count)
        entries.append(index)
        count += 1
    }

    package mutating func popFirst() -> UInt32? {
        while let index = entries.popFirst() {
            frontPlace += 1
            guard index != Self.vacant else { continue }
            places[Int(index)] = 0
            count -= 1
            return index
        }
        return nil
    }

    package mutating func remove(_ index: UInt32) {
        guard contains(index) else { return }
        entries[Int(places[Int(index)] - frontPlace)] = Self.vacant
        places[Int(index)] = 0
        count -= 1
        // Once in as many removals as there are entries.
        if entries.count > 2 * count + 16 { close() }
    }

    /// Closes the gaps.
    private mutating func close() {
        let standing = Array(self)
        entries.removeAll(keepingCapacity: true)
        for index in standing {
            places[Int(index)] = frontPlace + UInt64(entries.count)
            entries.append(index)
        }
    }

    package func makeIterator() -> Iterator { Iterator(entries: entries.makeIterator()) }

    package struct Iterator: IteratorProtocol {
        fileprivate var entries: Deque<UInt32>.Iterator

        package mutating func next() -> UInt32? {
            while let index = entries.next() {
                if index != LinkQueue.vacant { return index }
            }
            return nil
        }
    }
}
