package import ArgumentParser
import SluiceCore
import SluiceWire

/// The flags of `sluice topic create` on what a topic allows.
package struct TopicLimitFlags: ParsableArguments {
    @Option(help: ArgumentHelp("At most so many producers at once.", valueName: "n"))
    package var maxProducers: EventCount?
    @Option(help: ArgumentHelp("At most so many consumers at once.", valueName: "n"))
    package var maxConsumers: EventCount?
    @Option(
        help: ArgumentHelp(
            "At most so many groups; an independent consumer is one of its own.",
            valueName: "n"
        )
    )
    package var maxGroups: EventCount?
    @Option(
        help: ArgumentHelp(
            "No event larger than so much, with its key and headers, such as 64KiB.",
            valueName: "bytes"
        )
    )
    package var maxEventBytes: ByteCount?
    @Option(
        help: ArgumentHelp(
            "Keep a named group without consumers for so long; 0 for ever.",
            valueName: "time"
        )
    )
    package var groupExpireAfter: TimeSpan?

    package init() {}

    package func validate() throws {
        let most = Int(UInt32.max)
        try Self.check("--max-producers", maxProducers?.value, most)
        try Self.check("--max-consumers", maxConsumers?.value, most)
        try Self.check("--max-groups", maxGroups?.value, Limits.groupsPerTopicMax)
        try Self.check("--max-event-bytes", maxEventBytes?.value, Limits.eventBytesMax)
        let longest = Duration.seconds(Limits.groupExpireAfterSecondsMax)
        if let time = groupExpireAfter?.duration, time > longest {
            throw ValidationError("--group-expire-after must be \(TimeSpan(longest).text) at most")
        }
    }

    private static func check(_ name: String, _ value: Int?, _ most: Int) throws {
        guard let value, !(1...most).contains(value) else { return }
        throw ValidationError("\(name) must be 1 to \(most.grouped)")
    }

    func enter(into request: inout Snapshot.Request) {
        request.maxProducers = maxProducers.map { UInt32($0.value) }
        request.maxConsumers = maxConsumers.map { UInt32($0.value) }
        request.maxGroups = maxGroups.map { UInt32($0.value) }
        request.maxEventBytes = maxEventBytes.map { UInt32($0.value) }
        request.groupExpireAfter = groupExpireAfter?.wholeSeconds
    }
}

extension Snapshot.Topic {
    /// What it allows, for people; empty if that is what the broker does.
    var limits: [String] {
        var limits: [String] = []
        if let maxProducers { limits.append("producers \(maxProducers.grouped)") }
        if let maxConsumers { limits.append("consumers \(maxConsumers.grouped)") }
        if let maxGroups { limits.append("groups \(maxGroups.grouped)") }
        if let maxEventBytes { limits.append("an event \(ByteCount(Int(maxEventBytes)).text)") }
        return limits
    }
}
