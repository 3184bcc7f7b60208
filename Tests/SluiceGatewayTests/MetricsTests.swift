import FoundationEssentials
import SluiceCore
import SluiceGateway
import SluiceTestKit
import SluiceWire
import Testing

/// A family as the page describes it and as a scrape has it.
private struct Family: Hashable, CustomStringConvertible {
    var name: String
    var type: String
    var labels: [String]

    var description: String { "\(name) \(type) \(labels)" }
}

@Suite("The metrics")
struct MetricsTests {
    private func file(_ path: String) throws -> String {
        let root = #filePath.components(separatedBy: "/Tests/")[0]
        return String(
            decoding: try Data(contentsOf: URL(filePath: "\(root)/\(path)")),
            as: UTF8.self
        )
    }

    /// The rows of the tables: `name` | type | `label` … | text.
    private func described() throws -> Set<Family> {
        var families: Set<Family> = []
        for line in try file("Protocol/metrics.md").split(separator: "\n") {
            let cells = line.split(separator: "|").map(String.init)
            guard line.hasPrefix("| `"), cells.count > 3 else { continue }
            let name = cells[0].split(separator: "`")[1]
            let labels = cells[2].split(separator: "`").filter { $0.contains { $0 != " " } }
            let type = cells[1].split(separator: " ").joined()
            families.insert(
                Family(name: String(name), type: type, labels: labels.map(String.init))
            )
        }
        return families
    }

    private var server: Snapshot.Server {
        var server = Snapshot.Server(name: "test", version: "1")
        server.faces = [Snapshot.Face("binary"), Snapshot.Face("http")]
        server.faces[0].rejects = ["limit": 2]
        server.faces[1].protocolErrors = ["FLOOD": 3]
        server.memoryLimitBytes = 1_000
        server.memoryBudgetBytes = 800
        server.memoryUsedBytes = 50
        server.memoryReservedBytes = 5
        return server
    }

    private func topic(_ name: String) -> Snapshot.Topic {
        var topic = Snapshot.Topic(topic: name)
        topic.head = 5
        topic.alarm = Snapshot.Alarm(group: "g", reason: "events")
        topic.producerHeldSeconds = ["noDemand": 1.5]
        topic.latency = Snapshot.Latency(counts: Array(repeating: 2, count: 11), seconds: 0.5)
        var group = Snapshot.Group(group: "g")
        group.asked = 7
        group.deliveries = 4
        group.forfeited = 1
        group.credit = 2
        group.heldSeconds = ["window": 0.25]
        topic.groups = [group]
        return topic
    }

