import SluiceCore
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

@Suite("Late readers")
struct LateReaderTests {
    private final class Reader: LateReader {
        var isReadingDue = false
        var reads = 0

        func readOn() { reads += 1 }
    }

    @Test("are such that brought much, and read on before they may be late again")
    func lateness() {
        var lateness = Lateness()
        lateness.begin()
        lateness.bring(Limits.lateReadBytesMin - 1)
        #expect(!lateness.isWorthwhile, "that is little")
        lateness.bring(1)
        #expect(lateness.isWorthwhile && !lateness.isLate)
        lateness.leave()
        #expect(lateness.isLate)
        lateness.end()
        #expect(!lateness.isLate)
        #expect(!lateness.isWorthwhile, "nothing was read since")
        lateness.begin()
        lateness.bring(Limits.lateReadBytesMin)
        #expect(lateness.isWorthwhile)
        lateness.begin()
        lateness.bring(10)
        #expect(!lateness.isWorthwhile, "what it brought before does not count")
    }

    private static let longest = UInt64(Limits.lateReadMilliseconds) * 1_000_000

    @Test("read on when their topic needs it, once")
    func due() {
        let (first, second) = (Reader(), Reader())
        var late = LateReaders()
        #expect(late.isEmpty)
        late.add(first, at: 1_000)
        late.add(second, at: 2_000)
        late.release(at: 2_000)
        #expect((first.reads, second.reads) == (0, 0))
        second.isReadingDue = true
        late.release(at: 2_000)
        late.release(at: 2_000)
        #expect((first.reads, second.reads) == (0, 1))
        #expect(!late.isEmpty)
    }

    @Test("read on when they have waited long enough, each by its own time")
    func time() {
        let (first, second) = (Reader(), Reader())
        var late = LateReaders()
        #expect(late.deadline == nil)
        late.add(first, at: 1_000)
        late.add(second, at: 2_000)
        #expect(late.deadline == 1_000 + Self.longest)
        late.release(at: 999 + Self.longest)
        #expect(first.reads == 0)
        late.release(at: 1_000 + Self.longest)
        #expect((first.reads, second.reads) == (1, 0))
        #expect(late.deadline == 2_000 + Self.longest)
    }

    @Test(
        "what a producer has sent is taken though nobody asks any more, and before it closes",
        .timeLimit(.minutes(5))
    )
    func stops() async throws {
        try await withServer {
            $0.shards = 1
        } _: { address in
            let consumer = try RawClient(address)
            try consumer.greet()
            try consumer.say("OPEN 1 sink topic=t")
            let producer = try RawProducer(
                address,
                topic: "t",
                events: 1_000_000,
                payloadBytes: 60
            )
            try producer.sendUntil(7_000, most: 500)
            var asked: UInt64 = 0
            // What is held goes out in a hurry, as fast as the kernel takes it.
            for _ in 1...3 {
                for _ in 1...2 {
                    asked += 4_000
                    try consumer.say("DEMAND 1 n=4000 total=\(asked)")
                    try producer.sendUntil(asked + 7_000, most: 500)
                }
                try producer.sync()
            }
            asked += 4_000
            try consumer.say("DEMAND 1 n=4000 total=\(asked)")
            try producer.sendUntil(asked + 7_000, most: 500)
            try producer.client.say("CLOSE 1 NORMAL")
            try consumer.say("DEMAND 1 n=\(producer.sent - asked) total=\(producer.sent)")
            var given: UInt64 = 0
            while given < producer.sent {
                given = try #require(consumer.hear("EVENTS", 1).events.last?.sequence)
            }
        }
    }
}
