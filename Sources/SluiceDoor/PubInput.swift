import Dispatch
import Glibc

/// What one event is, on the way in.
package enum Each: String, CaseIterable, Sendable {
    /// A line, without its end.
    case line
    /// What stands before a NUL byte.
    case nul
    /// A whole file.
    case file
    /// All of the input together.
    case eof
}

/// Cuts a stream of bytes at a separator, however the bytes come.
package struct Splitter {
    package private(set) var buffer: [UInt8] = []
    private var start = 0
    private var scanned = 0
    private let separator: UInt8

    package init(separator: UInt8) { self.separator = separator }

    /// Bytes that wait for their separator.
    package var pending: Int { buffer.count - start }

    package mutating func feed(_ bytes: [UInt8]) {
        buffer.removeSubrange(..<start)
        scanned -= start
        start = 0
        buffer += bytes
    }

    /// Where in `buffer` the next whole piece lies, without its separator.
    package mutating func next() -> Range<Int>? {
        let found = buffer.withUnsafeBytes { bytes -> Int? in
            guard scanned < bytes.count, let base = bytes.baseAddress else { return nil }
            return memchr(base + scanned, Int32(separator), bytes.count - scanned)
                .map { UnsafeRawPointer($0) - base }
        }
        guard let found else {
            scanned = buffer.count
            return nil
        }
        defer {
            start = found + 1
            scanned = start
        }
        return start..<found
    }

    /// The piece after the last separator, if there is one.
    package mutating func rest() -> Range<Int>? {
        guard start < buffer.count else { return nil }
        defer { start = buffer.count }
        return start..<buffer.count
    }
}

/// A file that is read a chunk at a time, on a queue of its own: reading may block for ever.
struct InputFile {
    private static let queue = DispatchQueue(label: "sluice.input")
    static let chunkBytes = 262_144

    let name: String
    private let descriptor: Int32

    static let standardInput = Self(name: "standard input", descriptor: STDIN_FILENO)

    init(name: String, descriptor: Int32) {
        self.name = name
        self.descriptor = descriptor
    }

    init(path: String) throws(Failure) {
        guard path != "-" else {
            self = .standardInput
            return
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw Failure(.error, "cannot open '\(path)': \(systemText(errno))")
        }
        self.init(name: path, descriptor: descriptor)
    }

    /// The next bytes; none at the end.
    func read() async throws(Failure) -> [UInt8] {
        let (descriptor, max) = (descriptor, Self.chunkBytes)
        let result: Result<[UInt8], Failure> = await withCheckedContinuation { continuation in
            Self.queue.async { @Sendable in
                var code: Int32 = 0
                let bytes = [UInt8](unsafeUninitializedCapacity: max) { buffer, count in
                    var got = -1
                    repeat {
                        got = Glibc.read(descriptor, buffer.baseAddress, max)
                    } while got < 0 && errno == EINTR
                    code = got < 0 ? errno : 0
                    count = Swift.max(0, got)
                }
                continuation.resume(
                    returning: code == 0
                        ? .success(bytes) : .failure(Failure(.error, systemText(code)))
                )
            }
        }
        do {
            return try result.get()
        } catch {
            throw Failure(.error, "cannot read \(name): \(error.message)")
        }
    }

    func close() {
        if descriptor != STDIN_FILENO { _ = Glibc.close(descriptor) }
    }
}
