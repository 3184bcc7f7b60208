import Foundation
import Glibc
import SluiceEngine
import Testing

extension SystemTests {
    @Suite("The broker's shards")
    struct ShardsTests {
        /// A topic for each of three shards.
        private static let topics = (0..<3).map { shard in
            let place = SluiceEngine.Place(index: 0, of: 3, census: Census())
            return (0...).lazy.map { "t\($0)" }.first { place.home(of: "\($0)") == shard } ?? ""
        }

        private static func serve(
            _ flags: [String],
            _ environment: [String: String] = [:]
        ) throws -> Outcome {
            let words = ["serve", "--listen", "127.0.0.1:0", "--http", "none"] + flags
            return try Running(Place.sluice(), words, environment: environment).wait()
        }

        @Test(
            "a number that is none from 1 to 64 is wrong usage",
            .timeLimit(.minutes(1)),
            arguments: ["0", "65", "-1", "1.5", "1_0", "three", "4 4"]
        )
        func wrongNumber(text: String) throws {
            let outcome = try Self.serve(["--shards=\(text)"])
            #expect(outcome.code == 64)
            #expect(outcome.errors.hasPrefix("error: --shards is '\(text)'\n"))
            #expect(outcome.errors.contains("hint: it takes a number from 1 to 64\n"))
            #expect(outcome.output.isEmpty)
        }

