import Foundation
import Glibc
import Testing

/// What curl was told.
struct Answer {
    let status: Int
    let version: String
    let text: String
    let heads: String

    func header(_ name: String) -> String? {
        for line in heads.split(whereSeparator: \.isNewline) {
            let halves = line.split(separator: ":", maxSplits: 1)
            guard halves.count == 2, halves[0].lowercased() == name else { continue }
            return halves[1].trimmingCharacters(in: .whitespaces)
        }
        return nil
    }

    func decoded<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try JSONDecoder().decode(type, from: Data(text.utf8))
    }
}

struct Taken: Decodable, Equatable {
    let topic: String
    let offset: UInt64?
    let count: UInt64
}

struct Shown: Decodable, Equatable {
    let offset: UInt64
    let payload: String
    var key: String?
    var headers: [String: String]?
}

extension Broker {
    /// A broker with HTTP, on a port of its own.
    static func withHTTP(shards: Int, _ flags: [String] = []) throws -> Broker {
        try Broker(["--http", "127.0.0.1:0"] + flags, shards: shards)
    }

    var url: String { get throws { "http://\(try #require(http))" } }

    func curl(_ path: String, _ flags: String..., input: String = "") throws -> Answer {
        let words = ["-sS", "-i", "--max-time", "20", "-w", "\n%{http_code} %{http_version}"]
        let outcome = try Running(
            "/usr/bin/curl",
            words + flags + [url + path],
            input: Array(input.utf8)
        ).wait()
        #expect(outcome.code == 0, "\(outcome.errors)")
        let lines = outcome.text.split(separator: "\n", omittingEmptySubsequences: false)
        let last = lines.last.map { $0.split(separator: " ") } ?? []
        // An interim answer has a head of its own, before the one that counts.
        var rest = lines.dropLast().joined(separator: "\n")[...]
        var heads = ""
        while rest.hasPrefix("HTTP/"), let end = rest.firstRange(of: "\r\n\r\n") {
            heads = String(rest[..<end.lowerBound])
            rest = rest[end.upperBound...]
        }
        return Answer(
            status: Int(last.first ?? "") ?? 0,
            version: last.count > 1 ? String(last[1]) : "",
            text: String(rest),
            heads: heads
        )
    }
}

extension SystemTests {
    @Suite("HTTP")
    struct HTTPTests {
        @Test(
            "an event goes in and comes out by every version of HTTP",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func versions(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let flags = ["--http1.1", "--http2", "--http2-prior-knowledge"]
            for (number, flag) in flags.enumerated() {
                let posted = try broker.curl(
                    "/v1/topics/t/events",
                    flag,
                    "-d",
                    "event \(number)",
                    "-H",
                    "sluice-key: k",
                    "-H",
                    "sluice-header-lang: en",
                    "-H",
                    "traceparent: 00-1-2-01"
                )
                #expect(posted.status == 200, "\(posted.text)")
                let taken = Taken(topic: "t", offset: UInt64(number), count: 1)
                #expect(try posted.decoded(Taken.self) == taken)
                let fetched = try broker.curl("/v1/topics/t/events?demand=1&wait=5s", flag)
                #expect(fetched.version == (flag == "--http1.1" ? "1.1" : "2"))
                let shown = try fetched.decoded([Shown].self)
                let headers = ["lang": "en", "traceparent": "00-1-2-01"]
                let event = Shown(
                    offset: UInt64(number),
                    payload: "event \(number)",
                    key: "k",
                    headers: headers
                )
                #expect(shown == [event])
            }
        }

        @Test("trace context goes through untouched, either way", .timeLimit(.minutes(1)))
        func traceContext() throws {
            let broker = try Broker.withHTTP(shards: 1)
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            let state = "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"
            let wanted = ["traceparent": parent, "tracestate": state]
            let posted = try broker.curl(
                "/v1/topics/t/events",
                "-d",
                "one",
                "-H",
                "traceparent: \(parent)",
                "-H",
                "tracestate: \(state)"
            )
            #expect(posted.status == 200)
            let taken = try broker.run("sub", "t", "-n", "1", "-o", "jsonl")
            #expect(
                try JSONDecoder().decode(Shown.self, from: Data(taken.output)).headers == wanted
            )
            let (first, second) = ("traceparent:\(parent)", "tracestate:\(state)")
            try broker.run("pub", "t", "two", "-H", first, "-H", second)
            let fetched = try broker.curl("/v1/topics/t/events?demand=1&wait=5s")
            #expect(try fetched.decoded([Shown].self).map(\.headers) == [wanted])
        }

