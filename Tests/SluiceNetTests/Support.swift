import Glibc
import SluiceNet
import Testing

/// Runs `body` beside a started loop and ends the loop, whatever comes of it.
func withLoop(_ body: (EventLoop) async throws -> Void) async throws {
    let loop = try EventLoop(label: "test.loop")
    loop.start()
    do {
        try await body(loop)
    } catch {
        loop.stop()
        await loop.waitUntilStopped()
        throw error
    }
    loop.stop()
    await loop.waitUntilStopped()
}

extension EventLoop {
    /// Runs `body` on the loop and returns what it returns.
    func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value
    {
        try await withCheckedThrowingContinuation { continuation in
            let isTaken = submit { continuation.resume(with: Result(catching: body)) }
            #expect(isTaken)
        }
    }

    /// Returns after `count` more turns, so that what was ready has been told.
    func turns(_ count: Int) async throws {
        for _ in 0..<count { try await run {} }
    }
}

/// Values that the loop hands to the test, in order.
final class Sink<Value: Sendable>: Sendable {
    private let stream: AsyncStream<Value>
    private let continuation: AsyncStream<Value>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream(of: Value.self) }

    func put(_ value: Value) { continuation.yield(value) }

    /// Waits for the next `count` values.
    func take(_ count: Int = 1) async -> [Value] {
        var values: [Value] = []
        for await value in stream.prefix(count) { values.append(value) }
        return values
    }
}

/// Passes each readiness to a closure.
// Confined to the loop it is registered on.
final class Watch: IOHandler, @unchecked Sendable {
    private let body: (IOEvents) -> Void

    init(_ body: @escaping (IOEvents) -> Void) { self.body = body }

    func ready(_ events: IOEvents) { body(events) }
}

/// A value that only code on one loop touches.
final class Confined<Value>: @unchecked Sendable {
    var value: Value

    init(_ value: Value) { self.value = value }
}

/// Two connected stream sockets.
func socketPair() throws -> (Descriptor, Descriptor) {
    var numbers: [CInt] = [-1, -1]
    let type = CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    try #require(socketpair(AF_UNIX, type, 0, &numbers) == 0)
    return (Descriptor(numbers[0]), Descriptor(numbers[1]))
}

extension Descriptor {
    func send(_ text: String) throws -> Sending {
        var text = text
        return try text.withUTF8 { bytes throws(SystemError) in
            try send(UnsafeRawBufferPointer(bytes))
        }
    }

    /// What waits on the socket, up to `limit` bytes; nil if nothing does.
    func receiveText(limit: Int = 4096) throws -> String? {
        var bytes = [UInt8](repeating: 0, count: limit)
        let receipt = try bytes.withUnsafeMutableBytes { buffer throws(SystemError) in
            try receive(into: buffer)
        }
        switch receipt {
        case .bytes(let count): return String(decoding: bytes[..<count], as: UTF8.self)
        case .ended: return ""
        case .wouldBlock: return nil
        }
    }
}

/// A directory that is gone after `body`.
func withDirectory(_ body: (String) async throws -> Void) async throws {
    var template = Array((P_tmpdir + "/sluice-net-XXXXXX").utf8CString)
    try #require(mkdtemp(&template) != nil)
    let path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer { rmdir(path) }
    try await body(path)
}

func status(_ path: String) -> stat? {
    var status = stat()
    return lstat(path, &status) == 0 ? status : nil
}
