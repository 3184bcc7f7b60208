import Foundation
import Testing

@Suite("sluice-trace")
struct TraceTests {
    private func run(_ path: String, _ text: String = "") throws -> Outcome {
        try Running(Place.program("sluice-trace"), [path], input: Array(text.utf8)).wait()
    }

    @Test("prints the trace of each scenario of its input")
    func prints() throws {
        let text = """
            scenario A one consumer
            init stage demand
            sub c1
            ask c1 2
            emit 1 2 3
            count
            scenario B
            init disp broadcast
            dispatch 4
            """
        let outcome = try run("-", text)
        #expect(outcome.code == 0)
        #expect(outcome.errors == "")
        #expect(
            outcome.lines == [
                "scenario A one consumer", "> init stage demand", "> sub c1", "> ask c1 2",
                "  ^ demand 2", "> emit 1 2 3", "  ! c1 1 2", "> count", "  @ buffered 1",
                "scenario B", "> init disp broadcast", "> dispatch 4", "  = leftover 4",
            ]
        )
    }

    @Test("plays all recorded scenarios")
    func plays() throws {
        let file = Place.root.appending(path: "Tests/Fixtures/genstage/scenarios.txt").path
        let outcome = try run(file)
        #expect(outcome.code == 0)
        #expect(outcome.lines.count { $0.hasPrefix("scenario ") } == 80)
    }

    @Test("says in which line the grammar is broken, and prints nothing else")
    func complains() throws {
        let outcome = try run("-", "scenario A\ninit stage demand\nask c1 many\n")
        #expect(outcome.code == 64)
        #expect(outcome.text == "")
        #expect(
            outcome.errors
                == "sluice-trace: standard input, line 3: the demand is a number, not many\n"
        )
    }

    @Test("says how it is used, and which file cannot be read")
    func usage() throws {
        let unread = try run("/nonexistent/scenarios.txt")
        #expect(unread.code == 66)
        #expect(unread.errors.contains("/nonexistent/scenarios.txt cannot be read"))
        let bare = try Running(Place.program("sluice-trace"), []).wait()
        #expect(bare.code == 64)
        #expect(bare.errors.contains("usage: sluice-trace FILE"))
    }
}
