import Logging
import Sluice
import SluiceDoor
import SluiceEngine
import SluiceWire
import Testing

@Suite("Words and numbers of the command line")
struct WordsTests {
    @Test(
        "times are read and written as people write them",
        arguments: [
            ("500ms", 0.5, "500ms"), ("5s", 5, "5s"), ("2m", 120, "2m"), ("90", 90, "90s"),
            ("1.5s", 1.5, "1.5s"), ("3h", 10_800, "3h"), ("0", 0, "0s"), ("20us", 20e-6, "20us"),
        ] as [(String, Double, String)]
    )
    func times(text: String, seconds: Double, written: String) throws {
        let span = try #require(TimeSpan(argument: text))
        #expect(abs(span.seconds - seconds) < 1e-9)
        #expect(span.text == written)
    }

    @Test(
        "what is no time, number or size is refused",
        arguments: ["", "x", "5 s", "-1s", "5y", "s"]
    )
    func refused(text: String) {
        #expect(TimeSpan(argument: text) == nil)
        #expect(EventCount(argument: text) == nil)
        #expect(ByteCount(argument: text) == nil)
    }

    @Test("options of groups are read as people write them")
    func groups() {
        #expect(DispatcherArgument(argument: "exclusive")?.kind == .exclusive)
        #expect(DispatcherArgument(argument: "partition:8")?.partitions == 8)
        for text in ["partition", "partition:0", "partition:1025", "partition:x", "fair:2", "any"] {
            #expect(DispatcherArgument(argument: text) == nil, "\(text)")
        }
        #expect(LagArgument(argument: "drop-oldest:1000")?.lag == .dropOldest(events: 1_000))
        #expect(LagArgument(argument: "block") != nil)
        for text in ["drop-oldest", "drop-oldest:0", "block:5", "detach:", "drop:1", ""] {
            #expect(LagArgument(argument: text) == nil, "\(text)")
        }
        #expect(ClaimArgument(argument: "0,3")?.partitions == [0, 3])
        #expect(ClaimArgument(argument: "0,,3") == nil)
    }

    @Test("numbers and sizes have units")
    func units() {
        #expect(EventCount(argument: "10k")?.value == 10_000)
        #expect(EventCount(argument: "2M")?.value == 2_000_000)
        #expect(EventCount(argument: "1_000")?.value == 1_000)
        #expect(EventCount(argument: "1.5") == nil)
        #expect(ByteCount(argument: "64MiB")?.value == 64 << 20)
        #expect(ByteCount(argument: "64k")?.value == 65_536)
        #expect(ByteCount(65_536).text == "64KiB")
        #expect(ByteCount(1_000).text == "1000B")
        #expect(1_234_567.grouped == "1,234,567")
        #expect((-1_234).grouped == "-1,234")
        #expect(3.14159.text(decimals: 2) == "3.14")
    }

    @Test("the splitter finds the same pieces however the bytes come", arguments: 1...9)
    func splitter(chunk: Int) {
        let bytes = Array("one\ntwo\n\nthree\nrest".utf8)
        var splitter = Splitter(separator: UInt8(ascii: "\n"))
        var pieces: [String] = []
        var next = 0
        while next < bytes.count {
            splitter.feed(Array(bytes[next..<min(next + chunk, bytes.count)]))
            next += chunk
            while let range = splitter.next() {
                pieces.append(String(decoding: splitter.buffer[range], as: UTF8.self))
            }
        }
        if let range = splitter.rest() {
            pieces.append(String(decoding: splitter.buffer[range], as: UTF8.self))
        }
        #expect(pieces == ["one", "two", "", "three", "rest"])
        #expect(splitter.rest() == nil)
    }

    @Test("a format is text and tokens")
    func format() throws {
        let parts = try EventFormat(#"%t:%o\t%k=%s %h%n%%"#).parts
        #expect(
            parts == [
                .topic, .text(Array(":".utf8)), .offset, .text(Array("\t".utf8)), .key,
                .text(Array("=".utf8)), .payload, .text(Array(" ".utf8)), .headers,
                .text(Array("\n%".utf8)),
            ]
        )
        #expect(throws: Failure.self) { try EventFormat("%z") }
        #expect(throws: Failure.self) { try EventFormat("%") }
        #expect(throws: Failure.self) { try EventFormat(#"\q"#) }
    }

    @Test("points in time are in UTC")
    func utc() {
        #expect(UTC.text(microseconds: 1_700_000_000_000_042) == "2023-11-14T22:13:20.000042Z")
        #expect(UTC.timeOfDay(microseconds: 1_700_000_000_123_456) == "22:13:20.123")
    }

    @Test("JSON strings escape what JSON wants escaped")
    func json() {
        var text: [UInt8] = []
        JSONText.append("a\"b\\c\n\u{1}\u{7F}é", to: &text)
        #expect(String(decoding: text, as: UTF8.self) == #""a\"b\\c\n\u0001\u007fé""#)
    }

