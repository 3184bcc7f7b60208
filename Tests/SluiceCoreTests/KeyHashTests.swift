import SluiceCore
import SluiceTestKit
import Testing

@Suite("The partition of a key")
struct KeyHashTests {
    @Test("is what the vectors say")
    func vectors() throws {
        let lines = try Vector.valuesText("keyhash.txt").split(separator: "\n")
            .filter { !$0.hasPrefix("#") }
        #expect(lines.count > 20)
        for line in lines {
            let words = line.split(separator: " ")
            let key = stride(from: 0, to: words[0] == "-" ? 0 : words[0].count, by: 2).map {
                place in
                UInt8(words[0].dropFirst(place).prefix(2), radix: 16) ?? 0
            }
            let bytes = key.span.bytes
            #expect(KeyHash.hash(bytes) == UInt32(words[1], radix: 16), "\(line)")
            for entry in words.dropFirst(2) {
                let numbers = entry.split(separator: ":").compactMap { UInt16($0) }
                let partition = KeyHash.partition(ofKey: bytes, among: numbers[0])
                #expect(partition == numbers[1], "\(line)")
            }
        }
    }

    @Test("is taken from the record, and from the offset if it has no key")
    func records() {
        let keyed = recordBytes(key: "user-1", headers: [("a", "b")])
        let key = Array("user-1".utf8)
        let partition = KeyHash.partition(ofKey: key.span.bytes, among: 8)
        for offset in [UInt64(0), 1, 2, .max] {
            #expect(KeyHash.partition(of: keyed.span.bytes, at: offset, among: 8) == partition)
        }
        let empty = recordBytes(key: "")
        let first = (0..<5).map { KeyHash.partition(of: empty.span.bytes, at: $0, among: 3) }
        #expect(first.allSatisfy { $0 == 0 })
        let plain = recordBytes(headers: [("a", "b")])
        let turns = (0..<5).map { KeyHash.partition(of: plain.span.bytes, at: $0, among: 3) }
        #expect(turns == [0, 1, 2, 0, 1])
    }

    @Test("spreads keys that count up evenly")
    func spread() {
        var counts = Array(repeating: 0, count: 10)
        for number in 0..<10_000 {
            let key = Array("order-\(number)".utf8)
            counts[Int(KeyHash.partition(ofKey: key.span.bytes, among: 10))] += 1
        }
        // Four standard deviations of a fair throw are 120.
        #expect(counts.allSatisfy { (880...1_120).contains($0) }, "\(counts)")
    }
}
