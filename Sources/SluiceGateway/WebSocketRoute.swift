import SluiceCore
import SluiceNet
import SluiceWire

// `GET /v1/ws`: the connection becomes a WebSocket with the binary protocol inside.

extension Gateway {
    func openWebSocket(_ exchange: HTTPExchange) throws(Refusal) {
        let request = exchange.request
        guard request.method == "GET" else {
            refuseMethod(exchange, "GET")
            return
        }
        guard exchange.connection.mayChange else {
            throw Refusal("a WebSocket is asked for over HTTP/1.1")
        }
        guard request.lists("upgrade", "websocket"), request.lists("connection", "upgrade"),
            request["sec-websocket-version"] == "13"
        else {
            let text = "this is a WebSocket: upgrade to it, version 13"
            let headers = [
                Header("upgrade", "websocket"), Header("sec-websocket-version", "13"),
            ]
            exchange.refuse(Problem(426, .badOption, text, headers: headers))
            return
        }
        guard request.lists("sec-websocket-protocol", WebSocketCodec.subprotocol) else {
            throw Refusal("the protocol inside is \(WebSocketCodec.subprotocol); offer that")
        }
        guard let answer = WebSocketCodec.acceptance(of: request) else {
            throw Refusal("a WebSocket begins with one Sec-WebSocket-Key of 16 bytes")
        }
        guard isTrusted(request) else {
            let text = "pages of \(request["origin"] ?? "") may not; they have to be of this host"
            exchange.refuse(Problem(403, .forbidden, text))
            return
        }
        guard let broker = dial(exchange.connection.address) else {
            refuseStopping(exchange)
            return
        }
        exchange.connection.change(exchange, saying: answer) { isReady throws(HTTPFailure) in
            try WebSocketSession(to: broker, on: self.loop, isReady: isReady)
        }
    }

    /// Whether no page of another site asks: browsers let those open WebSockets to wherever they
    /// like, and say only whose they are.
    private func isTrusted(_ request: RequestHead) -> Bool {
        guard let origin = request["origin"] else { return true }
        guard let host = request.authority, let scheme = origin.firstRange(of: "://") else {
            return false
        }
        return origin[scheme.upperBound...].lowercased() == host.lowercased()
    }
}

extension RequestHead {
    /// Whether a word stands in a header that is a list of words.
    fileprivate func lists(_ name: String, _ word: String) -> Bool {
        headers.contains { header in
            header.name == name
                && header.value.split(separator: ",").contains {
                    $0.lowercased().trimmingSpaces == word
                }
        }
    }
}
