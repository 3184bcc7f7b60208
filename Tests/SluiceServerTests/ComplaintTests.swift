import FoundationEssentials
import SluiceCore
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

/// What was turned away and what went wrong is counted, by kind.
@Suite struct ComplaintTests {
    private struct Server: Decodable {
        struct Face: Decodable {
            let face: String
            let rejects: [String: Int]
            let protocolErrors: [String: Int]
        }
        let faces: [Face]
    }

    private func binary(_ document: String) throws -> Server.Face {
        let server = try JSONDecoder().decode(Server.self, from: Data(document.utf8))
        return try #require(server.faces.first { $0.face == "binary" })
    }

    @Test("What no HELLO comes before is a rejected connection, by reason")
    func rejects() throws {
        let bench = PeerBench()
        for code in [CloseCode.goingAway, .idle, .idle] {
            bench.connect().peer.end(Close(code))
        }
        let stranger = bench.connect()
        stranger.send(Array("GET / HTTP/1.1\r\n\r\n".utf8))
        #expect(stranger.peer.isEnding)
        let old = bench.connect()
        try old.say("HELLO versions=7..9 name=old keepalive=10")
        #expect(old.peer.isEnding)
        let found = try binary(try document(bench))
        #expect(found.rejects == ["stopping": 1, "timeout": 2, "handshake": 2])
        #expect(found.protocolErrors == [:])
    }

    @Test("What its client is to blame for is counted by its code, with a link or a connection")
    func errors() throws {
        let bench = PeerBench(shards: 3)
        let client = bench.connect()
        try client.say("HELLO versions=1..1 name=c keepalive=10")
        try client.say("OPEN 1 source topic=t")
        try client.say("OPEN 2 sink topic=t")
        try client.say("OPEN 3 sink topic=t demand=1")
        let events = Array(repeating: "a", count: 100).joined(separator: " ")
        try client.say("EVENTS 1 seq=1 [\(events)]")
        try client.say("DEMAND 2 n=5 total=9")
        // Normal life is no error, and what is refused neither.
        try client.say("CLOSE 3 NORMAL")
        try client.say("OPEN 4 source topic=$sys/server")
        try client.say("DEMAND 99 n=1 total=1")
        #expect(client.isEnded)
        let found = try binary(try document(bench))
        #expect(found.rejects == [:])
        #expect(
            found.protocolErrors == ["CREDIT_OVERRUN": 1, "CREDIT_MISMATCH": 1, "BAD_LINK": 1]
        )
    }

    private func document(_ bench: PeerBench) throws -> String {
        let witness = bench.connect()
        try witness.say("HELLO versions=1..1 name=witness keepalive=10")
        let said = try witness.say("OPEN 1 sink topic=$sys/server demand=1")
        return try #require(said.compactMap(\.events.first?.payload).first)
    }

    @Test("One connection too many is a rejected one")
    func limit() async throws {
        try await withServer {
            $0.connectionsMax = 1
        } _: { address in
            let first = try RawClient(address)
            try first.greet()
            _ = try RawClient(address).hearTheEnd()
            let found = try ComplaintTests().binary(try first.serverDocument(1))
            #expect(found.rejects == ["limit": 1])
        }
    }
}
