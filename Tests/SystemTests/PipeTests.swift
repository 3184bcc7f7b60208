import Foundation
import Glibc
import Testing

extension SystemTests {
    @Suite("A command between two topics", .timeLimit(.minutes(1)))
    struct PipeTests {
        /// Publishes lines, pipes them through `command`, and returns what came out of it.
        private func pass(
            _ lines: [String],
            _ options: [String] = ["--exit-at-end"],
            through command: String...,
            broker: Broker,
            expecting code: Int32 = 0
        ) throws -> Outcome {
            try broker.run("pub", "a", input: lines.map { "\($0)\n" }.joined())
            let piped = try broker.start(["pipe", "a", "b"] + options + ["--"] + command).wait()
            #expect(piped.code == code, "\(piped.errors)")
            #expect(piped.output.isEmpty)
            return piped
        }

        private func result(_ broker: Broker, _ options: String...) throws -> Outcome {
            try broker.start(["sub", "b", "--exit-at-end"] + options).wait()
        }

        @Test("each line is an event, in order", arguments: Broker.shardCounts)
        func lines(shards: Int) throws {
            let broker = try Broker(shards: shards)
            _ = try pass(["one", "", "three"], through: "tr", "a-z", "A-Z", broker: broker)
            #expect(try result(broker).text == "ONE\n\nTHREE\n")
        }

        @Test("many go through, whatever the demand is", arguments: ["1", "7", "1000"])
        func many(most: String) throws {
            let broker = try Broker()
            let lines = (0..<3_000).map { "\($0)" }
            let options = ["--exit-at-end", "--max-demand", most]
            _ = try pass(lines, options, through: "cat", broker: broker)
            #expect(try result(broker).lines == lines)
        }

        @Test("a command that answers when its input ends has the end, and does")
        func sort() throws {
            let broker = try Broker()
            let lines = (0..<5_000).map { "\($0)" }
            _ = try pass(lines.reversed(), through: "sort", "-n", broker: broker)
            #expect(try result(broker).lines == lines)
        }

        @Test("one that ends early ends in peace, and what came for it is told")
        func head() throws {
            let broker = try Broker()
            // The pipe of the system does not hold two of them.
            let lines = (0..<9).map { String(repeating: "x", count: 60_000) + "\($0)" }
            let piped = try pass(lines, [], through: "head", "-n", "1", broker: broker)
            #expect(piped.errors.contains("the command took no more"))
            #expect(try result(broker).lines == Array(lines.prefix(1)))
            let few = try pass(["a", "b", "c"], [], through: "head", "-n", "2", broker: broker)
            #expect(few.code == 0)
        }

        @Test("one that reads nothing ends though nothing comes", arguments: ["true", "false"])
        func readsNothing(command: String) throws {
            let broker = try Broker()
            let piped = try broker.run("pipe", "quiet", "b", "--", command)
            #expect(piped.code == (command == "true" ? 0 : 9))
            #expect(piped.errors.isEmpty == (command == "true"))
            #expect(piped.errors.contains("ended with status 1") == (command == "false"))
        }

        @Test("one that fails is told of, and what it wrote is published")
        func fails() throws {
            let broker = try Broker()
            let line = "cat; echo its own words >&2; kill -KILL $$"
            let words = ["1", "2"]
            let piped = try pass(words, through: "sh", "-c", line, broker: broker, expecting: 9)
            #expect(piped.errors.contains("its own words\n"))
            #expect(piped.errors.contains("error: the command ended with signal 9\nhint: "))
            #expect(try result(broker).lines == ["1", "2"])
        }

        @Test("one that cannot be run is an error that says so")
        func absent() throws {
            let broker = try Broker()
            let piped = try broker.run("pipe", "a", "b", "--", "no-such-command", "x")
            #expect(piped.code == 9)
            #expect(piped.errors.contains("cannot run 'no-such-command x': No such file"))
        }

        @Test("one may write more than it reads, as far as it is asked for")
        func writesMore() throws {
            let broker = try Broker()
            let script = "{ for (n = 0; n < 1000; n++) print $0 }"
            _ = try pass(["1", "2", "3"], through: "awk", script, broker: broker)
            #expect(try result(broker).lines.count == 3_000)
            // More than the topic holds: it goes on as consumers take it.
            let line = "yes | head -n 30000"
            let piping = try broker.start(["pipe", "quiet", "b", "--", "sh", "-c", line])
            try eventually("the topic is full") { try broker.topic("b").bufferedEvents > 7_000 }
            let taken = try broker.run("sub", "b", "--count", "30000")
            #expect(taken.lines == Array(repeating: "y", count: 30_000))
            #expect(piping.wait().code == 0)
        }

