import SluiceCore
import SluiceGateway
import SluiceTestKit
import Testing

/// A body of so many bytes, which notes what it was asked for.
final class Well: BodySource {
    private(set) var taken = 0
    var left: Int

    init(_ count: Int) { left = count }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyPart {
        let count = min(left, buffer.count)
        guard count > 0 else { return .ended }
        buffer[..<count].copyBytes(from: repeatElement(UInt8(ascii: "w"), count: count))
        taken += count
        left -= count
        return .bytes(count)
    }
}

/// A body that has nothing now.
final class Dry: BodySource {
    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyPart { .nothingNow }
}

extension HTTPSession {
    func feed(_ bytes: [UInt8]) throws(HTTPFailure) {
        var failure: HTTPFailure?
        bytes.withUnsafeBytes { bytes in
            do throws(HTTPFailure) { try receive(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    func drained() -> [UInt8] {
        var bytes: [UInt8] = []
        drain(into: &bytes, upTo: 1_000_000)
        return bytes
    }
}

@Suite("HTTP/2 without a socket")
struct H2SessionTests {
    private func frames(of session: H2Session) -> [HTTP2Frames.Frame] {
        var bytes = session.drained()
        return HTTP2Frames.parse(&bytes)
    }

    private func data(_ frames: [HTTP2Frames.Frame]) -> [UInt8] {
        frames.filter { $0.kind == HTTP2Frames.Kind.data.rawValue }.flatMap(\.payload)
    }

    @Test("a request is told, and its answer goes out with the end of the stream")
    func exchange() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        client.request("GET", "/livez", stream: 1, headers: [("accept", "text/plain")])
        try session.feed(client.bytes)
        var head = RequestHead()
        head.method = "GET"
        head.target = "/livez"
        head.authority = "test"
        head.headers = [Header("accept", "text/plain")]
        #expect(session.takeEvents() == [.request(1, head, isWhole: true)])
        session.respond(to: 1, ResponseHead(200), .bytes(Array("ok".utf8)))
        let sent = frames(of: session)
        #expect(data(sent) == Array("ok".utf8))
        #expect(sent.last?.flags == HTTP2Frames.endStream)
        #expect(session.takeEvents() == [.gone(1)])
    }

    @Test("bytes one by one say the same")
    func oneByOne() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        client.request("POST", "/a", stream: 1, hasBody: true)
        client.add(.data, flags: HTTP2Frames.endStream, stream: 1, payload: [1, 2, 3])
        var body: [UInt8] = []
        var hasEnded = false
        for byte in client.bytes {
            try session.feed([byte])
            for event in session.takeEvents() {
                if case .body(1, let part) = event { body += part }
                if case .end(1) = event { hasEnded = true }
            }
        }
        #expect(body == [1, 2, 3])
        #expect(hasEnded)
    }

    @Test("a body whose window is closed is not read")
    func window() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin(HTTP2Frames.initialWindow, 10)
        client.request("GET", "/", stream: 1)
        try session.feed(client.bytes)
        _ = session.takeEvents()
        let well = Well(100)
        session.respond(to: 1, ResponseHead(200), .source(well))
        #expect(data(frames(of: session)).count == 10)
        #expect(well.taken == 10)
        #expect(session.window(of: 1) == 0)
        var more = HTTP2Frames()
        more.window(25, stream: 1)
        try session.feed(more.bytes)
        #expect(data(frames(of: session)).count == 25)
        #expect(well.taken == 35)
    }

    @Test("an answer whose window stays shut is told of; one that has nothing to give is not")
    func stalls() throws {
        let second: UInt64 = 1_000_000_000
        let limit = UInt64(Limits.httpStallSecondsMax)
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin(HTTP2Frames.initialWindow, 0)
        for stream: UInt32 in [1, 3, 5] { client.request("GET", "/", stream: stream) }
        try session.feed(client.bytes)
        session.respond(to: 1, ResponseHead(200), .bytes([1, 2, 3]))
        session.respond(to: 3, ResponseHead(200), .source(Dry()))
        _ = session.drained()
        for time in 0..<limit { #expect(session.stalled(at: time * second).isEmpty) }
        // Nothing can be read into a window of 0: only with one is it known that it is dry.
        var more = HTTP2Frames()
        more.window(1, stream: 3)
        try session.feed(more.bytes)
        _ = session.drained()
        #expect(session.stalled(at: limit * second) == [1], "5 has no answer yet")
        session.abort(1)
        #expect(frames(of: session).map(\.kind) == [HTTP2Frames.Kind.reset.rawValue])
        #expect(session.takeEvents().contains(.gone(1)))
        #expect(session.stalled(at: 2 * limit * second).isEmpty)
    }

    @Test("bodies that are not dealt with leave the connection's window to the others")
    func others() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        try session.feed(client.bytes)
        let part = Array(repeating: UInt8(1), count: 16_000)
        var streams: [UInt32] = []
        var given = 0
        _ = frames(of: session)
        while streams.count * 4 * part.count < 2 * Limits.http2ConnectionWindowBytes {
            let stream = UInt32(2 * streams.count + 1)
            streams.append(stream)
            var body = HTTP2Frames()
            body.request("POST", "/", stream: stream, hasBody: true)
            for _ in 0..<4 { body.add(.data, stream: stream, payload: part) }
            try session.feed(body.bytes)
            for frame in frames(of: session)
            where frame.kind == HTTP2Frames.Kind.windowUpdate.rawValue {
                #expect(frame.stream == 0, "each stream's own stays as it is")
                given += frame.payload.reduce(0) { $0 << 8 | Int($1) }
            }
        }
        #expect(given >= Limits.http2ConnectionWindowBytes, "twice as much came")
        for stream in streams { session.took(4 * part.count, of: Int32(stream)) }
        let updates = frames(of: session).filter {
            $0.kind == HTTP2Frames.Kind.windowUpdate.rawValue
        }
        #expect(Set(updates.map(\.stream)) == Set(streams))
    }

    @Test("a request's body opens its window again only when it is dealt with")
    func bodyWindow() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        client.request("POST", "/", stream: 1, hasBody: true)
        let part = [UInt8](repeating: 7, count: 16_384)
        for _ in 0..<3 { client.add(.data, stream: 1, payload: part) }
        try session.feed(client.bytes)
        let isUpdate = { (frame: HTTP2Frames.Frame) in
            frame.kind == HTTP2Frames.Kind.windowUpdate.rawValue && frame.stream == 1
        }
        #expect(!frames(of: session).contains(where: isUpdate))
        session.took(3 * part.count, of: 1)
        #expect(frames(of: session).contains(where: isUpdate))
    }

