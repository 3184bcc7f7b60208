import SluiceCore
package import SluiceWire

/// What holds the flow of a topic, read off the broker's own account.
package struct Diagnosis: Encodable, Sendable {
    /// One cause, with what to do about it.
    package struct Finding: Encodable, Sendable, Equatable {
        /// The kind of the cause.
        package enum Code: String, Encodable, Sendable {
            case paused
            case noConsumers = "no-consumers"
            case emptyGroup = "empty-group"
            case noDemand = "no-demand"
            case notReading = "not-reading"
            case byteBlocked = "byte-blocked"
            case bufferFull = "buffer-full"
            case noProducers = "no-producers"
            case noEvents = "no-events"
        }

        package var code: Code
        /// What is so, in one sentence.
        package var text: String
        /// Who is meant, a line each.
        package var who: [String] = []
        package var hint: String
    }

    package let topic: String
    package let isFlowing: Bool
    package let findings: [Finding]

    package init(_ topic: Snapshot.Topic, links: [Snapshot.Link]) {
        self.topic = topic.topic
        let own = links.filter { Name($0.topic) == Name(topic.topic) }
        let consumers = own.filter { $0.role == "consumer" }
        let producers = own.filter { $0.role == "producer" }
        let reader = Reader(topic: topic, consumers: consumers, producers: producers)
        findings = reader.findings
        isFlowing = findings.isEmpty
    }

    /// The headline: the first cause is the one that holds.
    package var headline: String {
        guard let first = findings.first else { return "\(topic) flows: nothing holds it" }
        let cause = first.code.rawValue.split(separator: "-").joined(separator: " ")
        return "\(topic) is held: \(cause)"
    }
}

/// Reads the documents, from what holds everything to what holds a part.
private struct Reader {
    let topic: Snapshot.Topic
    let consumers: [Snapshot.Link]
    let producers: [Snapshot.Link]

    private typealias Finding = Diagnosis.Finding

    var findings: [Diagnosis.Finding] {
        var found: [Finding] = []
        if topic.isPaused {
            found.append(
                Finding(
                    code: .paused,
                    text: "the topic is paused: nothing is delivered and nothing is granted",
                    hint: "sluice topic resume \(topic.topic)"
                )
            )
        }
        let held = topic.groups.compactMap { holding($0) }
        found += held
        if consumers.isEmpty, held.isEmpty { found.append(noConsumers) }
        if let full { found.append(full) }
        // While events wait for consumers, it is not the producers who hold the flow.
        if held.isEmpty, !topic.isPaused, let upstream { found.append(upstream) }
        return found
    }

    /// Why events that wait for a group do not go, if some wait.
    private func holding(_ group: Snapshot.Group) -> Diagnosis.Finding? {
        guard group.waiting > 0 else { return nil }
        let members = consumers.filter { Name($0.group ?? "") == Name(group.group) }
        let waiting = "\(events(group.waiting)) for group \(group.shownName)"
        guard group.members > 0 else {
            return Finding(
                code: .emptyGroup,
                text: "\(waiting), which has no members and holds them",
                hint: group.group.isEmpty
                    ? "consume them: sluice sub \(topic.topic)"
                    : "join it: sluice sub \(topic.topic) --group \(group.group); "
                        + "or remove it: sluice group rm \(topic.topic) \(group.group)"
            )
        }
        guard group.credit > 0 else {
            let last = members.compactMap(\.sinceAskMilliseconds).min()
            let since = last.map { "for \(Optional($0).span)" } ?? "so far"
            return Finding(
                code: .noDemand,
                text: "\(waiting), and none of its \(members.count) consumer"
                    + (members.count == 1 ? "" : "s") + " has asked \(since)",
                who: members.inOrder.map { asker($0) },
                hint: "ask for some: sluice demand \(topic.topic) 1"
                    + (group.group.isEmpty ? "" : " --group \(group.group)")
            )
        }
        guard group.deliverable == 0, !topic.isPaused else { return nil }
        let stuck = members.filter { $0.credit > 0 }.inOrder
        let byBytes = stuck.filter { $0.blockedBy == "bytes" }
        guard byBytes.isEmpty else {
            return Finding(
                code: .byteBlocked,
                text: "\(waiting), and the next one is larger than the bytes that were asked for",
                who: byBytes.map { asker($0) },
                hint: "let those consumers ask for more bytes"
            )
        }
        return Finding(
            code: .notReading,
            text: "\(waiting); it is asked for, but those who asked do not read their connection",
            who: stuck.map { asker($0) },
            hint: "see what waits for whom: sluice conn ls"
        )
    }

