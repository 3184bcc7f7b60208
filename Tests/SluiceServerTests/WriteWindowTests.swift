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
        .timeLimit(.minutes(5))
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
            let producer = try RawProducer(
                address,
                topic: "t",
                events: Self.events,
                payloadBytes: 3_000
            )
            try producer.sendUntil(Self.events, most: 20)
            try producer.sync()
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
}
