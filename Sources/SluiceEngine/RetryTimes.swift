import SluiceCore
import Synchronization

/// When clients that are sent away may come back: not all at once.
///
/// The times lie evenly in a stretch that grows with the connections, however many are told and by
/// whichever engine.
final class RetryTimes: Sendable {
    private let connections = Atomic<Int>(0)
    private let told = Atomic<UInt32>(0)

    func addConnection() { connections.add(1, ordering: .relaxed) }
    func removeConnection() { connections.subtract(1, ordering: .relaxed) }

    /// Milliseconds for the next client.
    func next() -> UInt32 {
        let ticket = told.wrappingAdd(1, ordering: .relaxed).oldValue
        let all = UInt64(max(0, connections.load(ordering: .relaxed)))
        let due = all * 1_000 / UInt64(Limits.returnsPerSecondMax)
        let least = UInt64(Limits.goingAwayRetryMilliseconds)
        let stretch = max(least, min(due, UInt64(Limits.retrySpreadMillisecondsMax)))
        // Multiples of the golden ratio, as fractions of 2³², lie far from those before them.
        let fraction = UInt64(ticket &* 2_654_435_769)
        return UInt32(least + ((fraction * stretch) >> 32))
    }
}

extension Engine {
    /// Milliseconds after which a client that is sent away now may come back.
    package func nextRetry() -> UInt32 { place.census.retries.next() }
}
