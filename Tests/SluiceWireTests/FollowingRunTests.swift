import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

@Suite("Frames that follow on")
struct FollowingRunTests {
    /// A frame of one event in each run.
    private func frame(
        link: UInt32 = 1,
        sequence: UInt64 = 2,
        payload: String = "x",
        runs: Int = 1,
        offset: UInt64 = 0,
        time: UInt64 = 0,
        attempt: UInt16 = 0,
        count: UInt32 = 1
    ) throws -> [UInt8] {
        var records = FrameWriter()
        try records.appendRecord(payload: Array(payload.utf8).span.bytes)
        let length = records.bytes.count
        var writer = FrameWriter()
        writer.appendEventsHead(
            link: link,
            firstSequence: sequence,
            runs: runs,
            recordBytes: length * runs
        )
        for _ in 0..<runs {
            var head = RunHeader(count: count, length: UInt32(length), offset: offset)
            head.time = time
            head.attempt = attempt
            writer.appendRunHead(head)
            writer.append(records: records.bytes.span.bytes)
        }
        return writer.bytes
    }

    private func following(_ bytes: [UInt8], most: Int = 10) throws -> [FollowingRun] {
        var session = try ServerSession.greeted()
        try session.open(1, .source)
        try session.open(2, .source)
        _ = try session.hear(bytes: frame(sequence: 1))
        var runs: [FollowingRun] = []
        session.appendFollowing(to: &runs, most: most, on: 1, in: bytes.span.bytes, from: 0)
        return runs
    }

    @Test("Frames of one run are taken one behind the other, as many as are asked for")
    func many() throws {
        let first = try frame(payload: "ab")
        let bytes = try first + frame(sequence: 9, payload: "abcdef")
        let runs = try following(bytes)
        #expect(runs.map(\.firstSequence) == [2, 9])
        #expect(runs.map(\.eventCount) == [1, 1])
        #expect(runs.map(\.records.count) == [6, 10])
        #expect(runs.map(\.end) == [first.count, bytes.count])
        #expect(try following(bytes, most: 1).count == 1)
    }

    @Test("Whatever is not the same again waits for the long way")
    func others() throws {
        var others: [String: [UInt8]] = [
            "another link": try frame(link: 2),
            "two runs": try frame(runs: 2),
            "an offset": try frame(offset: 1),
            "a time": try frame(time: 1),
            "an attempt": try frame(attempt: 1),
            "no events": try frame(count: 0),
            "more events than records": try frame(count: 2),
            "no more than a part": try frame().dropLast(),
            "no whole header": Array(try frame().prefix(8)),
            "nothing": [],
        ]
        var ping = FrameWriter()
        ping.append(Ping(opaque: 1))
        others["a PING"] = ping.bytes
        var marked = try frame()
        marked[4] = 1
        others["a flag"] = marked
        var long = try frame()
        long[0] = 0xFF
        others["a frame that is too large"] = long + Array(repeating: 0, count: 0xFF_0000)
        var broken = try frame()
        broken[broken.count - 5] = 0x80
        others["a broken record"] = broken
        for (what, bytes) in others {
            let runs = try following(frame() + bytes)
            #expect(runs.count == 1, "\(what)")
        }
    }
}
