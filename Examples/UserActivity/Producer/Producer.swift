import Dispatch
import FoundationEssentials
import Glibc
import Sluice

/// One thing that somebody did.
struct Activity: Encodable {
    /// Who did it.
    var user: String
    /// What was done: uploaded or installed.
    var type: String
    /// When, in seconds since 1970.
    var time: Int
    var package: String
    var version: String
    var urgency: String?
}

/// Publishes activity on a topic, as much as is asked for and no more.
@main
enum Program {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3 else {
            say("usage: user-activity-producer SERVER TOPIC")
            exit(64)
        }
        let stop = StopSignal()
        let client = SluiceClient(
            configuration: ClientConfiguration(servers: [arguments[1]], name: "user-activity")
        )
        let producer = client.producer(
            for: arguments[2],
            options: ProducerOptions(name: "activity-producer")
        )
        var source = ActivitySource()
        var asked = (times: 0, most: 0)
        // GenStage's handle_demand: the broker asks for n events, and exactly n are fetched.
        try await producer.run { demand in
            asked = (asked.times + 1, max(asked.most, demand))
            let events = try source.next(demand).map { activity in
                OutgoingEvent(
                    Array(try JSONEncoder().encode(activity)),
                    key: Array(activity.user.utf8)
                )
            }
            return events.isEmpty ? nil : events
        }
        let counts = producer.counts
        say(
            "producer: \(counts.confirmed) activities from \(source.name), fetched in "
                + "\(asked.times) demands of at most \(asked.most); the source is empty"
        )
        // The link stays, so that its account can be looked at.
        await stop.wait()
        try await producer.close()
        await client.close()
    }
}

/// SIGTERM and Ctrl-C, as something to wait for.
final class StopSignal: Sendable {
    private let stream: AsyncStream<Void>
    // Kept alive for as long as signals shall be heard.
    nonisolated(unsafe) private let sources: [any DispatchSourceSignal]

    init() {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        self.stream = stream
        sources = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { @Sendable in continuation.finish() }
            source.resume()
            return source
        }
    }

    func wait() async {
        for await _ in stream {}
    }
}

/// Tells a person something, on standard error.
private func say(_ text: String) {
    let bytes = Array("\(text)\n".utf8)
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
