import Logging
import SluiceCore
import SluiceWire

/// A query that this engine answers, a step at a time.
///
/// A step looks at so few topics, links or sessions that it is short whatever clients have made;
/// the steps of all queries take turns.
final class StatsJob {
    let query: StatsQuery
    private let done: (StatsReply) -> Void
    /// How far a walk over several steps has come.
    private var topic: Name?
    private var session: UInt64?
    private var faces = SessionFace.allCases.map { Snapshot.Face($0.rawValue) }
    private var found = StatsTopics()
    private var groups = 0

    init(_ query: StatsQuery, _ done: @escaping (StatsReply) -> Void) {
        self.query = query
        self.done = done
    }

    /// Does a step and counts its cost; true once the query is answered.
    func step(in engine: Engine, _ cost: inout Int) -> Bool {
        guard let reply = work(in: engine, &cost) else { return false }
        done(reply)
        return true
    }

    private func work(in engine: Engine, _ cost: inout Int) -> StatsReply? {
        switch query {
        case .server: return lookAtSessions(of: engine, &cost)
        case .topic(let name):
            if let box = engine.topics[name] {
                found.topics = [engine.snapshot(box)]
                cost += Self.cost(of: found.topics[0])
            }
            return .topics(found)
        case .topics(let after, let most):
            lookAtTopics(of: engine, after: after, most: most, &cost)
            return .topics(found)
        case .summary: return sumUp(engine, &cost)
        case .page(let list, let place): return .page(engine.page(of: list, after: place, &cost))
        }
    }

    private static func cost(of topic: Snapshot.Topic) -> Int { 1 + topic.groups.count }

    /// Looks at this engine's part of the next topics: names lie evenly on engines, and the merged
    /// answer ends where the first part does.
    private func lookAtTopics(of engine: Engine, after: Name?, most: Int, _ cost: inout Int) {
        let engines = engine.place.count
        let most = engines == 1 ? most : min(most, most / engines * 5 / 4 + 1)
        var weight = 0
        engine.topicTable.walk(after: after) { _, box in
            guard found.topics.count < most, weight < Engine.statsStepCost else {
                found.hasMore = true
                return false
            }
            let topic = engine.snapshot(box)
            weight += Self.cost(of: topic)
            found.topics.append(topic)
            return true
        }
        cost += weight
    }

    /// Goes on adding up; answers once all topics were looked at.
    private func sumUp(_ engine: Engine, _ cost: inout Int) -> StatsReply? {
        var weight = 0
        var isOver = true
        engine.topicTable.walk(after: topic) { name, box in
            guard weight < Engine.statsStepCost else {
                isOver = false
                return false
            }
            var snapshot = engine.snapshot(box, partitionsMax: 0)
            weight += Self.cost(of: snapshot)
            topic = name
            guard found.topics.count < Limits.metricsTopicsMax else {
                found.add(other: snapshot)
                return true
            }
            snapshot.foldGroups(most: Limits.metricsGroupsMax - groups)
            groups += snapshot.groups.count
            found.topics.append(snapshot)
            return true
        }
        cost += weight
        return isOver ? .topics(found) : nil
    }

    /// Goes on counting sessions; answers once all were looked at.
    private func lookAtSessions(of engine: Engine, _ cost: inout Int) -> StatsReply? {
        var seen = 0
        engine.sessionTable.walk(after: session) { number, client in
            guard seen < Self.sessionsPerStep else { return false }
            seen += 1
            session = number
            guard let face = SessionFace.allCases.firstIndex(of: client.face) else { return true }
            faces[face].connections += client.peer == nil ? 0 : 1
            faces[face].detachedSessions += client.peer == nil ? 1 : 0
            faces[face].queuedBytes += client.peer?.traffic.queuedBytes ?? 0
            return true
        }
        cost += 1 + seen * Engine.statsStepCost / Self.sessionsPerStep
        return seen < Self.sessionsPerStep ? .server(engine.serverSnapshot(faces)) : nil
    }

    private static var sessionsPerStep: Int { 2_048 }
}

