import FoundationEssentials
import Glibc
import Histogram
import Sluice
import SluiceCore
import SluiceWire
import Synchronization

/// Where a measurement ends.
package enum BenchGoal: Sendable, Equatable {
    case events(Int)
    case time(Duration)
}

/// What is measured.
struct BenchPlan: Sendable {
    let kind: String
    let goal: BenchGoal
    let producers: Int
    let consumers: Int
    let size: Int
    let batch: Int
    let maxDemand: Int
    let global: GlobalOptions
    let isJSON: Bool
    let showsProgress: Bool
    var onFull = FullPolicy.block
    var consumes = true
    var fillsFirst = false
    /// Events a second; nil goes as fast as the broker grants.
    var rate: Double?

    init(kind: String, options: BenchOptions, goal: BenchGoal) {
        self.kind = kind
        self.goal = goal
        producers = options.producers
        consumers = options.consumers
        size = options.size.value
        batch = options.batch?.value ?? max(1, 262_144 / (size + Record.headBytes))
        maxDemand = options.maxDemand.value
        global = options.global
        isJSON = options.isJSON
        showsProgress = options.showsProgress
    }

    /// Events of producer `index`, if a number is the goal.
    func share(of index: Int) -> Int {
        guard case .events(let all) = goal else { return .max }
        return all / producers + (index < all % producers ? 1 : 0)
    }

    /// The topic's settings: as the broker's own, but for what the measurement needs.
    func request(_ topic: String) -> Snapshot.Request {
        var request = Snapshot.Request(op: "create-topic", topic: topic)
        request.onFull = onFull.rawValue
        if fillsFirst, case .events(let all) = goal {
            request.buffer = UInt64(all)
            let bytes = UInt64(all).multipliedSaturated(by: UInt64(size) + 64)
            request.bufferBytes = bytes.addingSaturated(Limits.bufferBytesDefault)
        }
        return request
    }
}

/// What was counted so far, by all producers and consumers together.
final class BenchCounters: Sendable {
    let sent = Atomic(0)
    let received = Atomic(0)
    /// Events that will be sent in all, as soon as that is known.
    let total = Atomic(Int.max)
}

/// One measurement from the making of its topic to its removal.
struct BenchRun: Sendable {
    let plan: BenchPlan
    let topic: String
    let counters = BenchCounters()
    private let subscriptions = Subscriptions()

