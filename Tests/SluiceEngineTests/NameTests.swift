import SluiceCore
import SluiceEngine
import SluiceTestKit
import SluiceWire
import Testing

/// Names that look alike, and are not the same.
@Suite struct NameTests {
    /// Each pair is equal as strings.
    private static let pairs: [(String, String)] = [
        ("caf\u{E9}", "cafe\u{301}"), ("K", "\u{212A}"), ("\u{C5}", "\u{212B}"),
        ("\u{1E9B}\u{323}", "\u{17F}\u{323}\u{307}"),
    ]

    @Test("Two names are the same if their bytes are", arguments: pairs)
    func identity(_ one: String, _ other: String) {
        #expect(one == other, "as strings")
        #expect(Name(one) != Name(other) && Name(one) == Name(one))
        #expect(Set([Name(one), Name(other), Name(one)]).count == 2)
        #expect((Name(one) < Name(other)) != (Name(other) < Name(one)))
        let isBefore = one.utf8.lexicographicallyPrecedes(other.utf8)
        #expect((Name(one) < Name(other)) == isBefore)
        #expect(Condition.exists(.header(Name(one))) != Condition.exists(.header(Name(other))))
    }

    @Test("Names are taken apart by bytes, whatever mark stands behind them")
    func parts() {
        #expect(Name("$\u{301}mine").isReserved && !Name("mine$").isReserved)
        #expect(Name("$sys/topics/\u{301}a/b").parts(most: 3) == ["$sys", "topics", "\u{301}a/b"])
    }

    @Test("They are topics and groups of their own", arguments: pairs, [1, 3])
    func apart(_ names: (String, String), _ shards: Int) throws {
        let house = EngineHouse(shards)
        let (_, writer) = house.connect(at: 0)
        let (peer, session) = house.connect(at: shards - 1)
        let names = [names.0, names.1]
        for (index, name) in names.enumerated() {
            var source = Open(role: .source, topic: name)
            source.available = UInt64(index + 1)
            house.engines[0].open(writer, UInt32(index + 1), source)
            house.settle()
            let events = Array(repeating: "\(index)", count: index + 1)
            let publication = try Publication(first: 1, events)
            house.engines[0].publish(writer, UInt32(index + 1), publication)
            house.settle()
        }
        // Two groups that look alike on each topic: each has all of its topic, and nothing else.
        let reader = house.engines[shards - 1]
        var link: UInt32 = 0
        for topic in names {
            for group in names {
                link += 1
                var sink = Open(role: .sink, topic: topic)
                sink.group = Name(group)
                reader.open(session, link, sink)
                house.settle()
            }
        }
        for link in UInt32(1)...4 { reader.demand(session, link, Ask(events: 9, total: 9)) }
        house.settle()
        var found: [UInt32: [String]] = [:]
        for case .events(let link, _, let payloads) in peer.take() {
            found[link, default: []] += payloads
        }
        #expect(found == [1: ["0"], 2: ["0"], 3: ["1", "1"], 4: ["1", "1"]])
        for name in names {
            let path = "$sys/topics/\(name)"
            let topic = try #require(
                try house.documents(path, as: Snapshot.Topic.self).first
            )
            #expect(Name(topic.topic) == Name(name) && topic.groups.count == 2)
        }
        let all = try house.documents("$sys/topics", as: Snapshot.Topic.self)
        #expect(all.map { Name($0.topic) } == names.map { Name($0) }.sorted())
    }
}
