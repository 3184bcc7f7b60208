package import Configuration
import FoundationEssentials
package import Logging
import SluiceCore
import SluiceEngine
import SluiceNet
package import SluiceServer

/// What `sluice serve` was told, from four layers: flags, environment, file, defaults.
package struct ServeSettings: Sendable {
    /// The layers above the defaults, the stronger first.
    package struct Layers: Sendable {
        var flags: [AbsoluteConfigKey: ConfigValue]
        var environment: [String: String]
        var file: String?

        package init(
            flags: [AbsoluteConfigKey: ConfigValue],
            environment: [String: String],
            file: String?
        ) {
            self.flags = flags
            self.environment = environment
            self.file = file
        }
    }

    package let server: ServerConfiguration
    /// Where HTTP is served; nil for nowhere.
    package let http: String?
    package let readyFile: String?
    package let logStyle: LineLog.Style
    package let logLevel: Logger.Level

    package var logger: Logger {
        Logger(label: "sluice") { [logStyle, logLevel] _ in
            LineLog(style: logStyle, logLevel: logLevel)
        }
    }

    package init(layers: Layers) throws {
        let source = try SettingSource(layers)
        var server = ServerConfiguration()
        server.engine.version = SluiceCommand.version
        if let addresses = source.texts("listen") { server.listen = addresses }

        let topic = try Self.topic(source, server.engine.topicDefaults)
        server.engine.topicDefaults = topic
        if let isOff = try source.value("no-auto-create", "true or false", Self.bool) {
            server.engine.createsTopics = !isOff
        }

        if let span = try source.value("keepalive", "a time such as 10s", TimeSpan.init) {
            let seconds = Int((span.seconds).rounded(.up))
            server.keepaliveSeconds = min(max(1, seconds), Limits.keepaliveSecondsMax)
        }
        if let span = try source.value("resume-window", "a time such as 30s", TimeSpan.init) {
            server.engine.resumeWindowMilliseconds = span.milliseconds
        }
        if let span = try source.value("topic-linger", "a time such as 10m", TimeSpan.init) {
            server.engine.topicLingerMilliseconds = span.milliseconds
        }
        if let most = try source.count("max-connections", upTo: Int(Int32.max)) {
            server.connectionsMax = Int(most)
        }
        let limits = "a number of bytes from \(Limits.memoryLimitMin)"
        let limit = try source.value("memory-limit", limits) { text in
            let value = ByteCount(argument: text)?.value ?? 0
            return value >= Limits.memoryLimitMin ? value : nil
        }
        let shards = try source.value("shards", "a number from 1 to \(Limits.shardsMax)") {
            Int($0).flatMap { (1...Limits.shardsMax).contains($0) ? $0 : nil }
        }
        // One core is left for the clients on this machine and for the kernel.
        let spare = HostProcess.processors - 1
        server.shards = shards ?? min(max(1, spare), Limits.shardsMax)
        // Less than this would leave nothing for topics.
        let least = Limits.memoryLimitMin / 2 * (server.shards + 1)
        if let limit, limit < least {
            throw Failure(
                .usage,
                "memory-limit is \(limit), too little for \(server.shards) shards",
                hint: "give the broker at least \(least) bytes, or fewer --shards"
            )
        }
        // Beside the shards: one that signals, and two of the runtime.
        let share = HostMemory.current.share(threads: server.shards + 3)
        server.memoryLimit = limit ?? max(least, Int(clamping: share))
        if let span = try source.value("drain-timeout", "a time such as 5s", TimeSpan.init) {
            server.drainSeconds = Int(span.seconds.rounded(.up))
        }
        self.server = server
        let http = source.text("http") ?? "127.0.0.1:7480"
        self.http = http == "none" ? nil : http
        readyFile = source.text("ready-file")
        logStyle =
            try source.value("log-format", "auto, text, json or logfmt", Self.style)
            ?? Self.automaticStyle
        let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
        logLevel = try source.value("log-level", levels, Logger.Level.init(rawValue:)) ?? .info
    }

    /// What a topic has that nobody created by a request.
    private static func topic(
        _ source: SettingSource,
        _ defaults: TopicOptions
    ) throws -> TopicOptions {
        var topic = defaults
        let events = "a number of events, at most \(Limits.bufferEventsMax)"
        if let buffer = try source.value("buffer", events, Self.bufferEvents) {
            topic.capacity = buffer
            topic.ahead = topic.capacity
        }
        let size = "a number of bytes, at most \(Limits.bufferBytesMax)"
        if let bytes = try source.value("buffer-bytes", size, Self.bufferBytes) {
            topic.bufferBytes = bytes
        }
        if let ahead = try source.value("ahead", events, Self.bufferEvents) {
            topic.ahead = ahead
            topic.capacity = max(topic.capacity, topic.ahead)
        }
        let policies = FullPolicy.allCases.map(\.rawValue).joined(separator: ", ")
        if let policy = try source.value("on-full", policies, FullPolicy.init(rawValue:)) {
            topic.onFull = policy
        }
        let most = Int(UInt32.max)
        if let rate = try source.count("rate", upTo: most) {
            let burst = try source.count("burst", upTo: most) ?? rate
            topic.rate = RateLimit(eventsPerSecond: rate, burst: burst)
        } else if source.text("burst") != nil {
            let hint = "tell --rate too, or leave out --burst"
            throw Failure(.usage, "burst needs rate", hint: hint)
        }
        if let producers = try source.count("max-producers", upTo: most) {
            topic.limits.producers = producers
        }
        if let consumers = try source.count("max-consumers", upTo: most) {
            topic.limits.consumers = consumers
        }
        if let groups = try source.count("max-groups", upTo: Limits.groupsPerTopicMax) {
            topic.limits.groups = groups
        }
        let bytes = "a number of bytes from 1 to \(Limits.eventBytesMax)"
        let largest = try source.value("max-event-bytes", bytes) { text in
            ByteCount(argument: text).flatMap {
                (1...Limits.eventBytesMax).contains($0.value) ? $0 : nil
            }
        }
        if let largest { topic.limits.eventBytes = UInt32(largest.value) }
        let spans = "a time such as 24h, at most 365d"
        let kept = try source.value("group-expire-after", spans) { text in
            TimeSpan(argument: text).map(\.wholeSeconds).flatMap {
                $0 <= Limits.groupExpireAfterSecondsMax ? $0 : nil
            }
        }
        if let kept { topic.groupExpiry.afterSeconds = kept }
        return topic
    }

    private static func bufferEvents(_ text: String) -> UInt64? {
        EventCount(argument: text).map { UInt64($0.value) }
            .flatMap { $0 <= Limits.bufferEventsMax ? $0 : nil }
    }

    private static func bufferBytes(_ text: String) -> UInt64? {
        ByteCount(argument: text).map { UInt64($0.value) }
            .flatMap { $0 <= Limits.bufferBytesMax ? $0 : nil }
    }

    private static var automaticStyle: LineLog.Style {
        Notice.isTerminal ? .text(isColoured: Colours.areWanted(false)) : .logfmt
    }

    private static func style(_ text: String) -> LineLog.Style? {
        switch text {
        case "auto": automaticStyle
        case "text": .text(isColoured: Colours.areWanted(false) && Notice.isTerminal)
        case "json": .json
        case "logfmt": .logfmt
        default: nil
        }
    }

    private static func bool(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "1", "true", "yes", "on": true
        case "0", "false", "no", "off": false
        default: nil
        }
    }
}

