import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

@Suite("Records and the frame writer")
struct FrameWriterTests {
    private struct Event: Equatable {
        var key: [UInt8]?
        var headers: [RecordHeader] = []
        var payload: [UInt8]
    }

    private func read(_ bytes: [UInt8]) throws -> [Event] {
        var events: [Event] = []
        let span = bytes.span.bytes
        var reader = RecordReader(0..<bytes.count)
        while let record = try reader.next(from: span) {
            var event = Event(payload: span.array(in: record.payload))
            event.key = record.key.map { span.array(in: $0) }
            if let block = record.headers {
                var headers = HeaderReader(block)
                while let header = try headers.next(from: span) {
                    let name = span.text(in: header.name) ?? "no text"
                    let value = span.array(in: header.value)
                    event.headers.append(RecordHeader(name: name, value: value))
                }
            }
            events.append(event)
        }
        return events
    }

    @Test("a record reads as it was written, and costs what was told before")
    func records() throws {
        let headers = [
            RecordHeader(name: "größe", value: [1, 2]), RecordHeader(name: "leer", value: []),
        ]
        let events = [
            Event(payload: []), Event(payload: [7, 8]), Event(key: [], payload: [9]),
            Event(key: [1], headers: headers, payload: Array(repeating: 5, count: 70_000)),
        ]
        var writer = FrameWriter()
        for event in events {
            let before = writer.bytes.count
            try writer.appendRecord(
                key: event.key,
                headers: event.headers,
                payload: event.payload.span.bytes
            )
            let told = try FrameWriter.recordByteCount(
                key: event.key,
                headers: event.headers,
                payload: event.payload.count
            )
            #expect(writer.bytes.count - before == told)
        }
        #expect(try read(writer.bytes) == events)
    }

    @Test("a record at the limit is written, and one above it is refused and leaves nothing")
    func limits() throws {
        let most = Limits.eventBytesMax - Record.headBytes
        var writer = FrameWriter()
        try writer.appendRecord(payload: [UInt8](repeating: 0, count: most).span.bytes)
        #expect(writer.bytes.count == Limits.eventBytesMax)
        let before = writer.bytes.count
        #expect(throws: WireError.eventTooLarge(Limits.eventBytesMax + 1)) {
            try writer.appendRecord(payload: [UInt8](repeating: 0, count: most + 1).span.bytes)
        }
        #expect(throws: WireError.tooLong(.key, count: 1_025, maximum: 1_024)) {
            try writer.appendRecord(
                key: [UInt8](repeating: 0, count: 1_025),
                payload: [UInt8]().span.bytes
            )
        }
        #expect(throws: WireError.badValue(.headerName, 0)) {
            try FrameWriter.recordByteCount(
                key: nil,
                headers: [RecordHeader(name: "", value: [])],
                payload: 0
            )
        }
        let value = [UInt8](repeating: 0, count: 65_532)
        #expect(throws: WireError.tooLong(.headers, count: 65_536, maximum: 65_535)) {
            try FrameWriter.recordByteCount(
                key: nil,
                headers: [RecordHeader(name: "n", value: value)],
                payload: 0
            )
        }
        #expect(writer.bytes.count == before)
    }

    @Test("the largest record fits into a frame, and is refused when it is one byte larger")
    func largestEvent() throws {
        for extra in 0...1 {
            let payload = Limits.eventBytesMax - Record.headBytes + extra
            let size = UInt32(payload)
            var records = [UInt8](repeating: 0, count: Record.headBytes + payload)
            records[1] = UInt8(size >> 16)
            records[2] = UInt8(size >> 8 & 0xFF)
            records[3] = UInt8(size & 0xFF)
            let bytes = eventsFrame(RunHeader(count: 1, length: UInt32(records.count)), records)
            if extra == 0 {
                let (_, frame) = try decode(bytes)
                guard case .events(let events) = frame else { continue }
                #expect(events.byteCount == UInt64(Limits.eventBytesMax))
            } else {
                #expect(throws: WireError.eventTooLarge(Limits.eventBytesMax + 1)) {
                    try decode(bytes)
                }
            }
        }
    }

    @Test("more runs than the limit are refused", arguments: [4_096, 4_097])
    func runs(count: Int) throws {
        var writer = FrameWriter()
        for _ in 0..<count {
            writer.appendRunHead(RunHeader(count: 1, length: 5))
            try writer.appendRecord(payload: [UInt8(7)].span.bytes)
        }
        var body = [UInt8](repeating: 0, count: 8) + writer.bytes
        body[7] = 1
        let header = FrameHeader(length: body.count, type: FrameType.events.rawValue, link: 1)
        let expected = WireError.tooLong(.runs, count: 4_097, maximum: 4_096)
        do throws(WireError) {
            _ = try Frame.decode(header, body: body.span.bytes, in: 0..<body.count)
            #expect(count == 4_096)
        } catch {
            #expect(count == 4_097 && error == expected)
        }
    }

    @Test("a reason above the limit is cut between characters")
    func longReason() throws {
        var writer = FrameWriter()
        writer.append(Close(.normal, reason: "a" + String(repeating: "ü", count: 400)))
        guard case .close(let close) = try decode(writer.bytes).frame else { return }
        #expect(close.reason == "a" + String(repeating: "ü", count: 255))
    }

    @Test("several frames stand one after the other, and taking them empties the writer")
    func severalFrames() {
        var writer = FrameWriter()
        writer.append(Ping(opaque: 1))
        writer.append(Ping(opaque: 2))
        let bytes = writer.take()
        let second = FrameHeader.decode(from: bytes.span.bytes, at: 17)
        #expect(bytes.count == 34 && second == FrameHeader(length: 8, type: 3))
        #expect(writer.bytes.isEmpty)
    }
}
