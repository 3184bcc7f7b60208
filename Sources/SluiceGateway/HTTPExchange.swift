import SluiceCore
import SluiceNet
import SluiceWire

/// A request and its answer, whatever version of HTTP they come and go by.
final class HTTPExchange {
    let stream: Int32
    let request: RequestHead
    unowned let connection: GatewayConnection
    /// Takes the request's body and makes the answer.
    var handler: (any ExchangeHandler)?
    private(set) var isAnswered = false
    private var isConnection = false
    private(set) var isBodyComplete = false
    /// When it began, and how much of its body has come since.
    let since: UInt64
    private(set) var bodyBytes = 0
    /// Bytes of its body that its handler holds: so many fewer may come.
    private var heldBytes = 0
    /// Whether it is a call of gRPC, which is refused in gRPC's words.
    var isGrpc = false
    /// Ends it when its client's time is over.
    var timer: TimerID?

    init(_ stream: Int32, _ request: RequestHead, on connection: GatewayConnection, since: UInt64) {
        self.stream = stream
        self.request = request
        self.connection = connection
        self.since = since
    }

    func receive(_ bytes: [UInt8]) {
        bodyBytes += bytes.count
        heldBytes += bytes.count
        handler?.receive(bytes)
        letGo()
    }

    /// Opens the client's windows for what its handler does not hold.
    func letGo() {
        guard heldBytes > 0, !(handler?.isHolding ?? false) else { return }
        // What nobody wants is dealt with too: the windows of the others must not wait for it.
        connection.took(heldBytes, of: stream)
        heldBytes = 0
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
    func takeOver() {
        isAnswered = true
        isConnection = true
    }

    /// The body of the answer has something again.
    func resume() { connection.resume(stream) }

    /// Ends the answer before its body is whole.
    func abort() { connection.abort(stream) }

    /// Whether its client may leave the answer lying.
    var isOpenEnded: Bool { isConnection || handler?.isOpenEnded ?? false }

    /// It is over: answered, or nobody waits for the answer.
    func end() {
        if let timer { connection.gateway.loop.cancel(timer) }
        timer = nil
        endHandler()
    }

    /// Makes way for the handler of the next step.
    func endHandler() {
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
    /// Whether the client is to send nothing more of the body for now.
    var isHolding: Bool { get }
    /// Whether the answer is a stream without a known end: what its client does not take stays with
    /// the topic, and so may wait for as long as the client likes.
    var isOpenEnded: Bool { get }
}

extension ExchangeHandler {
    func receive(_ bytes: [UInt8]) {}
    func complete() {}
    func end() {}
    func leave() {}
    var isHolding: Bool { false }
    var isOpenEnded: Bool { false }
}
