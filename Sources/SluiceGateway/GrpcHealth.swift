import SluiceCore
import SluiceGrpcMessages
import SwiftProtobuf

// Whether the broker serves, as gRPC's probes ask it.

extension Gateway {
    func healthMethod(_ name: Substring, _ exchange: HTTPExchange) -> (any GrpcMethod)? {
        switch name {
        case "Check":
            return GrpcUnary(exchange) {
                [unowned self] (request: Grpc_Health_V1_HealthCheckRequest) throws(GrpcFailure) in
                guard let state = health(of: request.service) else {
                    let text = "there is no service \(request.service)"
                    throw GrpcFailure(.notFound, text, reason: .notFound)
                }
                exchange.reply(Grpc_Health_V1_HealthCheckResponse.with { $0.status = state })
            }
        case "Watch": return GrpcWatch(exchange, self)
        default: return nil
        }
    }

    /// The state of a service, or of all for the empty name; nil if there is none of that name.
    fileprivate func health(
        of service: String
    ) -> Grpc_Health_V1_HealthCheckResponse.ServingStatus? {
        guard service.isEmpty || GrpcFiles.shared.services.contains(service) else { return nil }
        return isWinding ? .notServing : .serving
    }

    /// Tells all who watch that the broker is about to stop.
    func tellWatches() { for watch in watches.values { watch.tell() } }
}

/// `Watch`: the state of a service, and each change of it.
final class GrpcWatch: GrpcMethod {
    private unowned let gateway: Gateway
    private let exchange: HTTPExchange
    private let reply = GrpcReply()
    private var service: String?

    init(_ exchange: HTTPExchange, _ gateway: Gateway) {
        self.exchange = exchange
        self.gateway = gateway
    }

    func take(_ message: [UInt8]) throws(GrpcFailure) {
        guard service == nil else {
            throw GrpcFailure(.internal, "the method takes one message, and this is a second")
        }
        service = try Grpc_Health_V1_HealthCheckRequest(grpc: message).service
        gateway.watches[ObjectIdentifier(self)] = self
        exchange.respond(ResponseHead(200, HTTPExchange.grpcHeaders), .source(reply))
        tell()
    }

    func tell() {
        guard let service else { return }
        let state = gateway.health(of: service) ?? .serviceUnknown
        reply.add(Grpc_Health_V1_HealthCheckResponse.with { $0.status = state }.framed)
        exchange.resume()
    }

    func complete() throws(GrpcFailure) {
        guard service == nil else { return }
        throw GrpcFailure(.internal, "the method takes a message, and there is none")
    }

    func fail(_ status: GrpcStatus) {
        exchange.refuse(status)
        reply.finish(status)
        exchange.resume()
    }

    func end() { gateway.watches[ObjectIdentifier(self)] = nil }
}
