import Foundation
import SluiceTestKit
import Testing

extension SystemTests {
    @Suite("What clients do wrong")
    struct ComplaintTests {
        /// Says it and hears what comes until the broker has closed.
        private func provoke(_ address: String, _ bytes: [UInt8]) throws {
            let client = try BareClient(address)
            client.say(bytes)
            while !client.listen().isEmpty {}
        }

        @Test(
            "is counted where it happens, and metrics tell it by kind",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func counted(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let http = try #require(broker.http)
            let silent = [try BareClient(http), try BareClient(broker.address)]

            try provoke(broker.address, Array("GET / HTTP/1.1\r\n\r\n".utf8))
            try provoke(http, Array("no such thing\r\n\r\n".utf8))
            var frames = HTTP2Frames()
            frames.begin()
            frames.add(.data, stream: 0, payload: [1])
            try provoke(http, frames.bytes)
            frames = HTTP2Frames()
            frames.begin()
            for _ in 0..<3_000 {
                frames.add(.ping, payload: Array(repeating: 0, count: 8))
            }
            try provoke(http, frames.bytes)
            // Streams that are reset at once, which the library counts itself.
            frames = HTTP2Frames()
            frames.begin()
            for number in 0..<UInt32(300) {
                frames.request("GET", "/livez", stream: 2 * number + 1)
                frames.add(.reset, stream: 2 * number + 1, payload: [0, 0, 0, 8])
            }
            try provoke(http, frames.bytes)
            try overrun(http)
            for client in silent { while !client.listen().isEmpty {} }
            let wanted = [
                #"sluice_connection_rejects_total{face="binary",reason="handshake"} 1"#,
                #"sluice_connection_rejects_total{face="binary",reason="timeout"} 1"#,
                #"sluice_connection_rejects_total{face="http",reason="timeout"} 1"#,
                #"sluice_protocol_errors_total{face="http",code="CREDIT_OVERRUN"} 1"#,
                #"sluice_protocol_errors_total{face="http",code="FLOOD"} 2"#,
                #"sluice_protocol_errors_total{face="http",code="MALFORMED"} 2"#,
            ]
            let told = try broker.curl("/metrics").text.split(separator: "\n").filter {
                $0.hasPrefix("sluice_connection_rejects") || $0.hasPrefix("sluice_protocol_errors")
            }
            #expect(told == wanted.map { $0[...] })
        }

        /// Five events where at most four can have credit.
        private func overrun(_ http: String) throws {
            let client = try BareClient(http)
            var frames = HTTP2Frames()
            frames.begin()
            frames.call("Publish", stream: 1)
            // PublishRequest.open (1) with topic "t" (1), then .batch (2) with five empty events.
            frames.message([0x0A, 3, 0x0A, 1] + Array("t".utf8), stream: 1)
            frames.message([0x12, 10] + Array(repeating: [0x0A, 0], count: 5).joined(), stream: 1)
            client.say(frames.bytes)
            #expect(client.take(.headers) == 1, "the answer")
            var more = HTTP2Frames()
            more.add(.ping, payload: Array(repeating: 7, count: 8))
            client.say(more.bytes)
            #expect(client.take(.ping) == 0, "what came before is done")
        }
    }
}
