import FoundationEssentials
import SluiceCore
import SluiceGrpcMessages
import SluiceNet
import SwiftProtobuf

/// What a method does with a call.
protocol GrpcMethod: AnyObject {
    func take(_ message: [UInt8]) throws(GrpcFailure)
    /// The client has said all it had to say.
    func complete() throws(GrpcFailure)
    /// Ends the call with what went wrong, behind what was answered already.
    func fail(_ status: GrpcStatus)
    /// The call is over; also if it was answered in full.
    func end()
    /// Whether the client is to send nothing more for now.
    var isHolding: Bool { get }
    /// Whether the answer is a stream that may wait for its client.
    var isOpenEnded: Bool { get }
}

extension GrpcMethod {
    func end() {}
    var isHolding: Bool { false }
    var isOpenEnded: Bool { false }
}

/// One call: takes the client's messages apart for its method.
final class GrpcCall: ExchangeHandler {
    private unowned let gateway: Gateway
    private let exchange: HTTPExchange
    private let method: any GrpcMethod
    private var framing = GrpcFraming()
    private var held = 0
    private var isOver = false

    init(_ exchange: HTTPExchange, _ method: any GrpcMethod, _ gateway: Gateway) {
        self.exchange = exchange
        self.method = method
        self.gateway = gateway
    }

    func receive(_ bytes: [UInt8]) {
        guard !isOver else { return }
        guard gateway.heldBytes + bytes.count <= gateway.bodiesBytesMax else {
            fail(
                GrpcStatus(.unavailable, "the broker holds as many bytes as it may", reason: .busy)
            )
            return
        }
        framing.add(bytes)
        do throws(GrpcFraming.Fault) {
            while !isOver, let message = try framing.take() {
                do throws(GrpcFailure) { try method.take(message) } catch { fail(error.status) }
            }
        } catch { fail(GrpcStatus(error)) }
        hold(isOver ? 0 : framing.held)
    }

    private func hold(_ bytes: Int) {
        gateway.heldBytes += bytes - held
        held = bytes
    }

    private func fail(_ status: GrpcStatus) {
        guard !isOver else { return }
        isOver = true
        if let code = status.reason { gateway.count(code) }
        method.fail(status)
    }

    func complete() {
        guard !isOver else { return }
        guard framing.held == 0 else {
            return fail(GrpcStatus(.internal, "the last message is cut short"))
        }
        do throws(GrpcFailure) { try method.complete() } catch { fail(error.status) }
    }

    /// The client's time for the call is over.
    func expire() { fail(GrpcStatus(.deadlineExceeded, Self.timeIsOver)) }

    static let timeIsOver = "the time that the client gave is over"

    func leave() { fail(GrpcStatus(.brokerHasStopped)) }

    func end() {
        isOver = true
        hold(0)
        method.end()
    }

    var isHolding: Bool { method.isHolding }
    var isOpenEnded: Bool { method.isOpenEnded }
}

/// A method with one message each way.
final class GrpcUnary<Request: Message>: GrpcMethod {
    private let exchange: HTTPExchange
    private let body: (Request) throws(GrpcFailure) -> Void
    private var message: [UInt8]?

    init(_ exchange: HTTPExchange, _ body: @escaping (Request) throws(GrpcFailure) -> Void) {
        self.exchange = exchange
        self.body = body
    }

    func take(_ message: [UInt8]) throws(GrpcFailure) {
        guard self.message == nil else {
            throw GrpcFailure(.internal, "the method takes one message, and this is a second")
        }
        self.message = message
    }

    func complete() throws(GrpcFailure) {
        guard let message else {
            throw GrpcFailure(.internal, "the method takes a message, and there is none")
        }
        try body(try Request(grpc: message))
    }

    func fail(_ status: GrpcStatus) { exchange.refuse(status) }
}

extension Message {
    /// A message of a client.
    init(grpc bytes: [UInt8]) throws(GrpcFailure) {
        do {
            try self.init(serializedBytes: bytes)
        } catch {
            let type = Self.protoMessageName
            throw GrpcFailure(.invalidArgument, "the message is no \(type); see sluice.proto")
        }
    }

    var bytes: [UInt8] {
        do {
            return try serializedBytes()
        } catch {
            preconditionFailure("only required fields can fail, which proto3 has not: \(error)")
        }
    }

    /// The bytes of a message, behind its prefix.
    var framed: [UInt8] { GrpcFraming.framed(bytes) }
}

/// Messages as they are made, then the status: for methods that say little.
final class GrpcReply: BodySource {
    private var bytes: [UInt8]
    private var taken = 0
    private var status: GrpcStatus?

    init(_ bytes: [UInt8] = [], _ status: GrpcStatus? = nil) {
        self.bytes = bytes
        self.status = status
    }

    /// Bytes that the client has not taken.
    var waiting: Int { bytes.count - taken }

    func add(_ message: [UInt8]) {
        if taken == bytes.count {
            bytes = message
            taken = 0
        } else {
            bytes += message
        }
    }

    func finish(_ status: GrpcStatus) { if self.status == nil { self.status = status } }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyPart {
        let count = bytes.copy(from: taken, into: buffer)
        guard count > 0 else { return status.map { .endedWith($0.trailers) } ?? .nothingNow }
        taken += count
        return .bytes(count)
    }
}

extension HTTPExchange {
    static let grpcHeaders = [
        Header("content-type", "application/grpc"), Header("grpc-accept-encoding", "identity"),
    ]

    /// Answers a call that has no answer yet with nothing but how it ended.
    func refuse(_ status: GrpcStatus) {
        respond(ResponseHead(200, Self.grpcHeaders + status.trailers))
    }

    /// Answers a call with one message.
    func reply(_ message: some Message) { reply(bytes: message.bytes) }

    /// Answers a call with the bytes of one message.
    func reply(bytes: [UInt8]) {
        let body = GrpcReply(GrpcFraming.framed(bytes), .ok)
        respond(ResponseHead(200, Self.grpcHeaders), .source(body))
    }
}
