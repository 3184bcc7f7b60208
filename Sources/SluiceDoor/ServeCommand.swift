package import ArgumentParser
import Configuration
import FoundationEssentials
import Glibc
import Logging
import SluiceCore
import SluiceGateway
import SluiceNet
import SluiceServer
import Synchronization

/// `sluice serve`: the broker.
package struct ServeCommand: AsyncParsableCommand, ConfiguredCommand {
    package static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the broker until SIGTERM or Ctrl-C.",
        discussion: """
            A flag wins over the environment (--buffer-bytes is SLUICE_BUFFER_BYTES, several \
            --listen are SLUICE_LISTEN=A,B), that over the file (--config: a JSON object with \
            the names of the flags), that over the default.

            The first SIGTERM or Ctrl-C stops granting, delivers what has credit, tells every \
            client to go away and when to come back, and exits 0; a second one stops at once.
            """
    )

    @Option(
        help: ArgumentHelp(
            "Listen here: HOST:PORT (port 0 picks one) or unix:PATH; repeatable. "
                + "(default: 127.0.0.1:7450)",
            valueName: "address"
        )
    )
    package var listen: [String] = []
    @Option(
        help: ArgumentHelp(
            "Serve HTTP here: HOST:PORT (port 0 picks one), or none. (default: 127.0.0.1:7480)",
            valueName: "address"
        )
    )
    package var http: String?
    @Option(help: ArgumentHelp("Read settings from this JSON file.", valueName: "path"))
    package var config: String?
    @Option(
        help: ArgumentHelp("Write the bound addresses here, as one JSON line.", valueName: "path")
    )
    package var readyFile: String?
    @Option(help: "Events a new topic holds and asks for ahead. (default: 10000)")
    package var buffer: String?
    @Option(help: "Bytes a new topic holds. (default: 64MiB)")
    package var bufferBytes: String?
    @Option(help: "Events a new topic asks for ahead, if not as many as it holds.")
    package var ahead: String?
    @Option(help: "What a full topic does: block, drop-oldest, drop-newest. (default: block)")
    package var onFull: String?
    @Option(help: ArgumentHelp("Events a second into a new topic. (default: any)", valueName: "n"))
    package var rate: String?
    @Option(
        help: ArgumentHelp("So many at once after a rest. (default: --rate)", valueName: "n")
    )
    package var burst: String?
    @Option(help: ArgumentHelp("Producers of a new topic. (default: any)", valueName: "n"))
    package var maxProducers: String?
    @Option(help: ArgumentHelp("Consumers of a new topic. (default: any)", valueName: "n"))
    package var maxConsumers: String?
    @Option(help: ArgumentHelp("Groups of a new topic. (default: 1000)", valueName: "n"))
    package var maxGroups: String?
    @Option(
        help: ArgumentHelp(
            "No event of a new topic is larger, with its key and headers. (default: 1048000)",
            valueName: "bytes"
        )
    )
    package var maxEventBytes: String?
    @Option(
        help: ArgumentHelp(
            "How long a new topic keeps a named group without consumers; 0 for ever. "
                + "(default: 24h)",
            valueName: "time"
        )
    )
    package var groupExpireAfter: String?
    @Flag(help: "Refuse topics that nobody created.")
    package var noAutoCreate = false
    @Option(
        help: ArgumentHelp(
            "How long a topic that nobody created and nobody uses is kept, without events and "
                + "named groups; 0 keeps it. (default: 10m)",
            valueName: "time"
        )
    )
    package var topicLinger: String?
    @Option(help: ArgumentHelp("The time between signs of life. (default: 10s)", valueName: "time"))
    package var keepalive: String?
    @Option(
        help: ArgumentHelp(
            "How long a lost connection may be resumed. (default: 30s)",
            valueName: "time"
        )
    )
    package var resumeWindow: String?
    @Option(help: ArgumentHelp("Connections at one time. (default: 65536)", valueName: "n"))
    package var maxConnections: String?
    @Option(
        help: ArgumentHelp(
            "Memory that the broker may take: near it producers get no credit, at it nothing "
                + "more is opened. (default: half of the machine's, or three quarters of what "
                + "the container or ulimit leaves)",
            valueName: "bytes"
        )
    )
    package var memoryLimit: String?
    @Option(
        help: ArgumentHelp(
            "Event loops that topics are spread over, each on a core of its own. "
                + "(default: cores - 1)",
            valueName: "n"
        )
    )
    package var shards: String?
    @Option(
        help: ArgumentHelp(
            "How long a stop may deliver what has credit. (default: 5s)",
            valueName: "time"
        )
    )
    package var drainTimeout: String?
    @Option(help: "auto, text, json or logfmt. (default: auto: text on a terminal, else logfmt)")
    package var logFormat: String?
    @Option(help: "trace, debug, info, notice, warning, error or critical. (default: info)")
    package var logLevel: String?

    package init() {}

    /// The flags that were given, as a layer of configuration.
    private var flags: [AbsoluteConfigKey: ConfigValue] {
        let texts: [(String, String?)] = [
            ("http", http), ("ready-file", readyFile), ("buffer", buffer),
            ("buffer-bytes", bufferBytes), ("ahead", ahead), ("on-full", onFull),
            ("rate", rate), ("burst", burst), ("max-producers", maxProducers),
            ("max-consumers", maxConsumers), ("max-groups", maxGroups),
            ("max-event-bytes", maxEventBytes), ("group-expire-after", groupExpireAfter),
            ("keepalive", keepalive),
            ("resume-window", resumeWindow), ("max-connections", maxConnections),
            ("shards", shards), ("drain-timeout", drainTimeout), ("log-format", logFormat),
            ("log-level", logLevel),
            ("no-auto-create", noAutoCreate ? "true" : nil), ("topic-linger", topicLinger),
            ("memory-limit", memoryLimit),
        ]
        var flags: [AbsoluteConfigKey: ConfigValue] = [:]
        for (name, text) in texts {
            guard let text else { continue }
            flags[AbsoluteConfigKey([name])] = ConfigValue(.string(text), isSecret: false)
        }
        if !listen.isEmpty {
            flags[AbsoluteConfigKey(["listen"])] = ConfigValue(
                .stringArray(listen),
                isSecret: false
            )
        }
        return flags
    }

    package func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let file = config ?? environment["SLUICE_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
        let settings = try ServeSettings(
            layers: .init(flags: flags, environment: environment, file: file)
        )
        // A descriptor is a connection; the soft limit of most shells is far below the hard one.
        let descriptors = (try? HostProcess.raiseDescriptorLimit()) ?? 0
        let logger = settings.logger
        let server = try Server(configuration: settings.server, logger: logger)
        CrashReport.install(
            program: "sluice \(SluiceCommand.version)",
            last: server.lastCommands,
            shards: server.configuration.shards,
            names: CommandKind.allCases.map { "\($0)" }
        )
        let listener = try settings.http.map { try listen($0, server.frontLoop) }
        let addresses = try await start(server, listener, logger)
        let http = listener?.address.description
        let watcher = SignalWatcher([SIGINT, SIGTERM, SIGHUP]) { number in
            guard number == SIGHUP else { return server.stop() }
            // What daemons are told to read their settings anew with, and terminals leave behind.
            logger.notice("SIGHUP: there is nothing to reload yet; the broker goes on")
        }
        defer { watcher.cancel() }
        if let path = settings.readyFile {
            try ReadyFile(listen: addresses, http: http).write(to: path)
        }
        logger.info(
            "ready",
            metadata: [
                "listen": "\(addresses.joined(separator: ","))", "http": "\(http ?? "none")",
                "pid": "\(getpid())",
                "version": "\(SluiceCommand.version)", "descriptors": "\(descriptors)",
                "shards": "\(settings.server.shards)",
                "memory-limit": "\(settings.server.memoryLimit ?? 0)",
            ]
        )
        HostProcess.releaseFilePages()
        await server.waitUntilStopped()
        logger.info("stopped")
        if let path = settings.readyFile { unlink(path) }
    }

    private func start(
        _ server: Server,
        _ listener: Listener?,
        _ logger: Logger
    ) async throws -> [String] {
        let loop = server.frontLoop
        var face: Server.FaceMaker?
        if let listener {
            face = { @Sendable (engine, readClocks) throws(SystemError) in
                try Gateway(
                    on: listener,
                    loop: loop,
                    engine: engine,
                    logger: logger,
                    keepaliveSeconds: server.configuration.keepaliveSeconds,
                    dial: { server.connect(from: $0).map { .memory($0) } },
                    readClocks: readClocks
                )
            }
        }
        do {
            return try await server.start(face: face)
        } catch let error as SystemError {
            let wanted = server.configuration.listen.joined(separator: ", ")
            throw Failure(
                .error,
                "cannot listen on \(wanted): \(error)",
                hint: error.code == EADDRINUSE
                    ? "is a broker there already? sluice ping; or listen elsewhere: --listen"
                    : "choose another address: --listen HOST:PORT or unix:PATH"
            )
        } catch let error as AddressError {
            throw Failure(
                .usage,
                "\(error)",
                hint: "addresses are HOST:PORT or unix:PATH"
            )
        }
    }
}

extension ServeCommand {
    /// Binds the port for HTTP.
    private func listen(_ text: String, _ loop: EventLoop) throws -> Listener {
        do {
            let addresses = try Endpoint(parsing: text).resolve()
            guard let address = addresses.first else { throw AddressError.malformed(text) }
            return try Listener(on: address, loop: loop)
        } catch let error as SystemError {
            throw Failure(
                .error,
                "cannot serve HTTP on \(text): \(error)",
                hint: "choose another address: --http HOST:PORT, or go without: --http none"
            )
        } catch {
            throw Failure(.usage, "\(error)", hint: "--http takes HOST:PORT or none")
        }
    }
}

/// The line that tells a script where the broker listens.
private struct ReadyFile: Encodable {
    let pid = getpid()
    let version = SluiceCommand.version
    let listen: [String]
    /// Nil if there is no HTTP.
    let http: String?

    /// Writes under another name first: who sees the file sees all of it.
    func write(to path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let line = String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
        let draft = "\(path).\(pid)"
        guard let file = fopen(draft, "w"), fputs(line, file) >= 0, fclose(file) == 0,
            rename(draft, path) == 0
        else {
            throw Failure(.error, "cannot write the ready file '\(path)': \(systemText(errno))")
        }
    }
}
