import SluiceTestKit
import Testing

@Suite("Random worlds")
struct SimulationTests {
    /// First seeds of worlds that once broke; they are run before any others.
    private static let known: [UInt64] = [
        // A producer that lacked bytes had a use for one event of its credit and kept all.
        9_011_481,
        345_509_229_140_120_075,
        2_734_833_191_775_307_706,
        // It was given the bytes of one event at a time: so many events, so many round trips.
        7_935,
    ]

    @Test("keep every law at every step, and all that waits flows in the end")
    func keepLaws() {
        var random = SeededGenerator.replayable("SimulationTests")
        let first = Environment.number("SLUICE_SEED") ?? random.next()
        for seed in Self.known + (0..<300).map({ first &+ $0 }) {
            var world = World(seed: seed)
            while world.steps < 400, world.violations.isEmpty { world.step() }
            world.end()
            #expect(world.violations == [], "SLUICE_SEED=\(seed)")
            guard world.violations.isEmpty else { return }
        }
    }
}
