package import ArgumentParser
package import SluiceCore
import SluiceWire

extension FullPolicy: ExpressibleByArgument {}

/// The flags on how much a topic holds.
package struct TopicSizeFlags: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How many events it holds, and asks for ahead of its consumers; 0 is strict.",
            valueName: "n"
        )
    )
    package var buffer: EventCount?
    @Option(
        help: ArgumentHelp(
            "How many bytes it holds at most, such as 64MiB; --memory-limit of the broker "
                + "bounds all topics together.",
            valueName: "bytes"
        )
    )
    package var bufferBytes: ByteCount?
    @Option(
        help: ArgumentHelp(
            "How many events to ask for ahead of consumers, if not as many as it holds.",
            valueName: "n"
        )
    )
    package var ahead: EventCount?
    @Option(help: ArgumentHelp("What it does when it is full.", valueName: "policy"))
    package var onFull: FullPolicy?

    package init() {}

    package func validate() throws {
        if let ahead, let buffer, ahead.value > buffer.value {
            throw ValidationError("--ahead must not be above --buffer")
        }
        guard UInt64((buffer ?? ahead)?.value ?? 0) <= Limits.bufferEventsMax else {
            throw ValidationError("a buffer has at most \(Limits.bufferEventsMax.grouped) events")
        }
        guard UInt64(bufferBytes?.value ?? 0) <= Limits.bufferBytesMax else {
            throw ValidationError("a buffer has at most \(Limits.bufferBytesMax.grouped) bytes")
        }
    }

    func enter(into request: inout Snapshot.Request) {
        request.buffer = buffer.map { UInt64($0.value) }
        request.bufferBytes = bufferBytes.map { UInt64($0.value) }
        request.ahead = ahead.map { UInt64($0.value) }
        request.onFull = onFull?.rawValue
    }
}

package struct TopicCreate: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Create a topic; what is not set is as the broker was told."
    )

    @Argument(help: "The topic.") package var topic: String
    @OptionGroup package var size: TopicSizeFlags
    @OptionGroup(title: "Its groups, and its pace") package var defaults: TopicDefaults
    @OptionGroup(title: "What it allows") package var limits: TopicLimitFlags
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        var request = Snapshot.Request(op: "create-topic", topic: topic)
        size.enter(into: &request)
        defaults.enter(into: &request)
        limits.enter(into: &request)
        try await global.request(request, done: "created \(topic)")
    }
}

package struct TopicSet: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Change how much a topic holds, how fast it takes events and what it allows.",
        discussion: """
            What is not named stays as it is. Nothing is lost by less room: what is held is \
            delivered, and no more is asked for until it fits again. Only a topic that is to \
            drop the oldest does so at once, and tells its consumers.
            """
    )

    @Argument(help: "The topic.") package var topic: String
    @OptionGroup package var size: TopicSizeFlags
    @OptionGroup(title: "Its pace") package var pace: RateFlags
    @Flag(help: "Take its rate away.") package var noRate = false
    @OptionGroup(title: "What it allows") package var limits: TopicLimitFlags
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func validate() throws {
        guard !noRate || pace.rate == nil else {
            throw ValidationError("--rate and --no-rate say the opposite")
        }
        guard request.changesSomething else {
            throw ValidationError("say what to change, such as --buffer 5000")
        }
    }

    private var request: Snapshot.Request {
        var request = Snapshot.Request(op: "change-topic", topic: topic)
        size.enter(into: &request)
        limits.enter(into: &request)
        request.rate = noRate ? 0 : pace.limit?.eventsPerSecond
        request.burst = pace.limit?.burst
        return request
    }

    package func run() async throws {
        try await global.request(request, done: "changed \(topic)")
    }
}

extension Snapshot.Request {
    fileprivate var changesSomething: Bool {
        buffer != nil || bufferBytes != nil || ahead != nil || onFull != nil || rate != nil
            || maxProducers != nil || maxConsumers != nil || maxGroups != nil
            || maxEventBytes != nil || groupExpireAfter != nil
    }
}
