import Foundation
import Glibc
import Testing

extension Tag {
    @Tag static var loopback: Self
}

/// One after the other: each test has processes of its own, and the machine few processors.
@Suite("The real binary on loopback", .serialized, .tags(.loopback))
struct SystemTests {}

extension SystemTests {
    @Suite("The command line against the real broker")
    struct CommandTests {
        @Test(
            "what goes in by lines comes out by lines, in order",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func lines(shards: Int) throws {
            let broker = try Broker(shards: shards)
            let sent = try broker.run("pub", "t", input: "one\ntwo\n\nfour")
            #expect(sent.code == 0, "\(sent.errors)")
            let came = try broker.run("sub", "t", "--exit-at-end")
            #expect(came.code == 0, "\(came.errors)")
            #expect(came.text == "one\ntwo\n\nfour\n")
            #expect(came.errors.isEmpty)
        }

        @Test(
            "bytes of every value survive, NUL and all",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func binary(shards: Int) throws {
            let broker = try Broker(shards: shards)
            let bytes = (0..<70_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) } + [0, 0]
            #expect(try broker.start(["pub", "t", "--each", "eof"], input: bytes).wait().code == 0)
            let came = try broker.run("sub", "t", "--count", "1", "--format", "%s")
            #expect(came.output == bytes)
        }

        @Test(
            "NUL separates events where it is told to, and files are events",
            .timeLimit(.minutes(1))
        )
        func separators() throws {
            let broker = try Broker()
            try broker.run("pub", "t", "--each", "nul", input: "a\nb\0c\0")
            let directory = try Place.directory()
            defer { try? FileManager.default.removeItem(at: directory) }
            let file = directory.appending(path: "file")
            try Data("in\na file\n".utf8).write(to: file)
            try broker.run("pub", "t", "--file", file.path)
            let came = try broker.run("sub", "t", "--count", "3", "--format", #"%o=%s\0"#)
            #expect(came.text == "0=a\nb\u{0}1=c\u{0}2=in\na file\n\u{0}")
        }

        @Test(
            "each event may bring its key, and one without it ends the rest",
            .timeLimit(.minutes(1))
        )
        func keys() throws {
            let broker = try Broker()
            try broker.run(
                "pub",
                "t",
                "--key-separator",
                #"::\t"#,
                input: "a::\tone\n::\ttwo\nb::\tx::\ty\n"
            )
            let came = try broker.run("sub", "t", "-n", "3", "-f", #"%k=%s\n"#)
            #expect(came.lines == ["a=one", "=two", "b=x::\ty"])
            let words = ["pub", "t", "--key-separator", ":"]
            let failed = try broker.start(words, input: Array("k:1\nnone\nk:2\n".utf8)).wait()
            #expect(failed.code == 64)
            #expect(failed.errors.contains("event 2 has no key"))
            #expect(try broker.topic("t").head == 4)
        }

        @Test(
            "a strict topic moves exactly what is demanded",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func demand(shards: Int) throws {
            let broker = try Broker(shards: shards)
            try broker.run("topic", "create", "strict", "--buffer", "0")
            let input = (1...10).map { "\($0)\n" }.joined()
            let publisher = try broker.start(["pub", "strict"], input: Array(input.utf8))
            let seven = try broker.run("demand", "strict", "7")
            #expect(seven.lines == (1...7).map { "\($0)" })
            #expect(try broker.topic("strict").head == 7)
            #expect(publisher.process.isRunning)
            let three = try broker.run("demand", "strict", "3")
            #expect(three.lines == ["8", "9", "10"])
            #expect(publisher.wait().code == 0)
        }

        @Test("a topic allows what it was made with, says so, and what it refuses says why")
        func limits() throws {
            let broker = try Broker()
            let flags = ["--max-producers", "3", "--max-groups", "1", "--max-event-bytes", "1k"]
            #expect(try broker.start(["topic", "create", "t"] + flags).wait().code == 0)
            let json = try broker.run("topic", "info", "t", "-o", "json").text
            #expect(json.contains("\"maxEventBytes\"") && !json.contains("\"maxConsumers\""))
            let info = try broker.run("topic", "info", "t", "-o", "table").text
            #expect(info.contains("producers 3, groups 1, an event 1KiB"))

            let sent = try broker.run("pub", "t", String(repeating: "x", count: 1_021))
            #expect(sent.code == 7, "\(sent.errors)")
            #expect(sent.errors.contains("EVENT_TOO_LARGE"))
            try broker.run("pub", "t", "small")
            #expect(try broker.run("demand", "t", "1", "--group", "a").text == "small\n")
            let other = try broker.run("demand", "t", "1", "--group", "b")
            #expect(other.code == 7, "\(other.errors)")
            #expect(other.errors.contains("limit of groups is 1"))
        }

        @Test("a group that nobody comes back to ends when its topic says, and shows when")
        func groupExpiry() throws {
            let broker = try Broker()
            try broker.run("topic", "create", "t", "--group-expire-after", "2h")
            try broker.run("pub", "t", "x")
            #expect(try broker.run("demand", "t", "1", "--group", "left").text == "x\n")
            let info = try broker.run("topic", "info", "t", "-o", "table").text
            #expect(info.contains("named ones end after 2h without consumers"))
            #expect(info.contains("ENDS IN"))
            let set = try broker.run("topic", "set", "t", "--group-expire-after", "100ms")
            #expect(set.code == 0, "\(set.errors)")
            #expect(try broker.topic("t").groupExpireAfter == 1)
            try eventually("the group ended") { try broker.topic("t").expiredGroups == 1 }
            try broker.run("topic", "set", "t", "--group-expire-after", "0")
            #expect(try broker.topic("t").groupExpireAfter == nil)
        }

        @Test(
            "what cannot be is wrong usage, before any broker is asked",
            arguments: [
                ["ping", "-s", "nowhere:port"], ["-s", "host:70000", "topic", "ls"],
                ["topic", "create", "t", "--buffer", "10", "--ahead", "20"],
                ["topic", "create", "t", "--buffer", "2G"],
                ["topic", "create", "t", "--buffer-bytes", "2T"],
                ["topic", "create", "t", "--dispatcher", "partition"],
                ["topic", "create", "t", "--lag", "drop-oldest:5"],
                ["topic", "create", "t", "--rate", "0"], ["topic", "create", "t", "--burst", "5"],
                ["pub", "t", "--key", "k", "--key-separator", ":"],
                ["pub", "t", "--key-separator", ""], ["pub", "t", "--key-separator", #"\x"#],
                ["topic", "create", "t", "--max-producers", "0"],
                ["topic", "create", "t", "--max-groups", "1001"],
                ["topic", "set", "t", "--group-expire-after", "366d"],
                ["topic", "create", "t", "--max-event-bytes", "1MiB"],
                ["sub", "t", "--dispatcher", "any"], ["sub", "t", "--lag", "drop-oldest"],
                ["sub", "t", "--claim", "1;2"], ["sub", "t", "--burst", "5"],
                ["sub", "t", "--rate", "0"], ["sub", "t", "--rate", "5", "--burst", "0"],
                ["sub", "t", "--batch-wait", "1s"], ["sub", "t", "--filter", "key = eu"],
            ]
        )
        func usage(words: [String]) throws {
            let outcome = try Running(Place.sluice(), words).wait()
            #expect(outcome.code == 64)
            #expect(outcome.errors.hasPrefix("error: "))
        }

        @Test("a filter says where it breaks, and a refused option what does not fit")
        func options() throws {
            let filter = try Running(Place.sluice(), ["sub", "t", "--filter", "key = eu"]).wait()
            #expect(filter.errors.contains("column 7: expected a value in double quotes"))
            let broker = try Broker()
            let weight = try broker.run("sub", "t", "--weight", "2")
            #expect(weight.code == 1, "\(weight.errors)")
            #expect(weight.errors.contains("dispatcher fair"), "\(weight.errors)")
            let range = try broker.run("sub", "t", "--dispatcher", "fair", "--weight", "70000")
            #expect(range.code != 0)
            #expect(range.errors.contains("outside 1 to 65535"), "\(range.errors)")
        }

        @Test("a filter lets pass what fits", .timeLimit(.minutes(1)))
        func filter() throws {
            let broker = try Broker()
            for (key, text) in [("eu-1", "a"), ("us-1", "b"), ("eu-2", "c")] {
                try broker.run("pub", "t", text, "--key", key)
            }
            let came = try broker.run("sub", "t", "--filter", "key ^= \"eu-\"", "--exit-at-end")
            #expect(came.code == 0, "\(came.errors)")
            #expect(came.lines == ["a", "c"])
        }

        @Test("errors name what is meant, once", .timeLimit(.minutes(1)))
        func errors() throws {
            let absent = try Running(Place.sluice(), ["-s", "127.0.0.1:1", "ping"]).wait()
            #expect(absent.code == 3)
            #expect(absent.errors.split(separator: "127.0.0.1:1:").count == 2)
            let broker = try Broker()
            let ahead = try broker.run("topic", "create", "t", "--ahead", "20k")
            #expect(ahead.code == 1)
            #expect(ahead.errors.contains("(BAD_OPTION)") && ahead.errors.contains("--buffer"))
            try broker.run("topic", "create", "t")
            let group = try broker.run("group", "rm", "t", "g")
            #expect(group.code == 5)
            #expect(group.errors.contains("sluice topic info t"))
        }

        @Test("a group is made before anybody joins it, and stays", .timeLimit(.minutes(1)))
        func groups() throws {
            let broker = try Broker()
            let absent = try broker.run("group", "create", "t", "g")
            #expect(absent.code == 5)
            #expect(absent.errors.contains("no topic 't'"), "\(absent.errors)")
            try broker.run("topic", "create", "t", "--group-expire-after", "1s")
            try broker.run("pub", "t", "early")
            #expect(try broker.run("group", "create", "t", "all").code == 0)
            let flags = ["--from", "new", "--dispatcher", "partition", "--partitions", "4"]
            #expect(try broker.start(["group", "create", "t", "later"] + flags).wait().code == 0)
            let again = try broker.run("group", "create", "t", "all")
            #expect(again.code == 6)
            #expect(again.errors.contains("group 'all' of topic 't' exists"), "\(again.errors)")
            for wrong in [
                ["--from", "-1"], ["--dispatcher", "independent"], ["--partitions", "4"],
                ["--dispatcher", "partition"], ["--dispatcher", "best"],
            ] {
                let words = ["group", "create", "t", "wrong"] + wrong
                #expect(try broker.start(words).wait().code == 64, "\(wrong)")
            }
            // One that an OPEN made goes when its time is over, while the others stay.
            try broker.run("sub", "t", "-g", "opened", "--count", "1")
            try eventually("it has ended") {
                try !broker.run("topic", "info", "t").text.contains("opened")
            }
            try broker.run("pub", "t", "late")
            let all = try broker.run("sub", "t", "-g", "all", "--count", "2")
            #expect(all.lines == ["early", "late"])
            #expect(try broker.run("sub", "t", "-g", "later", "--count", "1").lines == ["late"])
            let info = try broker.run("topic", "info", "t").text
            #expect(info.contains("all") && info.contains("later"), "\(info)")
        }

        @Test("what did not come in time is a part, exit code 8", .timeLimit(.minutes(1)))
        func partial() throws {
            let broker = try Broker()
            try broker.run("pub", "t", "only")
            let came = try broker.run("sub", "t", "--count", "2", "--idle-timeout", "300ms")
            #expect(came.code == 8)
            #expect(came.text == "only\n")
            #expect(came.errors.contains("1 of 2 events came"))
            #expect(came.errors.contains("hint: "))
        }

        @Test(
            "a reader that leaves ends it quietly with 141, whether more comes or not",
            .timeLimit(.minutes(1)),
            arguments: [1, 5_000],
            Broker.shardCounts
        )
        func brokenPipe(events: Int, shards: Int) throws {
            let broker = try Broker(shards: shards)
            let came = try broker.shell(
                "seq 1 \(events) | sluice pub t;"
                    + " sluice sub t --max-demand 100 | head -1; echo ${PIPESTATUS[0]}"
            )
            #expect(came.lines == ["1", "141"])
            #expect(came.errors.isEmpty)
        }

        @Test("key and headers travel, and every form shows them", .timeLimit(.minutes(1)))
        func forms() throws {
            let broker = try Broker()
            try broker.run("pub", "t", "hello \"you\"", "-H", "lang=en", "-H", "n: 1", "--key", "k")
            let jsonl = try broker.run("topic", "peek", "t", "-o", "jsonl")
            #expect(jsonl.lines.count == 1)
            #expect(
                jsonl.text.hasSuffix(
                    #""key":"k","headers":{"lang":"en","n":"1"},"payload":"hello \"you\""}"# + "\n"
                )
            )
            let json = try broker.run("topic", "peek", "t", "-o", "json")
            let array = try #require(
                try JSONSerialization.jsonObject(with: Data(json.output)) as? [[String: Any]]
            )
            #expect(array.first?["payload"] as? String == "hello \"you\"")
            #expect(try broker.run("topic", "peek", "t", "-o", "raw").text == "hello \"you\"\n")
            let table = try broker.run("topic", "peek", "t", "-o", "table").text
            #expect(table.contains("k  hello \"you\""))
            let format = try broker.run("topic", "peek", "t", "--format", "%t/%o/%k/%h/%s%n")
            #expect(format.text == "t/0/k/lang=en,n=1/hello \"you\"\n")
            #expect(try broker.run("topic", "ls", "-o", "table").text.hasPrefix("TOPIC "))
            #expect(try broker.run("topic", "ls").text.hasPrefix("{"))
            #expect(try broker.run("topic", "ls", "-o", "json").text.hasPrefix("[\n  {"))
        }

        @Test("peeking consumes nothing, purging leaves nothing", .timeLimit(.minutes(1)))
        func peekAndPurge() throws {
            let broker = try Broker()
            try broker.run("pub", "t", input: "1\n2\n3\n")
            #expect(try broker.run("topic", "peek", "t", "-n", "2").text == "1\n2\n")
            #expect(try broker.run("topic", "peek", "t").text == "1\n2\n3\n")
            #expect(try broker.run("topic", "purge", "t").code == 0)
            #expect(try broker.run("topic", "peek", "t").text == "")
            #expect(try broker.topic("t").bufferedEvents == 0)
        }

        @Test(
            "exec runs a command an event, and stops where one fails",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func exec(shards: Int) throws {
            let broker = try Broker(shards: shards)
            try broker.run("pub", "t", input: "a\nb\nc\n")
            let line = "echo \"$EVENT_TOPIC $EVENT_OFFSET $(cat)\"; [ $EVENT_OFFSET != 1 ]"
            let came = try broker.run("sub", "t", "--exec", line)
            #expect(came.text == "t 0 a\nt 1 b\n")
            #expect(came.code == 1)
            #expect(came.errors.contains("status 1 at offset 1"))
            #expect(try broker.run("sub", "t", "--exit-at-end").text == "c\n")
        }

        @Test("errors have codes, and say what to do next", .timeLimit(.minutes(1)))
        func codes() throws {
            let broker = try Broker(["--no-auto-create"])
            func expect(_ code: Int32, _ words: String, _ outcome: Outcome) {
                #expect(outcome.code == code, "\(outcome.errors)")
                #expect(outcome.errors.contains(words), "\(outcome.errors)")
                #expect(outcome.errors.hasPrefix("error: "))
                #expect(outcome.errors.contains("\nhint: "))
                #expect(outcome.output.isEmpty)
            }
            expect(5, "NOT_FOUND", try broker.run("pub", "nowhere", "x"))
            expect(5, "NOT_FOUND", try broker.run("sub", "nowhere"))
            expect(5, "no topic 'nowhere'", try broker.run("topic", "rm", "nowhere"))
            expect(5, "no topic 'nowhere'", try broker.run("why", "nowhere"))
            #expect(try broker.run("topic", "create", "t").code == 0)
            expect(6, "exists already", try broker.run("topic", "create", "t"))
            expect(5, "no group 'g'", try broker.run("group", "rm", "t", "g"))
            #expect(try broker.run("topic", "rm", "t").code == 0)
            expect(5, "no topic 't'", try broker.run("topic", "info", "t"))
            expect(
                64,
                "--min-demand",
                try broker.run("sub", "t", "--min-demand", "9", "--max-demand", "9")
            )
            expect(64, "--count", try broker.run("ping", environment: ["SLUICE_COUNT": "x"]))
            expect(64, "%x", try broker.run("sub", "t", "--format", "%x"))
            let nobody = ["SLUICE_SERVER": "127.0.0.1:1"]
            expect(3, "no broker at 127.0.0.1:1", try broker.run("ping", environment: nobody))
        }

        @Test(
            "a dropping topic tells its producer what it lost",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func discarded(shards: Int) throws {
            let broker = try Broker(shards: shards)
            try broker.run("topic", "create", "t", "--buffer", "2", "--on-full", "drop-newest")
            let sent = try broker.run("pub", "t", input: "1\n2\n3\n4\n")
            #expect(sent.code == 7, "\(sent.errors)")
            #expect(sent.errors.contains("DISCARDED"))
        }

        @Test(
            "the Python client publishes, consumes and is refused on overrun",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func python(shards: Int) throws {
            let broker = try Broker(shards: shards)
            let script = Place.root.appending(path: "Protocol/python/sluice.py").path
            func python(_ words: String...) throws -> Outcome {
                try Running("/usr/bin/env", ["python3", script, broker.address] + words).wait()
            }
            let sent = try python("pub", "t", "from python", "--key", "p")
            #expect(sent.code == 0, "\(sent.errors)")
            #expect(try broker.run("demand", "t", "1").text == "from python\n")
            try broker.run("pub", "t", "to python")
            let came = try python("sub", "t", "-n", "1")
            #expect(came.code == 0, "\(came.errors)")
            #expect(came.text.contains("\"payload\": \"to python\""))
            let overrun = try python("overrun", "t")
            #expect(overrun.code == 0, "\(overrun.text) \(overrun.errors)")
            #expect(overrun.text.contains("CREDIT_OVERRUN"))
        }
    }
}
