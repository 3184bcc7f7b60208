import SluiceTestKit
import Testing

@Suite("Random worlds")
struct SimulationTests {
    @Test("keep every law at every step, and all that waits flows in the end")
    func keepLaws() {
        var random = SeededGenerator.replayable("SimulationTests")
        let first = Environment.number("SLUICE_SEED") ?? random.next()
        for seed in 0..<UInt64(300) {
            var world = World(seed: first &+ seed)
            while world.steps < 400, world.violations.isEmpty { world.step() }
            world.end()
            #expect(world.violations == [], "SLUICE_SEED=\(first &+ seed)")
            guard world.violations.isEmpty else { return }
        }
    }
}
