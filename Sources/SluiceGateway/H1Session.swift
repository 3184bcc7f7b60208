import DequeModule
import NIOCore
import NIOEmbedded
import NIOHTTP1
import SluiceCore

/// HTTP/1.1 without a socket: requests are parsed by NIOHTTP1, one after the other is answered.
///
/// NIO's channel is a shell around the parser here: it has no loop and no descriptor.
package final class H1Session: HTTPSession {
    private let channel = EmbeddedChannel()
    private let parser: ByteToMessageHandler<HTTPRequestDecoder>
    /// Parsed and not yet told: those behind the exchange under way wait for its end.
    private var parts = Deque<HTTPServerRequestPart>()
    private var events: [HTTPEvent] = []
    private var output: [UInt8] = []
    /// Exchanges have numbers as streams have, so that the sides look alike.
    private var stream: Int32 = 0
    private var head: RequestHead?
    private var phase = Phase.idle
    private var body: ResponseBody = .none
    /// Whether the length of the answer is not known before its end.
    private var isChunked = false
    private var isRequestRead = false
    private var keepsAlive = true
    private var isWinding = false
    private var isClosed = false
    /// A request to change to HTTP/2: what it was, and what else came behind it.
    package private(set) var upgrade: Upgrade?

    private enum Phase {
        case idle
        /// The request is told, its answer not begun.
        case asked
        case answering
        case over
    }

    package struct Upgrade {
        package let head: RequestHead
        package let settings: [UInt8]
    }

    package init() throws(HTTPFailure) {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = Limits.httpHeadersBytesMax
        limits.maxHeaderListSize = Limits.httpHeadersBytesMax
        limits.maxHeaderFieldCount = Limits.httpHeadersMax
        let decoder = HTTPRequestDecoder(
            leftOverBytesStrategy: .forwardBytes,
            informationalResponseStrategy: .drop,
            limitConfiguration: limits
        )
        parser = ByteToMessageHandler(decoder)
        do {
            try channel.pipeline.syncOperations.addHandler(parser)
        } catch { throw .broken("\(error)") }
    }

    package func close() {
        guard !isClosed else { return }
        isClosed = true
        // Takes the parser out, which holds on to itself while it is in.
        _ = try? channel.finish(acceptAlreadyClosed: true)
        phase = .over
        body = .none
    }

    package var wantsInput: Bool { parts.isEmpty && phase != .over }

    package var inputBytesMax: Int {
        // A body is one part, however long; small requests are a hundred times their bytes.
        let isInBody = !isRequestRead && (phase == .asked || phase == .answering)
        return isInBody ? 4 * Limits.httpRequestsBytesMax : Limits.httpRequestsBytesMax
    }

    package var isOver: Bool { phase == .over && output.isEmpty }
}

// MARK: - What comes in

extension H1Session {
    package func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTPFailure) {
        // Behind the last request nothing is parsed, nor kept.
        guard phase != .over, keepsAlive || !isRequestRead else { return }
        do {
            try channel.writeInbound(ByteBuffer(bytes: bytes))
            try collect()
        } catch {
            // What was complete before the mistake is answered still.
            try? collect()
            tell()
            // What stands behind the last request is nobody's business.
            guard keepsAlive || !isRequestRead else { return }
            let isTooLarge = error as? HTTPParserError == .headerOverflow
            throw .malformed(status: isTooLarge ? 431 : 400, "\(error)")
        }
        tell()
    }

    private func collect() throws {
        while let part = try channel.readInbound(as: HTTPServerRequestPart.self) {
            parts.append(part)
        }
    }

    package func takeEvents() -> [HTTPEvent] {
        defer { events = [] }
        return events
    }

    package var isWaiting: Bool {
        phase == .idle && !parts.isEmpty && !isWinding && output.count < Limits.httpWriteBytes
    }

    package func goOn() { if isWaiting { tell() } }

    /// Tells what belongs to the exchange under way, or begins one when none is.
    private func tell() {
        while let part = parts.first {
            switch part {
            case .head(let head):
                guard isWaiting else { return }
                begin(head)
            case .body(let buffer): events.append(.body(stream, Array(buffer.readableBytesView)))
            case .end:
                isRequestRead = true
                if upgrade == nil { events.append(.end(stream)) }
                endIfDone()
            }
            parts.removeFirst()
        }
    }

    private func begin(_ raw: HTTPRequestHead) {
        stream &+= 1
        phase = .asked
        isRequestRead = false
        var request = RequestHead()
        request.method = raw.method.rawValue
        request.target = Self.path(of: raw.uri)
        request.headers = raw.headers.map { Header($0.name.lowercased(), $0.value) }
        request.authority = request["host"]
        head = request
        keepsAlive = raw.isKeepAlive
        if request["upgrade"] != nil { take(upgradeOf: request) }
        guard upgrade == nil else { return }
        let hosts = raw.headers["host"].count
        guard hosts == 1 || hosts == 0 && raw.version.minor == 0 else {
            let text = Array("HTTP/1.1 wants one Host\n".utf8)
            keepsAlive = false
            respond(to: stream, ResponseHead(400), .bytes(text))
            return
        }
        if request["expect"]?.lowercased() == "100-continue" {
            output += Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
        }
        events.append(.request(stream, request, isWhole: false))
    }

    /// A target may name its scheme and its host, as for a proxy (RFC 9112, 3.2.2).
    private static func path(of target: String) -> String {
        guard !target.hasPrefix("/"), let scheme = target.firstRange(of: "://") else {
            return target
        }
        let rest = target[scheme.upperBound...]
        guard let start = rest.firstIndex(where: { $0 == "/" || $0 == "?" }) else { return "/" }
        return rest[start] == "/" ? String(rest[start...]) : "/" + rest[start...]
    }

    /// Takes up the wish to go on in HTTP/2 if it is one, of a request without a body.
    private func take(upgradeOf request: RequestHead) {
        // The parser reads no further behind such a request, whatever becomes of it.
        keepsAlive = false
        guard request["upgrade"]?.lowercased() == "h2c", request["content-length"] == nil,
            request["transfer-encoding"] == nil, let text = request["http2-settings"],
            request.headers.count(where: { $0.name == "http2-settings" }) == 1,
            let settings = Base64.decode(text)
        else { return }
        upgrade = Upgrade(head: request, settings: settings)
    }

    /// Leaves the connection to another protocol: says so, and gives up what came behind the
    /// request.
    package func leave(saying answer: [UInt8]) throws(HTTPFailure) -> [UInt8] {
        output += answer
        var rest: [UInt8] = []
        do {
            _ = channel.pipeline.syncOperations.removeHandler(parser)
            channel.embeddedEventLoop.run()
            while let buffer = try channel.readInbound(as: ByteBuffer.self) {
                rest += Array(buffer.readableBytesView)
            }
        } catch { throw .broken("\(error)") }
        return rest
    }

    // One body at a time, read no faster than it is taken: `wantsInput` is all there is to say.
    package func took(_ bytes: Int, of stream: Int32) {}
}

