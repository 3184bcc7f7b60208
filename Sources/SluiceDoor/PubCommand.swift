package import ArgumentParser
import Glibc
import Sluice
import SluiceCore
import SluiceEngine

extension Each: ExpressibleByArgument {}

/// `sluice pub`: sends events, as fast as the topic grants.
package struct PubCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "pub",
        abstract: "Publish events: the body given, files, or standard input.",
        discussion: """
            Waits whenever the topic grants nothing, and ends when the broker has confirmed \
            every event. Why it waits: sluice why TOPIC.
            """
    )

    @Argument(help: "The topic.") package var topic: String
    @Argument(help: "The payload of one event (default: read standard input).")
    package var body: String?

    @Option(help: "What one event is: line (default), nul, file (default with --file) or eof.")
    package var each: Each?
    @Option(
        help: ArgumentHelp("Read this file ('-': standard input); repeatable.", valueName: "path")
    )
    package var file: [String] = []
    @Option(name: [.short, .long], help: "The key of each event.")
    package var key: String?
    @Option(
        help: ArgumentHelp(
            "What stands before the first such text is the key of the event, such as '\\t'.",
            valueName: "text"
        )
    )
    package var keySeparator: Separator?
    @Option(
        name: [.customShort("H"), .long],
        help: ArgumentHelp("A header of each event; repeatable.", valueName: "name:value")
    )
    package var header: [String] = []
    @Option(name: [.customShort("n"), .long], help: "Send so many: the body again, or the first.")
    package var count: EventCount?
    @Option(help: ArgumentHelp("Send at most so many events a second.", valueName: "n"))
    package var rate: Double?
    @Flag(help: "Say behind the last event that nothing more comes (END).")
    package var end = false
    @Flag(help: "Connect again when the connection is lost, for as long as it takes.")
    package var reconnect = false
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func validate() throws {
        guard body == nil || (file.isEmpty && each == nil) else {
            throw ValidationError("a body goes without --file and --each")
        }
        guard key == nil || keySeparator == nil else {
            throw ValidationError("--key is the key of all, --key-separator of each: take one")
        }
        guard (rate ?? 1) > 0 else { throw ValidationError("--rate must be above 0") }
        guard (count?.value ?? 1) > 0 else { throw ValidationError("--count must be above 0") }
        guard each != .file || !file.isEmpty else {
            throw ValidationError("--each file needs --file")
        }
        _ = try headers
    }

    private var headers: [EventHeader] {
        get throws {
            try header.map { text in
                guard let colon = text.firstIndex(of: ":") ?? text.firstIndex(of: "=") else {
                    throw ValidationError("-H takes name:value, not '\(text)'")
                }
                let value = text[text.index(after: colon)...].drop { $0 == " " }
                return EventHeader(name: String(text[..<colon]), value: String(value))
            }
        }
    }

    private var keys: Publisher.Keys {
        if let keySeparator { return .before(keySeparator.bytes) }
        return key.map { .same(Array($0.utf8)) } ?? .none
    }

    package func run() async throws {
        let policy = reconnect ? ReconnectPolicy() : .never
        let headers = try headers
        try await global.withClient(reconnect: policy) { client in
            let publisher = Publisher(
                producer: client.producer(
                    for: topic,
                    options: ProducerOptions(backlog: .announced, name: "sluice-pub")
                ),
                keys: keys,
                headers: headers,
                limit: count?.value ?? (body == nil ? .max : 1),
                rate: rate,
                notice: Notice.isTerminal && !global.quiet
            )
            do {
                try await send(through: publisher)
            } catch let failure as Failure {
                // What came before the fault is published, as if the input had ended there.
                try await publisher.finish(sayingEnd: false)
                throw failure
            }
            try await publisher.finish(sayingEnd: end)
            try tell(publisher.count)
        }
    }

    private func send(through publisher: Publisher) async throws {
        if let body {
            let bytes = Array(body.utf8)
            while publisher.wantsMore {
                try publisher.append(bytes, 0..<bytes.count)
                if publisher.mustSend { try await publisher.send() }
            }
            return
        }
        if file.isEmpty, isatty(STDIN_FILENO) == 1 {
            global.note("reading from the terminal; Ctrl-D ends it")
        }
        for path in file.isEmpty ? ["-"] : file where publisher.wantsMore {
            let input = try InputFile(path: path)
            defer { input.close() }
            try await publisher.publish(input, each: each ?? (file.isEmpty ? .line : .file))
        }
    }

    private func tell(_ count: Int) throws {
        switch global.output {
        case .json, .jsonl:
            let output = StandardOutput()
            var text = Array("{\"topic\":".utf8)
            JSONText.append(topic, to: &text)
            text += Array(",\"published\":\(count)}\n".utf8)
            try output.write(text)
            try output.flush()
        case .table, .raw, nil:
            guard Notice.isTerminal else { return }
            global.note("published \(count.grouped) event\(count == 1 ? "" : "s") to \(topic)")
        }
    }
}

