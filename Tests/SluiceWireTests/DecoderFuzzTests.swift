import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

@Suite("Fuzz: frames from strangers")
struct DecoderFuzzTests {
    /// Values that break lengths, counts, flags, texts and enumerations.
    static let values: [UInt8] = [
        0, 1, 2, 3, 4, 8, 9, 16, 17, 0x20, 0x7E, 0x7F, 0x80, 0x81, 0xC3, 0xF0, 0xFE, 0xFF,
    ]

    /// Cases to try; `make fuzz` asks for many more.
    static let cases = Environment.number("SLUICE_FUZZ_CASES").map { Int($0) } ?? 60_000

    @Test("every good vector, cut at every byte, is a frame or an error with a known code")
    func cuts() {
        var count = 0
        for vector in Vector.good {
            for end in FrameHeader.byteCount...vector.bytes.count {
                var bytes = Array(vector.bytes[..<end])
                Self.setLength(&bytes)
                Self.check(bytes, vector.name)
                count += 1
            }
            for end in 0..<FrameHeader.byteCount {
                let bytes = Array(vector.bytes[..<end])
                let isWhole = FrameHeader.decode(from: bytes.span.bytes, at: 0) != nil
                #expect(!isWhole, "a header needs nine bytes")
            }
        }
        #expect(count > 2_000)
    }

    @Test("good vectors with one byte, then with several bytes changed, never break the decoder")
    func mutations() {
        var count = 0
        for vector in Vector.good {
            for position in 3..<vector.bytes.count {
                // The middle of a long text is like its begin.
                if position > 200, position < vector.bytes.count - 20 { continue }
                for value in Self.values where value != vector.bytes[position] {
                    var bytes = vector.bytes
                    bytes[position] = value
                    Self.check(bytes, vector.name)
                    count += 1
                }
            }
        }
        var random = SeededGenerator.replayable("changed frames")
        while count < Self.cases, let vector = Vector.good.randomElement(using: &random) {
            Self.check(Self.changed(vector.bytes, using: &random), vector.name)
            count += 1
        }
        #expect(count >= 50_000)
    }

    /// Changes some bytes, and cuts the body or repeats a part of it.
    static func changed(_ good: [UInt8], using random: inout SeededGenerator) -> [UInt8] {
        var bytes = good
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let position = Int.random(in: 3..<bytes.count, using: &random)
            bytes[position] =
                values.randomElement(using: &random).flatMap {
                    Bool.random(using: &random) ? $0 : nil
                } ?? UInt8.random(in: 0...255, using: &random)
        }
        switch Int.random(in: 0..<4, using: &random) {
        case 0:
            let end = Int.random(in: FrameHeader.byteCount...bytes.count, using: &random)
            bytes.removeSubrange(end...)
        case 1:
            let start = Int.random(in: FrameHeader.byteCount...bytes.count, using: &random)
            bytes += bytes[start...]
        default: break
        }
        setLength(&bytes)
        return bytes
    }

    static func setLength(_ bytes: inout [UInt8]) {
        let length = bytes.count - FrameHeader.byteCount
        bytes[0] = UInt8(length >> 16)
        bytes[1] = UInt8(length >> 8 & 0xFF)
        bytes[2] = UInt8(length & 0xFF)
    }

    /// A frame that decodes is whole, and says the same after it was written again.
    static func check(_ bytes: [UInt8], _ name: String) {
        do {
            let (header, frame) = try decode(bytes)
            if case .ignorable = frame { return }
            let span = bytes.span.bytes
            if case .events(let events) = frame { try check(events, bytes, name) }
            var writer = FrameWriter()
            writer.append(frame, link: header.link, body: span)
            let (again, same) = try decode(writer.bytes)
            guard frame != same else { return }
            let first = FrameText.describe(frame, link: header.link, body: span)
            let second = FrameText.describe(same, link: again.link, body: writer.bytes.span.bytes)
            if first != second { Issue.record("\(name): \(Hex.text(bytes)) reads \(second)") }
        } catch let error as WireError {
            if error.closeCode.known == nil || error.description.isEmpty {
                Issue.record("\(name): \(error) has no known code")
            }
        } catch {
            Issue.record("\(name): \(error)")
        }
    }

    private static func check(_ events: Events, _ bytes: [UInt8], _ name: String) throws {
        guard case .runs(let runs) = events.content else { return }
        var eventCount: UInt64 = 0
        var byteCount: UInt64 = 0
        for run in runs {
            var reader = RecordReader(run.records)
            var count: UInt32 = 0
            while try reader.next(from: bytes.span.bytes) != nil { count += 1 }
            var cursor = RecordCursor(at: run.records.lowerBound)
            let taken = cursor.take(
                events: .max,
                bytes: .max / 2,
                upTo: run.records.upperBound,
                from: bytes.span.bytes
            )
            if count != run.header.count || taken != count
                || cursor.position != run.records.upperBound
            {
                Issue.record("\(name): \(Hex.text(bytes)) has another number of records")
            }
            eventCount += UInt64(count)
            byteCount += UInt64(run.records.count)
        }
        if eventCount != events.eventCount || byteCount != events.byteCount {
            Issue.record("\(name): \(Hex.text(bytes)) has wrong sums")
        }
    }
}
