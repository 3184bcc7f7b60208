import SluiceCore
import SluiceEngine
import SluiceGrpcMessages
import SluiceNet

extension Gateway {
    /// Begins a call of gRPC; false if the request is none.
    func beginGrpc(_ exchange: HTTPExchange) -> Bool {
        let request = exchange.request
        guard let type = request["content-type"], type.hasPrefix("application/grpc"),
            exchange.connection.speaksHTTP2
        else { return false }
        let form = type.split(separator: ";")[0].dropFirst("application/grpc".count)
        guard form.isEmpty || form == "+proto" else {
            let text = "messages come as application/grpc+proto, not as \(type)"
            exchange.refuse(Problem(415, .badOption, text))
            return true
        }
        guard request.method == "POST" else {
            refuseMethod(exchange, "POST")
            return true
        }
        exchange.isGrpc = true
        guard request["te"] == "trailers" else {
            // The status comes in trailers: without them a broken call would look like a good one.
            let text = "te: trailers is missing; something between drops it"
            exchange.refuse(GrpcStatus(.internal, text))
            return true
        }
        guard let method = method(of: exchange) else {
            let text = "there is no method \(request.target); Protocol/sluice.proto has them all"
            exchange.refuse(GrpcStatus(.unimplemented, text))
            return true
        }
        let call = GrpcCall(exchange, method, self)
        exchange.handler = call
        limit(exchange, call)
        return true
    }

    private func limit(_ exchange: HTTPExchange, _ call: GrpcCall) {
        guard let text = exchange.request["grpc-timeout"] else { return }
        guard let time = GrpcTimeout.parse(text) else {
            exchange.refuse(GrpcStatus(.internal, "grpc-timeout is malformed: \(text)"))
            return
        }
        // Whose time is longer than that waits without an end.
        guard time <= .seconds(Limits.grpcTimeoutSecondsMax) else { return }
        exchange.timer = loop.schedule(after: time) { [weak self, weak exchange] in
            guard let self, let exchange else { return }
            readClocks()
            exchange.timer = nil
            if exchange.handler === call {
                call.expire()
            } else {
                exchange.refuse(GrpcStatus(.deadlineExceeded, GrpcCall.timeIsOver))
            }
        }
    }

    private func method(of exchange: HTTPExchange) -> (any GrpcMethod)? {
        let parts = exchange.request.target.split(separator: "/")
        guard parts.count == 2 else { return nil }
        switch parts[0] {
        case "sluice.v1.Broker": return brokerMethod(parts[1], exchange)
        case "grpc.health.v1.Health": return healthMethod(parts[1], exchange)
        case "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection":
            return parts[1] == "ServerReflectionInfo" ? GrpcReflection(exchange) : nil
        default: return nil
        }
    }
}
