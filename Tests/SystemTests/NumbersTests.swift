import Foundation
import SluiceCore
import SluiceDoor
import SluiceEngine
import SluiceServer
import Testing

@Suite("Numbers of the command line, however odd")
struct NumbersTests {
    private static let numbers: [String] = [
        "0", "1", "-1", "65535", "65536", "1000000000", "1000000001", "2147483648", "4294967296",
        "9223372036854775808", "18446744073709551615", "1e308", "nan", "inf", "300000000h",
        "9999999h", "1000000000s", "1000000001s", "11574d", "11575d", "999999999999999T", "1.5",
        "0.000000001us", String(repeating: "9", count: 400),
    ]

    @Test("are a time, a count or a size that can be added to, or refused", arguments: Self.numbers)
    func values(text: String) {
        if let span = TimeSpan(argument: text) {
            #expect((0...1_000_000_000).contains(span.seconds))
            #expect(span.milliseconds <= 1_000_000_000_000)
            #expect(!span.text.isEmpty)
        }
        if let count = EventCount(argument: text) { #expect((0..<1 << 50).contains(count.value)) }
        if let size = ByteCount(argument: text) { #expect((0..<1 << 50).contains(size.value)) }
    }

    @Test("a time of 31 years is one, and a longer one is refused")
    func times() {
        #expect(TimeSpan(argument: "1000000000s")?.seconds == 1_000_000_000)
        #expect(TimeSpan(argument: "1000000001s") == nil)
        #expect(TimeSpan(argument: "300000000h") == nil)
        #expect(TimeSpan(seconds: .nan).seconds == 0)
        #expect(TimeSpan(seconds: 1e308).milliseconds == 1_000_000_000_000)
        #expect(Int(bounded: .nan) == 0)
        #expect(Int(bounded: 1e308) == .max)
        #expect(Int(bounded: -.infinity) == .min)
        #expect(Int(bounded: 7.9) == 7)
        for number: Double in [1e308, -1e308, .nan, .infinity, 1e15, 9e17] {
            for decimals in 0...4 { #expect(!number.text(decimals: decimals).isEmpty) }
        }
    }

    private static let names: [String] = [
        "buffer", "buffer-bytes", "ahead", "rate", "burst", "max-producers", "max-consumers",
        "max-groups", "max-event-bytes", "keepalive", "resume-window", "topic-linger", "shards",
        "group-expire-after",
        "max-connections", "drain-timeout",
    ]

    @Test("settings of the broker are within their bounds, or refused", arguments: Self.names)
    func settings(name: String) throws {
        for text in Self.numbers {
            let variable = "SLUICE_" + name.uppercased().replacing("-", with: "_")
            let environment = ["SLUICE_RATE": "1"].merging([variable: text]) { $1 }
            let layers = ServeSettings.Layers(flags: [:], environment: environment, file: nil)
            guard let server = try? ServeSettings(layers: layers).server else { continue }
            #expect((1...3_600).contains(server.keepaliveSeconds))
            #expect((0...1_000_000_000).contains(server.drainSeconds))
            #expect(server.engine.resumeWindowMilliseconds <= 1_000_000_000_000)
            #expect(server.engine.topicLingerMilliseconds <= 1_000_000_000_000)
            let topic = server.engine.topicDefaults
            #expect(topic.capacity <= 1_000_000_000 && topic.ahead <= topic.capacity)
            #expect(topic.bufferBytes <= 1 << 40)
            #expect(server.connectionsMax > 0)
        }
    }
}

extension SystemTests {
    @Suite("Odd numbers over HTTP")
    struct HTTPNumbersTests {
        private static let numbers: [String] = [
            "0", "-1", "1048576", "1048577", "4294967296", "9223372036854775808",
            "18446744073709551615", "18446744073709551616", "1e308", "NaN",
        ]
        private static let members: [String] = [
            "capacity", "bufferBytes", "ahead", "rate", "burst", "maxProducers", "maxConsumers",
            "maxGroups", "maxEventBytes", "groupExpireAfter",
        ]

        @Test(
            "are taken or refused, and end nothing",
            .timeLimit(.minutes(2)),
            arguments: Broker.shardCounts
        )
        func requests(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            try broker.run("pub", "t", "x", "y")
            for number in Self.numbers {
                let members = Self.members.map { "\"\($0)\":\(number)" }
                var statuses: [Int] = []
                for path in [
                    "events?demand=\(number)", "events?demand=1&wait=\(number)ms&from=first",
                    "events?demand=1&from=\(number)",
                ] {
                    statuses.append(try broker.curl("/v1/topics/t/\(path)").status)
                }
                for member in members {
                    let answer = try broker.curl("/v1/topics/t", "-X", "PATCH", "-d", "{\(member)}")
                    statuses.append(answer.status)
                }
                let wish = "{\"partitions\":\(number),\"maxLag\":\(number)}"
                statuses.append(try broker.curl("/v1/topics/u", "-X", "PUT", "-d", wish).status)
                let wishes = "{\"demand\":1}\n{\"demand\":\(number)}\n"
                let lines = "content-type: application/x-ndjson"
                let stream = "/v1/topics/t/stream?group=s&from=first"
                statuses.append(try broker.curl(stream, "-H", lines, "-d", wishes).status)
                let path = "/v1/topics/t/groups/g/seek?to=\(number)"
                statuses.append(try broker.curl(path, "-X", "POST").status)
                #expect(statuses.allSatisfy { (200..<500).contains($0) }, "\(number): \(statuses)")
            }
            // Whatever the topic's settings are by now.
            try broker.run("pub", "v", "x")
            #expect(try broker.run("sub", "v", "-n", "1").text == "x\n")
        }
    }
}
