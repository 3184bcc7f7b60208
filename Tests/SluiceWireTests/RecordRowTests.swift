import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

/// Records of one size that stand in a row are looked at several at a time.
@Suite("Rows of records")
struct RecordRowTests {
    private enum Finding: Equatable {
        case whole
        case broken(WireError)
    }

    /// What the decoder says of a run.
    private func decoded(_ records: [UInt8], _ count: UInt32) -> Finding {
        let head = RunHeader(count: count, length: UInt32(records.count))
        do {
            _ = try decode(eventsFrame(head, records))
            return .whole
        } catch let error as WireError {
            return .broken(error)
        } catch {
            Issue.record("\(error)")
            return .whole
        }
    }

    /// What it is if one record is taken apart after the other.
    private func walked(_ records: [UInt8], _ count: UInt32) -> Finding {
        var reader = RecordReader(0..<records.count)
        do throws(WireError) {
            for _ in 0..<count {
                guard try reader.next(from: records.span.bytes) != nil else { throw .brokenRun }
            }
            guard reader.position == records.count else { throw .brokenRun }
            return .whole
        } catch {
            return .broken(error)
        }
    }

    private static func append(_ flags: UInt8, _ body: [UInt8], to records: inout [UInt8]) {
        let length = body.count
        records += [flags, UInt8(length >> 16), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF)]
        records += body
    }

    /// Rows of records of one size, all with a key or none, but for a few.
    private static func rows(
        using random: inout SeededGenerator
    ) -> (bytes: [UInt8], count: UInt32) {
        var bytes: [UInt8] = []
        var count: UInt32 = 0
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let size = Int.random(in: 0...9, using: &random)
            let mostHaveKeys = Int.random(in: 0..<3, using: &random) == 0
            for _ in 0..<Int.random(in: 1...14, using: &random) {
                let isOther = Int.random(in: 0..<20, using: &random) == 0
                let isKeyed = size >= 2 && mostHaveKeys != isOther
                let body = [UInt8](repeating: 0, count: size)
                append(isKeyed ? Record.keyFlag : 0, body, to: &bytes)
                count += 1
            }
        }
        return (bytes, count)
    }

    @Test("of any sizes are whole or broken as they are record by record")
    func asOneByOne() {
        var random = SeededGenerator.replayable("rows of records")
        var broken = 0
        let cases = 20_000
        for _ in 0..<cases {
            var (records, count) = Self.rows(using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: records[Int.random(in: 0..<records.count, using: &random)] ^= 1
            case 1:
                let place = Int.random(in: 0..<records.count, using: &random)
                records[place] = DecoderFuzzTests.values.randomElement(using: &random) ?? 0
            case 2: records.removeLast(Int.random(in: 1...min(4, records.count), using: &random))
            case 3: count += 1
            case 4: count -= 1
            default: break
            }
            guard count > 0 else { continue }
            let (found, expected) = (decoded(records, count), walked(records, count))
            if expected != .whole { broken += 1 }
            if found != expected {
                Issue.record("\(Hex.text(records)), \(count): \(found), not \(expected)")
            }
        }
        #expect(broken > cases / 4 && broken < cases)
    }

    @Test("end where a record has too many bytes, or a flag that nobody knows")
    func last() {
        for place in 0..<12 {
            var records: [UInt8] = []
            for index in 0..<12 { Self.append(index == place ? 0x80 : 0, [1, 2], to: &records) }
            #expect(decoded(records, 12) == .broken(.badValue(.recordFlags, 0x80)))
            records[place * 6] = 0
            #expect(decoded(records, 12) == .whole)
            records[place * 6 + 3] = 3
            #expect(decoded(records, 12) != .whole)
        }
    }

    @Test("are cut where they would be record by record")
    func cuts() {
        var random = SeededGenerator.replayable("cut rows")
        for _ in 0..<5_000 {
            let (records, count) = Self.rows(using: &random)
            let events = UInt32.random(in: 0...count + 1, using: &random)
            let bytes = Int.random(in: 0...records.count + 1, using: &random)
            let end = Int.random(in: 0...records.count, using: &random)
            var taken: UInt32 = 0
            var position = 0
            while taken < events, end - position >= Record.headBytes {
                // Lengths here need one byte.
                let next = position + Record.headBytes + Int(records[position + 3])
                guard next <= min(end, bytes) else { break }
                position = next
                taken += 1
            }
            var cursor = RecordCursor(at: 0)
            let found = cursor.take(
                events: events,
                bytes: bytes,
                upTo: end,
                from: records.span.bytes
            )
            if found != taken || cursor.position != position {
                let what = "\(Hex.text(records)), \(events) events, \(bytes) bytes, up to \(end)"
                Issue.record("\(what): \(found), not \(taken)")
            }
        }
    }
}
