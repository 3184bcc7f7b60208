import SluiceCore
import SluiceGateway
import SluiceTestKit
import Testing

@Suite("WebSocket without a socket")
struct WebSocketCodecTests {
    /// A frame as a client sends it.
    private static func frame(
        _ first: UInt8,
        _ payload: [UInt8] = [],
        mask: [UInt8]? = [1, 2, 3, 4]
    ) -> [UInt8] {
        var bytes = [first]
        let bit: UInt8 = mask == nil ? 0 : 0x80
        if payload.count < 126 {
            bytes.append(bit | UInt8(payload.count))
        } else if payload.count < 65_536 {
            bytes += [bit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        } else {
            bytes.append(bit | 127)
            bytes += stride(from: 56, through: 0, by: -8).map {
                UInt8(truncatingIfNeeded: payload.count >> $0)
            }
        }
        guard let mask else { return bytes + payload }
        return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
    }

    private func receive(_ bytes: [UInt8], cut: Int? = nil) throws -> [WebSocketEvent] {
        let codec = try WebSocketCodec()
        defer { codec.close() }
        var events: [WebSocketEvent] = []
        let size = cut ?? max(1, bytes.count)
        for start in stride(from: 0, to: bytes.count, by: size) {
            events += try bytes[start..<min(start + size, bytes.count)].withUnsafeBytes {
                try codec.receive($0)
            }
            if case .close = events.last { break }
        }
        return events
    }

    /// What comes of bytes: events, or the code of a failure alone.
    private func outcome(
        of bytes: [UInt8],
        cut: Int? = nil
    ) throws -> (
        events: [WebSocketEvent], code: UInt16?
    ) {
        do {
            return (try receive(bytes, cut: cut), nil)
        } catch let failure as WebSocketFailure {
            return ([], failure.code)
        }
    }

    @Test("messages, whole and in parts, with words between, come out in their order")
    func messages() throws {
        let large = (0..<65_536).map { UInt8(truncatingIfNeeded: $0) }
        let bytes =
            Self.frame(0x82, [1, 2]) + Self.frame(0x02, [3]) + Self.frame(0x89, [9])
            + Self.frame(0x00, []) + Self.frame(0x8A, [7]) + Self.frame(0x80, [4])
            + Self.frame(0x82, large) + Self.frame(0x88, [0x03, 0xE8])
        let expected: [WebSocketEvent] = [
            .bytes([1, 2]), .bytes([3]), .ping([9]), .bytes([4]), .bytes(large),
            .close([0x03, 0xE8]),
        ]
        #expect(try receive(bytes) == expected)
        #expect(try receive(bytes, cut: 1_021) == expected)
        let short = Array(bytes[..<42])
        #expect(try receive(short, cut: 1) == Array(expected[..<4]))
    }

    @Test(
        "what RFC 6455 forbids, and what has no place here, ends it with a code",
        arguments: [
            (frame(0x82, [1], mask: nil), 1_002), (frame(0x88, [], mask: nil), 1_002),
            (frame(0xC2, [1]), 1_002), (frame(0xA2, [1]), 1_002), (frame(0x92, [1]), 1_002),
            (frame(0x83, [1]), 1_002), (frame(0x8B, []), 1_002), (frame(0x80, [1]), 1_002),
            (frame(0x02, [1]) + frame(0x82, [2]), 1_002), (frame(0x09, []), 1_002),
            (frame(0x89, Array(repeating: 0, count: 126)), 1_002), (frame(0x81, [65]), 1_003),
            (frame(0x88, [3]), 1_002), (frame(0x88, [3, 0xED]), 1_002),
            (frame(0x88, [0, 1]), 1_002), (frame(0x88, [0x03, 0xE8, 0xFF]), 1_007),
            (frame(0x82, Array(repeating: 0, count: 65_537)), 1_009),
        ] as [([UInt8], UInt16)]
    )
    func refused(bytes: [UInt8], code: UInt16) throws {
        let failure = try #require(throws: WebSocketFailure.self) { _ = try receive(bytes) }
        #expect(failure.code == code, "\(failure)")
    }

    @Test("what came before a fault is told; what stands behind a farewell is not")
    func order() throws {
        let farewell = Self.frame(0x88, []) + Self.frame(0x82, [1])
        #expect(try receive(farewell) == [.close([])])
        let codec = try WebSocketCodec()
        defer { codec.close() }
        let first = try Self.frame(0x82, [5]).withUnsafeBytes { try codec.receive($0) }
        #expect(first == [.bytes([5])])
        #expect(throws: WebSocketFailure.self) {
            _ = try Self.frame(0x81, [5]).withUnsafeBytes { try codec.receive($0) }
        }
    }

    @Test("a length that no frame may have is refused before its bytes come")
    func length() throws {
        let head: [UInt8] = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]
        let failure = try #require(throws: WebSocketFailure.self) { _ = try receive(head) }
        #expect(failure.code == 1_009)
    }

    @Test("the handshake is that of RFC 6455, 1.3, and refused without a key or with two")
    func handshake() throws {
        var request = RequestHead()
        request.headers = [
            Header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            Header("sec-websocket-version", "13"),
        ]
        let answer = try #require(WebSocketCodec.acceptance(of: request))
        let text = String(decoding: answer, as: UTF8.self)
        #expect(text.hasPrefix("HTTP/1.1 101 "))
        #expect(text.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
        #expect(text.hasSuffix("sec-websocket-protocol: sluice.v1\r\n\r\n"))
        request.headers.append(request.headers[0])
        #expect(WebSocketCodec.acceptance(of: request) == nil)
        request.headers = [Header("sec-websocket-key", "c2hvcnQ="), request.headers[1]]
        #expect(WebSocketCodec.acceptance(of: request) == nil)
    }

    @Test("whatever comes, it is events or a code, and the same however it is cut")
    func fuzz() throws {
        var random = SeededGenerator.replayable("WebSocketCodecTests")
        for _ in 0..<(Environment.number("SLUICE_FUZZ_CASES") ?? 2_000) {
            var bytes: [UInt8] = []
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let payload = (0..<Int.random(in: 0...140, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                let first = UInt8.random(in: 0...255, using: &random)
                let isMasked = Int.random(in: 0..<8, using: &random) > 0
                bytes += Self.frame(first, payload, mask: isMasked ? [9, 8, 7, 6] : nil)
            }
            if Int.random(in: 0..<3, using: &random) == 0 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 0x55
            }
            let whole = try outcome(of: bytes)
            let cut = Int.random(in: 1...bytes.count, using: &random)
            let parts = try outcome(of: bytes, cut: cut)
            #expect(whole.events == parts.events && whole.code == parts.code, "\(bytes) by \(cut)")
        }
    }
}
