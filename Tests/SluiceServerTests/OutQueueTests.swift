import Glibc
import SluiceCore
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

@Suite struct OutQueueTests {
    /// Takes `chunk` bytes a call until nothing is left, or `limit` bytes in all.
    @discardableResult
    private static func flush(
        _ queue: inout OutQueue,
        into bytes: inout [UInt8],
        chunk: Int = .max,
        limit: Int = .max
    ) -> (isBlocked: Bool, byteCount: Int, credits: [(link: UInt32, bytes: Int)]) {
        var scratch = OutQueue.Scratch()
        var rest = limit
        var taken: [UInt8] = []
        let outcome = queue.flush(&scratch) { buffer in
            guard rest > 0 else { return .wouldBlock }
            var left = min(chunk, rest)
            let before = taken.count
            for vector in buffer where left > 0 {
                let count = min(left, vector.iov_len)
                taken += UnsafeRawBufferPointer(start: vector.iov_base, count: count)
                left -= count
            }
            rest -= taken.count - before
            return .bytes(taken.count - before)
        }
        bytes += taken
        return (outcome.isBlocked, outcome.byteCount, scratch.credits)
    }

    private static func run(_ payloads: [String], offset: UInt64 = 0) throws -> Run {
        var writer = FrameWriter()
        for payload in payloads { try writer.appendRecord(payload: Array(payload.utf8).span.bytes) }
        let slab = Slab(capacity: writer.bytes.count)
        let range = slab.append(writer.bytes.span.bytes)
        return Run(slab: slab, bytes: range, count: UInt32(payloads.count), offset: offset)
    }

    private static func append(
        _ payloads: [String],
        seq: UInt64,
        on link: UInt32,
        to queue: inout OutQueue
    ) throws {
        let run = try run(payloads)
        queue.append(link: link, firstSequence: seq, runs: [run], bytes: run.byteCount)
    }

    private static func status(_ asked: UInt64, drained: Bool = false) -> Status {
        var status = Status()
        status.asked = asked
        status.isDrained = drained
        return status
    }

    private static func words(_ bytes: [UInt8]) -> [String] {
        BenchClient.sentences(in: bytes).map { sentence in
            switch sentence.type {
            case "EVENTS":
                "\(sentence.link):" + sentence.events.map { $0.payload ?? "" }.joined()
            case "STATUS":
                "\(sentence.link):STATUS \(sentence.fields["asked"] ?? "")"
                    + sentence.flags.sorted().map { " " + $0 }.joined()
            case "SETTLE": "\(sentence.link):SETTLE \(sentence.verdicts.count)"
            case "PING": "PING \(sentence.fields["opaque"] ?? "")"
            case "CLOSE": "\(sentence.link):CLOSE"
            default: "\(sentence.link):\(sentence.type)"
            }
        }
    }

    /// A queue with something of everything.
    private static func mixed() throws -> OutQueue {
        var queue = OutQueue()
        try append(["a", "b"], seq: 1, on: 1, to: &queue)
        let runs = [try run(["c"]), try run(["d", "e"], offset: 7)]
        let bytes = runs.reduce(0) { $0 + $1.byteCount }
        queue.append(link: 2, firstSequence: 1, runs: runs[...], bytes: bytes)
        queue.say(status(3), link: 1)
        queue.append(link: 2, window: 64) {
            $0.append(Gap(from: 1, to: 2, count: 1, reason: .cut), nextSequence: 4, link: 2)
        }
        queue.settle(3, Settlement(from: 1, count: 2))
        queue.settle(3, Settlement(from: 3, count: 1))
        queue.answer(ping: 5)
        queue.answer(ping: 6)
        queue.urgent.append(Opened(), link: 4)
        return queue
    }

    private static let mixedWords = [
        "4:OPENED", "3:SETTLE 3", "PING 6", "1:ab", "2:cde", "1:STATUS 3", "2:",
    ]

    @Test(
        "What overtakes goes first, the rest keeps its place, settlements merge, one PONG is left"
    )
    func order() throws {
        var queue = try Self.mixed()
        var bytes: [UInt8] = []
        Self.flush(&queue, into: &bytes)
        #expect(Self.words(bytes) == Self.mixedWords)
        #expect(queue.isEmpty && queue.eventBytes == 0 && queue.urgentBytes == 0)
    }

    @Test("However few bytes are taken at a time, the stream is the same")
    func chunks() throws {
        var whole: [UInt8] = []
        var queue = try Self.mixed()
        Self.flush(&queue, into: &whole)
        for chunk in 1...whole.count {
            var queue = try Self.mixed()
            var bytes: [UInt8] = []
            let outcome = Self.flush(&queue, into: &bytes, chunk: chunk)
            #expect(bytes == whole, "\(chunk) bytes at a time")
            #expect(outcome.byteCount == whole.count && !outcome.isBlocked)
            let credited = outcome.credits.reduce(0) { $0 + $1.bytes }
            #expect(credited == 5 * 5 + 64)
        }
    }

