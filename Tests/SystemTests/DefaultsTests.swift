import Foundation
import SluiceCore
import SluiceDoor
import SluiceEngine
import SluiceServer
import Testing

/// A default has one value, wherever it is told: in the code, in the protocol, in the help.
@Suite("Defaults") struct DefaultsTests {
    /// The defaults of the protocol's table that have a flag, by the flag.
    private static func rows() throws -> [String: String] {
        let path = Place.root.appending(path: "Protocol/protocol.md")
        let text = try String(contentsOf: path, encoding: .utf8)
        let section = try #require(text.components(separatedBy: "### 17.2 Defaults").last)
        let table = section.components(separatedBy: "\n## ")[0]
        var rows: [String: String] = [:]
        for line in table.split(separator: "\n") where line.hasPrefix("| ") {
            let cells = line.split(separator: "|").map {
                $0.trimmingCharacters(in: CharacterSet(charactersIn: " `"))
            }
            guard cells.count == 3, cells[2].hasPrefix("--") else { continue }
            rows[cells[2]] = cells[1]
        }
        return rows
    }

    /// What a help says about a flag, on one line.
    private static func help(of flag: String, in help: String) -> String? {
        let lines = help.split(separator: "\n")
        guard let start = lines.firstIndex(where: { $0.hasPrefix("  \(flag) ") }) else {
            return nil
        }
        let more = lines[(start + 1)...].prefix { $0.hasPrefix("      ") }
        return ([lines[start]] + more).map { $0.trimmingCharacters(in: .whitespaces) }
            .joined(separator: " ")
    }

    private static func helpDefault(of flag: String, in help: String) -> String? {
        Self.help(of: flag, in: help)?.components(separatedBy: "(default: ").dropFirst().first
            .map { String($0.prefix { $0 != ")" }) }
    }

    @Test("of numbers are one in code, protocol and help")
    func numbers() throws {
        let layers = ServeSettings.Layers(flags: [:], environment: [:], file: nil)
        let server = try ServeSettings(layers: layers).server
        let topic = server.engine.topicDefaults
        let milliseconds: UInt64 = 1_000
        let values: [String: UInt64] = [
            "--buffer": topic.capacity, "--buffer-bytes": topic.bufferBytes,
            "--max-groups": UInt64(topic.limits.groups),
            "--max-event-bytes": UInt64(topic.limits.eventBytes),
            "--group-expire-after": UInt64(topic.groupExpiry.afterSeconds),
            "--topic-linger": server.engine.topicLingerMilliseconds / milliseconds,
            "--keepalive": UInt64(server.keepaliveSeconds),
            "--resume-window": server.engine.resumeWindowMilliseconds / milliseconds,
            "--max-connections": UInt64(server.connectionsMax),
            "--drain-timeout": UInt64(server.drainSeconds),
        ]
        let rows = try Self.rows()
        let help = try Running(Place.sluice(), ["serve", "--help"]).wait().text
        for (flag, value) in values {
            let row = try #require(rows[flag], "\(flag) is not in the protocol's table")
            let told = row.prefix { $0 != " " }.filter { $0 != "," }
            #expect(UInt64(told) == value, "\(flag) in the protocol")
            let text = try #require(Self.helpDefault(of: flag, in: help), "help of \(flag)")
            let found =
                TimeSpan(argument: text).map { UInt64($0.seconds) } == value
                || ByteCount(argument: text)?.value == Int(value)
            #expect(found, "\(flag) in the help: \(text)")
        }
        #expect(topic.ahead == topic.capacity && rows["--ahead"] == "as `capacity")
        #expect(rows["--on-full"] == topic.onFull.rawValue)
        #expect(topic.rate == nil && topic.limits.producers == .max)
        #expect(topic.limits.consumers == .max)
        #expect(Set(values.keys).isSubset(of: rows.keys))
    }

    @Test("that the broker has are told by no command that only uses them")
    func others() throws {
        let rows = try Self.rows()
        let helps = try ["create", "set"].map { word in
            try Running(Place.sluice(), ["topic", word, "--help"]).wait().text
        }
        for help in helps {
            for flag in rows.keys {
                guard let text = Self.helpDefault(of: flag, in: help) else { continue }
                #expect(text.hasPrefix("--"), "\(flag): \(text)")
            }
        }
    }

    @Test("of groups and members are those of the protocol")
    func groups() throws {
        var topic = Topic(name: "t")
        var effects = Effects()
        let opening = ConsumerOpening(group: "g")
        let now = Instant(nanoseconds: 1)
        topic.apply(.openConsumer(topic.nextLink(), opening), at: now, into: &effects)
        let rules = try #require(topic.groups.first ?? nil).rules
        #expect(rules.dispatcher == .demand && rules.lag == .block && !rules.isEphemeral)
        #expect(rules.partitions == 0 && rules.patienceMilliseconds == 0)
        let member = MemberOptions()
        #expect(member.weight == nil && member.priority == 0 && member.sampleOneIn == 1)
        #expect(member.batch == nil && member.rate == nil && member.claims == nil)
        #expect(Limits.streamDemandDefault == 100)
    }
}
