import Glibc
import Logging
import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

/// A broker without sockets, clocks and threads, for clients that speak bytes.
final class PeerBench {
    let engines: [Engine]
    /// The one that accepts.
    let engine: Engine

    init(
        shards: Int = 1,
        accepting: Int = 0,
        _ configure: (inout EngineConfiguration) -> Void = { _ in }
    ) {
        var configuration = EngineConfiguration()
        configure(&configuration)
        let census = Census()
        engines = (0..<shards).map { index in
            let engine = Engine(
                configuration: configuration,
                logger: Logger(label: "bench", factory: { _ in SwiftLogNoOpLogHandler() }),
                now: Instant(nanoseconds: 1_000_000_000),
                place: Place(index: index, of: shards, census: census)
            )
            engine.time = 1_700_000_000_000_000
            return engine
        }
        engine = engines[accepting]
    }

    func connect() -> BenchClient { BenchClient(self) }

    /// Lets every engine work, and what they say to each other arrive, until nothing moves.
    func work() {
        var moved = true
        while moved {
            moved = false
            for engine in engines {
                while engine.turn() {}
                engine.sendPost { other, messages in
                    moved = true
                    engines[other].receive(messages, from: engine.place.index)
                }
            }
        }
    }
}

/// One connection of a bench: what a socket would carry, in memory.
final class BenchClient {
    private let bench: PeerBench
    let peer: ClientPeer
    private var slab = Slab(capacity: 4_096)
    private var parsed = 0
    private var incoming: [UInt8] = []

    init(_ bench: PeerBench) {
        self.bench = bench
        peer = ClientPeer(engine: bench.engine, settings: ClientPeer.Settings()) {}
    }

    var isEnded: Bool { peer.isEnding && peer.out.isEmpty }

    /// Whether a frame has begun to come and is not complete.
    var isMidFrame: Bool { parsed < slab.filled }

    /// Hands bytes over as one read would bring them.
    func send(_ bytes: [UInt8]) {
        if slab.room < bytes.count {
            let rest = slab.withBytes { $0.array(in: parsed..<$0.byteCount) }
            slab = Slab(capacity: max(4_096, 2 * (rest.count + bytes.count)))
            _ = slab.append(rest.span.bytes)
            parsed = 0
        }
        _ = slab.append(bytes.span.bytes)
        parsed = peer.receive(slab, from: parsed).parsed
        while let departure = peer.departure {
            peer.depart()
            peer.arrive(at: bench.engines[departure.engine])
            if peer.departure == nil { parsed = peer.receive(slab, from: parsed).parsed }
        }
    }

    /// Lets the broker work, and takes what it writes; `chunk` bytes a call.
    func run(chunk: Int = .max) {
        repeat { write(chunk) } while !peer.out.isEmpty
    }

    /// Lets the broker work, takes what it writes at once, and lets it work on.
    func write(_ chunk: Int = .max) {
        bench.work()
        flush(chunk)
        bench.work()
    }

    private func flush(_ chunk: Int) {
        var scratch = OutQueue.Scratch()
        _ = peer.flush(&scratch) { buffer in
            var left = chunk
            for vector in buffer where left > 0 {
                let count = min(left, vector.iov_len)
                incoming += UnsafeRawBufferPointer(start: vector.iov_base, count: count)
                left -= count
            }
            return .bytes(chunk == .max ? buffer.reduce(0) { $0 + $1.iov_len } : chunk - left)
        }
    }

    /// Tries to write to a client that takes nothing.
    func block() {
        var scratch = OutQueue.Scratch()
        _ = peer.flush(&scratch) { _ in .wouldBlock }
    }

    /// The frames that have come since the last call; what is no frame is left out.
    func take() -> [Sentence] {
        let bytes = incoming
        incoming = []
        return Self.sentences(in: bytes)
    }

    /// The bytes that have come since the last call.
    func takeBytes() -> [UInt8] {
        defer { incoming = [] }
        return incoming
    }

    /// How many of the bytes are whole frames.
    static func wholeBytes(of bytes: [UInt8]) -> Int {
        var position = 0
        while let header = FrameHeader.decode(from: bytes.span.bytes, at: position),
            position + FrameHeader.byteCount + header.length <= bytes.count
        {
            position += FrameHeader.byteCount + header.length
        }
        return position
    }

    static func sentences(in bytes: [UInt8]) -> [Sentence] {
        let span = bytes.span.bytes
        var sentences: [Sentence] = []
        var position = 0
        while let header = FrameHeader.decode(from: span, at: position) {
            let body =
                position + FrameHeader.byteCount..<position + FrameHeader.byteCount
                + header.length
            guard body.upperBound <= bytes.count else { break }
            guard let frame = try? Frame.decode(header, body: span, in: body) else {
                return sentences + [Sentence(type: "BROKEN", link: header.link)]
            }
            sentences.append(Sentence(frame, link: header.link, body: span))
            position = body.upperBound
        }
        return position == bytes.count ? sentences : sentences + [Sentence(type: "CUT", link: 0)]
    }

    /// Says a line of a conversation, lets the broker work, and takes what it answers.
    @discardableResult
    func say(_ text: String) throws -> [Sentence] {
        let sentence = try #require(Sentence(parsing: text), "\(text)")
        send(try sentence.encoded())
        run()
        return take()
    }
}
