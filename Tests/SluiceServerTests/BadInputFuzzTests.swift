import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

/// What strangers may send: every good frame, cut and changed in every place, in every state.
@Suite("Fuzz: bad input") struct BadInputFuzzTests {
    enum Situation: String, CaseIterable {
        case greeting
        case sink
        case source
    }

    /// Values that each byte is changed to; `SLUICE_FUZZ_CASES` asks for more.
    static let changesPerByte = max(4, Int((Environment.number("SLUICE_FUZZ_CASES") ?? 0) / 40_000))

    @Test("cut or changed frames end no more than their own connection")
    func strangers() throws {
        var random = SeededGenerator.replayable("bad input")
        var cases = 0
        #expect(Vector.good.count > 50)
        for vector in Vector.good where vector.bytes.count < 2_048 {
            for situation in Situation.allCases {
                cases += try Self.run(vector, situation, using: &random)
            }
        }
        print("bad input: \(cases) cases")
        #expect(cases >= 50_000)
    }

    private static func run(
        _ vector: Vector,
        _ situation: Situation,
        using random: inout SeededGenerator
    ) throws -> Int {
        let bench = PeerBench {
            $0.createsTopics = false
            $0.resumeWindowMilliseconds = 0
        }
        let witness = try Witness(bench)
        var cases = 0
        for place in vector.bytes.indices {
            try attempt(Array(vector.bytes[..<place]), vector, situation, bench)
            cases += 1
            for _ in 0..<changesPerByte {
                var bytes = vector.bytes
                bytes[place] ^= UInt8.random(in: 1...255, using: &random)
                try attempt(bytes, vector, situation, bench)
                cases += 1
            }
            if place % 8 == 0 { try witness.work() }
        }
        try witness.finish("\(vector) as \(situation)")
        return cases
    }

    private static func attempt(
        _ bytes: [UInt8],
        _ vector: Vector,
        _ situation: Situation,
        _ bench: PeerBench
    ) throws {
        let client = bench.connect()
        if situation != .greeting {
            try client.say("HELLO versions=1..1 keepalive=10 name=stranger")
            let role = situation == .sink ? "sink" : "source"
            try client.say("OPEN 1 \(role) topic=orders")
        }
        client.send(bytes)
        client.run()
        let said = client.take()
        let place: Comment = "\(vector) as \(situation): \(Hex.text(bytes)), said \(said)"
        #expect(!said.contains { $0.type == "BROKEN" || $0.type == "CUT" }, place)
        for close in said where close.type == "CLOSE" {
            #expect(close.fields["code"]?.hasPrefix("CODE_") == false, place)
        }
        let ends = said.firstIndex { $0.type == "CLOSE" && $0.link == 0 }
        if let ends { #expect(ends == said.count - 1 && client.isEnded, place) }
        if !client.isEnded, !client.isMidFrame, client.peer.isGreeted {
            let answer = try client.say("PING 77")
            #expect(answer.contains { $0["opaque"] == 77 && $0.flags == ["PONG"] }, place)
        }
        client.peer.lost()
    }
}

/// A producer and a consumer whose work goes on whatever strangers do.
private final class Witness {
    private let client: BenchClient
    private var sent: UInt64 = 0

    init(_ bench: PeerBench) throws {
        client = bench.connect()
        try client.say("HELLO versions=1..1 keepalive=10 name=witness")
        try client.say("OPEN 1 source topic=$sys/ctl")
        for (index, topic) in ["orders", "witness"].enumerated() {
            let request = "{\"op\":\"create-topic\",\"topic\":\"\(topic)\"}"
            try client.say("EVENTS 1 seq=\(index + 1) [\(request)]")
        }
        try client.say("OPEN 2 sink topic=witness demand=100000")
        try client.say("OPEN 3 source topic=witness")
    }

    func work() throws {
        sent += 1
        let said = try client.say("EVENTS 3 seq=\(sent) [w\(sent)]")
        let events = said.flatMap(\.events)
        let expected = Sentence.Event(sequence: sent, offset: sent - 1, payload: "w\(sent)")
        #expect(events == [expected])
        #expect(said.flatMap(\.verdicts) == [.init(sequence: sent, outcome: "accept")])
    }

    /// Balances the ledger, and looks for what strangers have left behind.
    func finish(_ place: String) throws {
        let demand = "DEMAND 2 total=100000 received=\(sent) STOP ECHO"
        let status = try #require(try client.say(demand).first { $0.type == "STATUS" })
        #expect(status["delivered"] == sent && status["forfeited"] == 100_000 - sent)
        let said = try client.say("OPEN 4 sink topic=$sys/server demand=1")
        let server = try #require(said.flatMap(\.events).first?.payload)
        #expect(server.contains("\"connections\":1,"), "\(place): \(server)")
        #expect(server.contains("\"topics\":2,"), "\(place): \(server)")
        #expect(server.contains("\"links\":2,"), "\(place): \(server)")
        #expect(server.contains("\"detachedSessions\":0,"), "\(place): \(server)")
    }
}