    /// The families of a scrape, with the labels that any of their samples has.
    private func told(_ text: String) -> Set<Family> {
        var families: [String: Family] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            if line.hasPrefix("# TYPE ") {
                families[words[2]] = Family(name: words[2], type: words[3], labels: [])
            }
            guard !line.hasPrefix("#") else { continue }
            let parts = line.split(separator: "{", maxSplits: 1).map(String.init)
            let name = Self.family(of: String(parts[0].split(separator: " ")[0]))
            guard parts.count > 1 else { continue }
            for pair in parts[1].split(separator: "}")[0].split(separator: ",") {
                let label = String(pair.split(separator: "=")[0])
                guard label != "le", families[name]?.labels.contains(label) == false else {
                    continue
                }
                families[name]?.labels.append(label)
            }
        }
        return Set(families.values)
    }

    /// The family that a sample belongs to.
    private static func family(of sample: String) -> String {
        for end in ["_bucket", "_sum", "_count"]
        where sample.hasSuffix(end) && sample.contains("_seconds_") {
            return String(sample.dropLast(end.count))
        }
        return sample
    }

    private func page(
        _ form: MetricsText.Form = .plain,
        _ topics: [Snapshot.Topic]? = nil
    ) -> String {
        var text = MetricsText.page(form, server, topics ?? [topic("t")])
        var bytes: [UInt8] = []
        while !text.isOver { bytes += text.next(bytes: 100) }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("of ten thousand topics come in pieces none of which is long to make")
    func pieces() {
        var text = MetricsText.page(.plain, server, (0..<10_000).map { topic("t\($0)") })
        var pieces = 0
        var lines = 0
        while !text.isOver {
            let piece = text.next(bytes: Limits.httpWriteBytes)
            let count = piece.count { $0 == UInt8(ascii: "\n") }
            #expect(count <= 20 * 512)
            #expect(piece.count < 2 * Limits.httpWriteBytes)
            pieces += 1
            lines += count
        }
        // Those that make ready are empty.
        #expect(pieces > 10_000 / 512 + lines / 1_024)
        #expect(lines > 30 * 10_000)
    }

    @Test("are those that the page describes, with these types and labels, and no others")
    func agreed() throws {
        let (told, described) = (told(page()), try described())
        #expect(described.count > 30)
        #expect(told.subtracting(described) == [])
        #expect(described.subtracting(told) == [])
    }

    @Test(
        "have every name that the dashboard and the rules ask for",
        arguments: ["docker/grafana/sluice.json", "docker/rules.yml"]
    )
    func asked(_ path: String) throws {
        let known = Set(told(page()).map(\.name))
        let text = try file(path)
        let words = text.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init)
        let names = Set(words.filter { $0.hasPrefix("sluice_") || $0.hasPrefix("process_") })
        #expect(names.count >= 5)
        #expect(names.map(Self.family).filter { !known.contains($0) } == [])
    }

    @Test("of a group balance, and time has its reason")
    func balance() {
        let text = page()
        let labels = #"{topic="t",group="g"}"#
        for (name, value) in [
            ("sluice_demand_asked_total", 7), ("sluice_events_dispatched_total", 4),
            ("sluice_demand_forfeited_total", 1), ("sluice_demand_outstanding", 2),
        ] {
            #expect(text.contains("\n\(name)\(labels) \(value)\n"))
        }
        let held = #"sluice_consumer_blocked_seconds_total{topic="t",group="g",reason="window"}"#
        #expect(text.contains("\n\(held) 0.25\n"))
        let blocked = #"sluice_producer_blocked_seconds_total{topic="t",reason="no-demand"} 1.5"#
        #expect(text.contains("\n\(blocked)\n"))
    }

    @Test("tell what was turned away, and of what kind the mistakes were")
    func complaints() {
        let text = page()
        for sample in [
            #"sluice_connection_rejects_total{face="binary",reason="limit"} 2"#,
            #"sluice_protocol_errors_total{face="http",code="FLOOD"} 3"#,
        ] {
            #expect(text.contains("\n\(sample)\n"))
        }
    }

    @Test("add up the groups that have no name, with those that are gone")
    func nameless() {
        var topic = topic("t")
        for asked in [3, 4] as [UInt64] {
            var group = Snapshot.Group(group: "")
            group.asked = asked
            topic.groups.append(group)
        }
        topic.ended.asked = 5
        let lines = page(.plain, [topic]).split(separator: "\n")
        let found = lines.filter { $0.hasPrefix(#"sluice_demand_asked_total{topic="t",group=""}"#) }
        #expect(found == [#"sluice_demand_asked_total{topic="t",group=""} 12"#])
    }

    @Test("add up topics as one")
    func others() {
        var other = Snapshot.Topic(topic: "_other")
        for name in ["a", "b", "c"] { other.add(topic(name)) }
        let text = page(.plain, [other])
        #expect(text.contains("\nsluice_events_published_total{topic=\"_other\"} 15\n"))
        #expect(text.contains("\nsluice_demand_asked_total{topic=\"_other\",group=\"\"} 21\n"))
        #expect(
            text.contains("\nsluice_dispatch_latency_seconds_count{topic=\"_other\"} 66\n")
        )
    }

    @Test("are cumulative in the histogram, and end in OpenMetrics")
    func forms() {
        let text = page(.open)
        let name = "sluice_dispatch_latency_seconds"
        #expect(text.contains("\n\(name)_bucket{topic=\"t\",le=\"0.000256\"} 2\n"))
        #expect(text.contains("\n\(name)_bucket{topic=\"t\",le=\"1.048576\"} 14\n"))
        #expect(text.contains("\n\(name)_bucket{topic=\"t\",le=\"+Inf\"} 22\n"))
        #expect(text.contains("# TYPE sluice_demand_asked counter\n"))
        #expect(text.hasSuffix("# EOF\n"))
    }
}
