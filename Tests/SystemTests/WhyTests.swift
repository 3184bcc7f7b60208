import Foundation
import Glibc
import Testing

extension SystemTests {
    @Suite("What holds the flow")
    struct WhyTests {
        private struct Answer: Decodable {
            struct Finding: Decodable {
                let code: String
                let text: String
            }
            let isFlowing: Bool
            let findings: [Finding]
        }

        private func why(_ broker: Broker) throws -> [String] {
            let outcome = try broker.run("why", "t", "-o", "jsonl")
            let answer = try JSONDecoder().decode(Answer.self, from: Data(outcome.output))
            #expect(answer.isFlowing == answer.findings.isEmpty)
            return answer.findings.map(\.code)
        }

        @Test(
            "nobody consumes and nobody produces",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func nobody(shards: Int) throws {
            let broker = try Broker(shards: shards)
            try broker.run("topic", "create", "t")
            #expect(try why(broker) == ["no-consumers", "no-producers"])
            try broker.run("topic", "pause", "t")
            #expect(try why(broker).first == "paused")
            try broker.run("topic", "resume", "t")
            #expect(try why(broker) == ["no-consumers", "no-producers"])
        }

        @Test(
            "the buffer is full, then a producer waits for demand",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func full(shards: Int) throws {
            let broker = try Broker(shards: shards)
            try broker.run("topic", "create", "t", "--buffer", "5")
            let publisher = try broker.start(
                ["pub", "t"],
                input: Array("1\n2\n3\n4\n5\n6\n7\n".utf8)
            )
            try eventually("five are buffered") { try broker.topic("t").bufferedEvents == 5 }
            #expect(try why(broker) == ["no-consumers", "buffer-full"])
            let text = try broker.run("why", "t").text
            #expect(text.hasPrefix("t is held: no consumers\n"))
            #expect(text.contains("2 waiting"))
            #expect(text.contains("hint: sluice sub t"))
            #expect(try broker.run("demand", "t", "7").lines.count == 7)
            #expect(publisher.wait().code == 0)
        }

        @Test(
            "a group without members holds what waits for it",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func emptyGroup(shards: Int) throws {
            let broker = try Broker(shards: shards)
            try broker.run("pub", "t", "1")
            try broker.run("demand", "t", "1", "--group", "g")
            try broker.run("pub", "t", "2")
            #expect(try why(broker) == ["empty-group"])
            #expect(try broker.run("why", "t").text.contains("sluice group rm t g"))
            try broker.run("group", "rm", "t", "g")
            #expect(try !why(broker).contains("empty-group"))
        }

        @Test(
            "a consumer that asks for no more is named, with its last ask",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func noDemand(shards: Int) throws {
            let broker = try Broker(shards: shards)
            // While its command runs, a consumer asks for nothing more.
            let consumer = try broker.start(["sub", "t", "--exec", "sleep 1"])
            try broker.run("pub", "t", input: "1\n2\n3\n4\n5\n6\n7\n8\n9\n")
            try eventually("one event was taken") { try why(broker).first == "no-demand" }
            let text = try broker.run("why", "t").text
            #expect(text.contains("sluice-sub 127.0.0.1:"))
            #expect(text.contains("asked 1 (last "))
            consumer.signal(SIGINT)
            #expect(consumer.wait().code == 130)
        }

        @Test(
            "consumers wait for producers, or for what they do not send",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func noEvents(shards: Int) throws {
            let broker = try Broker(shards: shards)
            let consumer = try broker.start(["sub", "t"])
            try eventually("it consumes") { try broker.run("consumer", "ls", "t").lines.count == 1 }
            #expect(try why(broker) == ["no-producers"])
            consumer.signal(SIGTERM)
            #expect(consumer.wait().code == 143)
        }
    }
}
