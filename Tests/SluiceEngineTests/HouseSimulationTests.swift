import SluiceTestKit
import Testing

@Suite("Random worlds of several engines")
struct HouseSimulationTests {
    @Test("keep every law where the topic is, lose nothing unsaid and bring nothing twice")
    func keepLaws() {
        var random = SeededGenerator.replayable("HouseSimulationTests")
        let first = Environment.number("SLUICE_SEED") ?? random.next()
        for seed in 0..<UInt64(100) {
            let world = HouseWorld(seed: first &+ seed)
            for _ in 0..<600 where world.violations.isEmpty { world.step() }
            if world.violations.isEmpty { world.end() }
            #expect(world.violations == [], "SLUICE_SEED=\(first &+ seed)")
            guard world.violations.isEmpty else { return }
        }
    }
}
