package import ArgumentParser
import Logging
import Sluice
import SluiceNet

/// What every verb understands.
package struct GlobalOptions: ParsableArguments {
    @Option(
        name: [.short, .long],
        help: ArgumentHelp(
            "Where the broker listens: HOST:PORT or unix:PATH.",
            valueName: "address"
        )
    )
    package var server = "127.0.0.1:7450"

    @Option(
        name: [.short, .long],
        help: "How data is printed (default: table on a terminal, else jsonl or raw)."
    )
    package var output: OutputForm?

    @Option(help: ArgumentHelp("How long the broker may take to answer.", valueName: "time"))
    package var timeout = TimeSpan(.seconds(5))

    @Flag(name: [.short, .long], help: "Say nothing but errors.")
    package var quiet = false

    @Flag(name: [.short, .long], help: "Tell on standard error what the connection does.")
    package var verbose = false

    @Flag(help: "No colours (as with NO_COLOR).")
    package var noColor = false

    package init() {}

    package func validate() throws {
        do {
            _ = try Endpoint(parsing: ClientConfiguration.normalized(server))
        } catch {
            throw ValidationError("--server: \(error)")
        }
    }
}

extension GlobalOptions {
    /// The form to print in: as asked, else a table for people and `piped` for programs.
    func form(piped: OutputForm) -> OutputForm {
        output ?? (StandardOutput.isTerminal ? .table : piped)
    }

    var paint: Paint { Paint(isOn: Colours.areWanted(noColor) && StandardOutput.isTerminal) }

    /// Says something to a person, unless it should be quiet.
    func note(_ text: String) {
        if !quiet { Notice.line(text) }
    }

    /// Connects, lends the client, and closes it whatever happens.
    func withClient<Result>(
        reconnect: ReconnectPolicy = .never,
        _ body: (SluiceClient) async throws -> Result
    ) async throws -> Result {
        let client = makeClient(reconnect: reconnect)
        do {
            try await Deadline.run(timeout) { try await client.connect() }
            let result = try await body(client)
            await client.close()
            return result
        } catch let error as ClientError {
            await client.close()
            throw Failure(error, server: server)
        } catch {
            await client.close()
            throw error
        }
    }

    private func makeClient(reconnect: ReconnectPolicy) -> SluiceClient {
        let level: Logger.Level = verbose ? .trace : quiet ? .error : .warning
        let isColoured = Colours.areWanted(noColor) && Notice.isTerminal
        let configuration = ClientConfiguration(
            servers: [server],
            name: "sluice",
            connectTimeout: timeout.duration,
            reconnect: reconnect,
            drainTimeout: .seconds(2)
        )
        return SluiceClient(
            configuration: configuration,
            logger: Logger(label: "sluice") { _ in
                LineLog(style: .text(isColoured: isColoured), logLevel: level)
            }
        )
    }
}

/// A limit on how long something may take.
enum Deadline {
    /// Runs `body`; throws `timedOut` when `span` is over.
    static func run<Result: Sendable>(
        _ span: TimeSpan,
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: span.duration)
                throw ClientError(.timedOut, "nothing came for \(span.text)")
            }
            defer { group.cancelAll() }
            guard let result = try await group.next() else { throw CancellationError() }
            return result
        }
    }
}
