import Dispatch
import Glibc
import Logging
import Sluice
import SluiceCore
import SluiceNet
import SluiceTestKit
import SluiceWire
import Testing

/// A broker that says what a test writes down, on a free port of loopback.
///
/// Its calls block, so that a script runs on a thread of its own.
final class ScriptedBroker: Sendable {
    let address: String
    private let listener: CInt

    init() throws {
        listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let code = withUnsafeMutablePointer(to: &place) { place in
            place.withMemoryRebound(to: sockaddr.self, capacity: 1) { place in
                bind(listener, place, size) | listen(listener, 8)
                    | getsockname(listener, place, &size)
            }
        }
        try #require(code == 0, "cannot listen")
        address = "127.0.0.1:\(UInt16(bigEndian: place.sin_port))"
    }

    deinit { close(listener) }

    /// Plays `script` while `body` runs, and waits for both.
    func play(
        _ script: @escaping @Sendable (ScriptedBroker) throws -> Void,
        _ body: () async throws -> Void
    ) async throws {
        // A serial queue has a thread of its own, and the script begins at once: a client that
        // connects waits for nobody, however busy the threads of tasks are.
        let outcome = Lock<Result<Void, any Error>>(.success(()))
        let playing = DispatchGroup()
        DispatchQueue(label: "script").async(group: playing) { @Sendable [self] in
            let result = Result { try script(self) }
            outcome.withLock { $0 = result }
        }
        try await body()
        await withCheckedContinuation { continuation in
            playing.notify(queue: DispatchQueue(label: "played")) { @Sendable in
                continuation.resume()
            }
        }
        try outcome.withLock { $0 }.get()
    }

    /// Waits for the next connection and welcomes it.
    func welcome(resumed: Bool = false) throws -> ScriptedConnection {
        try #require(ScriptedConnection.isReady(listener, POLLIN), "nobody connects")
        let connection = ScriptedConnection(accept(listener, nil, nil))
        try connection.hear("HELLO")
        let session = String(repeating: "07", count: 16)
        let flags = resumed ? " RESUMED" : ""
        try connection.say("WELCOME\(flags) version=1 keepalive=10 session=\(session)")
        return connection
    }

    func client(_ policy: ReconnectPolicy) -> SluiceClient {
        SluiceClient(
            configuration: ClientConfiguration(
                servers: [address],
                connectTimeout: .seconds(60),
                reconnect: policy
            ),
            logger: Logger(label: "client", factory: { _ in SwiftLogNoOpLogHandler() })
        )
    }
}

/// One connection of a scripted broker; it breaks when nobody holds it.
final class ScriptedConnection {
    private let descriptor: CInt
    private var incoming: [UInt8] = []

    init(_ descriptor: CInt) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    static func isReady(_ descriptor: CInt, _ events: CInt) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        return poll(&entry, 1, 60_000) > 0
    }

    func say(_ text: String) throws {
        let bytes = try #require(Sentence(parsing: text), "\(text)").encoded()
        try #require(send(bytes), "the client is gone")
    }

    /// Sends all of `bytes`; false if the client does not read, or is gone.
    func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            guard Self.isReady(descriptor, POLLOUT) else { return false }
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// Waits for the next frame, which is to be of `type` on `link`; a PING may come at any time.
    @discardableResult
    func hear(_ type: String, _ link: UInt32 = 0) throws -> Sentence {
        var sentence = try hear()
        while sentence.type == "PING", type != "PING" { sentence = try hear() }
        #expect(sentence.type == type && sentence.link == link, "\(sentence)")
        return sentence
    }

    /// Waits for the next frame, whatever it is.
    func hear() throws -> Sentence { try #require(try next(), "the client closed") }

    /// Waits until the client has closed the connection.
    func hearTheEnd() throws {
        while try next() != nil {}
    }

    private func next() throws -> Sentence? {
        while true {
            let bytes = incoming
            let span = bytes.span.bytes
            if let header = FrameHeader.decode(from: span, at: 0) {
                let end = FrameHeader.byteCount + header.length
                if end <= bytes.count {
                    let body = FrameHeader.byteCount..<end
                    let frame = try Frame.decode(header, body: span, in: body)
                    incoming.removeFirst(end)
                    return Sentence(frame, link: header.link, body: span)
                }
            }
            try #require(Self.isReady(descriptor, POLLIN), "nothing comes")
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return nil }
            incoming += buffer[..<count]
        }
    }
}