/// Fills batches and sends them, no faster than asked.
final class Publisher {
    /// Where the key of an event comes from.
    enum Keys {
        case none
        case same([UInt8])
        /// It stands before the first such bytes, and the payload behind them.
        case before([UInt8])
    }

    private static let batchBytes = 262_144

    private let producer: Producer
    private let keys: Keys
    private let headers: [EventHeader]
    private let limit: Int
    private let rate: Double?
    private var notice: Bool
    private let start = ContinuousClock.now
    private var batch = OutgoingBatch()
    private(set) var count = 0

    init(
        producer: Producer,
        keys: Keys,
        headers: [EventHeader],
        limit: Int,
        rate: Double?,
        notice: Bool
    ) {
        self.producer = producer
        self.keys = keys
        self.headers = headers
        self.limit = limit
        self.rate = rate
        self.notice = notice
    }

    var wantsMore: Bool { count < limit }

    var mustSend: Bool {
        batch.byteCount >= Self.batchBytes || (rate != nil && due > ContinuousClock.now)
    }

    /// When the next event may go.
    private var due: ContinuousClock.Instant {
        rate.map { start + Duration(boundedSeconds: Double(count) / $0) } ?? start
    }

    func append(_ bytes: [UInt8], _ range: Range<Int>) throws {
        let event: OutgoingEvent
        switch keys {
        case .none where headers.isEmpty:
            try batch.append(payload: bytes.span.bytes.extracting(range))
            count += 1
            return
        case .none: event = OutgoingEvent(Array(bytes[range]), headers: headers)
        case .same(let key):
            event = OutgoingEvent(Array(bytes[range]), key: key, headers: headers)
        case .before(let separator):
            guard let cut = bytes[range].firstRange(of: separator) else {
                throw Failure(
                    .usage,
                    "event \(count + 1) has no key: nothing in it is the --key-separator",
                    hint: "those before it are published; give an empty key by beginning with it"
                )
            }
            event = OutgoingEvent(
                Array(bytes[cut.upperBound..<range.upperBound]),
                key: Array(bytes[range.lowerBound..<cut.lowerBound]),
                headers: headers
            )
        }
        try batch.append(event)
        count += 1
    }

    func send() async throws {
        guard !batch.isEmpty else { return }
        let waiting = notice ? noticeOfWaiting() : nil
        defer { waiting?.cancel() }
        try await producer.send(batch)
        batch.removeAll()
        if rate != nil, wantsMore { try await Task.sleep(until: due, clock: .continuous) }
    }

    func finish(sayingEnd: Bool) async throws {
        try await send()
        if sayingEnd { try await producer.end() }
        try await producer.flush()
        try await producer.close()
    }

    /// Tells a person once why nothing seems to happen.
    private func noticeOfWaiting() -> Task<Void, Never> {
        let topic = producer.topic
        return Task {
            guard (try? await Task.sleep(for: .seconds(2))) != nil else { return }
            Notice.line("waiting for demand on '\(topic)' (why: sluice why \(topic))")
        }
    }
}

extension Publisher {
    /// Publishes what a stream brings, a chunk at a time: the next is read when one is sent.
    func publish(_ input: InputFile, each: Each) async throws {
        switch each {
        case .line: try await pieces(of: input, separator: UInt8(ascii: "\n"))
        case .nul: try await pieces(of: input, separator: 0)
        case .file, .eof: try await whole(input)
        }
    }

    private func pieces(of input: InputFile, separator: UInt8) async throws {
        var splitter = Splitter(separator: separator)
        while wantsMore {
            let bytes = try await input.read()
            guard !bytes.isEmpty else {
                if let range = splitter.rest() { try append(splitter.buffer, range) }
                return try await send()
            }
            splitter.feed(bytes)
            while wantsMore, let range = splitter.next() {
                try append(splitter.buffer, range)
                if mustSend { try await send() }
            }
            guard splitter.pending <= Limits.eventBytesMax else { throw input.tooLarge }
            // What came together goes together, and at once.
            try await send()
        }
    }

    private func whole(_ input: InputFile) async throws {
        let all = try await input.readAll()
        try append(all, 0..<all.count)
        try await send()
    }
}

extension InputFile {
    /// All that comes, as one event.
    func readAll() async throws(Failure) -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let bytes = try await read()
            guard !bytes.isEmpty else { return all }
            all += bytes
            guard all.count <= Limits.eventBytesMax else { throw tooLarge }
        }
    }

    fileprivate var tooLarge: Failure {
        Failure(
            .usage,
            "an event of \(name) has more than \(Limits.eventBytesMax.grouped) bytes",
            hint: "cut it: --each line or --each nul"
        )
    }
}
