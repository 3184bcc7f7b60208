import Glibc
import SluiceTestKit

/// Runs random worlds, one a seed, until all had their turn or a law is broken.
@main
struct Simulate {
    static func main() {
        var seeds: UInt64 = 2_000
        var seed = UInt64.random(in: 0...UInt64.max)
        var life: UInt64?
        var arguments = CommandLine.arguments.dropFirst()
        while let flag = arguments.popFirst() {
            guard let number = arguments.popFirst().flatMap({ UInt64($0) }),
                ["--seeds", "--seed", "--life"].contains(flag)
            else {
                return fail("usage: sluice-simulate [--seeds N] [--seed S] [--life N]", code: 2)
            }
            switch flag {
            case "--seeds": seeds = number
            case "--seed": seed = number
            default: life = max(1, number)
            }
        }
        run(seeds, from: seed, life: life)
    }

    /// One world after the other, before many those that once broke.
    private static func run(_ seeds: UInt64, from first: UInt64, life: UInt64?) {
        var totals = (steps: UInt64(0), deliveries: UInt64(0), checks: UInt64(0))
        let known = seeds > 1 ? World.known : []
        for seed in [AnySequence(known), AnySequence((0..<seeds).lazy.map { first &+ $0 })].joined()
        {
            let world = World.run(seed: seed, life: life)
            totals.steps += world.steps
            totals.deliveries += world.deliveries
            totals.checks += world.checks
            guard world.violations.isEmpty else {
                for violation in world.violations.prefix(10) { print(violation) }
                print("seed \(seed), step \(world.steps)")
                let replay = life.map { " LIFE=\($0)" } ?? ""
                return fail("replay: make simulate SEEDS=1 SEED=\(seed)\(replay)", code: 1)
            }
        }
        print("seeds \(first) and on: \(seeds) worlds, \(totals.steps) steps")
        print("\(totals.deliveries) events delivered, 0 beyond what was asked")
        print("laws checked \(totals.checks) times, none broken")
    }

    private static func fail(_ text: String, code: Int32) {
        print(text)
        exit(code)
    }
}
