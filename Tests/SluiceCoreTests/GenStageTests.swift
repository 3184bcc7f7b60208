import SluiceTestKit
import Testing

@Suite("What the real GenStage does")
struct GenStageTests {
    @Test("is what the core does, but for what a decision page says", arguments: Recording.all)
    func matches(_ recording: Recording) throws {
        let scenario = try #require(Scenario.read(recording.scenario).first)
        let trace = Trace(of: scenario)
        #expect(trace.broken == [])
        #expect(trace.steps.count == recording.steps.count)
        let page = Difference.all.first { $0.isTrue(of: recording) }
        for (step, shown) in zip((page?.expected ?? recording).steps, trace.steps) {
            let found = shown.filter { !$0.hasPrefix("~") }
            let isExpected =
                found.count == step.shown.count
                && zip(step.shown, found).allSatisfy { Difference.isTrue($0, of: $1) }
            #expect(isExpected, "> \(step.text): \(found), expected \(step.shown)")
        }
    }

    @Test("is recorded for all scenarios")
    func isComplete() throws {
        #expect(Recording.all.count == 79)
        let scenarios = try Scenario.read(Recording.text(of: "../Fixtures/genstage/scenarios.txt"))
        #expect(scenarios.map(\.title) == Recording.all.map(\.title) + ["end"])
    }

    @Test("does not depend on how many events a step is about")
    func largeSteps() throws {
        let text = """
            scenario large
            init disp demand
            sub c1
            sub c2
            ask c1 30000
            ask c2 30000
            dispatch \(Self.row(1...300))
            """
        let trace = Trace(of: try #require(Scenario.read(text).first))
        #expect(trace.broken == [])
        let shown = [
            ["= demand 30000"], ["= demand 30000"],
            ["= leftover", "! c1 \(Self.row(1...300))"],
        ]
        #expect(Array(trace.steps.suffix(3)) == shown)
    }

    private static func row(_ events: ClosedRange<Int>) -> String {
        events.map(String.init).joined(separator: " ")
    }

    @Test("is told truly on the decision pages")
    func pagesAreTrue() {
        var names: [String] = []
        for page in Difference.all {
            let recording = Recording.all.first(where: page.isTrue)
            #expect(
                recording.map { $0.steps.map(\.text) } == page.expected.steps.map(\.text)
            )
            names.append(recording?.name ?? "not recorded: \(page.recorded.steps.map(\.text))")
            #expect(page.expected.steps != page.recorded.steps)
        }
        #expect(
            names.sorted() == [
                "B08", "P05", "P08", "S05", "S06", "S07", "S15", "S19", "S22", "S23", "S24",
                "S25", "S26", "S27",
            ]
        )
    }
}
