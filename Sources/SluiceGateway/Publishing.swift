import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceWire

/// `POST /v1/topics/{t}/events`: collects the request, and brings its events to the topic at once.
final class Publishing: ExchangeHandler {
    private unowned let gateway: Gateway
    private let exchange: HTTPExchange
    private let topic: String
    private let wait: Duration
    private let form: EventForm
    private var body: [UInt8] = []
    /// Takes the events out of the body, once that is whole.
    private var reading: EventReading?
    private var batch: Batch?
    private var intake: Intake?

    init(
        _ exchange: HTTPExchange,
        to topic: String,
        wait: Duration,
        _ form: EventForm,
        _ gateway: Gateway
    ) {
        self.exchange = exchange
        self.topic = topic
        self.wait = wait
        self.form = form
        self.gateway = gateway
    }

    func receive(_ bytes: [UInt8]) {
        guard !exchange.isAnswered else { return }
        guard body.count + bytes.count <= Limits.httpBodyBytesMax else {
            let text = "a request brings at most \(Limits.httpBodyBytesMax) bytes; send several"
            return refuse(Problem(413, .eventTooLarge, text))
        }
        guard gateway.heldBytes + bytes.count <= gateway.bodiesBytesMax else {
            let text = "the broker holds as many bytes of requests as it may"
            let retry = gateway.engine.nextRetry()
            return refuse(Problem(Close(.busy, reason: text, retryMilliseconds: retry)))
        }
        gateway.heldBytes += bytes.count
        if body.isEmpty { body = bytes } else { body += bytes }
    }

    private func refuse(_ problem: Problem) {
        letGo()
        exchange.refuse(problem)
    }

    private func letGo() {
        gateway.heldBytes -= body.count
        body = []
        reading = nil
    }

    func complete() {
        guard !exchange.isAnswered else { return }
        reading = EventReading(body, as: form, of: exchange.request)
        if !goOn() { gateway.queue(self) }
    }

    /// Reads a part of the body; true if there is nothing more to do.
    func goOn() -> Bool {
        guard reading != nil, !exchange.isAnswered else { return true }
        do throws(Refusal) {
            switch try reading?.step() {
            case .more?: return false
            case .done(let records)?: bring(records)
            case .tooMuch?: refuse(Self.tooMuch)
            case nil: break
            }
        } catch {
            refuse(Problem(400, .badOption, error.text))
        }
        return true
    }

    private static var tooMuch: Problem {
        let text =
            "a batch has at most \(Limits.batchEventsMax) events and "
            + "\(Limits.eventBytesMax) bytes, so that there can be credit for it; send several"
        return Problem(413, .limit, text)
    }

    private func bring(_ records: EventRecords) {
        letGo()
        guard records.events > 0 else { return answer(BatchOutcome()) }
        // It may have begun to stop meanwhile.
        guard !gateway.isWinding else { return gateway.refuseStopping(exchange) }
        guard records.bytes.count <= Limits.eventBytesMax else {
            return exchange.refuse(Self.tooMuch)
        }
        let batch = Batch(
            events: UInt64(records.events),
            records: records.bytes
        ) { result in
            self.finish(result)
        }
        self.batch = batch
        let intake = gateway.intakes.add(batch, to: topic, wait: wait)
        if self.batch != nil { self.intake = intake }
    }

    private func finish(_ result: Result<BatchOutcome, BatchRefusal>) {
        guard let batch, !exchange.isAnswered else { return }
        self.batch = nil
        intake = nil
        switch result {
        case .success(let outcome): answer(outcome)
        case .failure(.closed(let close)): exchange.refuse(Problem(close))
        case .failure(.noCredit(let credit)):
            let text =
                "there is demand for \(credit) events, not for \(batch.events); "
                + "wait longer, or send fewer"
            exchange.refuse(
                Problem(
                    429,
                    .busy,
                    text,
                    headers: [
                        Header("retry-after", "1"), Header("sluice-demand", "\(credit)"),
                    ]
                )
            )
        }
    }

    private func answer(_ outcome: BatchOutcome) {
        if outcome.count == 0, let code = outcome.code {
            exchange.refuse(Problem(Close(code, reason: "the topic takes none of it")))
            return
        }
        var text: [UInt8] = []
        text.reserveCapacity(96 + topic.utf8.count)
        text += "{\"topic\":".utf8
        JSONText.append(topic, to: &text)
        if let offset = outcome.offset {
            text += ",\"offset\":".utf8
            text += String(offset).utf8
        }
        text += ",\"count\":".utf8
        text += String(outcome.count).utf8
        if outcome.refused > 0 {
            text += ",\"refused\":".utf8
            text += String(outcome.refused).utf8
        }
        text += "}\n".utf8
        exchange.respond(json: text)
    }

    /// Nobody waits for the answer: what has no credit yet is not brought.
    func end() {
        letGo()
        guard let batch else { return }
        self.batch = nil
        intake?.giveUp(batch)
        intake = nil
    }
}

extension Gateway {
    func publish(
        _ exchange: HTTPExchange,
        to topic: String,
        _ query: Query
    ) throws(Refusal) {
        if isWinding {
            refuseStopping(exchange)
            return
        }
        guard exchange.request["sluice-key"]?.utf8.count ?? 0 <= Limits.keyBytesMax else {
            throw Refusal("a key has at most \(Limits.keyBytesMax) bytes")
        }
        let least = Duration.milliseconds(Limits.httpWaitMillisecondsMin)
        exchange.handler = Publishing(
            exchange,
            to: topic,
            wait: max(least, try query.time("wait", or: .seconds(5))),
            EventForm(contentType: exchange.request["content-type"]),
            self
        )
    }

    func refuseStopping(_ exchange: HTTPExchange) {
        let retry = engine.nextRetry()
        let close = Close(.goingAway, reason: "the broker is stopping", retryMilliseconds: retry)
        exchange.refuse(Problem(close))
    }
}
