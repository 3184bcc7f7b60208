import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

@Suite("Vectors of the protocol")
struct VectorTests {
    @Test("a vector decodes to what it says, or is refused as it says", arguments: Vector.all)
    func decodes(vector: Vector) throws {
        switch vector.outcome {
        case .frame(let text):
            let (header, frame) = try decode(vector.bytes)
            let found = FrameText.describe(frame, link: header.link, body: vector.bytes.span.bytes)
            #expect(found == text)
        case .error(let text):
            let error = try #require(throws: WireError.self) { try decode(vector.bytes) }
            #expect("\(error.closeCode) \(error.grade)" == text, "\(error)")
            #expect(error.description.utf8.count <= Limits.reasonBytesMax)
        }
    }

    @Test("encoding what was decoded gives the same bytes", arguments: Vector.good)
    func encodes(vector: Vector) throws {
        let (header, frame) = try decode(vector.bytes)
        var writer = FrameWriter()
        writer.append(frame, link: header.link, body: vector.bytes.span.bytes)
        if vector.isCanonical {
            #expect(Hex.text(writer.bytes) == Hex.text(vector.bytes))
        } else {
            #expect(writer.bytes != vector.bytes, "the vector is canonical: leave out `again: no`")
        }
    }

    @Test("there are vectors of every frame, good and bad, and no name twice")
    func complete() {
        #expect(Vector.all.count >= 60)
        #expect(Set(Vector.all.map(\.name)).count == Vector.all.count)
        for type in FrameType.allCases {
            let own = Vector.all.filter { $0.bytes.count > 3 && $0.bytes[3] == type.rawValue }
            let goodCount = own.count { vector in
                if case .frame = vector.outcome { true } else { false }
            }
            #expect(goodCount > 0 && goodCount < own.count, "\(type)")
        }
    }
}
