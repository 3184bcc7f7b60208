import FoundationEssentials
import SluiceCore
import SluiceEngine
import SluiceWire

// What machines ask about the broker itself: is it alive, is it ready, which is it.

extension Gateway {
    /// Answers `/livez`, `/readyz`, `/version` and `/metrics`; false if it is none of them.
    func answerProbe(_ name: String, _ exchange: HTTPExchange, _ query: Query) -> Bool {
        guard ["livez", "readyz", "version", "metrics"].contains(name) else { return false }
        guard ["GET", "HEAD"].contains(exchange.request.method) else {
            refuseMethod(exchange, "GET, HEAD")
            return true
        }
        switch name {
        case "livez":
            // That it answers at all is the answer: the loop which serves everything turned.
            respond(exchange, 200, "ok\n")
        case "readyz":
            let state = isWinding ? "[-] serving: the broker is stopping\n" : "[+] serving\n"
            let word = isWinding ? "not ready\n" : "ok\n"
            let isLong = query["verbose"] != nil
            respond(exchange, isWinding ? 503 : 200, isLong ? state + word : word)
        case "version":
            var text = Array("{\"name\":".utf8)
            JSONText.append(engine.configuration.name, to: &text)
            text += Array(",\"version\":".utf8)
            JSONText.append(engine.configuration.version, to: &text)
            exchange.respond(json: text + Array(",\"protocol\":1}\n".utf8))
        default: answerMetrics(exchange)
        }
        return true
    }

    private func respond(_ exchange: HTTPExchange, _ status: Int, _ text: String) {
        let headers = [
            Header("content-type", "text/plain; charset=utf-8"),
            Header("cache-control", "no-store"),
        ]
        exchange.respond(ResponseHead(status, headers), .bytes(Array(text.utf8)))
    }
}
