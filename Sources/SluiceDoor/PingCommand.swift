package import ArgumentParser
import FoundationEssentials
import Sluice
import SluiceWire

/// `sluice ping`: is it there, how far away, and is it well.
package struct PingCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "ping",
        abstract: "Ask whether the broker lives, and measure how far away it is.",
        discussion: "Exits 3 if no broker answers and 10 if it is stopping."
    )

    @Option(name: [.customShort("n"), .long], help: "Ask so many times.")
    package var count = EventCount(3)
    @Option(help: ArgumentHelp("Wait so long in between.", valueName: "time"))
    package var interval = TimeSpan(.milliseconds(200))
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func validate() throws {
        guard count.value > 0 else { throw ValidationError("--count must be above 0") }
    }

    private struct Answer: Encodable {
        var server: String
        var name: String
        var version: String
        var uptimeSeconds: Double
        var isStopping: Bool
        var count: Int
        var minimumMicroseconds: Double
        var averageMicroseconds: Double
        var maximumMicroseconds: Double
    }

    package func run() async throws {
        try await global.withClient { client in
            let output = StandardOutput()
            let isTable = global.form(piped: .jsonl) == .table
            var times: [Double] = []
            for index in 0..<count.value {
                if index > 0 { try await Task.sleep(for: interval.duration) }
                let time = try await Deadline.run(global.timeout) { try await client.ping() }
                times.append(time / .microseconds(1))
                guard isTable else { continue }
                try output.line("\(global.server): answer \(index + 1) after \(Self.text(time))")
                try output.flush()
            }
            let server = try await Listing<Snapshot.Server>("$sys/server", client, global)
            guard let state = try server.decoded().first else { return }
            try tell(state, times, output)
            guard !state.isStopping else {
                throw Failure(.unhealthy, "the broker is stopping", hint: "try another, or later")
            }
        }
    }

    private static func text(_ time: Duration) -> String {
        let microseconds = time / .microseconds(1)
        return microseconds < 1_000
            ? microseconds.text(decimals: 0) + " us"
            : (microseconds / 1_000).text(decimals: 2) + " ms"
    }

    private func tell(
        _ state: Snapshot.Server,
        _ times: [Double],
        _ output: StandardOutput
    ) throws {
        let answer = Answer(
            server: global.server,
            name: state.name,
            version: state.version,
            uptimeSeconds: state.uptimeSeconds,
            isStopping: state.isStopping,
            count: times.count,
            minimumMicroseconds: times.min() ?? 0,
            averageMicroseconds: times.reduce(0, +) / Double(max(1, times.count)),
            maximumMicroseconds: times.max() ?? 0
        )
        if global.form(piped: .jsonl) == .table {
            let span = { (time: Double) in Self.text(.microseconds(time)) }
            try output.line(
                "\(state.name) \(state.version), up \(TimeSpan(seconds: state.uptimeSeconds).text)"
                    + ": least \(span(answer.minimumMicroseconds)),"
                    + " mean \(span(answer.averageMicroseconds)),"
                    + " most \(span(answer.maximumMicroseconds))"
            )
        } else {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            try output.line(String(decoding: try encoder.encode(answer), as: UTF8.self))
        }
        try output.flush()
    }
}
