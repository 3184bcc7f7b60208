import Dispatch
import FoundationEssentials
import Glibc
import Sluice

/// An activity, as far as the statistics need it.
struct Activity: Decodable {
    var user: String
    var type: String
    var time: Int
    var urgency: String?
}

/// Consumes activity, at most 100 events at a time, and prints statistics when it is stopped.
@main
enum Program {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3 else {
            say("usage: user-activity-consumer SERVER TOPIC")
            exit(64)
        }
        let client = SluiceClient(
            configuration: ClientConfiguration(servers: [arguments[1]], name: "user-activity")
        )
        // GenStage's consumer with max_demand: 100.
        let subscription = client.subscribe(
            to: arguments[2],
            options: SubscriptionOptions(
                demand: .automatic(max: 100, min: 50),
                name: "activity-consumer"
            )
        )
        signal(SIGTERM, SIG_IGN)
        let stop = DispatchSource.makeSignalSource(signal: SIGTERM, queue: .global())
        stop.setEventHandler { @Sendable in subscription.stop() }
        stop.resume()
        defer { stop.cancel() }

        var statistics = Statistics()
        for try await batch in subscription {
            statistics.batches += 1
            statistics.largestBatch = max(statistics.largestBatch, batch.count)
            for event in batch {
                let payload = event.payload.withBytes { Data($0.withUnsafeBytes { Array($0) }) }
                statistics.add(try JSONDecoder().decode(Activity.self, from: payload))
            }
        }
        statistics.print()
        await client.close()
    }
}

/// Who did how much, when, and how urgent it was.
struct Statistics {
    private static let barColumns = 40

    var batches = 0
    var largestBatch = 0
    private var count = 0
    private var users: [String: Int] = [:]
    private var years: [Int: Int] = [:]
    private var urgencies: [String: Int] = [:]

    mutating func add(_ activity: Activity) {
        count += 1
        users[activity.user, default: 0] += 1
        var seconds = time_t(activity.time)
        var parts = tm()
        if gmtime_r(&seconds, &parts) != nil { years[Int(parts.tm_year) + 1_900, default: 0] += 1 }
        urgencies[activity.urgency ?? activity.type, default: 0] += 1
    }

    func print() {
        line(
            "\(count) activities of \(users.count) people, in \(batches) batches of at most "
                + "\(largestBatch)"
        )
        line("")
        line("Most active")
        let top = users.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(10)
        for (user, count) in top { row(user, count, of: top.first?.value ?? 1) }
        line("")
        line("By year")
        let most = years.values.max() ?? 1
        for (year, count) in years.sorted(by: { $0.key < $1.key }).suffix(15) {
            row(String(year), count, of: most)
        }
        line("")
        line("By urgency")
        for (urgency, count) in urgencies.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
            row(urgency, count, of: self.count)
        }
    }

    private func row(_ name: String, _ value: Int, of most: Int) {
        let shown = String(name.prefix(30))
        let columns = max(1, value * Self.barColumns / max(most, 1))
        line("  " + pad(shown, 32) + pad(String(value), 8) + String(repeating: "#", count: columns))
    }

    private func pad(_ text: String, _ columns: Int) -> String {
        text + String(repeating: " ", count: max(0, columns - text.count))
    }

    private func line(_ text: String) { Swift.print(text) }
}

/// Tells a person something, on standard error.
private func say(_ text: String) {
    let bytes = Array("\(text)\n".utf8)
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}
