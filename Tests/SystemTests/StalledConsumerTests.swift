import Foundation
import SluiceTestKit
import Testing

extension SystemTests {
    @Suite("HTTP consumers that stall")
    struct StalledConsumerTests {
        enum Kind: CaseIterable {
            /// Server-Sent Events over HTTP/1.1, whose socket nobody reads.
            case serverSent
            /// A stream over HTTP/2 whose window is closed.
            case closedWindow
            /// A call of gRPC that may have what it likes, whose socket nobody reads.
            case grpc

            fileprivate var words: [UInt8] {
                var frames = HTTP2Frames()
                switch self {
                case .serverSent:
                    let request =
                        "GET /v1/topics/t/stream?demand=1000000 HTTP/1.1\r\nHost: test\r\n"
                        + "Accept: text/event-stream\r\n\r\n"
                    return Array(request.utf8)
                case .closedWindow:
                    frames.begin(HTTP2Frames.initialWindow, 0)
                    frames.request("GET", "/v1/topics/t/stream?demand=1000000", stream: 1)
                case .grpc:
                    frames.begin(HTTP2Frames.initialWindow, 1 << 30)
                    frames.window(1 << 30, stream: 0)
                    frames.call("Subscribe", stream: 1)
                    // SubscribeRequest.open with topic "t" (1) and a demand of 1,000,000 (4).
                    let open: [UInt8] = [0x0A, 1] + Array("t".utf8) + [0x20, 0xC0, 0x84, 0x3D]
                    frames.message([0x0A, UInt8(open.count)] + open, stream: 1)
                }
                return frames.bytes
            }
        }

        private static let consumersOfEach = 20
        private static let bufferEvents = 10_000
        private static let payloadBytes = 1_024

        @Test(
            "with a million credits each they hold no memory beyond the buffer",
            .timeLimit(.minutes(2)),
            arguments: Broker.shardCounts
        )
        func memory(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let before = try broker.peakBytes
            try broker.run("topic", "create", "t", "--buffer", "\(Self.bufferEvents)")
            var clients: [BareClient] = []
            for kind in Kind.allCases {
                for _ in 0..<Self.consumersOfEach {
                    let client = try BareClient(try #require(broker.http), bufferBytes: 16_384)
                    client.say(kind.words)
                    clients.append(client)
                }
            }
            try eventually("all of them ask") {
                try broker.topic("t").consumers == clients.count
            }
            let payload = String(repeating: "x", count: Self.payloadBytes)
            let producer = try broker.start(["pub", "t", payload, "--count", "10000000"])
            var head: UInt64 = 0
            var stillFor = 0
            try eventually("the buffer is as good as full, and no more comes") {
                let topic = try broker.topic("t")
                // What is kept ahead is granted anew once a quarter of it is free.
                let isFull = topic.bufferedEvents > Self.bufferEvents / 4 * 3
                stillFor = isFull && topic.head == head ? stillFor + 1 : 0
                head = topic.head
                return stillFor == 5
            }
            #expect(try broker.topic("t").bufferedEvents <= Self.bufferEvents)
            #expect(producer.process.isRunning, "it would go on")
            let bound = Self.bufferEvents * Self.payloadBytes + (16 << 20)
            #expect(try broker.peakBytes - before <= bound)
            let next = try broker.run("demand", "t", "100", "-o", "jsonl")
            #expect(next.code == 0 && next.lines.count == 100, "the rest is there for the others")
            #expect(try broker.topic("t").consumers == clients.count)
            producer.signal(SIGKILL)
        }
    }
}
