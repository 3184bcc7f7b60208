import DequeModule
import SluiceCore
import SluiceWire

/// What an engine has been asked about itself and the broker, and has not answered.
///
/// Nothing here is answered from within the call that asks: an answer that asked the next thing
/// would go deeper with each of the things that clients have made.
final class StatsDesk {
    /// Queries that are answered here, which take turns.
    fileprivate var jobs = Deque<StatsJob>()
    /// Queries to all engines that wait for some of them, by ticket.
    fileprivate var gathers: [UInt64: StatsGather] = [:]
    /// Queries that wait for one of those to end.
    fileprivate var waiting = Deque<(query: StatsQuery, done: (StatsReply) -> Void)>()
    /// Pages that are under way, with all who wait for them.
    fileprivate var pageReaders: [StatsPageKey: [(StatsPage) -> Void]] = [:]
    fileprivate var pages = StatsPageCache()
    fileprivate var epochs: [StatsList: StatsEpoch] = [:]
    /// Rounds that wait until the next of their list may begin, and when the first of them may.
    fileprivate var waitingRounds: [InspectedLink] = []
    fileprivate var summary = StatsEpoch()
    fileprivate var summaryReaders: [(StatsReply) -> Void] = []
    fileprivate var isSummingUp = false
    private var lastEpoch: UInt64 = 0
    /// Rendered documents that wait for credit.
    var keptBytes = 0
    /// What may still be done in this turn.
    var cost = 0
    var bytes = 0

    /// A number that no epoch had: what was rendered in one never passes for another's.
    fileprivate func nextEpoch() -> UInt64 {
        lastEpoch += 1
        return lastEpoch
    }
}

/// An inspection with the link that it answers.
typealias InspectedLink = (inspection: Inspection, session: Session, link: UInt32)

/// A query that several engines answer together.
private final class StatsGather {
    let query: StatsQuery
    let done: (StatsReply) -> Void
    var missing: Int
    var replies: [StatsReply] = []

    init(_ query: StatsQuery, missing: Int, _ done: @escaping (StatsReply) -> Void) {
        self.query = query
        self.missing = missing
        self.done = done
    }
}

/// A time from which on what is rendered is fresh enough for all who began to read then.
struct StatsEpoch {
    fileprivate(set) var number: UInt64 = 0
    fileprivate var next: Instant?

    /// Begins the next one if the last is long enough ago for a list of so many.
    ///
    /// Who asks more often shares it with the others who do.
    fileprivate mutating func begin(_ number: UInt64, at now: Instant, count: Int) -> Bool {
        if let next, next > now { return false }
        let pause = min(Limits.statsRoundMilliseconds, UInt64(count) / Self.countPerMillisecond)
        next = now.advanced(milliseconds: pause)
        self.number = number
        return true
    }

    /// Things that are rendered in a fifth of a millisecond.
    private static var countPerMillisecond: UInt64 { 40 }
}

/// A page by the round that it belongs to and the place that it begins behind.
struct StatsPageKey: Hashable {
    let list: StatsList
    let epoch: UInt64
    let place: StatsPlace
}

/// Pages that were rendered a short while ago, the oldest first.
private struct StatsPageCache {
    private var pages: [StatsPageKey: StatsPage] = [:]
    private var order = Deque<(key: StatsPageKey, since: Instant)>()
    private var bytes = 0

    subscript(key: StatsPageKey) -> StatsPage? { pages[key] }

    mutating func add(_ page: StatsPage, _ key: StatsPageKey, at now: Instant) {
        guard pages.updateValue(page, forKey: key) == nil else { return }
        order.append((key, now))
        bytes += page.byteCount
        while bytes > Limits.statsCacheBytesMax { removeOldest() }
    }

    /// Forgets what no round is likely to ask for any more.
    mutating func expire(at now: Instant) {
        while let oldest = order.first,
            now.milliseconds(since: oldest.since) > 2 * Limits.statsRoundMilliseconds
        {
            removeOldest()
        }
    }

    private mutating func removeOldest() {
        guard let oldest = order.popFirst() else { return }
        bytes -= pages.removeValue(forKey: oldest.key)?.byteCount ?? 0
    }
}

// MARK: - Turns

extension Engine {
    /// What one step of a query may cost, and all of one turn: 1 for a topic and each group.
    static var statsStepCost: Int { 128 }
    private static var statsTurnCost: Int { 256 }
    /// Bytes of documents that are delivered in one turn, and inspections that are looked at.
    private static var statsTurnBytes: Int { 524_288 }
    private static var inspectionsPerTurnMax: Int { 64 }

    /// Whether somebody waits for what can be told now.
    var hasStatsWork: Bool { !inspecting.isEmpty || !stats.jobs.isEmpty }

    /// Goes on with what was asked: a little a turn, whatever there is.
    func stepStats() {
        stats.cost = Self.statsTurnCost
        stats.bytes = Self.statsTurnBytes
        while stats.cost > 0, let job = stats.jobs.popFirst() {
            var cost = 0
            if !job.step(in: self, &cost) { stats.jobs.append(job) }
            stats.cost -= max(1, cost)
        }
        stats.cost = max(stats.cost, Self.statsStepCost)
        for _ in 0..<min(inspecting.count, Self.inspectionsPerTurnMax)
        where stats.bytes > 0 && stats.cost > 0 {
            guard let next = inspecting.popFirst() else { break }
            answer(next.inspection, next.session, next.link)
        }
    }

