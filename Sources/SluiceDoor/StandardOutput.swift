import Glibc

/// Where data goes: standard output, buffered until a batch ends.
///
/// Everything that is not data goes to standard error by `Notice`.
final class StandardOutput {
    private static let flushBytes = 65_536

    private var buffer: [UInt8] = []
    private let descriptor: Int32

    init(descriptor: Int32 = STDOUT_FILENO) {
        self.descriptor = descriptor
        buffer.reserveCapacity(2 * Self.flushBytes)
    }

    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    func write(_ byte: UInt8) { buffer.append(byte) }

    func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        buffer.append(contentsOf: bytes)
        if buffer.count >= Self.flushBytes { try flush() }
    }

    func write(_ bytes: some Sequence<UInt8>) throws(Failure) {
        buffer.append(contentsOf: bytes)
        if buffer.count >= Self.flushBytes { try flush() }
    }

    func write(_ text: String) throws(Failure) { try write(text.utf8) }

    func line(_ text: String) throws(Failure) {
        try write(text.utf8)
        write(UInt8(ascii: "\n"))
    }

    /// Hands everything to the system; a reader that is gone is a `brokenPipe`.
    func flush() throws(Failure) {
        var done = 0
        while done < buffer.count {
            let count = buffer[done...].withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count >= 0 {
                done += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN: waitUntilWritable()
            case EPIPE: throw .brokenPipe
            case let code:
                throw Failure(.error, "cannot write to standard output: \(systemText(code))")
            }
        }
        buffer.removeAll(keepingCapacity: true)
    }

    private func waitUntilWritable() {
        var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        _ = Glibc.poll(&poll, 1, -1)
    }
}

/// Words for the person at the terminal, on standard error.
enum Notice {
    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    static func line(_ text: String) { raw(text + "\n") }

    static func raw(_ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            guard count >= 0 || errno == EINTR else { return }
            bytes = bytes.dropFirst(max(0, count))
        }
    }
}

/// The system's words for an error number.
func systemText(_ code: Int32) -> String {
    var text = [CChar](repeating: 0, count: 256)
    guard strerror_r(code, &text, text.count) == 0 else { return "error \(code)" }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
