import Glibc

/// A fixed amount of work through real code, for counting the instructions that it takes.
struct Scenario: Sendable {
    let name: String
    /// What the work is counted in.
    let unit: String
    /// Units that are enough to tell: the difference between so many and twice as many is measured.
    let count: Int
    /// Does the work for so many units.
    let run: @Sendable (Int) -> Void

    init(_ name: String, per unit: String, _ count: Int, _ run: @escaping @Sendable (Int) -> Void) {
        self.name = name
        self.unit = unit
        self.count = count
        self.run = run
    }

    static let all = roads + links + codec + clients
}

/// Runs one scenario, or lists them all; `budget.py` counts from outside.
@main
struct Budget {
    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        guard let name = arguments.first else {
            for scenario in Scenario.all {
                print(scenario.name, scenario.unit, scenario.count)
            }
            return
        }
        guard let scenario = Scenario.all.first(where: { $0.name == name }) else {
            return fail("no scenario is named \(name)")
        }
        guard let count = arguments.dropFirst().first.map({ Int($0) }) ?? scenario.count else {
            return fail("usage: sluice-budget [SCENARIO [COUNT]]")
        }
        scenario.run(count)
    }

    private static func fail(_ text: String) {
        print(text)
        exit(2)
    }
}
