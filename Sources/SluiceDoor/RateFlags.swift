package import ArgumentParser
import SluiceCore

/// The flags on how many events may pass a second.
package struct RateFlags: ParsableArguments {
    @Option(help: ArgumentHelp("At most so many events a second.", valueName: "n"))
    package var rate: EventCount?
    @Option(help: ArgumentHelp("So many at once after a rest (default: --rate).", valueName: "n"))
    package var burst: EventCount?

    package init() {}

    package func validate() throws {
        guard burst == nil || rate != nil else { throw ValidationError("--burst needs --rate") }
        for (name, count) in [("--rate", rate), ("--burst", burst)] {
            guard let count, !(1...Int(UInt32.max)).contains(count.value) else { continue }
            throw ValidationError("\(name) must be 1 to \(UInt32.max)")
        }
    }

    var limit: RateLimit? {
        rate.map { rate in
            RateLimit(
                eventsPerSecond: UInt32(rate.value),
                burst: UInt32((burst ?? rate).value)
            )
        }
    }
}