        @Test("a wrong number says whether a variable or a file has it", .timeLimit(.minutes(1)))
        func wrongElsewhere() throws {
            let variable = try Self.serve([], ["SLUICE_SHARDS": "0"])
            #expect(variable.code == 64)
            #expect(variable.errors.hasPrefix("error: SLUICE_SHARDS is '0'\n"))
            let directory = try Place.directory()
            defer { try? FileManager.default.removeItem(at: directory) }
            let path = directory.appending(path: "config.json").path
            try Data(#"{"shards": 65}"#.utf8).write(to: URL(filePath: path))
            let file = try Self.serve(["--config", path])
            #expect(file.code == 64)
            #expect(file.errors.hasPrefix("error: 'shards' in \(path) is '65'\n"))
        }

        @Test(
            "as many as it was told serve",
            .timeLimit(.minutes(1)),
            arguments: [1, 2, 64]
        )
        func number(shards: Int) throws {
            let broker = try Broker(["--shards", "\(shards)"])
            try eventually("it says how many") {
                broker.running.errors.contains(" shards=\(shards) ")
            }
            for number in 0..<9 {
                #expect(try broker.run("pub", "t\(number)", "\(number)").code == 0)
                #expect(try broker.run("demand", "t\(number)", "1").text == "\(number)\n")
            }
            broker.running.signal(SIGTERM)
            let outcome = broker.running.wait()
            #expect(outcome.code == 0)
            let stopping = outcome.errors.components(separatedBy: " message=stopping ").count - 1
            #expect(stopping == shards, "each says so: \(outcome.errors)")
        }

        /// As many of this machine's processors as can be lent, up to four.
        private static let processors: [Int] = {
            let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
            let line = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
            let ranges = (line?.split(separator: "\t").last ?? "0").split(separator: ",")
            let usable = ranges.flatMap { range in
                let ends = range.split(separator: "-").compactMap { Int($0) }
                return Array((ends.first ?? 0)...(ends.last ?? 0))
            }
            return Array(usable.prefix(4))
        }()

        @Test(
            "without a number all cores but one have a shard, and the only core has one",
            .timeLimit(.minutes(1)),
            arguments: 1...processors.count
        )
        func byDefault(cores: Int) throws {
            let list = Self.processors.prefix(cores).map { "\($0)" }.joined(separator: ",")
            let words = [
                "-c", list, try Place.sluice(), "serve", "--listen", "127.0.0.1:0", "--http",
                "none",
            ]
            let broker = try Running("/usr/bin/env", ["taskset"] + words)
            try eventually("it is ready") { broker.errors.contains(" message=ready ") }
            broker.signal(SIGTERM)
            let outcome = broker.wait()
            #expect(outcome.code == 0)
            #expect(outcome.errors.contains(" shards=\(max(1, cores - 1)) "), "\(outcome.errors)")
        }

        @Test("each client is served by the shard of its topic", .timeLimit(.minutes(1)))
        func spread() throws {
            let broker = try Broker(["--shards", "3"])
            let consumers = try Self.topics.map { try broker.start(["sub", $0]) }
            try eventually("all consume") { try broker.run("consumer", "ls").lines.count == 3 }
            broker.running.signal(SIGTERM)
            let outcome = broker.running.wait()
            #expect(outcome.code == 0)
            for consumer in consumers { #expect(consumer.wait().code == 3) }
            let counts = outcome.errors.split(separator: "\n")
                .filter { $0.contains(" message=stopping ") }
                .map { $0.split(separator: " ").last ?? "" }
            #expect(counts == ["connections=1", "connections=1", "connections=1"])
        }

        @Test("the verbs that list list what is on every shard", .timeLimit(.minutes(1)))
        func listed() throws {
            let broker = try Broker(["--shards", "3"])
            struct Line: Decodable { let topic: String }
            func topics(_ words: String...) throws -> [String] {
                let outcome = try broker.start(words).wait()
                #expect(outcome.code == 0, "\(outcome.errors)")
                return try outcome.lines.map {
                    try JSONDecoder().decode(Line.self, from: Data($0.utf8)).topic
                }
                .sorted()
            }
            for topic in Self.topics {
                try broker.run("topic", "create", topic, "--buffer", "0")
                try broker.run("topic", "pause", topic)
            }
            let producers = try Self.topics.map { try broker.start(["pub", $0, "of \($0)"]) }
            let consumers = try Self.topics.map { try broker.start(["sub", $0, "--count", "1"]) }
            let all = Self.topics.sorted()
            try eventually("the producers are there") { try topics("producer", "ls") == all }
            try eventually("the consumers are there") { try topics("consumer", "ls") == all }
            #expect(try topics("topic", "ls") == all)
            // The last is the one that asks.
            #expect(try broker.run("conn", "ls").lines.count == 2 * all.count + 1)
            for (topic, (producer, consumer)) in zip(Self.topics, zip(producers, consumers)) {
                let facts = try broker.topic(topic)
                #expect(facts.isPaused && facts.producers == 1 && facts.consumers == 1)
                #expect(try broker.run("topic", "resume", topic).code == 0)
                #expect(producer.wait().code == 0)
                #expect(consumer.wait().text == "of \(topic)\n")
                #expect(try broker.topic(topic).head == 1)
            }
        }

        @Test("SIGTERM ends with 0, and what was asked for has come", .timeLimit(.minutes(1)))
        func delivered() throws {
            let broker = try Broker(["--shards", "3", "--drain-timeout", "1h"])
            let directory = try Place.directory()
            defer { try? FileManager.default.removeItem(at: directory) }
            let file = directory.appending(path: "event").path
            try Data(repeating: UInt8(ascii: "."), count: 900_000).write(to: URL(filePath: file))
            // The first is sent more than the kernel takes for a client that does not read.
            let counts = [7, 1, 1]
            let consumers = try Self.topics.map { try broker.start(["sub", $0]) }
            try eventually("all consume") { try broker.run("consumer", "ls").lines.count == 3 }
            for consumer in consumers { consumer.signal(SIGSTOP) }
            for (topic, count) in zip(Self.topics, counts) {
                let files = (0..<count).flatMap { _ in ["--file", file] }
                let sent = try broker.start(["pub", topic] + files).wait()
                #expect(sent.code == 0, "\(sent.errors)")
            }
            broker.running.signal(SIGTERM)
            try eventually("every shard stops") {
                broker.running.errors.components(separatedBy: " message=stopping ").count == 4
            }
            for consumer in consumers { consumer.signal(SIGCONT) }
            for (consumer, count) in zip(consumers, counts) {
                let left = consumer.wait()
                #expect(left.code == 3, "\(left.errors)")
                #expect(left.errors.contains("going away"), "\(left.errors)")
                #expect(left.output.count == count * 900_001, "with the newlines")
            }
            let outcome = broker.running.wait()
            #expect(outcome.code == 0)
            #expect(outcome.errors.hasSuffix(" message=stopped\n"))
        }
    }
}
