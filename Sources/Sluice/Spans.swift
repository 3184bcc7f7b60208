import SluiceCore
import SluiceWire
import Tracing

/// Spans of what a client sends, receives and handles; a client that nobody traces has none.
struct Spans: Sendable {
    private let tracer: any Tracer
    private let clientName: String

    /// Nil if the program traces nothing.
    init?(_ configuration: ClientConfiguration) {
        let tracer = configuration.tracer ?? InstrumentationSystem.tracer
        guard !(tracer is NoOpTracer) else { return nil }
        self.tracer = tracer
        clientName = configuration.name
    }

    /// Spans of the links on a topic; what the broker tells of itself has none.
    func of(_ topic: String) -> Self? { topic.hasPrefix("$sys/") ? nil : self }

    private func start(
        _ operation: MessagingNames.Operation,
        _ topic: String,
        group: String?,
        events: Int,
        in context: InstrumentationContext
    ) -> any Span {
        let name = operation.spanName(topic)
        let span = tracer.startAnySpan(name, context: context, ofKind: operation.kind)
        span.updateAttributes { attributes in
            attributes[MessagingNames.system] = "sluice"
            attributes[MessagingNames.destination] = topic
            attributes[MessagingNames.operationName] = operation.rawValue
            attributes[MessagingNames.operationType] = operation.rawValue
            if let group { attributes[MessagingNames.group] = group }
            if !clientName.isEmpty { attributes[MessagingNames.client] = clientName }
            if events != 1 { attributes[MessagingNames.batchCount] = events }
        }
        return span
    }

    // MARK: Sending

    /// Sends a batch in a span, whose context goes with each event that has none.
    func send<Failure: Error>(
        _ batch: OutgoingBatch,
        to topic: String,
        _ body: (OutgoingBatch) async throws(Failure) -> Void
    ) async throws(Failure) {
        let current = InstrumentationContext.current ?? .topLevel
        let span = start(.send, topic, group: nil, events: batch.count, in: current)
        defer { span.end() }
        do throws(Failure) {
            try await body(marked(batch, by: span.context))
        } catch {
            Self.note(error, on: span)
            throw error
        }
    }

    private func marked(
        _ batch: OutgoingBatch,
        by context: InstrumentationContext
    ) -> OutgoingBatch {
        guard let run = batch.run else { return batch }
        var words: [EventHeader] = []
        tracer.inject(context, into: &words, using: HeaderCarrier())
        guard !words.isEmpty else { return batch }
        let more = words.reduce(0) { $0 + 3 + $1.name.utf8.count + $1.value.count }
        var marked = OutgoingBatch()
        for event in EventBatch(runs: [run]) {
            let headers = event.headers
            let fits = event.byteCount + more + 8 <= Limits.eventBytesMax
            let isMarked = headers.contains { header in words.contains { $0.name == header.name } }
            do {
                guard fits, !isMarked else {
                    try marked.append(event)
                    continue
                }
                try marked.append(
                    OutgoingEvent(
                        Array(event.payload),
                        key: event.key.map { Array($0) },
                        headers: headers + words
                    )
                )
            } catch {
                // Nothing is refused for what was to be added to it.
                return batch
            }
        }
        return marked
    }

    private static func note(_ error: any Error, on span: any Span) {
        let type = (error as? ClientError).map { "\($0.code)" } ?? "\(type(of: error))"
        span.attributes[MessagingNames.errorType] = type
        span.recordError(error)
        span.setStatus(SpanStatus(code: .error))
    }

    // MARK: Receiving

    /// Notes that a batch was taken, by the contexts that came with it.
    func noteReceived(_ batch: EventBatch, from topic: String, group: String?) {
        guard !batch.isEmpty else { return }
        start(.receive, batch, from: topic, group: group).end()
    }

    /// Handles one event as the child of the span that sent it.
    func process<Result>(
        _ event: Event,
        from topic: String,
        group: String?,
        _ body: () async throws -> Result
    ) async rethrows -> Result {
        var context = InstrumentationContext.current ?? .topLevel
        tracer.extract(event.headers, into: &context, using: HeaderCarrier())
        let span = start(.process, topic, group: group, events: 1, in: context)
        return try await run(body, in: span)
    }

    /// Handles a batch in a span that has links to those that sent its events.
    func process<Result>(
        _ batch: EventBatch,
        from topic: String,
        group: String?,
        _ body: () async throws -> Result
    ) async rethrows -> Result {
        try await run(body, in: start(.process, batch, from: topic, group: group))
    }

    private func run<Result>(
        _ body: () async throws -> Result,
        in span: any Span
    ) async rethrows -> Result {
        defer { span.end() }
        do {
            return try await InstrumentationContext.$current.withValue(span.context) {
                try await body()
            }
        } catch {
            Self.note(error, on: span)
            throw error
        }
    }

    /// A span about a batch, with links to those that sent its events.
    private func start(
        _ operation: MessagingNames.Operation,
        _ batch: EventBatch,
        from topic: String,
        group: String?
    ) -> any Span {
        let current = InstrumentationContext.current ?? .topLevel
        let span = start(operation, topic, group: group, events: batch.count, in: current)
        for context in contexts(of: batch) {
            span.addLink(SpanLink(context: context, attributes: [:]))
        }
        return span
    }

    /// The contexts that came with events, once where it is the same for some in a row.
    private func contexts(of batch: EventBatch) -> [InstrumentationContext] {
        var contexts: [InstrumentationContext] = []
        var last: [EventHeader] = []
        for event in batch where contexts.count < Limits.spanLinksMax {
            let headers = event.headers
            guard !headers.isEmpty, headers != last else { continue }
            last = headers
            var context = InstrumentationContext.topLevel
            tracer.extract(headers, into: &context, using: HeaderCarrier())
            if !context.isEmpty { contexts.append(context) }
        }
        return contexts
    }
}

/// Context in the headers of an event, by the names that the tracer gives (`traceparent`, …).
private struct HeaderCarrier: Injector, Extractor {
    func inject(_ value: String, forKey key: String, into headers: inout [EventHeader]) {
        headers.append(EventHeader(name: key, value: value))
    }

    func extract(key: String, from headers: [EventHeader]) -> String? {
        headers.first { $0.name == key }.map { String(decoding: $0.value, as: UTF8.self) }
    }
}

// MARK: - For programs

extension Subscription {
    /// Handles an event in a span `process TOPIC`, the child of the span that sent it.
    ///
    /// Within `body` the span is the current one. Without a tracer this calls `body` and no more.
    public func process<Result>(
        _ event: Event,
        _ body: () async throws -> Result
    ) async rethrows -> Result {
        guard let spans = core.spans else { return try await body() }
        return try await spans.process(event, from: topic, group: core.open.group?.text, body)
    }

    /// Handles a batch in a span `process TOPIC`, with a link to each span that sent some of it.
    ///
    /// At most 128 links. Within `body` the span is the current one. Without a tracer this calls
    /// `body` and no more. Stages do it by themselves.
    public func process<Result>(
        _ batch: EventBatch,
        _ body: () async throws -> Result
    ) async rethrows -> Result {
        guard let spans = core.spans else { return try await body() }
        return try await spans.process(batch, from: topic, group: core.open.group?.text, body)
    }
}
