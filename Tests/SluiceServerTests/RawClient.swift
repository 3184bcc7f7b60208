import Dispatch
import Glibc
import SluiceCore
import SluiceNet
import SluiceTestKit
import SluiceWire

/// What a raw client waited for and did not get.
///
/// It is thrown and not recorded, so that a test can expect it: `#require` in a helper would fail
/// a test that says `#expect(throws:)` of it.
struct Unheard: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// A client that is no more than a socket; its calls block, so they run off the tests' threads.
final class RawClient {
    private var open: Descriptor?
    private var incoming: [UInt8] = []

    init(_ address: String) throws {
        let endpoint = try Endpoint(parsing: address)
        guard let resolved = try endpoint.resolve().first else { throw Unheard("no \(address)") }
        let socket = try Socket.connecting(to: resolved)
        open = socket.release()
        try wait(for: POLLOUT)
    }

    deinit { open?.close() }

    private var descriptor: Descriptor {
        get throws {
            guard let open else { throw SystemError(code: EBADF, call: "closed by the test") }
            return open
        }
    }

    /// Breaks the connection without a word.
    func cut() {
        open?.close()
        open = nil
    }

    @discardableResult
    private func wait(for events: CInt, milliseconds: CInt = 10_000) throws -> Bool {
        var entry = pollfd(fd: try descriptor.number, events: Int16(events), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = try sendSome(bytes[sent...])
            guard count > 0 else { throw Unheard("the broker does not read") }
            sent += count
        }
    }

    /// Sends what the socket takes now or within the time given; 0 if it takes nothing.
    func sendSome(_ bytes: ArraySlice<UInt8>, milliseconds: CInt = 10_000) throws -> Int {
        guard try wait(for: POLLOUT, milliseconds: milliseconds) else { return 0 }
        let sending = try bytes.withUnsafeBytes { try descriptor.send($0) }
        guard case .bytes(let count) = sending else { return 0 }
        return count
    }

    /// Sends a line of a conversation.
    func say(_ text: String) throws {
        guard let sentence = Sentence(parsing: text) else { throw Unheard("no sentence: \(text)") }
        try send(sentence.encoded())
    }

    /// Takes bytes that have come; false at the end of the stream.
    private func receive() throws -> Bool {
        guard try wait(for: POLLIN) else { throw Unheard("nothing came, after \(heard.suffix(8))") }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let receipt = try buffer.withUnsafeMutableBytes { try descriptor.receive(into: $0) }
        guard case .bytes(let count) = receipt else { return receipt == .wouldBlock }
        incoming += buffer[..<count]
        return true
    }

    private var heard: [Sentence] { BenchClient.sentences(in: incoming) }

    /// Waits for a frame, and takes it away with all before it.
    @discardableResult
    func hear(_ description: String, _ isIt: (Sentence) -> Bool) throws -> Sentence {
        while true {
            if let sentence = takeFirst(isIt) { return sentence }
            guard try receive() else {
                throw Unheard("the broker closed before \(description): \(heard)")
            }
        }
    }

    @discardableResult
    func hear(_ type: String, _ link: UInt32 = 0) throws -> Sentence {
        try hear("\(type) \(link)") { $0.type == type && $0.link == link }
    }

    private func takeFirst(_ isIt: (Sentence) -> Bool) -> Sentence? {
        let bytes = incoming
        let span = bytes.span.bytes
        var position = 0
        while let header = FrameHeader.decode(from: span, at: position) {
            let body =
                position + FrameHeader.byteCount..<position + FrameHeader.byteCount
                + header.length
            guard body.upperBound <= bytes.count,
                let frame = try? Frame.decode(header, body: span, in: body)
            else { return nil }
            let sentence = Sentence(frame, link: header.link, body: span)
            position = body.upperBound
            if isIt(sentence) {
                incoming.removeFirst(position)
                return sentence
            }
        }
        return nil
    }

    /// What has come so far, without waiting.
    func hearWhatIsThere() throws -> [Sentence] {
        while try wait(for: POLLIN, milliseconds: 0) {
            guard try receive() else { break }
        }
        var said: [Sentence] = []
        _ = takeFirst { sentence in
            said.append(sentence)
            return false
        }
        let rest = BenchClient.wholeBytes(of: incoming)
        incoming.removeFirst(rest)
        return said
    }

    /// Waits until the broker has closed the connection; what came before that.
    @discardableResult
    func hearTheEnd() throws -> [Sentence] {
        while (try? receive()) == true {}
        return heard
    }

    /// Lets little be on its way to the client: the rest waits at the broker's end.
    func narrow() throws { try descriptor.setReceiveBuffer(bytes: 4_096) }

    /// The same, while it goes on sending after each read.
    func hearTheEnd(saying text: String) throws -> [Sentence] {
        while (try? receive()) == true { try? say(text) }
        return heard
    }

    @discardableResult
    func greet(_ more: String = "keepalive=10") throws -> String {
        try say("HELLO versions=1..1 name=raw \(more)")
        guard let session = try hear("WELCOME").fields["session"] else {
            throw Unheard("a session in WELCOME")
        }
        return session
    }

    /// Asks for a round trip, so that what was sent before has been taken.
    func sync(_ number: UInt64 = 4_711) throws {
        try say("PING \(number)")
        try hear("PONG") { $0.flags == ["PONG"] && $0["opaque"] == number }
    }

    /// The one document of `$sys/server`, on a link that is opened for it.
    func serverDocument(_ link: UInt32) throws -> String {
        try say("OPEN \(link) sink topic=$sys/server demand=1")
        let events = try hear("EVENTS", link)
        try say("CLOSE \(link) NORMAL")
        guard let document = events.events.first?.payload else { throw Unheard("a document") }
        return document
    }
}

/// Runs what blocks on a thread of its own.
func blocking<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async {
            continuation.resume(with: Swift.Result { try body() })
        }
    }
}
