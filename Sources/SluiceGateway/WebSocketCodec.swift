import NIOCore
import NIOEmbedded
import NIOHTTP1
import NIOWebSocket
import SluiceCore

/// What a client said on a WebSocket.
package enum WebSocketEvent: Hashable, Sendable {
    /// What a binary message brings, or a part of one: where messages end means nothing.
    case bytes([UInt8])
    case ping([UInt8])
    /// The client closes; what came as its code is said back.
    case close([UInt8])
}

/// Why a WebSocket ends: a code of RFC 6455, 7.4.1, and the reason.
package struct WebSocketFailure: Error, Hashable, Sendable {
    package let code: UInt16
    package let text: String

    init(_ code: UInt16, _ text: String) {
        self.code = code
        self.text = text
    }
}

/// The frames of a WebSocket without a socket: a server's end.
///
/// NIO's decoder cuts frames and takes their masks off, in a channel that is a shell around it.
/// What it leaves open for the sake of extensions is checked here, as there are none.
package final class WebSocketCodec {
    private let channel = EmbeddedChannel()
    private let decoder: ByteToMessageHandler<WebSocketFrameDecoder>
    /// Whether a message is not complete.
    private var isFragmented = false

    package init() throws(HTTPFailure) {
        decoder = ByteToMessageHandler(
            WebSocketFrameDecoder(maxFrameSize: Limits.webSocketFrameBytesMax)
        )
        do {
            try channel.pipeline.syncOperations.addHandler(decoder)
        } catch { throw .broken("\(error)") }
    }

    /// Takes the decoder out, which holds on to itself while it is in.
    package func close() { _ = try? channel.finish(acceptAlreadyClosed: true) }

    /// What the bytes bring; nothing may come behind a failure.
    package func receive(
        _ bytes: UnsafeRawBufferPointer
    ) throws(WebSocketFailure) -> [WebSocketEvent] {
        var failure: WebSocketFailure?
        do {
            try channel.writeInbound(ByteBuffer(bytes: bytes))
        } catch NIOWebSocketError.invalidFrameLength {
            let most = Limits.webSocketFrameBytesMax
            failure = WebSocketFailure(1_009, "a message has at most \(most) bytes; send several")
        } catch {
            failure = WebSocketFailure(1_002, "\(error)")
        }
        var events: [WebSocketEvent] = []
        while let frame = try? channel.readInbound(as: WebSocketFrame.self) {
            guard let event = try event(of: frame) else { continue }
            events.append(event)
            // Nothing counts behind it.
            if case .close = event { return events }
        }
        if let failure { throw failure }
        return events
    }

    private func event(of frame: WebSocketFrame) throws(WebSocketFailure) -> WebSocketEvent? {
        guard frame.maskKey != nil else {
            throw WebSocketFailure(1_002, "a client masks its frames")
        }
        guard frame.reservedBits.isEmpty else {
            throw WebSocketFailure(1_002, "no extension was agreed on")
        }
        let bytes = Array(frame.unmaskedData.readableBytesView)
        switch frame.opcode {
        case .ping: return .ping(bytes)
        case .pong: return nil
        case .connectionClose: return .close(try Self.checked(bytes))
        case .text: throw WebSocketFailure(1_003, "messages are binary")
        case .binary where isFragmented, .continuation where !isFragmented:
            throw WebSocketFailure(1_002, "a message was begun in another, or gone on with in none")
        case .binary, .continuation:
            isFragmented = !frame.fin
            return bytes.isEmpty ? nil : .bytes(bytes)
        default: throw WebSocketFailure(1_002, "there is no such frame")
        }
    }

    /// The code that the client closes with, if it may.
    private static func checked(_ bytes: [UInt8]) throws(WebSocketFailure) -> [UInt8] {
        guard !bytes.isEmpty else { return [] }
        guard bytes.count > 1 else { throw WebSocketFailure(1_002, "half a code") }
        let code = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
        guard [1_000...1_003, 1_007...1_014, 3_000...4_999].contains(where: { $0 ~= code }) else {
            throw WebSocketFailure(1_002, "\(code) is no code to close with")
        }
        guard String(validating: bytes[2...], as: UTF8.self) != nil else {
            throw WebSocketFailure(1_007, "a reason is UTF-8")
        }
        return Array(bytes[..<2])
    }
}

// MARK: - What goes out

extension WebSocketCodec {
    package enum Kind: UInt8 {
        case binary = 2
        case close = 8
        case pong = 10
    }

    /// Appends a frame of at most 65,535 bytes.
    package static func append(_ kind: Kind, _ bytes: ArraySlice<UInt8>, to out: inout [UInt8]) {
        out.append(0x80 | kind.rawValue)
        if bytes.count < 126 {
            out.append(UInt8(bytes.count))
        } else {
            out += [126, UInt8(bytes.count >> 8), UInt8(truncatingIfNeeded: bytes.count)]
        }
        out += bytes
    }

    package static func append(closing failure: WebSocketFailure, to out: inout [UInt8]) {
        let code = [UInt8(failure.code >> 8), UInt8(truncatingIfNeeded: failure.code)]
        append(.close, (code + failure.text.utf8.prefix(123))[...], to: &out)
    }
}

// MARK: - The handshake

extension WebSocketCodec {
    /// The protocol inside, by the name that it has in handshakes.
    package static let subprotocol = "sluice.v1"

    /// The head of the answer that makes a WebSocket of the connection; nil if the request does not
    /// hold what RFC 6455 wants.
    package static func acceptance(of request: RequestHead) -> [UInt8]? {
        guard let key = request["sec-websocket-key"], Base64.decode(key)?.count == 16 else {
            return nil
        }
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: request.target)
        for header in request.headers { head.headers.add(name: header.name, value: header.value) }
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        let upgrader = NIOWebSocketServerUpgrader { channel, _ in
            channel.eventLoop.makeSucceededFuture(HTTPHeaders())
        } upgradePipelineHandler: { channel, _ in
            channel.eventLoop.makeSucceededVoidFuture()
        }
        let answer = upgrader.buildUpgradeResponse(
            channel: channel,
            upgradeRequest: head,
            initialResponseHeaders: HTTPHeaders()
        )
        guard let headers = try? answer.wait() else { return nil }
        var text = "HTTP/1.1 101 Switching Protocols\r\n"
        for (name, value) in headers { text += "\(name.lowercased()): \(value)\r\n" }
        return Array((text + "sec-websocket-protocol: \(subprotocol)\r\n\r\n").utf8)
    }
}
