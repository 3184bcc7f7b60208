import Foundation
import Glibc
import Testing

extension SystemTests {
    @Suite("A browser")
    struct BrowserTests {
        static let chromium = "/usr/bin/chromium"

        @Test(
            "a page reads a stream as Server-Sent Events, and speaks the protocol on a WebSocket",
            .enabled(if: access(chromium, X_OK) == 0, "Debian's chromium is the browser"),
            .enabled(if: Place.peer("python") != nil, "make peers installs what leads it"),
            .timeLimit(.minutes(2)),
            arguments: Broker.shardCounts
        )
        func page(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let script = Place.root.appending(path: "Tests/Peers/browser_checks.py").path
            let outcome = try Running(
                try #require(Place.peer("python")),
                [script, try #require(broker.http), Self.chromium],
                environment: ["PYTHONDONTWRITEBYTECODE": "1"]
            ).wait(atMost: 90)
            #expect(outcome.code == 0, "\(outcome.text)\(outcome.errors)")
        }
    }
}