    /// Lets go of what was kept for others to read.
    func expireStats() { stats.pages.expire(at: now) }

    /// Begins what waited for its time.
    func wakeStats() {
        let rounds = stats.waitingRounds
        stats.waitingRounds = []
        for round in rounds { inspecting.append(round) }
        if !stats.summaryReaders.isEmpty { beginSummary() }
    }

    /// Has what waits begun at a time.
    func wakeStats(at time: Instant?) {
        guard let time else { return }
        statsWakesAt = min(statsWakesAt ?? time, time)
        wakesAt = min(wakesAt ?? time, time)
    }
}

// MARK: - Queries

extension Engine {
    /// Asks all engines that know of it, and hands over what they have together, in a later turn.
    package func gather(_ query: StatsQuery, _ done: @escaping (StatsReply) -> Void) {
        if query == .summary {
            stats.summaryReaders.append(done)
            beginSummary()
        } else {
            begin(query, done)
        }
    }

    /// Sums up for all who wait, at most once in a while.
    private func beginSummary() {
        guard !stats.isSummingUp else { return }
        let count = place.census.topicCount
        guard stats.summary.begin(stats.nextEpoch(), at: now, count: count) else {
            return wakeStats(at: stats.summary.next)
        }
        stats.isSummingUp = true
        let readers = stats.summaryReaders
        stats.summaryReaders = []
        begin(.summary) { [unowned self] reply in
            stats.isSummingUp = false
            for reader in readers { reader(reply) }
            if !stats.summaryReaders.isEmpty { beginSummary() }
        }
    }

    private func begin(_ query: StatsQuery, _ done: @escaping (StatsReply) -> Void) {
        guard stats.gathers.count < Limits.statsGathersMax else {
            stats.waiting.append((query, done))
            return
        }
        let ticket = exchange.ticket()
        var engines = Array(0..<place.count)
        if case .topic(let name) = query { engines = [place.home(of: name)] }
        stats.gathers[ticket] = StatsGather(query, missing: engines.count, done)
        for engine in engines {
            if engine == place.index {
                stats.jobs.append(StatsJob(query) { [unowned self] in take($0, of: ticket) })
            } else {
                post(.look(ticket: ticket, query), to: engine)
            }
        }
    }

    /// Another engine wants to know what this one has.
    func look(_ query: StatsQuery, for ticket: UInt64, of engine: Int) {
        stats.jobs.append(
            StatsJob(query) { [unowned self] reply in
                var reply = reply
                if case .page(let page) = reply { reply = .page(page.crossing) }
                post(.sighted(ticket: ticket, reply), to: engine)
            }
        )
    }

    /// One of the engines has answered.
    func take(_ reply: StatsReply, of ticket: UInt64) {
        guard let gather = stats.gathers[ticket] else { return }
        gather.replies.append(reply)
        gather.missing -= 1
        guard gather.missing == 0 else { return }
        stats.gathers[ticket] = nil
        if let next = stats.waiting.popFirst() { begin(next.query, next.done) }
        if let merged = gather.query.merged(gather.replies) { gather.done(merged) }
    }
}

// MARK: - Rounds

extension Engine {
    /// The round of a list that a reader begins now; nil if it has to wait for the next.
    func epoch(of list: StatsList, for reader: InspectedLink) -> UInt64? {
        if stats.epochs.count >= Limits.statsGathersMax {
            stats.epochs = stats.epochs.filter { $0.value.next.map { $0 > now } ?? false }
        }
        var epoch = stats.epochs[list] ?? StatsEpoch()
        let isNext = reader.inspection.awaited.map { $0 <= epoch.number } ?? false
        if isNext || epoch.begin(stats.nextEpoch(), at: now, count: count(of: list)) {
            stats.epochs[list] = epoch
            reader.inspection.awaited = nil
            return epoch.number
        }
        reader.inspection.awaited = epoch.number + 1
        stats.waitingRounds.append(reader)
        wakeStats(at: epoch.next)
        return nil
    }

    /// How long a list is now.
    func count(of list: StatsList) -> Int {
        switch list {
        case .topics: place.census.topicCount
        case .links(nil): place.census.linkCount
        case .links(let name?): topics[name]?.linkCount ?? 0
        case .connections: place.census.sessionCount
        }
    }

    func knownPage(_ key: StatsPageKey) -> StatsPage? { stats.pages[key] }

    /// Has a page rendered, once for all who want it.
    func readPage(_ key: StatsPageKey, _ done: @escaping (StatsPage) -> Void) {
        stats.pageReaders[key, default: []].append(done)
        guard stats.pageReaders[key]?.count == 1 else { return }
        let take = { [unowned self] (reply: StatsReply) in
            guard case .page(let page) = reply else { return }
            stats.pages.add(page, key, at: now)
            for reader in stats.pageReaders.removeValue(forKey: key) ?? [] { reader(page) }
        }
        if case .links(_?) = key.list {
            // A topic's links are where it lives, and so is who reads them.
            stats.jobs.append(StatsJob(.page(key.list, after: key.place), take))
        } else {
            begin(.page(key.list, after: key.place), take)
        }
    }
}
