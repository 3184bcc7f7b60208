import Foundation
import SluiceTestKit
import Testing

extension SystemTests {
    @Suite("The document of the HTTP face")
    struct SchemaTests {
        @Test(
            "schemathesis finds nothing that the broker does otherwise",
            .enabled(if: Place.peer("schemathesis") != nil, "make peers installs it"),
            .timeLimit(.minutes(6))
        )
        func judged() throws {
            var random = SeededGenerator.replayable("schemathesis")
            let seed = random.next() % 1_000_000
            let broker = try Broker.withHTTP(shards: 1)
            let folder = Place.root.appending(path: "Tests/Peers").path
            let judge = try #require(Place.peer("schemathesis"))
            let line =
                "cd \(folder) && \(judge) --config-file schemathesis.toml run --seed \(seed) "
                + "--max-examples 8 --url \(try broker.url) ../../Protocol/openapi.yaml"
            let outcome = try broker.startShell(line).wait(atMost: 300)
            #expect(outcome.code == 0, "seed \(seed):\n\(outcome.text)\(outcome.errors)")
            #expect(broker.running.process.isRunning)
        }
    }
}
