import SluiceCore
import SluiceEngine
import SluiceTestKit
import SluiceWire
import Testing

@Suite("The memory of the whole broker")
struct MemoryTests {
    /// An engine alone that may count so many bytes.
    private func bench(most: Int) -> Bench {
        let memory = MemoryBudget(limit: (most + 3) / 4 * 5, base: 0, engines: 1)
        return Bench(place: Place(index: 0, of: 1, census: Census(memory: memory)))
    }

    private func server(_ bench: Bench) throws -> Snapshot.Server {
        try #require(try bench.documents("$sys/server", as: Snapshot.Server.self).first)
    }

    private func open(_ topic: String, from address: String, _ bench: Bench) -> Listener {
        let peer = Listener()
        let session = bench.engine.connect(name: "t", peerAddress: address, peer: peer)
        bench.openSource(session, 1, topic, available: 1_000_000)
        return peer
    }

    /// Makes a topic that counts for no address.
    private func create(_ topic: String, _ bench: Bench) throws {
        #expect(try bench.request("{\"op\": \"create-topic\", \"topic\": \"\(topic)\"}") == nil)
    }

    private func granted(_ peer: Listener) -> Int {
        peer.take().reduce(0) { sum, word in
            guard case .ask(_, let events, _) = word else { return sum }
            return sum + Int(events)
        }
    }

