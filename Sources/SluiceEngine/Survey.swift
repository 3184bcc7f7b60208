import SluiceCore
import SluiceWire

/// A round of an inspection that waits for what the other engines have.
final class Survey {
    let inspection: Inspection
    let session: Session
    let link: UInt32
    var missing: Int
    var sightings: [Sighting] = []

    init(_ inspection: Inspection, _ session: Session, _ link: UInt32, missing: Int) {
        self.inspection = inspection
        self.session = session
        self.link = link
        self.missing = missing
    }
}

extension Inspection.Subject {
    /// What has to be looked at on every engine, nil if the subject lives on one.
    var look: Look? {
        switch self {
        case .server: .server
        case .topics(nil): .topics
        case .links(nil): .links
        case .connections: .connections
        case .topics, .links, .peek: nil
        }
    }
}

extension Engine {
    /// Asks the other engines what they have for a round; false if there is nobody to ask.
    func survey(_ inspection: Inspection, _ session: Session, _ link: UInt32) -> Bool {
        guard place.count > 1, let look = inspection.subject.look else { return false }
        session.isAbroad = true
        let ticket = exchange.ticket()
        exchange.surveys[ticket] = Survey(
            inspection,
            session,
            link,
            missing: place.count - 1
        )
        for engine in 0..<place.count where engine != place.index {
            post(.look(ticket: ticket, look), to: engine)
        }
        return true
    }

    /// What this engine has of it, at once: the lists are short against what they tell of.
    func sight(_ look: Look) -> Sighting {
        switch look {
        case .server: .server(serverSnapshot())
        case .topics: .topics(topics.values.map { snapshot($0) })
        case .links:
            .links(
                topics.values.flatMap { box in
                    box.owners.indices.compactMap { snapshot(box, $0) }
                }
            )
        case .connections: .connections(sessions.values.map { snapshot($0) })
        }
    }

    func add(_ sighting: Sighting, to ticket: UInt64) {
        guard let survey = exchange.surveys[ticket] else { return }
        survey.sightings.append(sighting)
        survey.missing -= 1
        guard survey.missing == 0 else { return }
        exchange.surveys[ticket] = nil
        survey.inspection.sightings = survey.sightings
        inspecting.append((survey.inspection, survey.session, survey.link))
    }
}

extension Snapshot.Server {
    /// Adds what another engine of the same broker counts.
    mutating func add(_ other: Self) {
        connections += other.connections
        detachedSessions += other.detachedSessions
        topics += other.topics
        links += other.links
        eventsIn += other.eventsIn
        eventsOut += other.eventsOut
        memoryUsedBytes = memoryUsedBytes.map { $0 + (other.memoryUsedBytes ?? 0) }
        memoryReservedBytes = memoryReservedBytes.map { $0 + (other.memoryReservedBytes ?? 0) }
        for place in faces.indices {
            faces[place].connections += other.faces[place].connections
            faces[place].detachedSessions += other.faces[place].detachedSessions
            faces[place].queuedBytes += other.faces[place].queuedBytes
            faces[place].rejects.merge(other.faces[place].rejects, uniquingKeysWith: +)
            faces[place].protocolErrors.merge(
                other.faces[place].protocolErrors,
                uniquingKeysWith: +
            )
        }
    }
}