    init(_ plan: BenchPlan) {
        self.plan = plan
        topic = "bench-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        if case .events(let all) = plan.goal {
            counters.total.store(all, ordering: .relaxed)
        }
    }

    func run() async throws {
        try await plan.global.withClient { client in
            try await control(plan.request(topic), client)
            let result: BenchResult
            do {
                result = try await measure(client)
            } catch {
                try? await control(Snapshot.Request(op: "remove-topic", topic: topic), client)
                throw error
            }
            try await control(Snapshot.Request(op: "remove-topic", topic: topic), client)
            try result.print(plan)
        }
    }

    private func control(_ request: Snapshot.Request, _ client: SluiceClient) async throws {
        let json = String(decoding: try JSONEncoder().encode(request), as: UTF8.self)
        try await client.control(json)
    }

    private func measure(_ client: SluiceClient) async throws -> BenchResult {
        let progress = Task { if plan.showsProgress { await showProgress() } }
        defer { progress.cancel() }
        if plan.fillsFirst { try await produceAll() }
        let before = try await server(client)
        let start = ContinuousClock.now
        async let produced: Void = plan.fillsFirst ? () : produceAll()
        let times = plan.consumes ? try await consumeAll() : nil
        try await produced
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        let after = try await server(client)
        progress.cancel()
        await progress.value
        var result = BenchResult(events: count, seconds: seconds, size: plan.size)
        result.brokerCPUSeconds = after.cpuSeconds - before.cpuSeconds
        result.latencies = times
        return result
    }

    private func server(_ client: SluiceClient) async throws -> Snapshot.Server {
        let list = try await Listing<Snapshot.Server>("$sys/server", client, plan.global)
        guard let server = try list.decoded().first else {
            throw Failure(.error, "the broker tells nothing of itself")
        }
        return server
    }

    /// What has moved so far, seen from the end that is measured.
    private var count: Int {
        plan.consumes
            ? counters.received.load(ordering: .relaxed) : counters.sent.load(ordering: .relaxed)
    }

    // MARK: - Producers

    private func produceAll() async throws {
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<plan.producers { group.addTask { try await produce(index) } }
                try await group.waitForAll()
            }
        } catch {
            subscriptions.cancel()
            throw error
        }
        let sent = counters.sent.load(ordering: .sequentiallyConsistent)
        counters.total.store(sent, ordering: .sequentiallyConsistent)
        endIfAllCame(counters.received.load(ordering: .sequentiallyConsistent))
    }

    private func produce(_ index: Int) async throws {
        try await plan.global.withClient { client in
            try await withTaskExecutorPreference(client.executor) {
                let producer = client.producer(
                    for: topic,
                    options: ProducerOptions(
                        backlog: plan.rate == nil ? .endless : .announced,
                        name: "sluice-bench"
                    )
                )
                if let rate = plan.rate {
                    try await produce(producer, index, rate: rate)
                } else {
                    try await produce(producer, index)
                }
                try await producer.flush()
                try await producer.close()
            }
        }
    }

    /// As fast as granted: the same batch again and again costs no event anything here.
    private func produce(_ producer: Producer, _ index: Int) async throws {
        let payload = [UInt8](repeating: UInt8(ascii: "x"), count: plan.size)
        var batch = OutgoingBatch()
        for _ in 0..<plan.batch { try batch.append(payload: payload) }
        var rest = plan.share(of: index)
        let clock = Deadlines(plan.goal)
        while rest > 0, !clock.isOver {
            if rest < batch.count {
                batch.removeAll()
                for _ in 0..<rest { try batch.append(payload: payload) }
            }
            try await producer.send(batch)
            rest -= batch.count
            counters.sent.add(batch.count, ordering: .relaxed)
        }
    }

    /// At a steady rate; each payload begins with the time at which it was due.
    private func produce(_ producer: Producer, _ index: Int, rate: Double) async throws {
        var payload = [UInt8](repeating: 0, count: plan.size)
        var batch = OutgoingBatch()
        let gap = Double(plan.producers) / rate * 1e9
        let start = Monotonic.nanoseconds
        var count = 0
        let share = plan.share(of: index)
        let clock = Deadlines(plan.goal)
        while count < share, !clock.isOver {
            let now = Monotonic.nanoseconds
            while count < share, batch.count < plan.batch,
                start.addingSaturated(UInt64(Int(bounded: Double(count) * gap))) <= now
            {
                withUnsafeBytes(of: Monotonic.nanoseconds.bigEndian) {
                    payload.replaceSubrange(0..<8, with: $0)
                }
                try batch.append(payload: payload)
                count += 1
            }
            guard batch.isEmpty else {
                counters.sent.add(batch.count, ordering: .relaxed)
                try await producer.send(batch)
                batch.removeAll()
                continue
            }
            try await Task.sleep(for: .nanoseconds(Int64(min(gap, 1_000_000))))
        }
    }

    // MARK: - Consumers

    private func consumeAll() async throws -> Histogram<UInt64>? {
        try await withThrowingTaskGroup(of: Histogram<UInt64>?.self) { group in
            for _ in 0..<plan.consumers { group.addTask { try await consume() } }
            var merged: Histogram<UInt64>?
            for try await times in group {
                guard let times else { continue }
                if merged == nil { merged = times } else { merged?.add(times) }
            }
            return merged
        }
    }

    private func consume() async throws -> Histogram<UInt64>? {
        try await plan.global.withClient { client in
            try await withTaskExecutorPreference(client.executor) {
                let most = plan.maxDemand
                let subscription = client.subscribe(
                    to: topic,
                    options: SubscriptionOptions(
                        demand: .automatic(max: most, min: most / 2),
                        name: "sluice-bench"
                    )
                )
                subscriptions.add(subscription)
                return try await consume(subscription)
            }
        }
    }

    private func consume(_ subscription: Subscription) async throws -> Histogram<UInt64>? {
        guard plan.rate != nil else {
            var bytes = 0
            for try await batch in subscription {
                // Reads every record, as any program would.
                batch.forEachPayload { bytes &+= $1.byteCount }
                count(batch)
            }
            return nil
        }
        var times = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
        for try await batch in subscription {
            let now = Monotonic.nanoseconds
            batch.forEachPayload { _, payload in
                let sent = payload.unsafeLoadUnaligned(as: UInt64.self).bigEndian
                _ = times.record(now - min(now, sent))
            }
            count(batch)
        }
        return times
    }

    private func count(_ batch: EventBatch) {
        let added = counters.received.add(batch.count, ordering: .sequentiallyConsistent)
        endIfAllCame(added.newValue)
    }

    /// All subscriptions have to end when the last event has come to one of them.
    private func endIfAllCame(_ received: Int) {
        if received >= counters.total.load(ordering: .sequentiallyConsistent) {
            subscriptions.cancel()
        }
    }

    // MARK: - Progress

    private func showProgress() async {
        let start = ContinuousClock.now
        var last = (count: 0, at: start)
        var rate = 0.0
        while (try? await Task.sleep(for: .milliseconds(200))) != nil {
            let count = count
            let now = ContinuousClock.now
            rate = Double(count - last.count) / ((now - last.at) / .seconds(1))
            last = (count, now)
            let share: Double
            switch plan.goal {
            case .events(let all): share = Double(count) / Double(all)
            case .time(let length): share = (now - start) / length
            }
            Notice.raw("\r\u{1B}[K" + Self.bar(share, rate: rate))
        }
        Notice.raw("\r\u{1B}[K")
    }

    static func bar(_ share: Double, rate: Double) -> String {
        let width = 30
        let full = Int((min(max(share, 0), 1) * Double(width)).rounded())
        let percent = (min(max(share, 0), 1) * 100).text(decimals: 0)
        return "[" + String(repeating: "=", count: full)
            + String(repeating: " ", count: width - full)
            + "] \(percent)%  \(Int(bounded: rate).grouped) events/s"
    }
}

/// The subscriptions of a measurement, to be ended together.
private final class Subscriptions: Sendable {
    private let all = Mutex<(open: [Subscription], areOver: Bool)>(([], false))

    func add(_ subscription: Subscription) {
        let isLate = all.withLock { all in
            all.open.append(subscription)
            return all.areOver
        }
        if isLate { subscription.cancel() }
    }

    func cancel() {
        let open = all.withLock { all in
            all.areOver = true
            return all.open
        }
        for subscription in open { subscription.cancel() }
    }
}

/// Whether the time of a measurement is over.
private struct Deadlines {
    private let end: ContinuousClock.Instant?

    init(_ goal: BenchGoal) {
        if case .time(let length) = goal { end = .now + length } else { end = nil }
    }

    var isOver: Bool { end.map { $0 <= ContinuousClock.now } ?? false }
}

/// The clock that never goes back, as one number.
enum Monotonic {
    static var nanoseconds: UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}
