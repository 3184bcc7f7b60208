import SluiceCore
import SluiceWire

/// A request and its answer, whatever version of HTTP they come and go by.
final class HTTPExchange {
    let stream: Int32
    let request: RequestHead
    unowned let connection: GatewayConnection
    /// Takes the request's body and makes the answer.
    var handler: (any ExchangeHandler)?
    private(set) var isAnswered = false
    private(set) var isBodyComplete = false
    /// When it began, and how much of its body has come since.
    let since: UInt64
    private(set) var bodyBytes = 0

    init(_ stream: Int32, _ request: RequestHead, on connection: GatewayConnection, since: UInt64) {
        self.stream = stream
        self.request = request
        self.connection = connection
        self.since = since
    }

    func receive(_ bytes: [UInt8]) {
        bodyBytes += bytes.count
        handler?.receive(bytes)
        // What nobody wants is dealt with too: the windows of the others must not wait for it.
        connection.took(bytes.count, of: stream)
    }

    func complete() {
        guard !isBodyComplete else { return }
        isBodyComplete = true
        handler?.complete()
    }

    /// Answers, once.
    func respond(_ head: ResponseHead, _ body: ResponseBody = .none) {
        guard !isAnswered else { return }
        isAnswered = true
        connection.respond(to: stream, head, body)
    }

    /// The connection itself becomes the answer.
    func takeOver() { isAnswered = true }

    /// The body of the answer has something again.
    func resume() { connection.resume(stream) }

    /// Ends the answer before its body is whole.
    func abort() { connection.abort(stream) }

    /// It is over: answered, or nobody waits for the answer.
    func end() {
        let handler = self.handler
        self.handler = nil
        handler?.end()
    }
}

extension Close {
    /// What is open is answered with when the broker stops.
    static var brokerHasStopped: Close { Close(.goingAway, reason: "the broker has stopped") }
}

/// What a route does with an exchange.
protocol ExchangeHandler: AnyObject {
    /// A part of the request's body.
    func receive(_ bytes: [UInt8])
    /// The request is here, all of it.
    func complete()
    /// The exchange is over; also if it was answered in full.
    func end()
    /// The broker has stopped: answers what is still open, with what is there.
    func leave()
}

extension ExchangeHandler {
    func receive(_ bytes: [UInt8]) {}
    func complete() {}
    func end() {}
    func leave() {}
}
