import SluiceTestKit
import Testing

@Suite("The grammar of scenarios")
struct ScenarioTests {
    @Test(
        "names the line of what is wrong",
        arguments: [
            ("sub c1", 1, "a step before the first `scenario NAME`"),
            ("scenario", 1, "a scenario needs a name"),
            ("scenario a\nsub c1", 2, "a scenario begins with init, not with sub"),
            ("scenario a\ninit stage", 2, "the dispatcher is missing"),
            (
                "scenario a\ninit stage random", 2,
                "the dispatcher is demand, broadcast or partition"
            ),
            ("scenario a\ninit disp demand\n\nemit 1", 4, "emit is no step of a scenario of"),
            ("scenario a\ninit stage demand\ndispatch 1", 3, "dispatch is no step"),
            ("scenario a\ninit stage demand\nleap", 3, "there is no step leap"),
            ("scenario a\ninit stage demand\nask c1", 3, "the demand is missing"),
            ("scenario a\ninit stage demand\nask c1 -1", 3, "the demand is a number, not -1"),
            ("scenario a\ninit stage demand\nemit 1 x", 3, "an event is a number, not x"),
            ("scenario a\ninit stage demand\nemit", 3, "name at least one event"),
            ("scenario a\ninit stage demand\nmode fast", 3, "the mode is forward or accumulate"),
            ("scenario a\ninit stage demand\ncount 3", 3, "nothing is known of 3"),
            ("scenario a\ninit stage demand size=3", 2, "init has no option size"),
            ("scenario a\ninit stage demand auto=2", 2, "say 0 or 1, not 2"),
            ("scenario a\ninit stage demand\ninit stage demand", 3, "a second init"),
            ("scenario a\ninit disp partition", 2, "say how many: partitions=N"),
            ("scenario a\ninit disp partition partitions=2 hash=crc", 2, "a hash is mod:N"),
            ("scenario a\ninit disp broadcast\nsub c1 selector=big", 3, "a selector is even, odd"),
            ("scenario a\ninit disp broadcast\nsub c1 even", 3, "even is no option"),
            ("scenario a\ninit consumer max=4 min=4", 2, "min is below max"),
            ("scenario a\ninit consumer cancel=never", 2, "cancel is permanent, transient or"),
        ]
    )
    func isRefused(_ text: String, _ line: Int, _ reason: String) {
        do throws(ScenarioError) {
            _ = try Scenario.read(text)
            Issue.record("this is no scenario: \(text)")
        } catch {
            #expect(error.line == line)
            #expect(error.text.hasPrefix(reason), "\(error.text)")
        }
    }

    @Test("leaves comments and empty lines out")
    func comments() throws {
        let text = "# first\n\nscenario a #1\ninit stage demand # second\r\n  emit   1 2\n"
        let scenario = try #require(Scenario.read(text).first)
        #expect(scenario.title == "a #1")
        #expect(scenario.steps.map(\.text) == ["init stage demand", "emit 1 2"])
    }
}
