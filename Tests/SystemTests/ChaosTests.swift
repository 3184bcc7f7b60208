import Foundation
import SluiceTestKit
import Testing

extension SystemTests {
    /// Both clients behind a network that cuts, stalls and splits; `make chaos` goes on for longer.
    @Suite("Chaos")
    struct ChaosTests {
        @Test(
            "what is stored, delivered and announced adds up, however badly the network behaves",
            .timeLimit(.minutes(4)),
            arguments: Broker.shardCounts
        )
        func adds(shards: Int) throws {
            var random = SeededGenerator.replayable("chaos")
            let script = Place.root.appending(path: "Tests/Chaos/chaos.py").path
            let words = [
                script, try Place.sluice(), "--seconds", "6", "--shards", "\(shards)", "--seed",
                "\(random.next() % 1_000_000)",
            ]
            let outcome = try Running("/usr/bin/env", ["python3"] + words).wait(atMost: 200)
            #expect(outcome.code == 0, "\(outcome.text)\(outcome.errors)")
        }
    }
}
