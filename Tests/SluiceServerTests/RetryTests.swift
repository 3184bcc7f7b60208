import SluiceCore
import SluiceServer
import SluiceTestKit
import Testing

/// When clients that are sent away together may come back.
@Suite struct RetryTests {
    /// What a broker with so many clients tells each of them when it stops.
    private func told(clients count: Int) throws -> [UInt64] {
        let bench = PeerBench()
        let clients = try (0..<count).map { _ in
            let client = bench.connect()
            try client.say("HELLO versions=1..1 name=t")
            return client
        }
        for client in clients { client.peer.sayGoingAway() }
        return try clients.map { client in
            client.peer.sayFarewell()
            client.run()
            let retries = client.take().compactMap { $0["retry"] }
            #expect(retries.count == 2 && retries[0] == retries[1], "both words say the same")
            return try #require(retries.first)
        }
    }

    @Test("300 clients are told times that lie evenly in a second")
    func spread() throws {
        let retries = try told(clients: 300)
        #expect(retries.allSatisfy { (1_000..<2_000).contains($0) })
        // 300 in 100 stretches of 10 ms are 3 in each.
        var counts = [Int](repeating: 0, count: 100)
        for retry in retries { counts[Int(retry - 1_000) / 10] += 1 }
        #expect((counts.max() ?? 0) <= 5 && (counts.min() ?? 0) >= 1, "\(counts)")
    }

    @Test("More clients than may come back in a second are given as much more time")
    func manyClients() throws {
        let retries = try told(clients: 2_000)
        #expect((retries.max() ?? 0) > 2_900 && retries.allSatisfy { (1_000..<3_000).contains($0) })
        var counts = [Int](repeating: 0, count: 20)
        for retry in retries { counts[Int(retry - 1_000) / 100] += 1 }
        #expect(counts.allSatisfy { (85...115).contains($0) }, "\(counts)")
    }
}