    @Test("An urgent frame overtakes everything but the frame that is half written")
    func overtaking() throws {
        for taken in 0...120 {
            var queue = OutQueue()
            try Self.append(["a"], seq: 1, on: 1, to: &queue)
            try Self.append(["b"], seq: 2, on: 1, to: &queue)
            var bytes: [UInt8] = []
            let frame = FrameWriter.eventsOverhead(runs: 1) + 5
            let outcome = Self.flush(&queue, into: &bytes, limit: taken)
            #expect(outcome.isBlocked == (taken < 2 * frame))
            queue.urgent.append(Ping(opaque: 9))
            Self.flush(&queue, into: &bytes)
            let place = min(2, (taken + frame - 1) / frame)
            var words = ["1:a", "1:b"]
            words.insert("PING 9", at: place)
            #expect(Self.words(bytes) == words, "after \(taken) bytes")
        }
    }

    @Test("Closing a link never breaks a frame, whatever was written of it")
    func dropping() throws {
        var whole: [UInt8] = []
        var queue = try Self.mixed()
        Self.flush(&queue, into: &whole)
        for taken in 0...whole.count {
            for link in UInt32(1)...2 {
                var queue = try Self.mixed()
                var bytes: [UInt8] = []
                Self.flush(&queue, into: &bytes, limit: taken)
                queue.drop(link: link)
                queue.urgent.append(Close(.protocolError), link: link)
                Self.flush(&queue, into: &bytes, chunk: 7)
                let words = Self.words(bytes)
                #expect(!words.contains { $0.hasSuffix("BROKEN") || $0.hasSuffix("CUT") })
                let last = words.firstIndex(of: "\(link):CLOSE") ?? 0
                #expect(!words[last...].dropFirst().contains { $0.hasPrefix("\(link):") })
                #expect(words.contains { $0.hasPrefix("\(3 - link):") }, "the other link goes on")
                #expect(queue.isEmpty && queue.eventBytes == 0 && queue.urgentBytes == 0)
            }
        }
    }

    @Test("At the end only replies and what was begun are left")
    func ending() throws {
        var whole: [UInt8] = []
        var queue = try Self.mixed()
        Self.flush(&queue, into: &whole)
        for taken in 0...whole.count {
            var queue = try Self.mixed()
            var bytes: [UInt8] = []
            Self.flush(&queue, into: &bytes, limit: taken)
            let before = Self.words(bytes).filter { !$0.hasSuffix(":CUT") }
            queue.dropEvents()
            queue.urgent.append(Close(.goingAway))
            Self.flush(&queue, into: &bytes)
            let words = Self.words(bytes)
            #expect(words.last == "0:CLOSE" && words.starts(with: before), "after \(taken) bytes")
            #expect(words.count <= max(before.count + 2, 5) && queue.isEmpty)
            #expect(queue.eventBytes == 0)
        }
    }

    @Test("The latest STATUS wins, takes over flags, and stays behind the events of its link")
    func statuses() throws {
        var queue = OutQueue()
        queue.say(Self.status(1, drained: true), link: 1)
        try Self.append(["a"], seq: 1, on: 1, to: &queue)
        queue.say(Self.status(7), link: 2)
        queue.say(Self.status(2), link: 1)
        try Self.append(["b"], seq: 2, on: 1, to: &queue)
        var bytes: [UInt8] = []
        Self.flush(&queue, into: &bytes)
        #expect(Self.words(bytes) == ["1:a", "2:STATUS 7", "1:STATUS 2 DRAINED", "1:b"])
    }

    @Test("Unpinned memory is copied: the bytes stay, the slabs go")
    func unpinning() throws {
        var whole: [UInt8] = []
        var queue = try Self.mixed()
        Self.flush(&queue, into: &whole)
        for taken in 0...whole.count {
            var queue = try Self.mixed()
            weak var slab: Slab?
            do {
                let run = try Self.run(["x"])
                slab = run.slab
                queue.append(link: 9, firstSequence: 1, runs: [run], bytes: run.byteCount)
            }
            #expect(slab != nil)
            var bytes: [UInt8] = []
            Self.flush(&queue, into: &bytes, limit: taken)
            queue.unpin()
            #expect(slab == nil)
            Self.flush(&queue, into: &bytes)
            #expect(bytes.starts(with: whole), "after \(taken) bytes")
        }
    }

    @Test("Queued bytes are exact while thousands of frames wait and few are taken")
    func counting() throws {
        var random = SeededGenerator.replayable("queue")
        var queue = OutQueue()
        var bytes: [UInt8] = []
        var queued = 0
        var expected: [String] = []
        var sequence: UInt64 = 1
        for step in 0..<3_000 {
            let payload = String(repeating: "p", count: Int.random(in: 1...900, using: &random))
            try Self.append([payload], seq: sequence, on: 1, to: &queue)
            expected.append("1:" + payload)
            sequence += 1
            queued += payload.utf8.count + 4
            #expect(queue.eventBytes == queued)
            guard step % 7 == 0 else { continue }
            let limit = Int.random(in: 0...6_000, using: &random)
            let outcome = Self.flush(&queue, into: &bytes, chunk: 611, limit: limit)
            queued -= outcome.credits.reduce(0) { $0 + $1.bytes }
            #expect(queue.eventBytes == queued)
        }
        Self.flush(&queue, into: &bytes)
        #expect(Self.words(bytes) == expected && queue.eventBytes == 0)
    }

    @Test("A flush that fails says so and loses nothing")
    func failing() throws {
        var queue = try Self.mixed()
        var scratch = OutQueue.Scratch()
        #expect(queue.flush(&scratch) { _ in .failed }.hasFailed)
        var bytes: [UInt8] = []
        Self.flush(&queue, into: &bytes)
        #expect(Self.words(bytes).count == Self.mixedWords.count)
    }
}
