import Glibc
import SluiceTestKit

/// Runs random worlds, one a seed, until all had their turn or a law is broken.
@main
struct Simulate {
    static func main() async {
        var seeds: UInt64 = 2_000
        var first = UInt64.random(in: 0...UInt64.max)
        var life: UInt64?
        var jobs = UInt64(max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        var arguments = CommandLine.arguments.dropFirst()
        while let flag = arguments.popFirst() {
            guard let number = arguments.popFirst().flatMap({ UInt64($0) }),
                ["--seeds", "--seed", "--life", "--jobs"].contains(flag)
            else {
                let usage = "usage: sluice-simulate [--seeds N] [--seed S] [--life N] [--jobs N]"
                return fail(usage, code: 2)
            }
            switch flag {
            case "--seeds": seeds = number
            case "--seed": first = number
            case "--jobs": jobs = max(1, number)
            default: life = max(1, number)
            }
        }
        // Before many go those that once broke.
        let known = seeds > 1 ? World.known : []
        let worlds = Worlds(known: known, first: first, count: seeds, life: life)
        Spot.tellCrashes()
        let result = await run(worlds, jobs: jobs)
        if let failure = result.failure {
            for violation in failure.violations.prefix(10) { print(violation) }
            print("seed \(failure.seed), step \(failure.step), world \(failure.place + 1)")
            let replay = life.map { " LIFE=\($0)" } ?? ""
            return fail("replay: make simulate SEEDS=1 SEED=\(failure.seed)\(replay)", code: 1)
        }
        print("seeds \(first) and on: \(seeds) worlds, \(result.steps) steps")
        print("\(result.deliveries) events delivered, 0 beyond what was asked")
        print("laws checked \(result.checks) times, none broken")
    }

    /// Runs all worlds, so many at a time; of those that broke, the first in order counts.
    private static func run(_ worlds: Worlds, jobs: UInt64) async -> Worlds.Result {
        await withTaskGroup(of: Worlds.Result.self) { group in
            var total = Worlds.Result()
            var next: UInt64 = 0
            func start() {
                guard next < worlds.total, total.failure == nil else { return }
                let part = next..<min(next + Worlds.part, worlds.total)
                next = part.upperBound
                group.addTask { worlds.run(part) }
            }
            for _ in 0..<jobs { start() }
            // What was begun goes on to its end: a world before the one that broke may break too.
            while let result = await group.next() {
                total.add(result)
                start()
            }
            return total
        }
    }

    private static func fail(_ text: String, code: Int32) {
        print(text)
        exit(code)
    }
}

/// The worlds of a run in their order, each by its seed.
private struct Worlds: Sendable {
    let known: [UInt64]
    let first: UInt64
    let count: UInt64
    let life: UInt64?

    /// So many in a row are run by one task.
    static let part: UInt64 = 16

    struct Failure: Sendable {
        var place: UInt64
        var seed: UInt64
        var step: UInt64
        var violations: [String]
    }

    struct Result: Sendable {
        var steps: UInt64 = 0
        var deliveries: UInt64 = 0
        var checks: UInt64 = 0
        var failure: Failure?

        mutating func add(_ other: Self) {
            steps += other.steps
            deliveries += other.deliveries
            checks += other.checks
            guard let failure = other.failure else { return }
            if let known = self.failure, known.place < failure.place { return }
            self.failure = failure
        }
    }

    var total: UInt64 { UInt64(known.count) + count }

    private func seed(of place: UInt64) -> UInt64 {
        let old = UInt64(known.count)
        return place < old ? known[Int(place)] : first &+ (place - old)
    }

    /// Runs a part of the worlds, up to the first that breaks.
    func run(_ part: Range<UInt64>) -> Result {
        var result = Result()
        for place in part {
            let seed = seed(of: place)
            Spot.enter(Spot(place: place, seed: seed, life: life))
            let world = World.run(seed: seed, life: life)
            result.steps += world.steps
            result.deliveries += world.deliveries
            result.checks += world.checks
            guard world.violations.isEmpty else {
                result.failure = Failure(
                    place: place,
                    seed: seed,
                    step: world.steps,
                    violations: world.violations
                )
                return result
            }
        }
        return result
    }
}

/// The world that a thread is in.
///
/// Where the core stops itself, because it finds what it takes for impossible, the seed is told
/// like any other that fails.
private struct Spot {
    var place: UInt64
    var seed: UInt64
    var life: UInt64?

    private nonisolated(unsafe) static var key = pthread_key_t()

    static func tellCrashes() {
        pthread_key_create(&key, nil)
        for number in [SIGILL, SIGTRAP, SIGSEGV] {
            signal(number) { number in
                if let spot = pthread_getspecific(Spot.key)?.assumingMemoryBound(to: Spot.self) {
                    spot.pointee.tell(number)
                }
                _exit(1)
            }
        }
    }

    /// Remembers the world that this thread runs next.
    static func enter(_ spot: Spot) {
        if let known = pthread_getspecific(key)?.assumingMemoryBound(to: Spot.self) {
            known.pointee = spot
            return
        }
        let own = UnsafeMutablePointer<Spot>.allocate(capacity: 1)
        own.initialize(to: spot)
        pthread_setspecific(key, own)
    }

    private func tell(_ signal: Int32) {
        print("the core stopped itself, signal \(signal)")
        print("seed \(seed), world \(place + 1)")
        let replay = life.map { " LIFE=\($0)" } ?? ""
        print("replay: make simulate SEEDS=1 SEED=\(seed)\(replay)")
        fflush(nil)
    }
}