    private var noConsumers: Diagnosis.Finding {
        let waits = topic.bufferedEvents > 0 ? "\(events(topic.bufferedEvents)), and " : ""
        return Finding(
            code: .noConsumers,
            text: "\(waits)nobody consumes this topic",
            hint: "sluice sub \(topic.topic)"
        )
    }

    /// Whether producers get no credit because the buffer is used up.
    private var full: Diagnosis.Finding? {
        let unserved = producers.filter { $0.credit == 0 && ($0.available ?? 0) > 0 }.inOrder
        let usedBytes = topic.retainedBytes.addingSaturated(topic.grantedBytes)
        if topic.bufferBytes > 0, usedBytes >= topic.bufferBytes {
            let limit = ByteCount(Int(clamping: topic.bufferBytes)).text
            return Finding(
                code: .byteBlocked,
                text: "the buffer is full in bytes (\(limit)): producers are granted nothing",
                who: unserved.map { backlog($0) },
                hint: "consume some: sluice demand \(topic.topic) \(topic.bufferedEvents)"
            )
        }
        let isFull = topic.bufferedEvents >= max(topic.ahead, 1) && topic.grantedEvents == 0
        guard isFull || !unserved.isEmpty, topic.grantedEvents == 0, topic.onFull == "block",
            !topic.isPaused
        else { return nil }
        let text =
            topic.ahead == 0
            ? "the topic is strict (--buffer 0): producers are granted what consumers ask for, "
                + "and nothing is asked for"
            : "the buffer holds \(topic.bufferedEvents.grouped) events of "
                + "\(topic.ahead.grouped): producers are granted nothing"
        return Finding(
            code: topic.ahead == 0 ? .noDemand : .bufferFull,
            text: text,
            who: unserved.map { backlog($0) },
            hint: "consume some: sluice demand \(topic.topic) "
                + "\(max(topic.bufferedEvents, unserved.first?.available ?? 1, 1))"
        )
    }

    /// Why nothing comes, when somebody wants something and nothing waits.
    private var upstream: Diagnosis.Finding? {
        let isWanted = topic.groups.contains { $0.credit > 0 && $0.waiting == 0 }
        guard isWanted || topic.bufferedEvents == 0 else { return nil }
        guard topic.producers > 0 else {
            return Finding(
                code: .noProducers,
                text: isWanted
                    ? "consumers want \(topic.demand.grouped) events, "
                        + "and nobody produces"
                    : "nobody produces to this topic",
                hint: "sluice pub \(topic.topic)"
            )
        }
        guard isWanted else {
            guard !consumers.isEmpty, full == nil else { return nil }
            return Finding(
                code: .noDemand,
                text: "nothing waits, and no consumer asks for anything",
                who: consumers.inOrder.map { asker($0) },
                hint: "ask for some: sluice demand \(topic.topic) 1"
            )
        }
        let granted = producers.filter { $0.credit > 0 }.inOrder
        guard !granted.isEmpty else { return nil }
        let quiet = topic.idleMilliseconds.map { " for \(Optional($0).span)" } ?? " so far"
        return Finding(
            code: .noEvents,
            text: "producers may send \(topic.grantedEvents.grouped) events and have sent none"
                + quiet,
            who: granted.map { backlog($0) },
            hint: "look at the producers: sluice producer ls \(topic.topic)"
        )
    }

    private func events(_ count: UInt64) -> String {
        count == 1 ? "1 event waits" : "\(count.grouped) events wait"
    }

    private func asker(_ link: Snapshot.Link) -> String {
        let last = link.sinceAskMilliseconds.map { "last \(Optional($0).span) ago" } ?? "never"
        return "\(link.shownName): asked \(link.asked.grouped) (\(last)), "
            + "received \(link.delivered.grouped), credit \(link.credit.grouped)"
    }

    private func backlog(_ link: Snapshot.Link) -> String {
        let waits = link.available.map { "\($0.grouped) waiting" } ?? "backlog unknown"
        return "\(link.shownName): granted \(link.asked.grouped), sent "
            + "\(link.delivered.grouped), credit \(link.credit.grouped), \(waits)"
    }
}