/// Looks settings up in the layers, and knows which layer a value came from.
private struct SettingSource {
    private static let names: Set<String> = [
        "listen", "http", "ready-file", "buffer", "buffer-bytes", "ahead", "on-full",
        "rate", "burst", "max-producers", "max-consumers", "max-groups", "max-event-bytes",
        "group-expire-after", "no-auto-create", "topic-linger", "keepalive", "resume-window",
        "max-connections", "memory-limit", "shards", "drain-timeout", "log-format", "log-level",
    ]

    private let layers: ServeSettings.Layers
    private let reader: ConfigReader

    init(_ layers: ServeSettings.Layers) throws {
        self.layers = layers
        // An empty variable means the same as none: that is how scripts unset one for a command.
        let environment = layers.environment.filter { !$0.value.isEmpty }
        var providers: [any ConfigProvider] = [
            InMemoryProvider(name: "flags", values: layers.flags),
            EnvironmentVariablesProvider(environmentVariables: environment)
                .prefixKeys(with: "sluice"),
        ]
        if let path = layers.file { providers.append(try Self.file(path)) }
        reader = ConfigReader(providers: providers)
    }

    private static func file(_ path: String) throws -> any ConfigProvider {
        let found: [String: Setting]
        do {
            found = try JSONDecoder().decode(
                [String: Setting].self,
                from: Data(contentsOf: URL(filePath: path))
            )
        } catch let error as DecodingError {
            throw refusal(error, of: path)
        } catch {
            throw Failure(.error, "cannot read the configuration '\(path)': \(error)")
        }
        // Names are lower case of ASCII, which no other text looks like to a `String`.
        if let unknown = found.keys.sorted().first(where: { !names.contains($0) }) {
            throw Failure(
                .usage,
                "'\(path)' sets '\(unknown)', which does not exist",
                hint: "the names are those of the flags: \(names.sorted().joined(separator: ", "))"
            )
        }
        var values: [AbsoluteConfigKey: ConfigValue] = [:]
        for (name, setting) in found {
            values[AbsoluteConfigKey([name])] = ConfigValue(setting.content, isSecret: false)
        }
        return InMemoryProvider(name: "file", values: values)
    }

