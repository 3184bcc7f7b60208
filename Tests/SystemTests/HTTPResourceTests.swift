import Foundation
import Glibc
import Testing

extension SystemTests {
    @Suite("What HTTP shows and does")
    struct HTTPResourceTests {
        static let promtool = "/usr/bin/promtool"

        @Test(
            "documents are those of the command line",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func documents(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            try broker.run("topic", "create", "t", "--buffer", "7")
            let shown = try broker.run("topic", "info", "t", "-o", "jsonl").text
            #expect(try broker.curl("/v1/topics/t").text == shown)
            let listed = try broker.run("topic", "ls", "-o", "jsonl").text
            let lines = try broker.curl("/v1/topics", "-H", "accept: application/x-ndjson")
            #expect(lines.text == listed)
            let consumer = try broker.start(["sub", "t"])
            try eventually("it consumes") { try broker.topic("t").consumers == 1 }
            struct Link: Decodable, Equatable {
                let topic: String
                let role: String
            }
            let links = try broker.curl("/v1/consumers").decoded([Link].self)
            #expect(links == [Link(topic: "t", role: "consumer")])
            #expect(try broker.curl("/v1/topics/t/consumers").decoded([Link].self) == links)
            #expect(try broker.curl("/v1/producers").decoded([Link].self).isEmpty)
            struct Group: Decodable { let members: Int }
            let groups = try broker.curl("/v1/topics/t/groups").decoded([Group].self)
            #expect(groups.map(\.members) == [1])
            #expect(try broker.curl("/v1/connections").text.contains("\"curl/"))
            #expect(try broker.curl("/v1/server").text.contains("\"uptimeSeconds\""))
            consumer.signal(SIGTERM)
            _ = consumer.wait()
        }

        @Test(
            "topics and groups are created, paused, purged and removed",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func requests(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let settings = #"{"capacity": 5, "ahead": 2, "onFull": "drop-newest"}"#
            #expect(try broker.curl("/v1/topics/t", "-X", "PUT", "-d", settings).status == 201)
            let made = try broker.topic("t")
            #expect(made.capacity == 5)
            #expect(made.ahead == 2)
            #expect(try broker.curl("/v1/topics/t", "-X", "PUT").status == 409)
            #expect(try broker.curl("/v1/topics/u", "-X", "PUT", "-d", "[1]").status == 400)
            func post(_ path: String) throws -> Int {
                try broker.curl("/v1/topics/t/\(path)", "-X", "POST").status
            }
            #expect(try post("pause") == 204)
            #expect(try broker.topic("t").isPaused)
            #expect(try post("resume") == 204)
            #expect(try !broker.topic("t").isPaused)
            try broker.run("pub", "t", "one")
            #expect(try post("purge") == 204)
            #expect(try broker.topic("t").bufferedEvents == 0)
            _ = try broker.curl("/v1/topics/t/events?group=g")
            #expect(try post("groups/g/seek?to=first") == 204)
            // Of a number that no offset has it is the nearest that counts.
            #expect(try post("groups/g/seek?to=5999037088374373365796") == 204)
            for text in ["%2B5", "-1", "1.0", ""] {
                #expect(try post("groups/g/seek?to=\(text)") == 400, "\(text)")
            }
            #expect(try post("groups/none/seek?to=first") == 404)
            func make(_ group: String, _ body: String = "{}") throws -> Int {
                let path = "/v1/topics/t/groups/\(group)"
                return try broker.curl(path, "-X", "PUT", "-d", body).status
            }
            #expect(try make("g") == 409)
            let four = #"{"start": "first", "dispatcher": "partition", "partitions": 4}"#
            #expect(try make("four", four) == 201)
            #expect(try broker.curl("/v1/topics/u/groups/g", "-X", "PUT").status == 404)
            for body in [#"{"partitions": 4}"#, #"{"start": null}"#, #"{"start": "-1"}"#, "[]"] {
                #expect(try make("wrong", body) == 400, "\(body)")
            }
            #expect(try make("(default)") == 400)
            #expect(try broker.curl("/v1/topics/t/groups/g", "-X", "DELETE").status == 204)
            #expect(try broker.curl("/v1/topics/t/groups/g", "-X", "DELETE").status == 404)
            #expect(try broker.curl("/v1/topics/t", "-X", "DELETE").status == 204)
            #expect(try broker.curl("/v1/topics/t").status == 404)
        }

        @Test("probes answer by every version of HTTP", .timeLimit(.minutes(1)))
        func probes() throws {
            let broker = try Broker.withHTTP(shards: 1)
            for flag in ["--http1.1", "--http2", "--http2-prior-knowledge"] {
                #expect(try broker.curl("/livez", flag).text == "ok\n")
                #expect(try broker.curl("/readyz", flag).text == "ok\n")
                #expect(try broker.curl("/readyz?verbose", flag).text == "[+] serving\nok\n")
                #expect(try broker.curl("/version", flag).text.contains("\"name\":\"sluice\""))
                #expect(try broker.curl("/livez", flag, "--head").text.isEmpty)
            }
        }

        @Test("metrics tell of demand, in both forms", .timeLimit(.minutes(1)))
        func metrics() throws {
            let broker = try Broker.withHTTP(shards: 1)
            try broker.run("topic", "create", #"a"b\c"#)
            try broker.run("topic", "create", "t")
            let consumer = try broker.start(["demand", "t", "3"])
            try eventually("somebody asks") { try broker.topic("t").consumers == 1 }
            let plain = try broker.curl("/metrics")
            #expect(plain.header("content-type")?.contains("version=0.0.4") ?? false)
            #expect(plain.text.contains("sluice_demand_outstanding{topic=\"t\",group=\"\"} 3\n"))
            #expect(plain.text.contains("sluice_buffer_events{topic=\"a\\\"b\\\\c\"} 0\n"))
            let open = try broker.curl("/metrics", "-H", "accept: application/openmetrics-text")
            #expect(open.header("content-type")?.hasPrefix("application/openmetrics-text") ?? false)
            #expect(open.text.contains("# TYPE sluice_events_published counter\n"))
            #expect(open.text.hasSuffix("# EOF\n"))
            consumer.signal(SIGTERM)
            _ = consumer.wait()
        }

        @Test(
            "promtool has nothing to say against the metrics",
            .enabled(if: access(promtool, X_OK) == 0),
            .timeLimit(.minutes(1))
        )
        func judged() throws {
            let broker = try Broker.withHTTP(shards: 1)
            try broker.run("pub", "t", "one")
            _ = try broker.curl("/v1/topics/t/events?group=g")
            let url = try broker.url + "/metrics"
            let outcome = try broker.shell("curl -sS \(url) | \(Self.promtool) check metrics")
            #expect(outcome.code == 0)
            #expect(outcome.errors.isEmpty && outcome.text.isEmpty, "\(outcome.errors)")
        }
    }
}
