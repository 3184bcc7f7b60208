import Foundation
import Testing

extension SystemTests {
    /// The HTTP face of the real binary, asked with bytes that no library would send.
    @Suite("HTTP conformance")
    struct ConformanceTests {
        @Test(
            "whatever comes, right or wrong, gets what the RFCs of HTTP demand",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func everyCase(shards: Int) throws {
            let script = Place.root.appending(path: "Tests/Http/conformance.py").path
            // A server of the script's own: nothing else is told of it.
            let server = [
                try Place.sluice(), "serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
                "--ready-file", "{ready}", "--shards", "\(shards)",
            ]
            // Debian's own: it has the modules that `make setup` installs.
            let outcome = try Running("/usr/bin/python3", [script, "--"] + server).wait()
            let misses = outcome.lines.filter { !$0.hasPrefix("ok ") }.joined(separator: "\n")
            #expect(outcome.code == 0, "\(misses)\n\(outcome.errors)")
        }
    }
}
