import Foundation
import Glibc
import SluiceTestKit
import Testing

/// A client of HTTP/2 that says what it wants to say, and reads when it likes.
final class BareClient {
    private let number: Int32
    private var received: [UInt8] = []
    private var offered = 0

    /// Without a number of bytes its kernel buffer is as large as the machine likes.
    init(_ address: String, bufferBytes: Int32? = nil) throws {
        let port = try #require(address.split(separator: ":").last.flatMap { UInt16($0) })
        number = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var bufferBytes {
            let size = socklen_t(MemoryLayout<Int32>.size)
            setsockopt(number, SOL_SOCKET, SO_RCVBUF, &bufferBytes, size)
        }
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = port.bigEndian
        place.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &place) { place in
            place.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        let size = socklen_t(MemoryLayout<timeval>.size)
        setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &patience, size)
    }

    deinit { close(number) }

    /// Says it over and over, as far as the kernel takes it at once; false if the server closed.
    func offer(_ bytes: [UInt8]) -> Bool {
        while true {
            let flags = Int32(MSG_NOSIGNAL | MSG_DONTWAIT)
            let count = bytes[offered...].withUnsafeBytes {
                send(number, $0.baseAddress, $0.count, flags)
            }
            guard count > 0 else { return errno == EAGAIN }
            offered = (offered + count) % bytes.count
        }
    }

    func say(_ bytes: [UInt8]) { _ = send(number, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    /// The next bytes; empty once the server has closed.
    func listen() -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = recv(number, &buffer, buffer.count, 0)
        return Array(buffer.prefix(max(0, count)))
    }

    /// Reads frames until one of a kind comes; the stream that it is about, nil if none comes.
    func take(_ kind: HTTP2Frames.Kind) -> UInt32? {
        while true {
            let bytes = listen()
            guard !bytes.isEmpty else { return nil }
            received += bytes
            let frames = HTTP2Frames.parse(&received)
            if let frame = frames.first(where: { $0.kind == kind.rawValue }) { return frame.stream }
        }
    }

    /// Reads frames until so many bytes of bodies came; how many it were.
    func takeData(_ wanted: Int) -> Int {
        var count = 0
        while count < wanted {
            let bytes = listen()
            guard !bytes.isEmpty else { break }
            received += bytes
            for frame in HTTP2Frames.parse(&received)
            where frame.kind == HTTP2Frames.Kind.data.rawValue {
                count += frame.payload.count
            }
        }
        return count
    }
}

extension SystemTests {
    @Suite("HTTP clients that do not read")
    struct HTTPWindowTests {
        private struct Groups: Decodable {
            struct Group: Decodable { let delivered: UInt64 }
            let groups: [Group]
        }

