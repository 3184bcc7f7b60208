import Glibc
import Sluice
import Testing

extension SystemTests {
    @Suite("The end of a stream on the command line", .timeLimit(.minutes(1)))
    struct EndTests {
        @Test(
            "what says its end is read to its end, which is told",
            arguments: Broker.shardCounts
        )
        func readToEnd(shards: Int) throws {
            let broker = try Broker(shards: shards)
            let reader = try broker.start(["sub", "t", "--until-end"])
            let sent = try broker.run("pub", "t", "--end", input: "one\ntwo\n")
            #expect(sent.code == 0, "\(sent.errors)")
            let came = reader.wait()
            #expect(came.code == 0, "\(came.errors)")
            #expect(came.lines == ["one", "two"])
            #expect(
                came.errors == "end of t before offset 2: its producers have nothing more\n"
            )
        }

        @Test("an end that was said before ends too, without an event")
        func late() throws {
            let broker = try Broker()
            #expect(try broker.run("pub", "t", "--end", input: "").code == 0)
            let came = try broker.run("sub", "t", "--until-end", "-o", "json", "--quiet")
            #expect(came.code == 0, "\(came.errors)")
            #expect(came.text == "[]\n")
            #expect(came.errors.isEmpty)
        }

        @Test("an end that comes before enough events leaves the rest missing")
        func count() throws {
            let broker = try Broker()
            try broker.run("pub", "t", "--end", input: "one\ntwo\n")
            let enough = try broker.run("sub", "t", "--until-end", "--group", "g", "-n", "1")
            #expect(enough.code == 0, "\(enough.errors)")
            #expect(enough.lines == ["one"])
            let came = try broker.run("sub", "t", "--until-end", "--group", "g", "-n", "5")
            #expect(came.code == 8)
            #expect(came.lines == ["two"])
            #expect(came.errors.contains("1 of 5 events came"))
        }

        @Test(
            "a pipe passes the end on, behind what the command makes of its input",
            arguments: ["--until-end", "--exit-at-end"]
        )
        func pipe(option: String) throws {
            let broker = try Broker()
            try broker.run("pub", "a", "--end", input: "3\n1\n2\n")
            let piped = try broker.run("pipe", "a", "b", option, "--", "sort", "-n")
            #expect(piped.code == 0, "\(piped.errors)")
            let came = try broker.run("sub", "b", "--until-end")
            #expect(came.code == 0, "\(came.errors)")
            #expect(came.lines == ["1", "2", "3"])
        }

        @Test("a fresh command passes it on in its place, and goes on")
        func fresh() throws {
            let broker = try Broker()
            let piped = try broker.start(["pipe", "a", "b", "--fresh", "--", "cat"])
            try broker.run("pub", "a", "--end", input: "1\n2\n")
            #expect(try broker.run("sub", "b", "--until-end").lines == ["1", "2"])
            try broker.run("pub", "a", "--end", input: "3\n")
            #expect(try broker.run("sub", "b", "--until-end").lines == ["3"])
            piped.signal(SIGINT)
            #expect(piped.wait().code == 130)
        }

        @Test("a fresh command passes on markers in their place")
        func markers() async throws {
            let broker = try Broker()
            let piped = try broker.start(["pipe", "a", "b", "--fresh", "--", "cat"])
            let client = SluiceClient(
                configuration: ClientConfiguration(servers: [broker.address])
            )
            let producer = client.producer(for: "a")
            try await producer.send("1")
            try await producer.mark("half")
            try await producer.send("2")
            try await producer.end()
            try await producer.close()
            var options = SubscriptionOptions(start: .first)
            options.stopsAtEnd = true
            var story: [String] = []
            for try await batch in client.subscribe(to: "b", options: options) {
                story += batch.marks.map { "\($0.kind) at \($0.offset)" }
                story += batch.map(\.payloadString)
            }
            #expect(story == ["1", #"marker("half") at 1"#, "2", "end at 2"])
            await client.close()
            piped.signal(SIGINT)
            #expect(piped.wait().code == 130)
        }

        @Test("a command that fails has no end")
        func fails() throws {
            let broker = try Broker()
            try broker.run("pub", "a", "--end", input: "1\n")
            let line = "cat; exit 1"
            let piped = try broker.run("pipe", "a", "b", "--until-end", "--", "sh", "-c", line)
            #expect(piped.code == 9)
            let came = try broker.run("sub", "b", "--exit-at-end")
            #expect(came.lines == ["1"])
            #expect(came.errors.isEmpty)
        }

        @Test(
            "two ways to end exclude each other",
            arguments: [["sub", "a"], ["pipe", "a", "b", "--", "cat"]]
        )
        func usage(words: [String]) throws {
            let ends = [words[0], "--until-end", "--exit-at-end"]
            let outcome = try Running(Place.sluice(), ends + words.dropFirst()).wait()
            #expect(outcome.code == 64)
            #expect(outcome.errors.contains("exclude each other"))
        }
    }
}