        @Test("nothing moves until somebody asks, and then what is asked", arguments: [1, 2])
        func demand(most: Int) throws {
            let broker = try Broker()
            for topic in ["a", "b"] { try broker.run("topic", "create", topic, "--buffer", "0") }
            let input = (1...50).map { "\($0)\n" }.joined()
            let publishing = try broker.start(["pub", "a"], input: Array(input.utf8))
            let options = ["--fresh", "--max-demand", "\(most)", "--count", "50"]
            let piping = try broker.start(["pipe", "a", "b"] + options + ["--", "cat"])
            try eventually("all are there") {
                try broker.topic("a").producers == 1 && broker.topic("a").consumers == 1
                    && broker.topic("b").producers == 1
            }
            try eventually("the backlog is announced") {
                try broker.run("producer", "ls", "a").text.contains(#""available":50"#)
            }
            #expect(try broker.topic("a").head == 0)
            let seven = try broker.run("demand", "b", "7", "--format", "%s\\n")
            #expect(seven.lines == (1...7).map { "\($0)" })
            #expect(try broker.topic("a").head == 7)
            #expect(try broker.run("demand", "b", "43").text.hasSuffix("50\n"))
            #expect(publishing.wait().code == 0)
            #expect(piping.wait().code == 0)
        }

        @Test("a stalled command stops the demand, and a second signal ends at once")
        func stalled() throws {
            let broker = try Broker()
            try broker.run("topic", "create", "a", "--buffer", "0")
            let line = String(repeating: "x", count: 1_023) + "\n"
            let input = Array(String(repeating: line, count: 1_000).utf8)
            let publishing = try broker.start(["pub", "a"], input: input)
            let words = ["pipe", "a", "b", "--max-demand", "10", "--", "sleep", "1000"]
            let piping = try broker.start(words)
            try eventually("the pipe is full and all demand is used") {
                let account = try broker.run("consumer", "ls", "a").text
                return try broker.topic("a").head >= 64 && account.contains(#""credit":0,"#)
            }
            // A pipe holds 64 KiB; one batch is being written and one waits behind it.
            #expect(try broker.topic("a").head <= 64 + 20)
            #expect(try broker.topic("b").head == 0)
            piping.signal(SIGTERM)
            try eventually("it asks no more") { try broker.topic("a").consumers == 0 }
            #expect(piping.process.isRunning)
            piping.signal(SIGTERM)
            #expect(piping.wait().code == 143)
            publishing.signal(SIGKILL)
            #expect(publishing.wait().code == 137)
        }

        @Test("a signal ends the input, and the rest is published", arguments: [SIGINT, SIGTERM])
        func signal(number: Int32) throws {
            let broker = try Broker()
            try broker.run("pub", "a", input: "3\n1\n2\n")
            let piping = try broker.start(["pipe", "a", "b", "--", "sort"])
            try eventually("all are taken") {
                try broker.run("consumer", "ls", "a").text.contains(#""delivered":3,"#)
            }
            piping.signal(number)
            #expect(piping.wait().code == 128 + number)
            #expect(try result(broker).lines == ["1", "2", "3"])
        }

        @Test("it ends after so many, and leaves the rest")
        func count() throws {
            let broker = try Broker()
            _ = try pass(["1", "2", "3"], ["--count", "2"], through: "cat", broker: broker)
            #expect(try result(broker).lines == ["1", "2"])
            #expect(try broker.run("sub", "a", "--exit-at-end").lines == ["3"])
        }

        @Test("NUL cuts both sides, and a format what the command reads")
        func separators() throws {
            let broker = try Broker()
            try broker.run("pub", "a", "--each", "nul", input: "b\nc\0a\n")
            _ = try pass([], ["--exit-at-end", "--each", "nul"], through: "cat", broker: broker)
            #expect(try result(broker, "--format", #"%s\0"#).text == "b\nc\0a\n\0")
            let options = ["--exit-at-end", "--format", "%o:%s\\n", "--each", "eof"]
            _ = try pass(["x", "y"], options, through: "tac", broker: broker)
            #expect(try result(broker).text == "3:y\n2:x\n\n")
        }

        @Test("a fresh command has an event, bytes of every value, and answers with its key")
        func fresh() throws {
            let broker = try Broker()
            let bytes = (0..<70_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
            let event = ["pub", "a", "--each", "eof", "--key", "k", "-H", "n:1"]
            #expect(try broker.start(event, input: bytes).wait().code == 0)
            let line = #"cat; printf "$EVENT_TOPIC $EVENT_OFFSET $EVENT_KEY""#
            let options = ["--exit-at-end", "--fresh"]
            _ = try pass(["x"], options, through: "sh", "-c", line, broker: broker)
            let came = try result(broker, "--format", "%k %h %s|")
            #expect(came.output == Array("k n=1 ".utf8) + bytes + Array("a 0 k|  xa 1 |".utf8))
        }

        @Test("a fresh command may answer by lines, and stops where it fails")
        func freshLines() throws {
            let broker = try Broker()
            let line = #"seq $(cat); [ $EVENT_OFFSET != 2 ]"#
            let options = ["--fresh", "--each", "line"]
            let piped = try pass(
                ["2", "0", "1", "3"],
                options,
                through: "sh",
                "-c",
                line,
                broker: broker,
                expecting: 9
            )
            #expect(piped.errors.contains("ended with status 1 at offset 2"))
            #expect(try result(broker).lines == ["1", "2"])
            #expect(try broker.run("sub", "a", "--exit-at-end").lines == ["3"])
        }

        @Test("a topic that is not there is an error, whichever it is", arguments: ["a", "b"])
        func notFound(there: String) throws {
            let broker = try Broker(["--no-auto-create"])
            try broker.run("topic", "create", there)
            for command in [["cat"], ["sh", "-c", "cat; sleep 1000"]] where there == "a" {
                let piped = try broker.start(["pipe", "a", "b", "--"] + command).wait()
                #expect(piped.code == 5, "\(piped.errors)")
                #expect(piped.errors.contains("NOT_FOUND"))
            }
            guard there == "b" else { return }
            let piped = try broker.run("pipe", "a", "b", "--", "cat")
            #expect(piped.code == 5, "\(piped.errors)")
        }

        @Test(
            "what cannot be is wrong usage",
            arguments: [
                [], ["--"], ["--max-demand", "0", "--", "cat"], ["--count", "0", "--", "cat"],
                ["--each", "file", "--", "cat"], ["--format", "%x", "--", "cat"],
            ]
        )
        func usage(words: [String]) throws {
            let outcome = try Running(Place.sluice(), ["pipe", "a", "b"] + words).wait()
            #expect(outcome.code == 64)
            #expect(outcome.errors.hasPrefix("error: "))
        }
    }
}