        @Test(
            "who asks for seven gets seven, and the rest stays",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func exactly(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            try broker.run("pub", "t", "--each", "line", input: Self.numbers(10))
            let seven = try broker.curl("/v1/topics/t/events?demand=7&wait=5s")
            #expect(try seven.decoded([Shown].self).map(\.payload) == (1...7).map { "\($0)" })
            #expect(try broker.topic("t").bufferedEvents == 3)
            let rest = try broker.curl(
                "/v1/topics/t/events?demand=100",
                "-H",
                "accept: application/x-ndjson"
            )
            #expect(rest.text.split(separator: "\n").count == 3)
            let none = try broker.curl("/v1/topics/t/events?demand=5&wait=100ms")
            #expect(try none.decoded([Shown].self).isEmpty)
            try eventually("no link is left") { try broker.topic("t").consumers == 0 }
        }

        private static func numbers(_ count: Int) -> String {
            (1...count).map { "\($0)\n" }.joined()
        }

        @Test(
            "a batch is taken whole or not at all, by the demand that there is",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func batches(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            try broker.run("topic", "create", "t", "--buffer", "0")
            let type = "content-type: application/x-ndjson"
            let three =
                #"{"payload":"a"}"# + "\n\n" + #"{"payloadBase64":"Yg=="}"# + "\n"
                + #"{"payload":"c","key":"k","headers":{"h":"v"}}"#
            let path = "/v1/topics/t/events?wait=200ms"
            let refused = try broker.curl(path, "-H", type, "--data-binary", three)
            #expect(refused.status == 429, "\(refused.text)")
            #expect(refused.header("sluice-demand") == "0")
            #expect(refused.header("retry-after") == "1")
            let consumer = try broker.start(["demand", "t", "2"])
            try eventually("somebody asks") { try broker.topic("t").consumers == 1 }
            let again = try broker.curl(path, "-H", type, "--data-binary", three)
            #expect(again.status == 429)
            #expect(again.header("sluice-demand") == "2", "\(again.heads)")
            #expect(try broker.topic("t").head == 0, "nothing of a refused batch is stored")
            let two = #"[{"payload":"a"},{"payload":"b"}]"#
            let json = "content-type: application/json"
            let taken = try broker.curl(path, "-H", json, "-d", two)
            #expect(try taken.decoded(Taken.self) == Taken(topic: "t", offset: 0, count: 2))
            #expect(consumer.wait().text == "a\nb\n")
        }

        @Test("headers that look alike, or have one name, are all told", .timeLimit(.minutes(1)))
        func lookalikes() throws {
            let broker = try Broker.withHTTP(shards: 1)
            try broker.run("topic", "create", "t")
            let names = ["\u{E9}", "e\u{301}", "b", "a", "b"]
            let members = names.enumerated().map { "\"\($1)\":\"\($0)\"" }
            let headers = members.joined(separator: ",")
            let event = "[{\"payload\":\"p\",\"headers\":{\(headers)}}]"
            let json = "content-type: application/json"
            let taken = try broker.curl("/v1/topics/t/events", "-H", json, "-d", event)
            #expect(taken.status == 200, "\(taken.text)")
            let shown = try broker.curl("/v1/topics/t/events?demand=1&from=first")
            #expect(shown.text.utf8.contains("\"headers\":{\(headers)}".utf8), "\(shown.text)")
            let wrong = #"[{"payload":"p","headers":{"a":1}}]"#
            #expect(try broker.curl("/v1/topics/t/events", "-H", json, "-d", wrong).status == 400)
        }

        @Test(
            "4,096 events are taken whole in their order, one more is too many in every form",
            .timeLimit(.minutes(1)),
            arguments: [
                ("application/json", #"{"payload":"1"}"#, "[", ",", "]"),
                ("application/x-ndjson", #"{"payload":"1"}"#, "", "\n", ""),
                (
                    "application/cloudevents-batch+json",
                    #"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#, "[", ",", "]"
                ),
            ]
        )
        func most(type: String, event: String, head: String, separator: String, end: String) throws
        {
            let broker = try Broker.withHTTP(shards: 1)
            func post(_ count: Int) throws -> Answer {
                // Each has its number: what came is told apart.
                let events = (0..<count).map {
                    event.replacingOccurrences(of: "1\"", with: "\($0)\"")
                }
                return try broker.curl(
                    "/v1/topics/t/events",
                    "-H",
                    "content-type: \(type)",
                    "--data-binary",
                    "@-",
                    input: head + events.joined(separator: separator) + end
                )
            }
            try broker.run("topic", "create", "t")
            let tooMany = try post(4_097)
            #expect(tooMany.status == 413 && tooMany.text.contains("LIMIT"), "\(tooMany.text)")
            #expect(try post(50_000).status == 413)
            #expect(try broker.topic("t").head == 0)
            #expect(
                try post(4_096).decoded(Taken.self) == Taken(topic: "t", offset: 0, count: 4_096)
            )
            let came = try broker.run("demand", "t", "4096").lines
            #expect(came.count == 4_096)
            for number in [0, 1, 127, 128, 2_047, 4_095] {
                #expect(came[number].contains("\(number)"), "\(came[number])")
            }
        }

        @Test("a waiting batch goes as soon as somebody asks", .timeLimit(.minutes(1)))
        func waiting() throws {
            let broker = try Broker.withHTTP(shards: 1)
            try broker.run("topic", "create", "t", "--buffer", "0")
            let post = try Running(
                "/usr/bin/curl",
                ["-sS", "-d", "late", try broker.url + "/v1/topics/t/events?wait=20s"]
            )
            try eventually("it waits") { try broker.run("producer", "ls", "t").lines.count == 1 }
            #expect(try broker.run("demand", "t", "1").text == "late\n")
            #expect(post.wait().text.contains("\"offset\":0"))
        }

        @Test("what cannot be meant is refused with a code and what to do", .timeLimit(.minutes(1)))
        func refusals() throws {
            let broker = try Broker.withHTTP(shards: 1, ["--no-auto-create"])
            let large = String(repeating: "x", count: 1_100_000)
            let many = String(repeating: "{\"payload\":\"\"}\n", count: 5_000)
            let lines = "content-type: application/x-ndjson"
            let cases: [(Answer, Int, String)] = [
                (try broker.curl("/v1/topics/none/events", "-d", "x"), 404, "NOT_FOUND"),
                (try broker.curl("/v1/topics/none"), 404, "NOT_FOUND"),
                (try broker.curl("/nothing"), 404, "NOT_FOUND"),
                (try broker.curl("/v1/topics/t/events", "-X", "PUT"), 405, "BAD_OPTION"),
                (try broker.curl("/v1/topics/t/events?demand=0"), 400, "BAD_OPTION"),
                (try broker.curl("/v1/topics/t/events?wait=ever"), 400, "BAD_OPTION"),
                (try broker.curl("/v1/topics/$sys/events"), 400, "BAD_OPTION"),
                (
                    try broker.curl("/v1/topics/t/events", "-H", lines, "-d", "{\"load\":1}"), 400,
                    "BAD_OPTION"
                ),
                (
                    try broker.curl("/v1/topics/t/events", "--data-binary", "@-", input: large),
                    400, "BAD_OPTION"
                ),
                (
                    try broker.curl(
                        "/v1/topics/t/events",
                        "-H",
                        lines,
                        "--data-binary",
                        "@-",
                        input: many
                    ), 413, "LIMIT"
                ),
            ]
            struct Told: Decodable {
                let status: Int
                let code: String
                let detail: String
            }
            for (answer, status, code) in cases {
                #expect(answer.status == status, "\(answer.text)")
                #expect(answer.header("content-type") == "application/problem+json")
                let told = try answer.decoded(Told.self)
                #expect(told.status == status)
                #expect(told.code == code, "\(told)")
                #expect(!told.detail.isEmpty)
            }
        }

        @Test(
            "a stream goes on for as long as it is read, as lines and as Server-Sent Events",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func streams(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let path = try broker.url + "/v1/topics/t/stream?demand=2&group="
            let lines = try Running("/usr/bin/curl", ["-sSN", path + "a"])
            let events = try Running(
                "/usr/bin/curl",
                ["-sSN", "--http2-prior-knowledge", "-H", "accept: text/event-stream", path + "b"]
            )
            try eventually("both ask") { try broker.topic("t").consumers == 2 }
            try broker.run("pub", "t", "--each", "line", input: Self.numbers(50))
            try eventually("all lines came") {
                lines.output.count { $0 == UInt8(ascii: "\n") } == 50
            }
            try eventually("all events came") {
                String(decoding: events.output, as: UTF8.self).contains("id: 49\ndata: {")
            }
            for stream in [lines, events] { stream.signal(SIGKILL) }
            try eventually("their links are gone") { try broker.topic("t").consumers == 0 }
        }

        @Test(
            "a partition changes hands when its owner's machine has all, also of an idle stream",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func partitions(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            try broker.run("topic", "create", "t", "--dispatcher", "partition:4")
            let path = try broker.url + "/v1/topics/t/stream"
            func publish(_ events: ClosedRange<Int>) throws {
                for number in events { try broker.run("pub", "t", "-k", "\(number % 8)", "x") }
            }
            let flags = [
                ["--http1.1"], ["--http1.1", "-H", "accept: text/event-stream"],
                ["--http2-prior-knowledge"],
            ]
            var streams: [Running] = []
            for (number, flags) in flags.enumerated() {
                streams.append(try Running("/usr/bin/curl", ["-sSN", path] + flags))
                try eventually("it asks") { try broker.topic("t").consumers == number + 1 }
                try publish(number * 8 + 1...number * 8 + 8)
                // That is half of what the broker would wait for an owner that shows nothing.
                try eventually("all of them came") {
                    let texts = streams.map { String(decoding: $0.output, as: UTF8.self) }
                    return texts.joined().ranges(of: "\"offset\"").count == number * 8 + 8
                }
            }
            for stream in streams { #expect(!stream.output.isEmpty, "each has had a partition") }
        }

        @Test(
            "demand said in the body is what the answer brings",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func conversation(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            try broker.run("pub", "t", "--each", "line", input: Self.numbers(10))
            // One connection at a time: what is taken is what its own lines ask for.
            let url = try broker.url + "/v1/topics/t/stream"
            func converse(_ lines: String) throws -> Outcome {
                let flags = "-sSN --http2-prior-knowledge -X POST --data-binary @- \(url)"
                return try broker.shell("printf '\(lines)' | curl \(flags)")
            }
            #expect(try converse(#"{"demand":2}\n{"demand":3}\n"#).lines.count == 5)
            #expect(try broker.topic("t").bufferedEvents == 5)
            #expect(try converse(#"{"demand":20}\n"#).lines.count == 5)
            let wrong = try converse(#"{"demand":0}\n"#)
            #expect(wrong.text.contains("BAD_DEMAND"), "\(wrong.text) \(wrong.errors)")
        }

        @Test("events go in by every form, and come out the same", .timeLimit(.minutes(1)))
        func forms() throws {
            let broker = try Broker.withHTTP(shards: 1)
            func post(_ type: String, _ body: String) throws -> Answer {
                try broker.curl(
                    "/v1/topics/t/events",
                    "-H",
                    "content-type: \(type)",
                    "--data-binary",
                    body
                )
            }
            let cloud = #"{"specversion":"1.0","id":"1","source":"/a","type":"b","data":"]}\""}"#
            let batch = "application/cloudevents-batch+json"
            #expect(try post(batch, "[ \(cloud) ,\(cloud)]").status == 200)
            #expect(try post(batch, #"[{"id":"1"}]"#).status == 400)
            #expect(try post("application/cloudevents+json", cloud).status == 200)
            #expect(try post("application/json", #"{"a":1}"#).status == 200)
            let shown = try broker.curl("/v1/topics/t/events?demand=10").decoded([Shown].self)
            let type = ["content-type": "application/cloudevents+json"]
            #expect(shown.map(\.payload) == [cloud, cloud, cloud, #"{"a":1}"#])
            #expect(shown.prefix(3).allSatisfy { $0.headers == type })

            let records = "application/vnd.sluice.records"
            let lines = #"{"payload":"a","key":"k"}"# + "\n" + #"{"payloadBase64":"AP8="}"#
            #expect(try post("application/x-ndjson", lines).status == 200)
            let url = try broker.url + "/v1/topics/t/events"
            let round =
                "curl -sS -H 'accept: \(records)' '\(url)?demand=2' | "
                + "curl -sS -H 'content-type: \(records)' --data-binary @- '\(url)'"
            #expect(try broker.shell(round).text.contains("\"count\":2"))
            let again = try broker.curl("/v1/topics/t/events?demand=2").text
            #expect(again.contains(#""key":"k","payload":"a""#))
            #expect(again.contains(#""payloadBase64":"AP8=""#))
            #expect(try post(records, "abc").status == 400)
        }

        @Test("SIGTERM ends what is open, and the broker with 0", .timeLimit(.minutes(1)))
        func stopping() throws {
            let broker = try Broker.withHTTP(shards: 1)
            try broker.run("topic", "create", "t", "--buffer", "0")
            let stream = try Running("/usr/bin/curl", ["-sSN", broker.url + "/v1/topics/s/stream"])
            let post = try Running(
                "/usr/bin/curl",
                ["-sS", "-d", "x", broker.url + "/v1/topics/t/events?wait=60s"]
            )
            try eventually("both are there") {
                try broker.topic("s").consumers == 1 && broker.topic("t").producers == 1
            }
            broker.running.signal(SIGTERM)
            #expect(broker.running.wait().code == 0)
            #expect(stream.wait().code == 0, "its end was said")
            #expect(post.wait().text.contains("GOING_AWAY"))
        }

        @Test("nghttp's many streams of one connection are answered", .timeLimit(.minutes(1)))
        func manyStreams() throws {
            let broker = try Broker.withHTTP(shards: 1)
            let words = [
                "-n", "500", "-c", "2", "-m", "50", try broker.url + "/v1/topics/t/events",
            ]
            let body = try Place.directory().appending(path: "body")
            try Data("event".utf8).write(to: body)
            let outcome = try Running("/usr/bin/h2load", ["-d", body.path] + words).wait()
            #expect(outcome.text.contains("500 succeeded, 0 failed"), "\(outcome.text)")
            #expect(try broker.topic("t").head == 500)
            let page = try Running("/usr/bin/nghttp", [try broker.url + "/livez"]).wait()
            #expect(page.text == "ok\n")
            let change = try Running("/usr/bin/nghttp", ["-u", try broker.url + "/livez"]).wait()
            #expect(change.text == "ok\n")
        }
    }
}
