import Glibc
import SluiceTestKit

/// Runs random worlds until a number of steps is reached or a law is broken.
@main
struct Simulate {
    static func main() {
        var steps: UInt64 = 1_000_000
        var seed = UInt64.random(in: 0...UInt64.max)
        var life: UInt64?
        var arguments = CommandLine.arguments.dropFirst()
        while let flag = arguments.popFirst() {
            guard let number = arguments.popFirst().flatMap({ UInt64($0) }),
                ["--steps", "--seed", "--life"].contains(flag)
            else {
                return fail("usage: sluice-simulate [--steps N] [--seed S] [--life N]", code: 2)
            }
            switch flag {
            case "--steps": steps = number
            case "--seed": seed = number
            default: life = max(1, number)
            }
        }
        run(steps: steps, seed: seed, life: life)
    }

    /// Worlds differ in length unless all have one `life`; each has the seed after the last one's.
    private static func run(steps: UInt64, seed: UInt64, life: UInt64?) {
        var totals = (steps: UInt64(0), worlds: UInt64(0), deliveries: UInt64(0), checks: UInt64(0))
        while totals.steps < steps {
            let worldSeed = seed &+ totals.worlds
            var world = World(seed: worldSeed)
            let longest = life ?? [500, 4_000, 30_000][Int(worldSeed % 3)]
            let lifetime = min(longest, steps - totals.steps)
            while world.steps < lifetime, world.violations.isEmpty { world.step() }
            let lived = world.steps
            world.end()
            totals.steps += lived
            totals.worlds += 1
            totals.deliveries += world.deliveries
            totals.checks += world.checks
            guard world.violations.isEmpty else {
                for violation in world.violations.prefix(10) { print(violation) }
                print("seed \(worldSeed), step \(world.steps)")
                let replay = "--steps \(lifetime) --life \(lifetime) --seed \(worldSeed)"
                fail("replay: sluice-simulate \(replay)", code: 1)
                return
            }
        }
        print("seed \(seed): \(totals.steps) steps in \(totals.worlds) worlds")
        print("\(totals.deliveries) events delivered, 0 beyond what was asked")
        print("laws checked \(totals.checks) times, none broken")
    }

    private static func fail(_ text: String, code: Int32) {
        print(text)
        exit(code)
    }
}
