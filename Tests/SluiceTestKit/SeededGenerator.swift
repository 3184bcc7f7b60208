import Glibc

/// SplitMix64: the same numbers from the same seed, on every machine.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    package let seed: UInt64
    private var state: UInt64

    package init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A generator with the seed in `SLUICE_SEED`, or a fresh one; prints how to run it again.
    package static func replayable(_ test: String) -> SeededGenerator {
        let seed = Environment.number("SLUICE_SEED") ?? UInt64.random(in: 0...UInt64.max)
        print("\(test): SLUICE_SEED=\(seed)")
        return SeededGenerator(seed: seed)
    }
}

/// What the caller of the tests asks for.
package enum Environment {
    /// The number in the variable `name`, or nil if it is not set to one.
    package static func number(_ name: String) -> UInt64? {
        getenv(name).flatMap { UInt64(String(cString: $0)) }
    }
}