// MARK: - What goes out

extension H1Session {
    package func respond(to stream: Int32, _ head: ResponseHead, _ body: ResponseBody) {
        guard stream == self.stream, phase == .asked, let request = self.head else { return }
        phase = .answering
        self.body = body
        isChunked = false
        var lines = "HTTP/1.1 \(head.status) \(Self.reason(head.status))\r\n"
        for header in head.headers { lines += "\(header.name): \(header.value)\r\n" }
        switch body {
        case .none where head.status != 204: lines += "content-length: 0\r\n"
        case .none: break
        case .bytes(let bytes): lines += "content-length: \(bytes.count)\r\n"
        case .source:
            isChunked = true
            lines += "transfer-encoding: chunked\r\n"
        }
        if isWinding || !isRequestRead && !Self.hasNoBody(request) { keepsAlive = false }
        if !keepsAlive { lines += "connection: close\r\n" }
        output += Array((lines + "\r\n").utf8)
        if case .bytes(let bytes) = body, request.method != "HEAD" { output += bytes }
        if case .source = body, request.method != "HEAD" { return }
        self.body = .none
        endIfDone()
    }

    /// Whether the end of the request is sure to have come with its head.
    private static func hasNoBody(_ request: RequestHead) -> Bool {
        request["transfer-encoding"] == nil && (request["content-length"] ?? "0") == "0"
    }

    private static func reason(_ status: Int) -> String {
        HTTPResponseStatus(statusCode: status).reasonPhrase
    }

    package func resume(_ stream: Int32) {}

    package func abort(_ stream: Int32) {
        guard stream == self.stream, phase != .idle else { return }
        // Only a connection that breaks off says that the body is not whole.
        phase = .over
        body = .none
        events.append(.gone(stream))
    }

    package func drain(into target: inout [UInt8], upTo limit: Int) {
        if !output.isEmpty {
            target += output
            output.removeAll(keepingCapacity: output.count <= limit)
        }
        guard phase == .answering, case .source(let source) = body else { return }
        while target.count < limit {
            let most = limit - target.count
            var part = BodyPart.nothingNow
            let chunk = [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
                part = source.read(into: UnsafeMutableRawBufferPointer(buffer))
                if case .bytes(let filled) = part { count = filled }
            }
            switch part {
            case .bytes(let count):
                target += Array("\(String(count, radix: 16))\r\n".utf8) + chunk
                target += [0x0D, 0x0A]
            case .nothingNow: return
            case .ended, .endedWith:
                target += Array("0\r\n\r\n".utf8)
                body = .none
                endIfDone()
                return
            }
        }
    }

    /// Ends the exchange once it is read and answered.
    private func endIfDone() {
        guard phase == .answering, case .none = body else { return }
        guard isRequestRead || !keepsAlive else { return }
        events.append(.gone(stream))
        head = nil
        phase = keepsAlive && !isWinding ? .idle : .over
    }

    package func wind() {
        isWinding = true
        if phase == .idle { phase = .over }
    }
}

/// The alphabet of RFC 4648, 5: what HTTP2-Settings is written in.
enum Base64 {
    /// Nil if there is something in it that does not belong there.
    static func decode(_ text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for character in text.utf8 where character != UInt8(ascii: "=") {
            guard let value = value(of: character) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
        return bytes
    }

    private static func value(of character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"), UInt8(ascii: "+"): 62
        case UInt8(ascii: "_"), UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
