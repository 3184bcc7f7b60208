import SluiceGateway
import SluiceTestKit
import Testing

@Suite("Cutting a body into events")
struct JSONCutterTests {
    /// The elements of a body that is read so many bytes at a time; nil if it is broken.
    private func cut(_ text: String, isArray: Bool, by step: Int = .max) -> [String]? {
        let body = Array(text.utf8)
        var cutter = JSONCutter(isArray: isArray)
        var elements: [String] = []
        while true {
            let limit = min(body.count, cutter.position + min(step, body.count))
            switch cutter.next(in: body, upTo: limit) {
            case .element(let range): elements.append(String(decoding: body[range], as: UTF8.self))
            case .more: continue
            case .end: return elements
            case .broken: return nil
            }
        }
    }

    @Test(
        "an array comes apart at its own commas alone",
        arguments: [
            ("[]", []), (" [ ] ", []), ("[1]", ["1"]), ("[ 1 , 2 ]\n", ["1", "2"]),
            (#"[{"a":[1,{}]},[2,3]]"#, [#"{"a":[1,{}]}"#, "[2,3]"]),
            (#"["a,]","\"],",{"\\":"}"}]"#, [#""a,]""#, #""\"],""#, #"{"\\":"}"}"#]),
        ]
    )
    func arrays(text: String, elements: [String]) {
        for step in 1...text.utf8.count {
            #expect(cut(text, isArray: true, by: step) == elements, "\(step)")
        }
    }

    @Test(
        "what is no array, or not all of one, is broken",
        arguments: [
            "", " ", "{}", "[", "[1", "[1,", "[,1]", "[1,]", "[1]]", "[1] 2", #"["]"#, "[[]",
        ]
    )
    func broken(text: String) {
        #expect(cut(text, isArray: true) == nil)
        #expect(cut(text, isArray: true, by: 1) == nil)
    }

    @Test("lines end where they end, and empty ones are none")
    func lines() {
        let text = "\n {\"a\": 1} \r\n\n\"[\n}\n \t\nlast"
        for step in 1...text.utf8.count {
            #expect(cut(text, isArray: false, by: step) == ["{\"a\": 1}", "\"[", "}", "last"])
        }
        #expect(cut("", isArray: false) == [])
    }

    @Test("random arrays come apart into what they were made of")
    func random() {
        var random = SeededGenerator.replayable("JSONCutterTests")
        for _ in 0..<500 {
            let elements = (0..<Int.random(in: 0...5, using: &random)).map { _ in
                Self.value(3, &random)
            }
            func space() -> String {
                String(repeating: " ", count: Int.random(in: 0...2, using: &random))
            }
            let inside = elements.map { space() + $0 + space() }.joined(separator: ",")
            let text = "\(space())[\(inside)]\(space())"
            let step = Int.random(in: 1...text.utf8.count, using: &random)
            #expect(cut(text, isArray: true, by: step) == elements, "\(text) by \(step)")
        }
    }

    private static func value(_ depth: Int, _ random: inout SeededGenerator) -> String {
        switch Int.random(in: 0..<(depth > 0 ? 5 : 3), using: &random) {
        case 0: return "\(Int.random(in: 0...99, using: &random))"
        case 1:
            return [#""""#, #""[""#, #""}\"""#, #""\\""#, #"",é""#].randomElement(using: &random)
                ?? ""
        case 2: return "null"
        case 3:
            let parts = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                value(depth - 1, &random)
            }
            return "[\(parts.joined(separator: ", "))]"
        default: return "{\"a\":\(value(depth - 1, &random)) , \"b\":\(value(depth - 1, &random))}"
        }
    }
}
