import DequeModule

/// Gathers elements by key until a batch is full or old, as a value.
// each open batch: 1 ≤ elements < size; `order` holds the open batches by age, and stale entries
package struct Batcher<Key: Hashable & Sendable, Element: Sendable>: Sendable {
    /// A batch that is done.
    package struct Closed: Sendable {
        package let key: Key
        package let elements: [Element]
        package let reason: BatchReason
    }

    private struct Open: Sendable {
        let number: UInt64
        var elements: [Element]
    }

    private struct Turn: Sendable {
        let key: Key
        let number: UInt64
        let deadline: ContinuousClock.Instant
    }

    private let size: Int
    private let time: Duration
    private var open: [Key: Open] = [:]
    private var order: Deque<Turn> = []
    private var lastNumber: UInt64 = 0

    package init(size: Int, within time: Duration) {
        precondition(size > 0, "a batch has room for an event")
        self.size = size
        self.time = time
    }

    /// When the oldest open batch is to be closed.
    package var deadline: ContinuousClock.Instant? { order.first?.deadline }

    /// Adds an element; returns its batch if that is full now.
    package mutating func add(
        _ element: Element,
        key: Key,
        at now: ContinuousClock.Instant
    ) -> Closed? {
        if open[key] == nil {
            lastNumber += 1
            open[key] = Open(number: lastNumber, elements: [])
            order.append(Turn(key: key, number: lastNumber, deadline: now + time))
        }
        open[key]?.elements.append(element)
        return open[key]?.elements.count == size ? close(key, .size) : nil
    }

    /// The oldest batch whose time is over.
    package mutating func due(at now: ContinuousClock.Instant) -> Closed? {
        guard let turn = order.first, turn.deadline <= now else { return nil }
        return close(turn.key, .timeout)
    }

    /// The oldest batch, as it is.
    package mutating func flush() -> Closed? {
        order.first.flatMap { close($0.key, .flush) }
    }

    private mutating func close(_ key: Key, _ reason: BatchReason) -> Closed? {
        guard let batch = open.removeValue(forKey: key) else { return nil }
        while let turn = order.first, open[turn.key]?.number != turn.number { order.removeFirst() }
        return Closed(key: key, elements: batch.elements, reason: reason)
    }
}
