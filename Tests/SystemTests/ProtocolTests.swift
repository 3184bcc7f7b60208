import Foundation
import Testing

extension SystemTests {
    /// The protocol's own runner against the real binary: what a foreign broker is judged by.
    @Suite("The conversations")
    struct ProtocolTests {
        @Test(
            "are had as they are written, each with a new broker",
            .timeLimit(.minutes(2)),
            arguments: Broker.shardCounts
        )
        func everyConversation(shards: Int) throws {
            let script = Place.root.appending(path: "Protocol/runner/run.py").path
            let server =
                "\(try Place.sluice()) serve --listen 127.0.0.1:{port} --http none"
                + " --shards \(shards)"
            let outcome = try Running("/usr/bin/python3", [script, "--start", server])
                .wait(atMost: 100)
            let misses = outcome.lines.filter { !$0.hasPrefix("ok ") }.joined(separator: "\n")
            #expect(outcome.code == 0, "\(misses)\n\(outcome.errors)")
            #expect(outcome.lines.count >= 57)
        }
    }
}
