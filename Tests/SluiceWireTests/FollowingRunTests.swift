import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

@Suite("Frames that follow on")
struct FollowingRunTests {
    private func following(_ bytes: [UInt8], most: Int = 10) throws -> [FollowingRun] {
        var session = try ServerSession.greeted()
        try session.open(1, .source)
        try session.open(2, .source)
        _ = try session.hear(bytes: eventsFrame())
        var runs: [FollowingRun] = []
        session.appendFollowing(to: &runs, most: most, on: 1, in: bytes.span.bytes, from: 0)
        return runs
    }

    @Test("Frames of one run are taken one behind the other, as many as are asked for")
    func many() throws {
        let first = try eventsFrame(sequence: 2, payload: "ab")
        let bytes = try first + eventsFrame(sequence: 9, payload: "abcdef")
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
            "another link": try eventsFrame(link: 2),
            "two runs": try eventsFrame(runs: 2),
            "an offset": try eventsFrame(offset: 1),
            "a time": try eventsFrame(time: 1),
            "an attempt": try eventsFrame(attempt: 1),
            "no events": try eventsFrame(count: 0),
            "more events than records": try eventsFrame(count: 2),
            "no more than a part": try eventsFrame().dropLast(),
            "no whole header": Array(try eventsFrame().prefix(8)),
            "nothing": [],
        ]
        var ping = FrameWriter()
        ping.append(Ping(opaque: 1))
        others["a PING"] = ping.bytes
        var marked = try eventsFrame()
        marked[4] = 1
        others["a flag"] = marked
        var long = try eventsFrame()
        long[0] = 0xFF
        others["a frame that is too large"] = long + Array(repeating: 0, count: 0xFF_0000)
        var broken = try eventsFrame()
        broken[broken.count - 5] = 0x80
        others["a broken record"] = broken
        for (what, bytes) in others {
            let runs = try following(eventsFrame() + bytes)
            #expect(runs.count == 1, "\(what)")
        }
    }
}