    @Test("A grant reserves its bytes, and more is granted when they turn out to be few")
    func reserving() throws {
        let bench = bench(most: 1_000_000)
        #expect(try bench.request(#"{"op": "create-topic", "topic": "t"}"#) == nil)
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "t", available: 100_000)
        let first = granted(peer)
        // Of each it was said that it may have 1,024 bytes, and 64 for its entry.
        #expect((300...1_000_000 * 15 / 16 / 1_088).contains(first))
        let full = try server(bench)
        let reserved = try #require(full.memoryReservedBytes)
        #expect(reserved == UInt64(first * 1_088))
        #expect(try #require(full.memoryUsedBytes) <= 1_000_000)
        #expect(full.memoryLimitBytes == 1_250_000 && full.memoryBudgetBytes == 1_000_000)
        try bench.publish(session, 1, first: 1, Array(repeating: "0123456789", count: first))
        // Small as they were, there is room for more.
        var all = first
        for _ in 0..<200 {
            let more = granted(peer)
            guard more > 0 else { break }
            try bench.publish(
                session,
                1,
                first: UInt64(all + 1),
                Array(repeating: "0123456789", count: more)
            )
            all += more
        }
        #expect(all > 5_000 && all < 10_001)
        let (listener, reader) = bench.connect()
        bench.openSink(reader, 1, "t", demand: 20_000)
        for _ in 0..<10 {
            bench.engine.wrote(reader, 1, bytes: listener.unwrittenBytes)
            listener.unwritten = []
            bench.pass(milliseconds: 100)
            bench.run()
        }
        #expect(bench.engine.memoryInUse < 20_000)
    }

    @Test("What ends gives all back, whatever it was")
    func ending() throws {
        let bench = bench(most: 4_000_000)
        let (_, session) = bench.connect()
        bench.openSink(session, 1, "t", group: "g", demand: 5)
        bench.openSource(session, 2, "t", available: 10)
        bench.openSink(session, 3, "$sys/topics")
        try bench.publish(session, 2, first: 1, ["a", "b"])
        #expect(bench.engine.memoryInUse > 6_000)
        bench.engine.close(session, 3)
        bench.engine.end(session)
        #expect(try bench.request(#"{"op": "remove-topic", "topic": "t"}"#) == nil)
        bench.run()
        #expect(bench.engine.memoryInUse == 0)
    }

    @Test("When all is used, an OPEN is refused with what to do, and one that looks is not")
    func refusing() throws {
        let bench = bench(most: 200_000)
        let (peer, session) = bench.connect()
        var link: UInt32 = 0
        var refusals: [CloseCode] = []
        while refusals.isEmpty, link < 1_000 {
            link += 1
            try create("t\(link)", bench)
            bench.openSink(session, link, "t\(link)")
            for case .refused(_, let code) in peer.take() { refusals.append(code) }
        }
        #expect(refusals == [.limit] && link > 20)
        // There may be more in a moment: the client is told when to look.
        let refusal = try #require(peer.lastRefusal)
        #expect(refusal.retryMilliseconds >= Limits.goingAwayRetryMilliseconds)
        #expect(bench.engine.memoryAdvice.contains("--memory-limit"))
        #expect(try #require(try server(bench).memoryUsedBytes) <= 220_000)
        bench.engine.close(session, 1)
        #expect(try bench.request(#"{"op": "remove-topic", "topic": "t1"}"#) == nil)
        bench.run()
        try create("t1", bench)
        bench.openSink(session, 5_000, "t1")
        #expect(peer.take().contains(.opened(5_000, resumed: false, asked: 0)))
    }

    @Test("Topics that lack memory are granted some in turn when it comes back")
    func turns() throws {
        let bench = bench(most: 400_000)
        for name in ["held", "t0", "t1", "t2", "t3", "t4"] { try create(name, bench) }
        let (holder, holding) = bench.connect()
        bench.openSource(holding, 1, "held", available: 1_000_000)
        #expect(granted(holder) > 100)
        let others = (0..<5).map { open("t\($0)", from: "192.0.2.2:\($0)", bench) }
        let before = others.map { granted($0) }
        bench.engine.end(holding)
        bench.run()
        for _ in 0..<10 {
            bench.pass(milliseconds: 100)
            bench.run()
        }
        let after = others.indices.map { before[$0] + granted(others[$0]) }
        #expect(after.allSatisfy { $0 > 0 })
        #expect(after.reduce(0, +) > before.reduce(0, +))
    }

    @Test("A marker for which there is no memory ends its producer's link")
    func markers() throws {
        let bench = bench(most: 100_000)
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "t")
        let text = [UInt8](repeating: 7, count: 1_000)
        for _ in 0..<200 {
            bench.engine.mark(session, 1, .marker(text), nextSequence: 1)
            bench.run()
        }
        #expect(peer.take().contains(.closed(1, .limit)))
        #expect(bench.engine.memoryInUse <= 100_000)
    }

    @Test("Topics that one address made take no more than half of what is left beyond half")
    func shares() throws {
        let bench = bench(most: 8_000_000)
        let attackers = (0..<10).map { open("a\($0)", from: "192.0.2.1:\($0)", bench) }
        let taken = attackers.reduce(0) { $0 + granted($1) }
        #expect((2_500...5_000).contains(taken))
        let good = open("good", from: "192.0.2.2:1", bench)
        #expect(granted(good) > 100)
    }

    @Test("OPENs of one address on topics that it made leave others half of what is left")
    func sharesOfOpens() {
        let bench = bench(most: 1_000_000)
        var refusals: [CloseCode] = []
        let greedy = Listener()
        let greed = bench.engine.connect(name: "t", peerAddress: "192.0.2.1:1", peer: greedy)
        for link in 1...500 where refusals.isEmpty {
            bench.openSink(greed, UInt32(link), "a\(link % 9)", group: "g\(link)")
            bench.run()
            for case .refused(_, let code) in greedy.take() { refusals.append(code) }
        }
        #expect(refusals == [.limit])
        #expect((250_000...600_000).contains(bench.engine.memoryInUse))
        let peer = Listener()
        let session = bench.engine.connect(name: "t", peerAddress: "192.0.2.2:1", peer: peer)
        bench.openSink(session, 1, "good")
        #expect(peer.take().contains(.opened(1, resumed: false, asked: 0)))
    }

    @Test("Grants that nobody announced a use for come back when others lack the memory")
    func unused() throws {
        let bench = bench(most: 120_000)
        let (idle, idling) = bench.connect()
        for link in 1...8 {
            try create("idle\(link)", bench)
            bench.openSource(idling, UInt32(link), "idle\(link)")
        }
        #expect(granted(idle) > 0)
        let busy = open("busy", from: "192.0.2.2:1", bench)
        _ = granted(busy)
        for _ in 0..<3 {
            bench.pass(milliseconds: 100)
            bench.run()
        }
        let isRecalled = idle.take().contains { word in
            guard case .ask(_, events: 0, let flags) = word else { return false }
            return AskFlags(rawValue: flags).contains(.stop)
        }
        #expect(isRecalled)
    }

    @Test("A setting beyond all memory is taken, and grants what there is")
    func settings() throws {
        let bench = bench(most: 500_000)
        let huge =
            #"{"op": "create-topic", "topic": "t", "buffer": 1000000000, "#
            + #""bufferBytes": 1099511627776}"#
        #expect(try bench.request(huge) == nil)
        let (peer, session) = bench.connect()
        bench.openSource(session, 1, "t", available: 1_000_000)
        #expect((200...500).contains(granted(peer)))
    }

    @Test("Engines that share a budget stay within it, and give all back", arguments: 0..<8)
    func engines(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let memory = MemoryBudget(limit: 5_000_000, base: 0, engines: 3)
        let census = Census(memory: memory)
        let benches = (0..<3).map { Bench(place: Place(index: $0, of: 3, census: census)) }
        let names = benches.indices.map { index in
            (0..<100).map { "t\($0)" }.filter { benches[0].engine.place.home(of: $0) == index }
                .prefix(4).map { $0 }
        }
        var sessions: [(index: Int, session: Session, peer: Listener, links: UInt32)] = []
        for _ in 0..<600 {
            let index = Int.random(in: 0..<3, using: &random)
            let bench = benches[index]
            switch Int.random(in: 0..<6, using: &random) {
            case 0:
                let address = "10.0.0.\(Int.random(in: 0..<3, using: &random)):1"
                let peer = Listener()
                let session = bench.engine.connect(name: "", peerAddress: address, peer: peer)
                sessions.append((index, session, peer, 0))
            case 1...4:
                guard let place = sessions.indices.randomElement(using: &random) else { continue }
                sessions[place].links += 1
                let bench = benches[sessions[place].index]
                let name = names[sessions[place].index].randomElement(using: &random)?.text ?? "t"
                if Bool.random(using: &random) {
                    bench.openSink(
                        sessions[place].session,
                        sessions[place].links,
                        name,
                        demand: UInt32.random(in: 0...5_000, using: &random)
                    )
                } else {
                    bench.openSource(
                        sessions[place].session,
                        sessions[place].links,
                        name,
                        available: UInt64.random(in: 0...5_000, using: &random)
                    )
                }
            default:
                guard let place = sessions.indices.randomElement(using: &random) else { continue }
                let gone = sessions.remove(at: place)
                benches[gone.index].engine.end(gone.session)
            }
            bench.pass(milliseconds: 100)
            bench.run()
            #expect(benches.reduce(0) { $0 + $1.engine.memoryInUse } <= 4_000_000)
        }
        for gone in sessions { benches[gone.index].engine.end(gone.session) }
        for (index, bench) in benches.enumerated() {
            for name in names[index] {
                _ = try bench.request("{\"op\": \"remove-topic\", \"topic\": \"\(name)\"}")
            }
            #expect(bench.engine.memoryInUse == 0)
        }
    }
}
