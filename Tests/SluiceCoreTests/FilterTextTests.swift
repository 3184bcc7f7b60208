import SluiceCore
import Testing

@Suite("The text of a filter")
struct FilterTextTests {
    @Test(
        "says where it breaks and what was expected",
        arguments: [
            ("", "column 1: expected key, header.NAME, not or (, found the end"),
            ("payload = 1", "column 1: expected key, header.NAME, not or (, found `payload`"),
            ("key", "column 4: expected =, ^=, in or exists, found the end"),
            ("key == \"a\"", "column 6: expected a value in double quotes, found `=`"),
            ("key = a", "column 7: expected a value in double quotes, found `a`"),
            ("key = \"a", "column 9: expected a closing \", found the end"),
            ("key = \"\\q\"", "column 9: expected \\\\, \\\" or \\xHH, found `q`"),
            ("key = \"\\x+f\"", "column 9: expected \\\\, \\\" or \\xHH, found `x`"),
            ("key in \"a\"", "column 8: expected ( and the values, found `\"`"),
            ("key in ()", "column 9: expected a value in double quotes, found `)`"),
            ("key in (\"a\"", "column 12: expected , or ), found the end"),
            ("key exists key", "column 12: expected and, or, or the end, found `key`"),
            ("(key exists", "column 12: expected and, or, or ), found the end"),
            ("key exists and", "column 15: expected key, header.NAME, not or (, found the end"),
            ("header. exists", "column 8: expected a name after header., found ` `"),
            (
                "header.\"\" exists",
                "column 1: expected a name of 1 to 255 bytes of UTF-8, found `header.`"
            ),
        ]
    )
    func errors(text: String, message: String) {
        let error = #expect(throws: FilterTextError.self) { try Condition(text) }
        #expect(error?.description == message)
    }

    @Test("may be written without spaces and with more of them")
    func spaces() throws {
        let condition = Condition.all([.equals(.key, [0x61]), .not(.exists(.header("b")))])
        #expect(try Condition(#"key="a"and not header.b exists"#) == condition)
        #expect(try Condition("  key  =  \"a\"\n and(not(header.b exists)) ") == condition)
    }

    @Test("binds not before and, and and before or")
    func precedence() throws {
        let a = Condition.exists(.header("a"))
        let b = Condition.exists(.header("b"))
        let c = Condition.exists(.header("c"))
        let text = "not header.a exists and header.b exists or header.c exists"
        #expect(try Condition(text) == .any([.all([.not(a), b]), c]))
        let other = "header.a exists and (header.b exists or header.c exists)"
        #expect(try Condition(other) == .all([a, .any([b, c])]))
        #expect(try Condition(other).description == other)
    }

    @Test("does not recurse without end")
    func depth() {
        let text = String(repeating: "(", count: 100_000)
        let error = #expect(throws: FilterTextError.self) { try Condition(text) }
        #expect(error?.column == Limits.filterDepthMax + 1)
    }
}
