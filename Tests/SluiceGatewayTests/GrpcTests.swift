import FoundationEssentials
import SluiceCore
import SluiceGateway
import SluiceGrpcMessages
import SluiceTestKit
import SwiftProtobuf
import Testing

@Suite("What gRPC adds to HTTP/2")
struct GrpcTests {
    @Test("messages are cut out of a body wherever its parts end")
    func framing() throws {
        let body = GrpcFraming.framed([1, 2, 3]) + GrpcFraming.framed([]) + GrpcFraming.framed([4])
        for size in 1...body.count {
            var framing = GrpcFraming()
            var messages: [[UInt8]] = []
            for start in stride(from: 0, to: body.count, by: size) {
                framing.add(Array(body[start..<min(body.count, start + size)]))
                while let message = try framing.take() { messages.append(message) }
            }
            #expect(messages == [[1, 2, 3], [], [4]])
            #expect(framing.held == 0)
        }
    }

    @Test("a message is judged by its prefix, before the rest of it comes")
    func faults() {
        func fault(_ prefix: [UInt8]) -> GrpcFraming.Fault? {
            var framing = GrpcFraming()
            framing.add(prefix)
            do throws(GrpcFraming.Fault) {
                #expect(try framing.take() == nil)
                return nil
            } catch { return error }
        }
        #expect(fault([1, 0, 0, 0, 1]) == .compressed)
        #expect(fault([2, 0, 0, 0, 1]) == .malformed)
        #expect(fault([0, 0, 0x40, 0, 0]) == nil)
        #expect(fault([0, 0, 0x40, 0, 1]) == .tooLarge(0x40_0001))
    }

    @Test("times are a number and a unit")
    func timeouts() {
        #expect(GrpcTimeout.parse("250m") == .milliseconds(250))
        #expect(GrpcTimeout.parse("1H") == .seconds(3_600))
        #expect(GrpcTimeout.parse("7u") == .microseconds(7))
        #expect(GrpcTimeout.parse("99999999S") == .seconds(99_999_999))
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1.5S"] {
            #expect(GrpcTimeout.parse(text) == nil, "\(text)")
        }
    }

    @Test("a status says its text in ASCII, and the broker's own code")
    func status() {
        let status = GrpcStatus(.notFound, "100 % für\n", reason: .notFound)
        #expect(
            status.trailers == [
                Header("grpc-status", "5"), Header("grpc-message", "100 %25 f%C3%BCr%0A"),
                Header("sluice-code", "NOT_FOUND"),
            ]
        )
        #expect(GrpcStatus.ok.trailers == [Header("grpc-status", "0")])
    }

    @Test("a batch has the bytes that the generated types write")
    func batch() throws {
        // A plain event, an empty one, and one with a key of one byte and no payload.
        let records: [UInt8] =
            [0, 0, 0, 2, 7, 8] + [0, 0, 0, 0] + [1, 0, 0, 3, 0, 1, 9] + [0, 0, 0, 200]
            + Array(repeating: 5, count: 200)
        let slab = Slab(capacity: records.count)
        let range = slab.append(records.span.bytes)
        let run = Run(slab: slab, bytes: range, count: 4, offset: 300, time: 1 << 50, attempt: 1)
        var batch = GrpcBatch()
        var position = Int(run.start)
        var offset = run.offset
        batch.take(run, from: &position, offset: &offset)
        #expect(position == Int(run.end))
        #expect(offset == 304)
        #expect(batch.recordBytes == records.count)
        let expected = Sluice_V1_SubscribeResponse.with {
            $0.batch.runs = [
                .with {
                    $0.offset = 300
                    $0.timeMicros = 1 << 50
                    $0.attempt = 1
                    $0.events = [
                        .with { $0.payload = Data([7, 8]) }, .init(), .with { $0.key = Data([9]) },
                        .with { $0.payload = Data(repeating: 5, count: 200) },
                    ]
                }
            ]
        }
        let bytes: [UInt8] = try expected.serializedBytes()
        #expect(batch.framed() == GrpcFraming.framed(bytes))
    }

    @Test("the events of a message are counted without making them, up to one too many")
    func counting() throws {
        let batch = Sluice_V1_PublishRequest.with {
            $0.batch.events = [
                .init(), .with { $0.payload = Data(repeating: 0x0A, count: 300) },
                .with { $0.key = Data([10, 0]) },
            ]
        }
        let bytes: [UInt8] = try batch.serializedBytes()
        #expect(GrpcCount.events(in: bytes, upTo: 10) == 3)
        #expect(GrpcCount.events(in: bytes + bytes, upTo: 10) == 6, "the parts of a message add up")
        #expect(GrpcCount.events(in: bytes, upTo: 1) == 2)
        #expect(GrpcCount.events(in: bytes, upTo: 0) == 1)
        let open = Sluice_V1_PublishRequest.with { $0.open.topic = "t" }
        #expect(GrpcCount.events(in: try open.serializedBytes(), upTo: 10) == 0)
        for end in bytes.indices {
            #expect(GrpcCount.events(in: Array(bytes[..<end]), upTo: 10) <= 3)
        }
        var random = SeededGenerator.replayable("GrpcCount")
        for _ in 0..<500 {
            let noise = (0..<40).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(GrpcCount.events(in: noise, upTo: 7) <= 8)
        }
    }

    @Test("a batch ends before it is too large, and an event that is larger is one of its own")
    func batchLimit() {
        let size = 40_000
        let head = [0, 0, UInt8(size >> 8), UInt8(size & 255)]
        let record = head + [UInt8](repeating: 1, count: size)
        let slab = Slab(capacity: 3 * record.count)
        for _ in 0..<3 { _ = slab.append(record.span.bytes) }
        let run = Run(slab: slab, bytes: 0..<3 * record.count, count: 3)
        var position = 0
        var offset: UInt64 = 0
        for taken in 1...3 {
            var batch = GrpcBatch()
            batch.take(run, from: &position, offset: &offset)
            #expect(batch.events == 1)
            #expect(offset == UInt64(taken))
        }
    }
}