    @Test("a list of headers above the limit is 431")
    func headers() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        let headers = (0..<4).map {
            ("x-\($0)", String(repeating: "v", count: Limits.httpHeadersBytesMax / 4))
        }
        var block = HTTP2Frames()
        block.request("GET", "/", stream: 1, headers: headers)
        // More than a frame holds: the rest goes in CONTINUATION.
        let whole = Array(block.bytes.dropFirst(9))
        client.add(
            .headers,
            flags: HTTP2Frames.endStream,
            stream: 1,
            payload: Array(whole.prefix(16_000))
        )
        client.add(
            .continuation,
            flags: HTTP2Frames.endHeaders,
            stream: 1,
            payload: Array(whole.dropFirst(16_000))
        )
        try session.feed(client.bytes)
        #expect(session.takeEvents().isEmpty)
        let text = String(decoding: data(frames(of: session)), as: UTF8.self)
        #expect(text.contains("above its limit"))
    }

    @Test("a head that is not complete is known as one, wherever it stops")
    func heads() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        try session.feed(client.bytes)
        #expect(!session.owesHead)
        var request = HTTP2Frames()
        request.request("POST", "/", stream: 1, hasBody: true)
        for byte in request.bytes.dropLast() {
            try session.feed([byte])
            #expect(session.owesHead)
        }
        try session.feed([request.bytes.last ?? 0])
        #expect(!session.owesHead)
        var body = HTTP2Frames()
        body.add(.data, stream: 1, payload: [1, 2, 3])
        try session.feed(Array(body.bytes.dropLast()))
        #expect(!session.owesHead, "a body may come slowly")
    }

    @Test("a flood of PING ends the connection")
    func pings() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        try session.feed(client.bytes)
        var pings = HTTP2Frames()
        for _ in 0..<10 { pings.add(.ping, payload: [UInt8](repeating: 0, count: 8)) }
        // The client reads its answers: what waits to be written is not what stops it.
        for _ in 1..<Limits.http2IdleFramesPerSecond / 10 {
            try session.feed(pings.bytes)
            _ = session.drained()
        }
        #expect(throws: HTTPFailure.flood) {
            try session.feed(pings.bytes)
            try session.feed(pings.bytes)
        }
        let goAway = HTTP2Frames.Kind.goAway.rawValue
        #expect(frames(of: session).contains { $0.kind == goAway })
    }

    @Test("a flood of PING by who reads no answers ends the connection")
    func unreadPings() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        // What its body earned is more than what may wait to be written.
        client.request("POST", "/t", stream: 1, hasBody: true)
        for _ in 0..<20 { client.add(.data, stream: 1, payload: [1]) }
        for _ in 0...Limits.http2AcksMax {
            client.add(.ping, payload: [UInt8](repeating: 0, count: 8))
        }
        #expect(throws: HTTPFailure.flood) { try session.feed(client.bytes) }
    }

    @Test("turns are small until something moves, larger for bodies, and small again for nothing")
    func turns() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        client.request("POST", "/t", stream: 1, hasBody: true)
        try session.feed(client.bytes)
        #expect(session.inputBytesMax == Limits.httpFirstBytesMax)
        var body = HTTP2Frames()
        body.add(.data, stream: 1, payload: [UInt8](repeating: 1, count: 100))
        try session.feed(body.bytes)
        #expect(session.inputBytesMax == Limits.http2InputBytesMax)
        var bits = HTTP2Frames()
        for _ in 0..<3 { bits.add(.data, stream: 1, payload: [1]) }
        try session.feed(bits.bytes)
        #expect(session.inputBytesMax == Limits.httpRequestsBytesMax)
        var pings = HTTP2Frames()
        for _ in 0...4 * Limits.http2IdleFramesPerUseful {
            pings.add(.ping, payload: [UInt8](repeating: 0, count: 8))
        }
        try session.feed(pings.bytes)
        #expect(session.inputBytesMax == Limits.httpFirstBytesMax)
    }

    @Test("who reads a long answer may ping for each part of it")
    func earnedPings() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        client.request("GET", "/t", stream: 1)
        try session.feed(client.bytes)
        session.respond(to: 1, ResponseHead(200), .source(Well(100_000_000)))
        for _ in 0..<3 * Limits.http2IdleFramesPerSecond {
            let bytes = UInt32(data(frames(of: session)).count)
            try #require(bytes > 0)
            var next = HTTP2Frames()
            next.add(.ping, payload: [UInt8](repeating: 0, count: 8))
            for stream: UInt32 in 0...1 { next.window(bytes, stream: stream) }
            try session.feed(next.bytes)
        }
    }

    @Test("requests that are taken back at once end the connection")
    func resets() throws {
        let session = try H2Session()
        var client = HTTP2Frames()
        client.begin()
        var stream: UInt32 = 1
        for _ in 0..<Limits.http2ResetsMax * 2 {
            client.request("GET", "/", stream: stream)
            client.add(.reset, stream: stream, payload: [0, 0, 0, 8])
            stream += 2
        }
        try? session.feed(client.bytes)
        let goAway = HTTP2Frames.Kind.goAway.rawValue
        #expect(frames(of: session).contains { $0.kind == goAway })
    }
}
