import SluiceTestKit
import Testing

@Suite("Random worlds")
struct SimulationTests {
    @Test("keep every law at every step, and all that waits flows in the end")
    func keepLaws() {
        var random = SeededGenerator.replayable("SimulationTests")
        let first = Environment.number("SLUICE_SEED") ?? random.next()
        for seed in World.known + (0..<50).map({ first &+ $0 }) {
            let world = World.run(seed: seed)
            #expect(world.violations == [], "replay: make simulate SEEDS=1 SEED=\(seed)")
            guard world.violations.isEmpty else { return }
        }
    }
}
