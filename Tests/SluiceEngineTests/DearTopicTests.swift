import SluiceCore
import SluiceEngine
import SluiceTestKit
import SluiceWire
import Testing

@Suite("A topic whose steps are dear")
struct DearTopicTests {
    private let bench = Bench()

    /// Opens a group in which each event is held against many conditions.
    private func openJudges(_ session: Session) throws {
        let names = (0..<254).map { Condition.exists(.header("x\($0)")) }
        for link in 1...UInt32(100) {
            var open = Open(role: .sink, topic: "dear")
            open.group = "g"
            open.member.filter = try Filter(.any(names))
            open.demandEvents = 10
            bench.engine.open(session, link, open)
        }
        bench.run()
    }

    private func publication(first: UInt64, _ record: [UInt8]) -> Publication {
        let slab = Slab(capacity: record.count)
        let range = slab.append(record.span.bytes)
        return Publication(
            firstSequence: first,
            events: 1,
            bytes: UInt64(record.count),
            runs: [Run(slab: slab, bytes: range, count: 1)],
            time: 1
        )
    }

    @Test("waits for all others in each turn, and goes on in each")
    func order() throws {
        let (judges, judging) = bench.connect("judges")
        let (reader, reading) = bench.connect("reader")
        let (_, writing) = bench.connect("writer")
        try openJudges(judging)
        bench.openSink(reading, 1, "cheap", demand: 1_000)
        bench.openSource(writing, 1, "dear", available: 50)
        bench.openSource(writing, 2, "cheap", available: 1_000)
        let last = recordBytes(headers: [(name: "x1", value: "")], payload: "last")
        let refused = recordBytes(headers: [(name: "y", value: "")], payload: "")
        for number in 1...UInt64(40) {
            bench.engine.publish(writing, 1, publication(first: number, refused))
        }
        bench.engine.publish(writing, 1, publication(first: 41, last))
        // Its first step shows that it is dear.
        #expect(bench.engine.turn())
        _ = (judges.take(), reader.take())
        var turns: UInt64 = 0
        var isDone = false
        while !isDone, turns < 100 {
            turns += 1
            bench.engine.publish(writing, 2, try Publication(first: turns, ["\(turns)"]))
            _ = bench.engine.turn()
            #expect(reader.take() == [.events(1, first: turns, ["\(turns)"])])
            isDone = judges.take().contains { word in
                if case .events(_, _, let payloads) = word { payloads == ["last"] } else { false }
            }
        }
        #expect(isDone)
        #expect(turns > 3, "its steps were not dear")
    }
}