    private static func refusal(_ error: DecodingError, of path: String) -> Failure {
        let context: DecodingError.Context? =
            switch error {
            case .typeMismatch(_, let context), .valueNotFound(_, let context): context
            default: nil
            }
        if let name = context?.codingPath.first {
            return Failure(
                .usage,
                "'\(path)' sets '\(name.stringValue)' to nothing that a setting can be",
                hint: "it takes a text, a number, true or false, or a list of texts"
            )
        }
        return Failure(
            .usage,
            "'\(path)' is no JSON object",
            hint: "it looks like this: {\"buffer\": 1000, \"log-level\": \"debug\"}"
        )
    }

    /// One value of the file, as the text that a flag would have.
    private struct Setting: Decodable {
        let content: ConfigContent

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                content = .string(text)
            } else if let truth = try? container.decode(Bool.self) {
                content = .string(String(truth))
            } else if let number = try? container.decode(Int.self) {
                content = .string(String(number))
            } else if let number = try? container.decode(Double.self) {
                content = .string(String(number))
            } else {
                content = .stringArray(try container.decode([String].self))
            }
        }
    }

    func texts(_ name: String) -> [String]? {
        reader.stringArray(forKey: ConfigKey([name])) ?? text(name).map { [$0] }
    }

    func text(_ name: String) -> String? { reader.string(forKey: ConfigKey([name])) }

    func value<Value>(
        _ name: String,
        _ kind: String,
        _ parse: (String) -> Value?
    ) throws(Failure) -> Value? {
        guard let text = text(name) else { return nil }
        guard let value = parse(text) else {
            throw Failure(.usage, "\(origin(name)) is '\(text)'", hint: "it takes \(kind)")
        }
        return value
    }

    /// A number of something, at least one.
    func count(_ name: String, upTo most: Int) throws(Failure) -> UInt32? {
        try value(name, "a number from 1 to \(most)") { text in
            EventCount(argument: text).flatMap { count in
                (1...most).contains(count.value) ? UInt32(count.value) : nil
            }
        }
    }

    private func origin(_ name: String) -> String {
        let variable = "SLUICE_" + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
        if layers.flags[AbsoluteConfigKey([name])] != nil { return "--\(name)" }
        if layers.environment[variable]?.isEmpty == false { return variable }
        return "'\(name)' in \(layers.file ?? "the file")"
    }
}