// MARK: - Pages

extension Engine {
    /// Documents in one page, and things that are looked at for it.
    private static let pageDocumentsMax = 64
    private static let pageLooksMax = 1_024

    /// Renders the next documents of a list on this engine.
    func page(of list: StatsList, after place: StatsPlace, _ cost: inout Int) -> StatsPage {
        var page = StatsPage(after: place, time: time)
        var writer = FrameWriter()
        page.isLast = true
        switch list {
        case .topics:
            topicTable.walk(after: place.topic) { name, box in
                guard Self.hasRoom(page, writer) else {
                    page.isLast = false
                    return false
                }
                let document = document(of: box, most: Limits.documentBytesMax)
                cost += 1 + document.count / 1_024
                page.append(document, about: .topic(name), &writer)
                return true
            }
        case .connections:
            sessionTable.walk(after: place.connection) { number, session in
                guard Self.hasRoom(page, writer) else {
                    page.isLast = false
                    return false
                }
                cost += 1
                page.append(JSONBytes.of(snapshot(session)), about: .connection(number), &writer)
                return true
            }
        case .links(let name?):
            if let box = topics[name] { page.isLast = addLinks(of: box, &page, &writer, &cost) }
        case .links(nil):
            // The topic that the last page ended in may have more.
            if let last = place.topic, let box = topics[last] {
                page.isLast = addLinks(of: box, &page, &writer, &cost)
            }
            guard page.isLast else { break }
            var looks = 0
            topicTable.walk(after: place.topic) { name, box in
                looks += 1
                guard looks <= Self.pageLooksMax, addLinks(of: box, &page, &writer, &cost) else {
                    page.isLast = false
                    return false
                }
                page.next = .link(name, .max)
                return true
            }
            cost += looks / 16
        }
        page.seal(writer)
        return page
    }

    private static func hasRoom(_ page: StatsPage, _ writer: FrameWriter) -> Bool {
        page.entries.count < pageDocumentsMax && writer.bytes.count < Limits.writeWindowBytes
    }

    /// Adds the links of a topic behind the page's place; false if there may be more.
    private func addLinks(
        of box: TopicBox,
        _ page: inout StatsPage,
        _ writer: inout FrameWriter,
        _ cost: inout Int
    ) -> Bool {
        let name = box.core.name
        var index = 0
        if case .link(name, let last) = page.next { index = last < .max ? last + 1 : last }
        var looks = 0
        while index < box.owners.count {
            if box.owners[index] != nil {
                guard Self.hasRoom(page, writer) else { return false }
                if let link = snapshot(box, index) {
                    cost += 1
                    page.append(JSONBytes.of(link), about: .link(name, index), &writer)
                }
            } else {
                looks += 1
                guard looks <= Self.pageLooksMax else { return false }
            }
            page.next = .link(name, index)
            index += 1
        }
        return true
    }
}

extension StatsPlace {
    fileprivate var topic: Name? {
        switch self {
        case .topic(let name), .link(let name, _): name
        case .start, .connection: nil
        }
    }

    fileprivate var connection: UInt64? {
        if case .connection(let number) = self { number } else { nil }
    }
}

extension StatsPage {
    /// Adds a document, which is small enough for a record.
    fileprivate mutating func append(
        _ document: [UInt8],
        about place: StatsPlace,
        _ writer: inout FrameWriter
    ) {
        let start = writer.bytes.count
        writer.append(document: document)
        entries.append(Entry(start: start, end: writer.bytes.count, place: place))
        next = place
    }

    fileprivate mutating func seal(_ writer: FrameWriter) {
        guard !entries.isEmpty else { return }
        let slab = Slab(capacity: writer.bytes.count)
        _ = slab.append(writer.bytes.span.bytes)
        self.slab = slab
    }
}

extension FrameWriter {
    /// Adds a document as a record.
    mutating func append(document: [UInt8]) {
        do {
            try appendRecord(payload: document.span.bytes)
        } catch {
            preconditionFailure("documents are cut to less than a record's limit: \(error)")
        }
    }
}
