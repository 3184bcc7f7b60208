import SluiceCore
import SluiceEngine
import SluiceWire

/// Why a request is refused, as `application/problem+json` (RFC 9457) with the broker's code.
struct Problem {
    var status: Int
    var code: CloseCode
    var detail: String
    var headers: [Header] = []

    init(_ status: Int, _ code: CloseCode, _ detail: String, headers: [Header] = []) {
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers
    }

    /// What ended or refused a link, in the words of HTTP.
    init(_ close: Close) {
        self.init(Self.status(for: close.code), close.code, close.reason)
        if status == 503 || close.retryMilliseconds > 0 {
            let seconds = max(1, (close.retryMilliseconds + 999) / 1_000)
            headers.append(Header("retry-after", "\(seconds)"))
        }
    }

    static func status(for code: CloseCode) -> Int {
        switch code {
        case .notFound: 404
        case .topicDeleted, .groupRemoved, .kicked: 410
        case .exists: 409
        case .authFailed: 401
        case .forbidden: 403
        case .eventTooLarge: 413
        case .limit: 422
        case .busy, .goingAway, .discarded: 503
        case .internalError: 500
        default: 400
        }
    }

    var body: [UInt8] {
        var text = Array("{\"type\":\"urn:sluice:".utf8)
        text += Array("\(code)\",\"title\":".utf8)
        JSONText.append(code.known?.advice ?? "\(code)", to: &text)
        text += Array(",\"status\":\(status),\"code\":\"\(code)\",\"detail\":".utf8)
        JSONText.append(detail, to: &text)
        text += Array("}\n".utf8)
        return text
    }
}

extension HTTPExchange {
    func refuse(_ problem: Problem) {
        guard !isGrpc else { return refuse(GrpcStatus(problem)) }
        let type = Header("content-type", "application/problem+json")
        respond(ResponseHead(problem.status, [type] + problem.headers), .bytes(problem.body))
    }

    func respond(json text: [UInt8], _ status: Int = 200) {
        let type = Header("content-type", "application/json")
        respond(ResponseHead(status, [type]), .bytes(text))
    }
}
