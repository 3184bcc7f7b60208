import Foundation
import Testing

/// Both programs, made anew where a line of theirs or a message changed.
private struct Programs {
    /// Go, what makes its side of the messages, and grpc-go as source.
    static let canBeMade = [
        "/usr/bin/go", "/usr/bin/gofmt", "/usr/bin/protoc", "/usr/bin/protoc-gen-go",
        "/usr/bin/protoc-gen-go-grpc", "/usr/share/gocode/src/google.golang.org/grpc",
        "/usr/share/gocode/src/google.golang.org/protobuf",
    ].allSatisfy { FileManager.default.isReadableFile(atPath: $0) }

    private let folder = Place.root.appending(path: ".build-peers/go").path

    init() throws {
        // What comes of grpc-go is kept too: it takes most of the time. No C compiler is asked
        // for, as there need not be one.
        let line = """
            set -eu; mkdir -p "$go/src"; cd \(Place.root.path)
            protoc -I Protocol --go_out="$go/src" --go-grpc_out="$go/src" \
                --go_opt=Msluice.proto=sluice/sluicepb \
                --go-grpc_opt=Msluice.proto=sluice/sluicepb sluice.proto
            export GO111MODULE=off GOPATH="$go:/usr/share/gocode" GOCACHE="$go/cache" GOFLAGS=
            CGO_ENABLED=0 go build -o "$go/" ./Examples/grpc-go/publish ./Examples/grpc-go/subscribe
            """
        let outcome = try Running("/bin/bash", ["-c", line], environment: ["go": folder])
            .wait(atMost: 200)
        try #require(outcome.code == 0, "\(outcome.text)\(outcome.errors)")
    }

    func start(_ words: String..., input: String = "") throws -> Running {
        try Running(
            "\(folder)/\(words[0])",
            Array(words.dropFirst()),
            input: Array(input.utf8)
        )
    }
}

extension SystemTests {
    /// The real binary, asked by grpc-go: an implementation that shares nothing with grpcio.
    @Suite(
        "gRPC in Go",
        .enabled(if: Programs.canBeMade, "Examples/grpc-go/README.md names Debian's packages")
    )
    struct GRPCGoTests {
        @Test(
            "the examples publish and subscribe, more than the topic takes ahead",
            .timeLimit(.minutes(5)),
            arguments: Broker.shardCounts
        )
        func examples(shards: Int) throws {
            let programs = try Programs()
            let broker = try Broker.withHTTP(shards: shards)
            let server = try #require(broker.http)
            let lines = (0..<30_000).map { "line \($0)" }
            let text = lines.map { $0 + "\n" }.joined()
            // 10,000 are granted ahead, so the last is sent because it was asked for.
            let reader = try programs.start("subscribe", server, "t", "24000")
            let writer = try programs.start("publish", server, "t", input: text)
            let read = reader.wait()
            #expect(read.code == 0, "\(read.errors)")
            #expect(read.lines == (0..<24_000).map { "\($0) \(lines[$0])" })
            let written = writer.wait()
            #expect(written.code == 0, "\(written.errors)")
            #expect(written.lines == ["30000 events taken"])
            let topic = try broker.topic("t")
            #expect(topic.head == 30_000 && topic.bufferedEvents == 6000)
        }

        @Test("gofmt has nothing to change", .timeLimit(.minutes(1)))
        func format() throws {
            let examples = Place.root.appending(path: "Examples/grpc-go").path
            let outcome = try Running("/usr/bin/gofmt", ["-l", examples]).wait()
            #expect(outcome.code == 0 && outcome.lines == [], "\(outcome.errors)")
        }

        @Test("the examples say why a call failed", .timeLimit(.minutes(5)))
        func refusals() throws {
            let programs = try Programs()
            let broker = try Broker.withHTTP(shards: 1)
            let server = try #require(broker.http)
            let calls = [
                try programs.start("publish", server, "two words", input: "hello\n"),
                try programs.start("subscribe", server, "two words", "1"),
            ]
            for call in calls {
                let outcome = call.wait()
                #expect(outcome.code == 1 && outcome.output.isEmpty, "\(outcome.text)")
                #expect(outcome.errors.contains("InvalidArgument"), "\(outcome.errors)")
                #expect(outcome.errors.contains("no spaces"), "\(outcome.errors)")
            }
            let nothing = try programs.start("publish", server, "t").wait()
            #expect(nothing.code == 0 && nothing.lines == ["0 events taken"])
        }
    }
}
