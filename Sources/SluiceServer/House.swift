import SluiceCore
import SluiceEngine
import SluiceNet
import Synchronization

/// What the shards of one server share: each other's loops, and what is counted for all.
final class House: Sendable {
    let loops: [EventLoop]
    let drain: Drain
    let census: Census
    private let connections = Atomic<Int>(0)
    /// Each is touched on its own loop alone.
    private let residents: [Resident]

    private final class Resident: @unchecked Sendable {
        var shard: Shard?
    }

    init(shards: Int, memoryLimit: Int? = nil) throws(SystemError) {
        var memory = MemoryBudget.unlimited
        if let memoryLimit {
            let base = Int(clamping: HostProcess.memory.resident) + shards * Limits.memoryLoopBytes
            memory = MemoryBudget(limit: memoryLimit, base: base, engines: shards)
        }
        census = Census(memory: memory)
        var loops: [EventLoop] = []
        for index in 0..<shards { loops.append(try EventLoop(label: "sluice.\(index)")) }
        self.loops = loops
        drain = Drain(shards: shards)
        residents = (0..<shards).map { _ in Resident() }
    }

    func place(of index: Int) -> Place { Place(index: index, of: loops.count, census: census) }

    /// Lets a shard be found by the others; on its loop.
    func add(_ shard: Shard) { residents[shard.index].shard = shard }

    /// The shard has closed all; on its loop.
    func remove(_ index: Int) { residents[index].shard = nil }

    /// Has `body` done on a shard's loop, with nil if the shard is gone; false if its loop is too.
    @discardableResult
    func submit(to index: Int, _ body: @escaping @Sendable (Shard?) -> Void) -> Bool {
        let resident = residents[index]
        return loops[index].submit { @Sendable in body(resident.shard) }
    }

    /// Counts one connection more; false if there are as many as there may be.
    func enter(_ most: Int) -> Bool {
        guard connections.add(1, ordering: .relaxed).newValue <= most else {
            leave()
            return false
        }
        return true
    }

    func leave() { connections.subtract(1, ordering: .relaxed) }
}

/// Finds out that every shard of a stopping server is drained and no message is on its way.
///
/// Shards report when they like. If all are drained and as many messages were sent as received,
/// and all report the same once more, nothing moved in between, nor will it.
package final class Drain: Sendable {
    package struct Report {
        var isDrained: Bool
        var sent: UInt64
        var received: UInt64

        package init(isDrained: Bool, sent: UInt64, received: UInt64) {
            self.isDrained = isDrained
            self.sent = sent
            self.received = received
        }
    }

    private struct Wave {
        var reports: [Report?]
        /// What an earlier wave came to, when it looked like the end.
        var sent: UInt64?

        init(shards: Int) { reports = Array(repeating: nil, count: shards) }
    }

    private let wave: Lock<Wave>
    private let isOver = Atomic<Bool>(false)

    package init(shards: Int) { wave = Lock(Wave(shards: shards)) }

    /// Takes a shard's report; true once all may leave.
    package func note(_ index: Int, _ report: () -> Report) -> Bool {
        wave.withLock { wave in
            wave.reports[index] = report()
            let reports = wave.reports.compactMap { $0 }
            // A wave is whole when every shard has reported since the one before it.
            guard reports.count == wave.reports.count else { return }
            let sent = reports.reduce(0) { $0 + $1.sent }
            let received = reports.reduce(0) { $0 + $1.received }
            let isQuiet = sent == received && reports.allSatisfy(\.isDrained)
            let isAlone = reports.count == 1
            if isQuiet, isAlone || wave.sent == sent { isOver.store(true, ordering: .relaxed) }
            wave = Wave(shards: reports.count)
            wave.sent = isQuiet ? sent : nil
        }
        return isOver.load(ordering: .relaxed)
    }
}
