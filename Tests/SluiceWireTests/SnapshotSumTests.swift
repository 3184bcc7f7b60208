import SluiceWire
import Testing

/// Numbers of a document by the names of its members; what counts by reason, by the reason too.
private func numbers(_ value: Any) -> [String: Double] {
    var found: [String: Double] = [:]
    for child in Mirror(reflecting: value).children {
        guard let name = child.label else { continue }
        switch child.value {
        case let number as UInt64: found[name] = Double(number)
        case let number as UInt32: found[name] = Double(number)
        case let number as Int: found[name] = Double(number)
        case let number as Double: found[name] = number
        case let counts as [String: UInt64]:
            found[name] = Double(counts["a"] ?? 0) + Double(counts["b"] ?? 0)
        case let seconds as [String: Double]:
            found[name] = (seconds["a"] ?? 0) + (seconds["b"] ?? 0)
        case let counts as [UInt64]: found[name] = Double(counts.reduce(0, +))
        default: break
        }
    }
    return found
}

/// A sum forgets nothing: each number of a document is doubled, or known to be no part of a sum.
@Suite struct SnapshotSumTests {
    private var group: Snapshot.Group {
        var group = Snapshot.Group(group: "")
        group.position = 1
        group.waiting = 2
        group.partitions = [3]
        group.delivered = 4
        group.discarded = 5
        group.refused = 6
        group.members = 7
        group.credit = 8
        group.deliverable = 9
        group.asked = 10
        group.deliveries = 11
        group.forfeited = 12
        group.heldSeconds = ["a": 13, "b": 14]
        return group
    }

    private var ended: Snapshot.Ended {
        var ended = Snapshot.Ended()
        ended.asked = 1
        ended.deliveries = 2
        ended.forfeited = 3
        ended.discarded = 4
        ended.refused = 5
        ended.heldSeconds = ["a": 6, "b": 7]
        return ended
    }

    private var topic: Snapshot.Topic {
        var topic = Snapshot.Topic(topic: "t")
        topic.head = 1
        topic.first = 2
        topic.bufferedEvents = 3
        topic.retainedBytes = 4
        topic.memoryBytes = 5
        topic.reservedBytes = 6
        topic.peakBufferedEvents = 5
        topic.peakRetainedBytes = 6
        topic.capacity = 7
        topic.bufferBytes = 8
        topic.ahead = 9
        topic.grantedEvents = 10
        topic.grantedBytes = 11
        topic.producers = 12
        topic.consumers = 13
        topic.discardedEvents = 14
        topic.cutEvents = 15
        topic.tooLargeEvents = 16
        topic.expiredGroups = 22
        topic.producerAsked = 17
        topic.producerForfeited = 18
        topic.producerHeldSeconds = ["a": 19, "b": 20]
        topic.ledgerErrors = 21
        topic.latency = Snapshot.Latency(counts: [1, 2], seconds: 3)
        topic.groups = [group]
        topic.ended = ended
        return topic
    }

    private func check(_ one: Any, _ sum: Any, but unsummed: Set<String>) {
        let (one, sum) = (numbers(one), numbers(sum))
        #expect(one.filter { $0.value == 0 } == [:], "the sample has each number")
        for (name, number) in one where !unsummed.contains(name) {
            #expect(sum[name] == 2 * number, "\(name) is forgotten in the sum")
        }
        for name in unsummed { #expect(one[name] != nil, "\(name) is no member any more") }
    }

    @Test("Of topics")
    func topics() {
        var sum = Snapshot.Topic(topic: "_other")
        for _ in 0..<2 { sum.add(topic) }
        check(
            topic,
            sum,
            but: ["first", "peakBufferedEvents", "peakRetainedBytes", "ahead"]
        )
        check(topic.latency, sum.latency, but: [])
        // Those of independent consumers that are gone belong to the groups without a name.
        let groups = sum.groups.map { numbers($0) }
        let alone = numbers(group)
        let gone = numbers(ended)
        #expect(groups.count == 1)
        for (name, number) in alone where !["position", "partitions"].contains(name) {
            #expect(groups.first?[name] == 2 * (number + (gone[name] ?? 0)), "\(name)")
        }
    }

    @Test("Of groups")
    func groups() {
        var sum = Snapshot.Group(group: "")
        for _ in 0..<2 { sum.add(group) }
        // A sum of partitions would be of no group.
        check(group, sum, but: ["position", "partitions"])
    }

    @Test("Of engines")
    func servers() {
        var face = Snapshot.Face("binary")
        face.connections = 1
        face.detachedSessions = 2
        face.queuedBytes = 3
        face.rejects = ["a": 4, "b": 5]
        face.protocolErrors = ["a": 6, "b": 7]
        var server = Snapshot.Server(name: "s", version: "1")
        server.uptimeSeconds = 1
        server.startSeconds = 2
        server.cpuSeconds = 3
        server.residentBytes = 4
        server.virtualBytes = 5
        server.openDescriptors = 6
        server.maxDescriptors = 7
        server.connections = 8
        server.detachedSessions = 9
        server.topics = 10
        server.links = 11
        server.eventsIn = 12
        server.eventsOut = 13
        server.faces = [face]
        var sum = server
        sum.add(server)
        check(
            server,
            sum,
            but: [
                "uptimeSeconds", "startSeconds", "cpuSeconds", "residentBytes", "virtualBytes",
                "openDescriptors", "maxDescriptors",
            ]
        )
        check(face, sum.faces[0], but: [])
    }

    @Test("Groups beyond what is told one by one are one group")
    func folded() {
        var many = topic
        many.ended = Snapshot.Ended()
        many.groups = (0..<5).map { number in
            var named = group
            named.group = "g\(number)"
            return named
        }
        many.foldGroups(most: 2)
        #expect(many.groups.map(\.group) == ["g0", "g1", Snapshot.others])
        #expect(many.groups[2].asked == 3 * group.asked)
    }
}
