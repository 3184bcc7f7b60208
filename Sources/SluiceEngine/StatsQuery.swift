package import SluiceCore
package import SluiceWire

/// What an engine is asked about itself, by one of its clients or for a client of another engine.
package enum StatsQuery: Hashable, Sendable {
    /// The broker as a whole.
    case server
    /// One topic.
    case topic(Name)
    /// The topics behind a name, in the order of their names, at most so many.
    case topics(after: Name?, most: Int)
    /// The first topics by name one by one, and the sum of all others.
    case summary
    /// Documents of a list behind a place, rendered.
    case page(StatsList, after: StatsPlace)
}

/// What there is many of: each list is walked in an order that lasts, a page at a time.
package enum StatsList: Hashable, Sendable {
    case topics
    /// The links on all topics, or on one.
    case links(Name?)
    case connections
}

/// A place in such a list: behind what it names.
package enum StatsPlace: Hashable, Comparable, Sendable {
    case start
    case topic(Name)
    case link(Name, Int)
    case connection(UInt64)
}

/// The answer to a query, by one engine or by all of them together.
package enum StatsReply: Sendable {
    indirect case server(Snapshot.Server)
    indirect case topics(StatsTopics)
    case page(StatsPage)
}

/// Topics that were asked for.
package struct StatsTopics: Sendable {
    /// In the order of their names.
    package var topics: [Snapshot.Topic] = []
    /// Whether there are more behind them.
    package var hasMore = false
    /// The sum of those that are not told one by one.
    package var others: Snapshot.Topic?

    package init() {}
}

/// Documents of a list, rendered once for all who read it at the time.
package struct StatsPage: Sendable {
    /// A document, as a record in the slab.
    package struct Entry: Sendable {
        var start: Int
        var end: Int
        /// What it is about.
        var place: StatsPlace
    }

    /// Nil if there are no entries.
    var slab: Slab?
    var entries: [Entry] = []
    /// The place behind all that was looked at.
    var next: StatsPlace
    /// Whether the list ends there.
    var isLast = false
    /// When it was rendered, in microseconds since 1970 (UTC).
    var time: UInt64

    init(after place: StatsPlace, time: UInt64) {
        next = place
        self.time = time
    }

    var byteCount: Int { entries.last?.end ?? 0 }

    /// The index of the first entry behind a place.
    func index(behind place: StatsPlace) -> Int {
        entries.indices.firstIndex(fromWhich: { entries[$0].place > place })
    }
}

// MARK: - Of several engines

extension StatsQuery {
    /// What the engines of a broker have together.
    func merged(_ replies: [StatsReply]) -> StatsReply? {
        guard replies.count > 1, let first = replies.first else { return replies.first }
        switch first {
        case .server(var server):
            for case .server(let other) in replies.dropFirst() { server.add(other) }
            return .server(server)
        case .topics:
            let all = replies.compactMap { reply in
                if case .topics(let topics) = reply { topics } else { nil }
            }
            return .topics(StatsTopics(merging: all, for: self))
        case .page:
            let pages = replies.compactMap { reply in
                if case .page(let page) = reply { page } else { nil }
            }
            return .page(StatsPage(merging: pages))
        }
    }

    /// How many topics it wants one by one.
    var most: Int {
        switch self {
        case .topics(_, let most): most
        case .summary: Limits.metricsTopicsMax
        case .topic: 1
        case .server, .page: 0
        }
    }
}

extension StatsTopics {
    /// The first of all by name; of a summary, the others with what is beyond.
    fileprivate init(merging parts: [StatsTopics], for query: StatsQuery) {
        self.init()
        hasMore = parts.contains(where: \.hasMore)
        for case let others? in parts.map(\.others) { add(other: others) }
        topics = Self.merged(parts.map(\.topics))
        // Of a part that has more, nothing is known behind the last that it tells of.
        let ends = parts.filter(\.hasMore).compactMap { $0.topics.last.map { Name($0.topic) } }
        let end = ends.min()
        while let last = topics.last {
            let isBeyond = topics.count > query.most || end.map { $0 < Name(last.topic) } ?? false
            guard isBeyond else { break }
            if query == .summary { add(other: last) } else { hasMore = true }
            topics.removeLast()
        }
        guard query == .summary else { return }
        var groups = 0
        for index in topics.indices {
            topics[index].foldGroups(most: Limits.metricsGroupsMax - groups)
            groups += topics[index].groups.count
        }
    }

    /// All of them in the order of their names, which each part is in.
    private static func merged(_ parts: [[Snapshot.Topic]]) -> [Snapshot.Topic] {
        var merged: [Snapshot.Topic] = []
        merged.reserveCapacity(parts.reduce(0) { $0 + $1.count })
        let names = parts.map { part in part.map { Name($0.topic) } }
        var places = parts.map { _ in 0 }
        while true {
            var first: Int?
            for part in parts.indices where places[part] < parts[part].count {
                if let first, names[first][places[first]] < names[part][places[part]] { continue }
                first = part
            }
            guard let first else { return merged }
            merged.append(parts[first][places[first]])
            places[first] += 1
        }
    }

    mutating func add(other topic: Snapshot.Topic) {
        if others == nil { others = Snapshot.Topic(topic: Snapshot.others) }
        others?.add(topic)
    }
}

extension StatsPage {
    /// One page of those that engines rendered behind the same place.
    ///
    /// Behind the end of a page that is not its engine's last nothing is known of that engine: what
    /// others have there waits for the next page.
    init(merging pages: [StatsPage]) {
        let start = pages.map(\.next).max() ?? .start
        let end = pages.filter { !$0.isLast }.map(\.next).min()
        self.init(after: end ?? start, time: pages.map(\.time).min() ?? 0)
        isLast = end == nil
        var found: [(page: Int, entry: Entry)] = []
        for (index, page) in pages.enumerated() {
            for entry in page.entries where end.map({ entry.place <= $0 }) ?? true {
                found.append((index, entry))
            }
        }
        guard !found.isEmpty else { return }
        found.sort { $0.entry.place < $1.entry.place }
        let slab = Slab(capacity: found.reduce(0) { $0 + $1.entry.end - $1.entry.start })
        for (index, entry) in found {
            guard let source = pages[index].slab else { continue }
            let range = source.withShared(entry.start..<entry.end) { slab.append($0.bytes) }
            let (start, end) = (range.lowerBound, range.upperBound)
            entries.append(Entry(start: start, end: end, place: entry.place))
        }
        self.slab = slab
    }

    /// The page for another engine: of a slab whose counters only that will change.
    var crossing: StatsPage {
        var page = self
        page.slab = slab.map { Slab(viewing: $0) }
        return page
    }
}
