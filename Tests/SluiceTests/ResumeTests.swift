import Sluice
import SluiceEngine
import SluiceNet
import SluiceServer
import Testing

@Suite("A connection that is cut", .timeLimit(.minutes(5)))
struct ResumeTests {
    @Test("a producer loses nothing and doubles nothing")
    func producer() async throws {
        try await Broker.withProxy { client, far, proxy in
            let producer = far.producer(for: "t")
            let sender = Task {
                for start in stride(from: 0, to: 20_000, by: 100) {
                    try await producer.send(contentsOf: numbered(start..<(start + 100)))
                    if start % 2_000 == 1_000 { await proxy.cut() }
                }
                try await producer.flush()
            }
            var received: [Int] = []
            let subscription = client.subscribe(to: "t")
            for try await batch in subscription {
                received += batch.map(number)
                if received.count >= 20_000 { break }
            }
            try await sender.value
            #expect(received == Array(0..<20_000))
            let counts = producer.counts
            #expect(counts.confirmed == 20_000)
            #expect(counts.resumed > 0)
            await far.close()
            let left = try await client.inspect("$sys/peek/t")
            #expect(left.isEmpty, "nothing was stored twice")
        }
    }

    @Test("a consumer is told of every event that was cut")
    func consumer() async throws {
        try await Broker.withProxy { client, far, proxy in
            let producer = client.producer(for: "t")
            let total = 50_000
            let sender = Task {
                try await producer.send(contentsOf: numbered(0..<total))
                try await producer.flush()
            }
            let subscription = far.subscribe(to: "t")
            var seen = Set<Int>()
            var missing = Set<Int>()
            proxy.cut(afterBytes: 40_001)
            for try await batch in subscription {
                for gap in batch.gaps {
                    #expect(gap.reason == .cut)
                    #expect(gap.count == UInt64(gap.offsets.count))
                    for offset in gap.offsets { missing.insert(Int(offset)) }
                    proxy.cut(afterBytes: 40_001)
                }
                for event in batch {
                    let isNew = seen.insert(number(event)).inserted
                    #expect(isNew, "an event came twice")
                }
                if seen.count + missing.count == total { break }
            }
            try await sender.value
            #expect(seen.isDisjoint(with: missing))
            #expect(seen.union(missing).count == total)
            #expect(subscription.counts.resumed > 0)
        }
    }

    @Test("a session that the broker has forgotten begins anew")
    func forgotten() async throws {
        try await Broker.withProxy(Broker.forgetful) { client, far, proxy in
            let subscription = far.subscribe(to: "t", options: SubscriptionOptions(group: "g"))
            let producer = client.producer(for: "t")
            var iterator = subscription.makeAsyncIterator()
            try await producer.send("a")
            #expect(try await iterator.next()?.map(\.payloadString) == ["a"])
            await proxy.cut()
            // An answer can only come over the connection that took the place of the cut one.
            while (try? await far.ping()) == nil {}
            try await producer.send("b")
            #expect(try await iterator.next()?.map(\.payloadString) == ["b"])
            let counts = subscription.counts
            #expect(counts.delivered == 2, "what was counted before counts on")
            #expect(counts.asked == counts.delivered + counts.forfeited + counts.credit)
            #expect(counts.credit <= 1_000)
        }
    }
}
