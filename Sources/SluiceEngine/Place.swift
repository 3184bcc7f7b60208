package import SluiceCore
import SluiceWire
import Synchronization

/// Where an engine stands among those of its broker.
///
/// Each topic has one home, told by its name alone, so that nobody has to ask where it lives.
package struct Place: Sendable {
    package let index: Int
    package let count: Int
    let census: Census

    package init(index: Int, of count: Int, census: Census) {
        precondition(index >= 0 && index < count)
        self.index = index
        self.count = count
        self.census = census
    }

    /// The place of a broker's only engine.
    package static var alone: Place { Place(index: 0, of: 1, census: Census()) }

    /// The engine that a topic of this name lives on: FNV-1a, folded.
    package func home(of topic: String) -> Int {
        guard count > 1 else { return index }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in topic.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return Int((hash ^ hash >> 32) % UInt64(count))
    }

    /// The engine that serves what is opened by this name; a `$sys` topic is served anywhere
    /// unless it shows one topic.
    func home(of open: Open) -> Int {
        guard count > 1, open.topic.hasPrefix("$") else { return home(of: open.topic) }
        let parts = open.topic.split(separator: "/", maxSplits: 2)
        return parts.count > 2 ? home(of: String(parts[2])) : index
    }
}

/// What the engines of one broker count together, because a limit speaks of all of them.
package final class Census: Sendable {
    private let topics = Atomic<Int>(0)
    private let sessions = Atomic<UInt64>(0)

    package init() {}

    /// Counts one topic more; false if the broker holds as many as it may.
    func addTopic() -> Bool {
        guard topics.add(1, ordering: .relaxed).newValue <= Limits.topicsMax else {
            removeTopic()
            return false
        }
        return true
    }

    /// The number of a new session, which no other of the broker has.
    func nextSession() -> UInt64 { sessions.add(1, ordering: .relaxed).newValue }

    func removeTopic() { topics.subtract(1, ordering: .relaxed) }
}

extension Engine {
    /// The topics as they are now, to hold the laws against them.
    package var cores: [Topic] { topics.values.map(\.core) }
}
