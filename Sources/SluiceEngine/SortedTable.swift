/// Values in the order of their keys.
///
/// A walk through it can stop behind any key and go on there later, whatever came and went
/// meanwhile. Finding, adding and removing cost the logarithm of the count and a move within one
/// chunk, also with a hundred thousand entries.
// keys rise within a chunk and from chunk to chunk; no chunk is empty or longer than chunkMax
package struct SortedTable<Key: Comparable, Value> {
    package typealias Entry = (key: Key, value: Value)

    private static var chunkMax: Int { 256 }

    private var chunks: [[Entry]] = []
    package private(set) var count = 0

    package init() {}

    package subscript(key: Key) -> Value? {
        guard let place = place(of: key), place.isFound else { return nil }
        return chunks[place.chunk][place.index].value
    }

    /// Adds a value, or puts it in the place of the one with its key.
    package mutating func insert(_ value: Value, for key: Key) {
        guard let place = place(of: key) else {
            chunks = [[(key, value)]]
            count = 1
            return
        }
        guard !place.isFound else {
            chunks[place.chunk][place.index].value = value
            return
        }
        chunks[place.chunk].insert((key, value), at: place.index)
        count += 1
        guard chunks[place.chunk].count > Self.chunkMax else { return }
        let upper = Array(chunks[place.chunk][(Self.chunkMax / 2)...])
        chunks[place.chunk].removeSubrange((Self.chunkMax / 2)...)
        chunks.insert(upper, at: place.chunk + 1)
    }

    package mutating func remove(_ key: Key) {
        guard let place = place(of: key), place.isFound else { return }
        chunks[place.chunk].remove(at: place.index)
        if chunks[place.chunk].isEmpty { chunks.remove(at: place.chunk) }
        count -= 1
    }

    /// Shows the entries behind a key, or all of them, until `body` returns false.
    package func walk(after key: Key?, _ body: (Key, Value) -> Bool) {
        var (chunk, index) = (0, 0)
        if let key {
            guard let place = place(of: key) else { return }
            (chunk, index) = (place.chunk, place.index + (place.isFound ? 1 : 0))
        }
        while chunk < chunks.count {
            while index < chunks[chunk].count {
                let entry = chunks[chunk][index]
                guard body(entry.key, entry.value) else { return }
                index += 1
            }
            (chunk, index) = (chunk + 1, 0)
        }
    }

    /// Where a key is, or where it would be added; nil if there is no entry at all.
    private func place(of key: Key) -> (chunk: Int, index: Int, isFound: Bool)? {
        guard !chunks.isEmpty else { return nil }
        let chunk = max(0, chunks.indices.firstIndex(fromWhich: { chunks[$0][0].key > key }) - 1)
        let index = chunks[chunk].indices.firstIndex(fromWhich: { chunks[chunk][$0].key >= key })
        let isFound = index < chunks[chunk].count && chunks[chunk][index].key == key
        return (chunk, index, isFound)
    }
}
