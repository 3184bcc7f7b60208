import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import Testing

@Suite("Write windows")
struct WriteWindowTests {
    private let written = OutQueue.Outcome(byteCount: Limits.writeWindowBytes)
    private let blocked = OutQueue.Outcome(isBlocked: true)

    @Test("are wide while the kernel has twice their room, and narrow once a write blocks")
    func wide() {
        var windows = WriteWindows()
        let room = 2 * Limits.writeBurstBytes
        let early = windows.update(after: .init(byteCount: 100), isTight: false, links: 1) { room }
        #expect(early == nil, "nobody asked the kernel yet")
        let short = windows.update(after: written, isTight: false, links: 2) { 2 * room - 1 }
        #expect(short == nil, "there is no room for two")
        windows = WriteWindows()
        let first = windows.update(after: written, isTight: false, links: 1) { room }
        #expect(first == .init(Limits.writeBurstBytes))
        let again = windows.update(after: written, isTight: false, links: 1) { room }
        #expect(again == nil, "nothing changed")
        windows = WriteWindows()
        let most = windows.update(after: written, isTight: false, links: 1) {
            Limits.crossingBurstBytes
        }
        let crossing = Limits.crossingBurstBytes
        #expect(most == .init(Limits.writeBurstBytes, crossing: crossing))
        let megabyte = OutQueue.Outcome(byteCount: 1_048_576)
        let less = windows.update(after: megabyte, isTight: false, links: 1) { crossing / 2 }
        #expect(less == nil, "half of it is enough")
        let least = windows.update(after: megabyte, isTight: false, links: 1) { crossing / 2 - 1 }
        #expect(least == .init(Limits.writeWindowBytes))
        _ = windows.update(after: megabyte, isTight: false, links: 1) { room }
        let last = windows.update(after: blocked, isTight: false, links: 1) { room }
        #expect(last == .init(Limits.writeWindowBytes))
    }

    @Test("are tight in a full loop, but for a connection whose kernel takes all at once")
    func tight() {
        var windows = WriteWindows()
        let room = 2 * Limits.writeWindowBytes
        let few = OutQueue.Outcome(byteCount: 100)
        let first = windows.update(after: few, isTight: true, links: 1) { room }
        #expect(first == .init(Limits.writeWindowBytes), "the kernel is asked after each write")
        let full = windows.update(after: few, isTight: true, links: 1) { room - 1 }
        #expect(full == .init(Limits.writeWindowBytesTight), "before a write blocks")
        _ = windows.update(after: few, isTight: true, links: 1) { room }
        let last = windows.update(after: blocked, isTight: true, links: 1) { room }
        #expect(last == .init(Limits.writeWindowBytesTight))
    }

    /// So many, and so many bytes for each, that the queues of a loop are full while they stall.
    private static let stalled = 150
    private static let events: UInt64 = 24_000
    private static let taken: UInt64 = 10_000

    @Test(
        "one who reads is served at once beside those who fill the loop's queues",
        .timeLimit(.minutes(1))
    )
    func reading() async throws {
        try await withServer {
            // Its kernel buffers are small.
            $0.listen = ["unix:\(temporarySocketPath())"]
            $0.shards = 1
            $0.engine.topicDefaults.capacity = Self.events
            $0.engine.topicDefaults.ahead = Self.events
            $0.engine.topicDefaults.bufferBytes = 1 << 30
        } _: { address in
            try Self.fill("t", at: address)
            var others: [RawClient] = []
            for _ in 0..<Self.stalled {
                let client = try RawClient(address)
                try client.greet()
                try client.say("OPEN 1 sink topic=t demand=1000000")
                others.append(client)
            }
            for client in others { try client.hear("EVENTS", 1) }
            let reader = try RawClient(address)
            try reader.greet()
            // Its kernel has no room for what two links may have at once: its windows stay tight.
            try reader.say("OPEN 1 sink topic=other demand=1")
            try reader.say("OPEN 2 sink topic=t demand=\(Self.taken)")
            var last: UInt64 = 0
            while last < Self.taken {
                last = try #require(try reader.hear("EVENTS", 2).events.last?.sequence)
            }
        }
    }

    /// Publishes all events, with nobody there who takes them.
    private static func fill(_ topic: String, at address: String) throws {
        let producer = try RawClient(address)
        try producer.greet()
        try producer.say("OPEN 1 source topic=\(topic) available=\(events)")
        let payload = String(repeating: "p", count: 3_000)
        let bytes: UInt64 = 3_004
        var (sent, asked, askedBytes): (UInt64, UInt64, UInt64) = (0, 0, 0)
        // The last frame and its events: to encode one takes long.
        var frame: [UInt8] = []
        var few: UInt64 = 0
        while sent < events {
            let count = min(asked - sent, askedBytes / bytes - sent, 20)
            guard count > 0 else {
                if asked > sent {
                    try producer.say(
                        "STATUS 1 asked=\(asked) delivered=\(sent) asked_bytes=\(askedBytes) "
                            + "delivered_bytes=\(sent * bytes) available=\(events - sent) "
                            + "blocked_by=bytes need_bytes=\(bytes)"
                    )
                }
                let demand = try producer.hear("DEMAND", 1)
                asked = try #require(demand["total"])
                askedBytes = try #require(demand["bytes_total"])
                continue
            }
            if count != few {
                let payloads = Array(repeating: payload, count: Int(count))
                let text = "EVENTS 1 seq=1 [\(payloads.joined(separator: " "))]"
                frame = try #require(Sentence(parsing: text)).encoded()
                few = count
            }
            withUnsafeBytes(of: (sent + 1).bigEndian) { sequence in
                frame.replaceSubrange(9..<17, with: sequence)
            }
            try producer.send(frame)
            sent += count
        }
        try producer.sync()
    }
}
