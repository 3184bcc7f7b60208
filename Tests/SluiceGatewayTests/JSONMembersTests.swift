import FoundationEssentials
import SluiceGateway
import Testing

@Suite("The members of a JSON object")
struct JSONMembersTests {
    private func members(of text: String) -> [[UInt8]]? {
        guard var walk = JSONMembers(Array(text.utf8)[...]) else { return nil }
        var found: [[UInt8]] = []
        while let (name, value) = walk.next() { found += [Array(name), Array(value)] }
        return found
    }

    @Test(
        "are all there, in their order, as they stand in the text",
        arguments: [
            ("{}", []), ("{ }", []), (#"{"a":1}"#, [#""a""#, "1"]),
            (#"{"a":"1","a":"2"}"#, [#""a""#, #""1""#, #""a""#, #""2""#]),
            (#"{ "a" : {"b":[",}"]}, "c":null}"#, [#""a""#, #"{"b":[",}"]}"#, #""c""#, "null"]),
            (#"{"\",\\":"}\\","":true}"#, [#""\",\\""#, #""}\\""#, #""""#, "true"]),
            ("{\"\u{E9}\":1,\"e\u{301}\":2}", ["\"\u{E9}\"", "1", "\"e\u{301}\"", "2"]),
        ]
    )
    func walk(text: String, parts: [String]) {
        #expect(members(of: text) == parts.map { Array($0.utf8) })
    }

    @Test("end where a text breaks off, and are none where there is no object")
    func broken() {
        let text = #"{"a":{"b":"c\"d"},"e":[1,2]}"#
        for end in 1..<text.utf8.count {
            let found = members(of: String(text.prefix(end)))
            #expect(found.map { $0.count % 2 == 0 && $0.count <= 4 } == true)
        }
        for text in ["", "[]", "1", " {}", "\"a\""] { #expect(members(of: text) == nil) }
    }

    @Test("have names and texts that are read with their escapes")
    func strings() {
        func read(_ text: String) -> String? {
            JSONMembers.string(Array(text.utf8)[...], JSONDecoder())
        }
        #expect(read(#""plain""#) == "plain")
        #expect(read(#""\u00e9\n\\""#) == "\u{E9}\n\\")
        #expect(read(#""""#) == "")
        for text in ["1", "null", "\"", "{}", #""\x""#] { #expect(read(text) == nil) }
    }
}
