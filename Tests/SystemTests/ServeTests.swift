import Foundation
import Glibc
import Testing

extension SystemTests {
    @Suite("The broker as a process")
    struct ServeTests {
        @Test(
            "SIGTERM lets consumers go and ends with 0",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func goingAway(shards: Int) throws {
            let broker = try Broker(shards: shards)
            try broker.run("pub", "t", "last")
            let consumer = try broker.start(["sub", "t"])
            try eventually("the consumer has its event") { consumer.output == Array("last\n".utf8) }
            broker.running.signal(SIGTERM)
            #expect(broker.running.wait().code == 0)
            let left = consumer.wait()
            #expect(left.code == 3, "\(left.errors)")
            #expect(left.errors.contains("going away"), "\(left.errors)")
        }

        @Test(
            "Ctrl-C ends a consumer in order with 130",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func interrupted(shards: Int) throws {
            let broker = try Broker(shards: shards)
            let consumer = try broker.start(["sub", "t", "-o", "json"])
            try eventually("it consumes") { try broker.run("consumer", "ls", "t").lines.count == 1 }
            try broker.run("pub", "t", "x")
            try eventually("it printed") { !consumer.output.isEmpty }
            consumer.signal(SIGINT)
            let left = consumer.wait()
            #expect(left.code == 130)
            #expect(left.text.hasSuffix("\n]\n"))
            #expect(left.errors.isEmpty)
            let gone = try broker.run("consumer", "ls", "t")
            #expect(gone.text.isEmpty)
        }

        @Test("flags win over the environment, that over the file", .timeLimit(.minutes(1)))
        func layers() throws {
            let directory = try Place.directory()
            defer { try? FileManager.default.removeItem(at: directory) }
            let file = directory.appending(path: "config.json")
            let settings = #"{"buffer": 7, "buffer-bytes": "1MiB", "log-format": "json"}"#
            try Data(settings.utf8).write(to: file)

            func capacity(_ flags: [String], _ environment: [String: String]) throws -> UInt64 {
                let broker = try Broker(flags, environment: environment)
                try broker.run("topic", "create", "t")
                return try broker.topic("t").capacity
            }
            #expect(try capacity([], [:]) == 10_000)
            #expect(try capacity(["--config", file.path], [:]) == 7)
            #expect(try capacity([], ["SLUICE_CONFIG": file.path]) == 7)
            try Data(#"{"buffer": 6, "no-auto-create": true}"#.utf8).write(to: file)
            #expect(try capacity(["--config", file.path], [:]) == 6)
            #expect(try capacity(["--config", file.path], ["SLUICE_BUFFER": "8"]) == 8)
            #expect(
                try capacity(["--config", file.path, "--buffer", "9"], ["SLUICE_BUFFER": "8"]) == 9
            )
        }

        @Test("new topics have the limits and the rate that were told", .timeLimit(.minutes(1)))
        func topicLimits() throws {
            let flags = ["--rate", "100", "--max-producers", "3", "--max-event-bytes", "1KiB"]
            let environment = [
                "SLUICE_BURST": "7", "SLUICE_MAX_CONSUMERS": "4", "SLUICE_MAX_GROUPS": "5",
                "SLUICE_GROUP_EXPIRE_AFTER": "2h",
            ]
            let broker = try Broker(flags, environment: environment)
            try broker.run("topic", "create", "t")
            try broker.run("topic", "create", "u", "--max-groups", "6", "--rate", "9")
            let topic = try broker.topic("t")
            #expect(topic.rate == 100)
            #expect(topic.burst == 7)
            #expect(topic.maxProducers == 3)
            #expect(topic.maxConsumers == 4)
            #expect(topic.maxGroups == 5)
            #expect(topic.maxEventBytes == 1_024)
            #expect(topic.groupExpireAfter == 7_200)
            let other = try broker.topic("u")
            #expect(other.rate == 9)
            #expect(other.burst == 9)
            #expect(other.maxProducers == 3)
            #expect(other.maxGroups == 6)
        }

        @Test("a setting that is wrong names where it comes from", .timeLimit(.minutes(1)))
        func wrongSettings() throws {
            let directory = try Place.directory()
            defer { try? FileManager.default.removeItem(at: directory) }
            let file = directory.appending(path: "config.json").path
            try Data(#"{"bufer": 7}"#.utf8).write(to: URL(filePath: file))
            func serve(_ words: [String], _ environment: [String: String] = [:]) throws -> Outcome {
                try Running(Place.sluice(), ["serve"] + words, environment: environment).wait()
            }
            let unknown = try serve(["--config", file])
            #expect(unknown.code == 64)
            #expect(unknown.errors.contains("'bufer'"))
            let groups = try serve(["--max-groups", "1001"])
            #expect(groups.code == 64)
            #expect(groups.errors.contains("a number from 1 to 1000"))
            let burst = try serve(["--burst", "5"])
            #expect(burst.code == 64)
            #expect(burst.errors.contains("burst needs rate"))
            for (text, word) in [
                (#"{"buffer": {"events": 7}}"#, "'buffer'"), (#"{"ahead": null}"#, "'ahead'"),
                (#"{"shards": 1.5}"#, "'shards' in \(file) is '1.5'"), ("[7]", "no JSON object"),
            ] {
                try Data(text.utf8).write(to: URL(filePath: file))
                let refused = try serve(["--config", file])
                #expect(refused.code == 64)
                #expect(refused.errors.contains(word), "\(refused.errors)")
            }
            let flag = try serve(["--buffer", "many"])
            #expect(flag.code == 64)
            #expect(flag.errors.contains("--buffer is 'many'"))
            let variable = try serve([], ["SLUICE_ON_FULL": "explode"])
            #expect(variable.code == 64)
            #expect(variable.errors.contains("SLUICE_ON_FULL is 'explode'"))
            let place = try serve(["--listen", "127.0.0.1:0:0"])
            #expect(place.code == 64, "\(place.errors)")
        }

        @Test("an address in use is said so", .timeLimit(.minutes(1)))
        func addressInUse() throws {
            let broker = try Broker()
            let words = ["serve", "--listen", broker.address, "--http", "none"]
            let second = try Running(Place.sluice(), words).wait()
            #expect(second.code == 1)
            #expect(second.errors.contains("cannot listen on \(broker.address)"))
            #expect(second.errors.contains("hint: "))
        }

        @Test("it listens on a Unix socket too, and logs fields in a pipe", .timeLimit(.minutes(1)))
        func unixSocket() throws {
            let directory = try Place.directory()
            defer { try? FileManager.default.removeItem(at: directory) }
            let path = "unix:\(directory.appending(path: "sock").path)"
            let broker = try Broker(["--listen", path])
            let server = ["SLUICE_SERVER": path]
            #expect(try broker.run("ping", environment: server).code == 0)
            #expect(try broker.run("pub", "t", "x", environment: server).code == 0)
            #expect(try broker.run("demand", "t", "1").text == "x\n")
            #expect(broker.running.errors.contains("level=info message=ready"))
        }

        @Test(
            "bench counts what it moved",
            .timeLimit(.minutes(1)),
            arguments: [
                "pub", "sub", "pipeline",
            ],
            Broker.shardCounts
        )
        func bench(kind: String, shards: Int) throws {
            let broker = try Broker(shards: shards)
            let outcome = try broker.run("bench", kind, "--events", "20k", "--size", "64", "--json")
            #expect(outcome.code == 0, "\(outcome.errors)")
            struct Result: Decodable {
                let bench: String
                let events: Int
                let eventsPerSecond: Double
            }
            let result = try JSONDecoder().decode(Result.self, from: Data(outcome.output))
            #expect(result.bench == kind)
            #expect(result.events == 20_000)
            #expect(result.eventsPerSecond > 0)
            #expect(try broker.run("topic", "ls").text.isEmpty)
        }

        @Test("bench latency has percentiles", .timeLimit(.minutes(1)))
        func latency() throws {
            let broker = try Broker()
            let outcome = try broker.run(
                "bench",
                "latency",
                "--events",
                "500",
                "--rate",
                "2000",
                "--json"
            )
            #expect(outcome.code == 0, "\(outcome.errors)")
            #expect(outcome.text.contains("p999Microseconds"))
            #expect(outcome.text.contains("\"events\":500"))
        }
    }
}
