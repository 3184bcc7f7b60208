import SluiceTestKit
import SluiceWire
import Testing

@Suite struct NameTests {
    @Test("Names are judged as the vectors say, however they look")
    func vectors() throws {
        let lines = try Vector.valuesText("names.txt").split(separator: "\n")
        var seen = 0
        for line in lines where !line.hasPrefix("#") {
            let words = line.split(separator: "#")[0].split(separator: " ")
            let bytes = stride(from: 0, to: words[1] == "-" ? 0 : words[1].count, by: 2).map {
                place in
                UInt8(words[1].dropFirst(place).prefix(2), radix: 16) ?? 0
            }
            let name = try #require(String(validating: bytes, as: UTF8.self))
            #expect((NameRule.group.fault(in: name) == nil) == (words[0] == "good"), "\(line)")
            seen += 1
        }
        #expect(seen > 20)
    }

    @Test("A topic that begins with $ is the broker's, and a fault says the whole rule")
    func faults() throws {
        #expect(NameRule.topic.fault(in: "$x") != nil)
        #expect(NameRule.link.fault(in: "$x") == nil)
        let fault = try #require(NameRule.topic.fault(in: "a\u{200B}b"))
        for part in ["200 bytes", "spaces", "invisible", "$"] { #expect(fault.contains(part)) }
    }
}
