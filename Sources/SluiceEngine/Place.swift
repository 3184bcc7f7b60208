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
    package func home(of topic: Name) -> Int {
        guard count > 1 else { return index }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in topic.text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return Int((hash ^ hash >> 32) % UInt64(count))
    }

    /// The engine that serves what is opened by this name; a `$sys` topic is served anywhere
    /// unless it shows one topic.
    func home(of open: Open) -> Int {
        guard count > 1, open.topic.isReserved else { return home(of: open.topic) }
        let parts = open.topic.parts(most: 3)
        return parts.count > 2 ? home(of: parts[2]) : index
    }
}

/// What the engines of one broker count together, because a limit speaks of all of them.
package final class Census: Sendable {
    private let topics = Atomic<Int>(0)
    private let sessions = Atomic<UInt64>(0)
    let retries = RetryTimes()
    private let accounts = (0..<1_024).map { _ in AddressAccount() }
    private let openSessions = Atomic<Int>(0)
    private let links = Atomic<Int>(0)

    private let topicsMax: Int

    /// The memory of all engines together.
    let memory: MemoryBudget

    package init(topicsMax: Int = Limits.topicsMax, memory: MemoryBudget = .unlimited) {
        self.topicsMax = topicsMax
        self.memory = memory
    }

    /// What an address uses of what all share; addresses whose hashes are alike share an account.
    func account(of address: ClientAddress) -> AddressAccount {
        // Hashed with a seed of this process: nobody can choose whom to share with.
        accounts[Int(UInt(bitPattern: address.hashValue) % UInt(accounts.count))]
    }

    /// Counts one topic more, for the address whose OPEN made it if one did; says why not if there
    /// is no room for it.
    ///
    /// Once the broker holds half of the topics that it may, an address may hold at most half as
    /// many as are left.
    func addTopic(_ account: AddressAccount?) -> TopicRoom {
        let count = topics.add(1, ordering: .relaxed).newValue
        guard count <= topicsMax else {
            removeTopic(nil)
            return .full
        }
        guard let account else { return .free }
        let own = account.topics.add(1, ordering: .relaxed).newValue
        let left = topicsMax - (count - 1)
        guard left <= topicsMax / 2, own > max(1, left / 2) else { return .free }
        removeTopic(account)
        return .shareUsed
    }

    /// Whether one topic more may be made.
    enum TopicRoom: Sendable {
        case free
        case full
        /// The address has as many as it may while the broker is more than half full.
        case shareUsed
    }

    /// The number of a new session, which no other of the broker has.
    func nextSession() -> UInt64 { sessions.add(1, ordering: .relaxed).newValue }

    /// What each engine was told to do last, as the number of a `CommandKind`, for those who tell
    /// where a fault was; the highest bit is set in a step that follows.
    // Never freed: the process may end at any time, and there are few brokers in one.
    package nonisolated(unsafe) let lastCommands: UnsafeMutablePointer<UInt8> = {
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: Limits.shardsMax)
        bytes.initialize(repeating: 0, count: Limits.shardsMax)
        return bytes
    }()
    /// Sessions that there are, and links on topics.
    func countSessions(_ change: Int) { openSessions.add(change, ordering: .relaxed) }
    func countLinks(_ change: Int) { links.add(change, ordering: .relaxed) }

    var topicCount: Int { topics.load(ordering: .relaxed) }
    var sessionCount: Int { openSessions.load(ordering: .relaxed) }
    var linkCount: Int { links.load(ordering: .relaxed) }

    func removeTopic(_ account: AddressAccount?) {
        topics.subtract(1, ordering: .relaxed)
        account?.topics.subtract(1, ordering: .relaxed)
    }
}

/// What one address uses of what all clients of the broker share.
final class AddressAccount: Sendable {
    /// Topics that its OPENs made.
    let topics = Atomic<Int>(0)
    /// Bytes that these topics take, nearly.
    let memory = Atomic<Int>(0)
}

extension Engine {
    /// The topics as they are now, to hold the laws against them.
    package var cores: [Topic] { topics.values.map(\.core) }
}