        @Test(
            "a stream whose window is closed takes no more, and the rest stays for the others",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func closedWindow(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            let payload = String(repeating: "x", count: 1_000)
            let lines = (0..<2_000).map { "\($0) \(payload)\n" }.joined()
            try broker.run("pub", "t", "--each", "line", input: lines)
            let client = try BareClient(try #require(broker.http))
            var frames = HTTP2Frames()
            frames.begin(HTTP2Frames.initialWindow, 0)
            frames.request("GET", "/v1/topics/t/stream?demand=10000", stream: 1)
            client.say(frames.bytes)
            try eventually("the stream has what fits into its link's window") {
                let answer = try broker.curl("/v1/topics/t")
                return try answer.decoded(Groups.self).groups.first.map { $0.delivered > 0 }
                    ?? false
            }
            let held = try #require(
                try broker.curl("/v1/topics/t").decoded(Groups.self).groups.first
            )
            // Two windows of 64 KiB where the topic lives on another shard.
            #expect(held.delivered <= (shards == 1 ? 66 : 132))
            let next = try broker.run("demand", "t", "1").text
            #expect(next.hasPrefix("\(held.delivered) "), "the others go on behind that")

            var more = HTTP2Frames()
            more.window(500_000, stream: 0)
            more.window(500_000, stream: 1)
            client.say(more.bytes)
            #expect(client.takeData(500_000) >= 500_000)
            let taken = try broker.curl("/v1/topics/t").decoded(Groups.self).groups[0].delivered
            #expect(taken > 400)
            #expect(taken < 700, "no more than the window and what waits behind it")
        }

        @Test("an answer left lying is cut, a stream beside it waits", .timeLimit(.minutes(1)))
        func leftLying() throws {
            let broker = try Broker.withHTTP(shards: 1)
            try broker.run("pub", "t", "hello")
            let client = try BareClient(try #require(broker.http))
            var frames = HTTP2Frames()
            frames.begin(HTTP2Frames.initialWindow, 0)
            frames.request("GET", "/v1/topics/t/stream?demand=1", stream: 1)
            frames.request("GET", "/livez", stream: 3)
            client.say(frames.bytes)
            #expect(client.take(.reset) == 3)
            var more = HTTP2Frames()
            more.window(1_000, stream: 1)
            client.say(more.bytes)
            #expect(client.takeData(5) >= 5)

            // On one socket, what waits for it waits together: here it is the answer alone.
            let lazy = try BareClient(try #require(broker.http))
            let request = Array("GET /v1/topics HTTP/1.1\r\nHost: test\r\n\r\n".utf8)
            try eventually("the connection is closed, and nothing of it is read before") {
                !lazy.offer(request)
            }
        }

        @Test(
            "demand is said while events come",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func conversation(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            try broker.run("pub", "t", "--each", "line", input: "1\n2\n3\n4\n5\n")
            let client = try BareClient(try #require(broker.http))
            var frames = HTTP2Frames()
            frames.begin()
            frames.request("POST", "/v1/topics/t/stream", stream: 1, hasBody: true)
            client.say(frames.bytes)
            for (demand, left) in [(1, 4), (2, 2)] {
                var line = HTTP2Frames()
                line.add(.data, stream: 1, payload: Array("{\"demand\":\(demand)}\n".utf8))
                client.say(line.bytes)
                #expect(client.takeData(1) > 0)
                try eventually("as many are taken as were asked for") {
                    try broker.topic("t").bufferedEvents == UInt64(left)
                }
            }
        }

        @Test("a reader that stops reading holds no more than its socket", .timeLimit(.minutes(1)))
        func stalledReader() throws {
            let broker = try Broker.withHTTP(shards: 1)
            let client = try BareClient(try #require(broker.http))
            let request = "GET /v1/topics/t/stream?demand=1000000 HTTP/1.1\r\nHost: test\r\n\r\n"
            client.say(Array(request.utf8))
            try eventually("it asks") { try broker.topic("t").consumers == 1 }
            let payload = String(repeating: "x", count: 10_000)
            try broker.run("pub", "t", payload, "--count", "5000")
            // Some MiB of the 50 are in the kernel's buffers of either end.
            #expect(try broker.topic("t").bufferedEvents > 3_500)
        }

        @Test("who never says what it wants is cut off", .timeLimit(.minutes(1)))
        func silent() throws {
            let broker = try Broker.withHTTP(shards: 1)
            let silent = try BareClient(try #require(broker.http))
            let slow = try BareClient(try #require(broker.http))
            slow.say(Array("GET /livez HTTP/1.1\r\nHo".utf8))
            let slower = try BareClient(try #require(broker.http))
            var frames = HTTP2Frames()
            frames.begin()
            frames.request("GET", "/livez", stream: 1)
            slower.say(frames.bytes)
            #expect(slower.takeData(3) == 3)
            var more = HTTP2Frames()
            more.request("GET", "/livez", stream: 3)
            slower.say(Array(more.bytes.dropLast()))
            #expect(silent.listen().isEmpty)
            #expect(slow.listen().isEmpty)
            #expect(slower.takeData(1) == 0)
        }
    }
}