    @Test("columns are as wide as their widest text")
    func table() {
        var table = Table([("NAME", .left), ("N", .right), ("LAST", .left)])
        table.add(["a", "1,000", "x"])
        table.add(["longer", "7", "yz"])
        #expect(
            table.lines == [
                "NAME        N  LAST",
                "a       1,000  x",
                "longer      7  yz",
            ]
        )
    }

    @Test("flags of every verb may stand first, and twins stand before what was typed")
    func arrange() throws {
        let none: [String: String] = [:]
        #expect(
            try Arguments.arrange(
                ["-s", "a", "-q", "topic", "ls", "-o", "json"],
                environment: none
            )
                == ["topic", "ls", "-s", "a", "-q", "-o", "json"]
        )
        let twins = ["SLUICE_MAX_DEMAND": "7", "SLUICE_EXIT_AT_END": "1", "SLUICE_COUNT": ""]
        let words = try Arguments.arrange(["sub", "t", "--count", "3"], environment: twins)
        #expect(Set(words.dropFirst().dropLast(3)) == ["--max-demand=7", "--exit-at-end"])
        #expect(words.first == "sub")
        #expect(words.suffix(3) == ["t", "--count", "3"])
        let typed = try Arguments.arrange(["sub", "t", "--max-demand", "9"], environment: twins)
        #expect(!typed.contains("--max-demand=7"))
        #expect(throws: Failure.self) {
            try Arguments.arrange(["sub", "t"], environment: ["SLUICE_EXIT_AT_END": "maybe"])
        }
        // The broker reads its environment as a layer of its own.
        #expect(try Arguments.arrange(["serve"], environment: ["SLUICE_BUFFER": "1"]) == ["serve"])
    }

    @Test(
        "close codes have exit codes",
        arguments: [
            (32, .auth), (33, .auth), (34, .notFound), (5, .notFound), (38, .conflict),
            (35, .refused), (36, .refused), (39, .refused), (3, .unreachable), (48, .error),
        ] as [(UInt16, Failure.Exit)]
    )
    func exits(code: UInt16, exit: Failure.Exit) {
        let error = ClientError(.refused, "no", closeCode: code)
        #expect(Failure(error, server: "here").exit == exit)
    }

    @Test("a log line has its fields, in each style")
    func logLines() {
        let fields = [("peer", "a b"), ("n", "1")]
        func line(_ style: LineLog.Style) -> String {
            LineLog(style: style, logLevel: .info)
                .line(level: .warning, message: "it \"is\"", fields: fields, time: 0)
        }
        #expect(
            line(.logfmt)
                == #"time=1970-01-01T00:00:00.000000Z level=warning message="it \"is\"""#
                + #" peer="a b" n=1"#
        )
        #expect(
            line(.json)
                == #"{"time":"1970-01-01T00:00:00.000000Z","level":"warning","#
                + #""message":"it \"is\"","peer":"a b","n":"1"}"#
        )
        #expect(
            line(.text(isColoured: false))
                == #"00:00:00.000 warning it "is" peer="a b" n=1"#
        )
    }
}

@Suite("The diagnosis of a topic")
struct DiagnosisTests {
    private func topic(_ change: (inout Snapshot.Topic) -> Void = { _ in }) -> Snapshot.Topic {
        var topic = Snapshot.Topic(topic: "t")
        topic.capacity = 100
        topic.ahead = 100
        topic.bufferBytes = 1_000
        topic.onFull = "block"
        change(&topic)
        return topic
    }

    private func group(waiting: UInt64 = 0, members: Int = 1, credit: UInt64 = 0) -> Snapshot.Group
    {
        var group = Snapshot.Group(group: "")
        group.waiting = waiting
        group.members = members
        group.credit = credit
        return group
    }

    private func link(
        _ role: String,
        credit: UInt64 = 0,
        available: UInt64? = nil,
        blockedBy: String = "nothing"
    ) -> Snapshot.Link {
        var link = Snapshot.Link(connection: 1, link: 1, topic: "t", role: role)
        link.group = role == "consumer" ? "" : nil
        link.credit = credit
        link.available = available
        link.blockedBy = blockedBy
        return link
    }

    private func codes(
        _ topic: Snapshot.Topic,
        _ links: [Snapshot.Link]
    ) -> [Diagnosis.Finding.Code] {
        Diagnosis(topic, links: links).findings.map(\.code)
    }

    @Test("asked for and deliverable is flowing")
    func flowing() {
        var group = group(waiting: 5, credit: 5)
        group.deliverable = 5
        let topic = topic {
            $0.bufferedEvents = 5
            $0.groups = [group]
        }
        let diagnosis = Diagnosis(topic, links: [link("consumer", credit: 5)])
        #expect(diagnosis.isFlowing)
        #expect(diagnosis.headline == "t flows: nothing holds it")
    }

    @Test("credit without delivery is a consumer that does not read, or too few bytes")
    func stuck() {
        let topic = topic {
            $0.bufferedEvents = 5
            $0.groups = [group(waiting: 5, credit: 9)]
        }
        #expect(codes(topic, [link("consumer", credit: 9, blockedBy: "window")]) == [.notReading])
        #expect(codes(topic, [link("consumer", credit: 9, blockedBy: "bytes")]) == [.byteBlocked])
    }

    @Test("bytes may fill a buffer before events do")
    func fullOfBytes() {
        let topic = topic {
            $0.bufferedEvents = 5
            $0.retainedBytes = 1_000
            $0.producers = 1
            $0.groups = [group(waiting: 5, members: 1)]
        }
        let links = [link("consumer"), link("producer", available: 3)]
        #expect(codes(topic, links) == [.noDemand, .byteBlocked])
    }

    @Test("granted producers that send nothing are named")
    func noEvents() {
        let topic = topic {
            $0.producers = 1
            $0.consumers = 1
            $0.grantedEvents = 9
            $0.idleMilliseconds = 4_000
            $0.groups = [group(credit: 9)]
        }
        let links = [link("consumer", credit: 9), link("producer", credit: 9)]
        let diagnosis = Diagnosis(topic, links: links)
        #expect(diagnosis.findings.map(\.code) == [.noEvents])
        #expect(diagnosis.findings.first?.text.contains("for 4s") == true)
    }

    @Test("nothing waits and nobody asks")
    func idle() {
        let topic = topic {
            $0.producers = 1
            $0.consumers = 1
            $0.grantedEvents = 4
            $0.groups = [group()]
        }
        #expect(codes(topic, [link("consumer"), link("producer", credit: 4)]) == [.noDemand])
    }
}
