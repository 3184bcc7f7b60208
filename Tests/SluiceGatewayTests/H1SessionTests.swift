import SluiceCore
import SluiceGateway
import Testing

@Suite("HTTP/1.1 without a socket")
struct H1SessionTests {
    private func session() throws -> H1Session { try H1Session() }

    private func text(_ session: H1Session) -> String {
        String(decoding: session.drained(), as: UTF8.self)
    }

    private let get = "GET /livez HTTP/1.1\r\nHost: test\r\n\r\n"

    @Test("a request is told, and answered with its length")
    func exchange() throws {
        let session = try session()
        defer { session.close() }
        try session.feed(Array(get.utf8))
        var head = RequestHead()
        head.method = "GET"
        head.target = "/livez"
        head.authority = "test"
        head.headers = [Header("host", "test")]
        #expect(session.takeEvents() == [.request(1, head, isWhole: false), .end(1)])
        session.respond(to: 1, ResponseHead(200), .bytes(Array("ok".utf8)))
        #expect(text(session) == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        #expect(session.takeEvents() == [.gone(1)])
        #expect(!session.isOver)
    }

    @Test("requests in a row are told one after the other, however they are cut")
    func pipeline() throws {
        let post = "POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"
        let bytes = Array((get + post + get).utf8)
        for cut in [1, 7, bytes.count] {
            let session = try session()
            defer { session.close() }
            var story = ""
            for start in stride(from: 0, to: bytes.count, by: cut) {
                try session.feed(Array(bytes[start..<min(start + cut, bytes.count)]))
                repeat {
                    session.goOn()
                    for event in session.takeEvents() {
                        switch event {
                        case .request(let stream, let head, _): story += "\(head.method)\(stream) "
                        case .body(_, let part): story += String(decoding: part, as: UTF8.self)
                        case .end(let stream):
                            story += ". "
                            session.respond(to: stream, ResponseHead(204), .none)
                        case .gone: break
                        }
                    }
                } while session.isWaiting
            }
            #expect(story == "GET1 . POST2 abc. GET3 . ", "cut at \(cut)")
            #expect(text(session).split(separator: "HTTP/1.1 204").count == 3)
        }
    }

    @Test("thousands of requests in a row are begun no further than their answers are taken")
    func flood() throws {
        let session = try session()
        defer { session.close() }
        let count = 3_000
        try session.feed(Array(String(repeating: get, count: count).utf8))
        var answered = 0
        func answer() {
            repeat {
                session.goOn()
                for case .end(let stream) in session.takeEvents() {
                    session.respond(to: stream, ResponseHead(204), .none)
                    answered += 1
                }
            } while session.isWaiting
        }
        answer()
        #expect(answered > 100 && answered < count, "\(answered)")
        #expect(!session.wantsInput)
        var rounds = 0
        while answered < count, rounds < count {
            rounds += 1
            #expect(session.drained().count < 2 * Limits.httpWriteBytes)
            answer()
        }
        #expect(answered == count && session.wantsInput)
    }

    @Test("of requests in a row the next begins when it is told to, and not before its turn")
    func turns() throws {
        let session = try session()
        defer { session.close() }
        try session.feed(Array((get + get + get).utf8))
        func begun() -> [Int32] {
            session.takeEvents().compactMap { event in
                if case .request(let stream, _, _) = event { stream } else { nil }
            }
        }
        #expect(begun() == [1] && !session.isWaiting)
        session.goOn()
        #expect(begun().isEmpty, "the first is not answered")
        session.respond(to: 1, ResponseHead(204), .none)
        #expect(begun().isEmpty && session.isWaiting)
        session.goOn()
        #expect(begun() == [2] && !session.isWaiting)
        session.respond(to: 2, ResponseHead(204), .none)
        session.wind()
        #expect(!session.isWaiting, "no more are begun")
    }

    @Test("little is taken in before a request is known, more of its body")
    func appetite() throws {
        let session = try session()
        defer { session.close() }
        #expect(session.inputBytesMax == Limits.httpRequestsBytesMax)
        try session.feed(Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n".utf8))
        #expect(session.inputBytesMax > Limits.httpRequestsBytesMax)
        try session.feed(Array("123456789".utf8))
        #expect(session.inputBytesMax == Limits.httpRequestsBytesMax)
    }

    @Test("what comes behind the last request is not read, and a target may name its host")
    func last() throws {
        let session = try session()
        defer { session.close() }
        let close = "GET http://test/livez?a=b HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        try session.feed(Array((close + get).utf8))
        let targets = session.takeEvents().compactMap { event in
            if case .request(_, let head, _) = event { head.target } else { nil }
        }
        #expect(targets == ["/livez?a=b"])
        session.respond(to: 1, ResponseHead(200), .bytes(Array("ok".utf8)))
        #expect(text(session).contains("HTTP/1.1 200 OK"))
        #expect(session.isOver)
    }

    @Test("a body without a known length goes in chunks, no faster than it is taken")
    func chunks() throws {
        let session = try session()
        defer { session.close() }
        try session.feed(Array(get.utf8))
        let well = Well(300)
        session.respond(to: 1, ResponseHead(200), .source(well))
        var first: [UInt8] = []
        session.drain(into: &first, upTo: 80)
        #expect(well.taken < 100)
        let rest = text(session)
        #expect(well.taken == 300)
        #expect(rest.hasSuffix("\r\n0\r\n\r\n"))
    }

    @Test("what is no request is 400, and too much of one is 431")
    func malformed() throws {
        let cases: [(String, Int)] = [
            ("nonsense\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400
            ),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX: "
                    + String(repeating: "x", count: Limits.httpHeadersBytesMax) + "\r\n\r\n", 431
            ),
        ]
        for (request, status) in cases {
            let session = try session()
            defer { session.close() }
            let failure = #expect(throws: HTTPFailure.self) {
                try session.feed(Array(request.utf8))
            }
            guard case .malformed(status, _)? = failure else {
                Issue.record("\(request.prefix(60)): \(String(describing: failure))")
                continue
            }
        }
    }

    @Test(
        "HTTP/1.1 without a Host, or with two of them, is refused",
        arguments: ["", "Host: a\r\nHost: b\r\n"]
    )
    func host(fields: String) throws {
        let session = try session()
        defer { session.close() }
        try session.feed(Array("GET / HTTP/1.1\r\n\(fields)\r\n".utf8))
        #expect(text(session).hasPrefix("HTTP/1.1 400 "))
        _ = session.takeEvents()
        #expect(session.isOver)
    }

    @Test("who waits for leave to send the body gets it")
    func expectation() throws {
        let session = try session()
        defer { session.close() }
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        try session.feed(Array(head.utf8))
        #expect(text(session) == "HTTP/1.1 100 Continue\r\n\r\n")
    }

    @Test("an upgrade to HTTP/2 gives up what came behind it")
    func upgrade() throws {
        let session = try session()
        let request =
            "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\n\r\n"
        try session.feed(Array((request + "PRI * HTTP/2.0\r\n").utf8))
        #expect(session.takeEvents().isEmpty)
        let upgrade = try #require(session.upgrade)
        #expect(upgrade.head.target == "/livez")
        #expect(upgrade.settings == [0, 3, 0, 0, 0, 100, 0, 4, 0x40, 0, 0, 0])
        #expect(
            String(decoding: try session.leave(saying: Array("HTTP/1.1 101 ".utf8)), as: UTF8.self)
                == "PRI * HTTP/2.0\r\n"
        )
        #expect(text(session).hasPrefix("HTTP/1.1 101 "))
        session.close()
    }

    @Test("an upgrade to something else is answered, and is the last request")
    func otherUpgrade() throws {
        let session = try session()
        defer { session.close() }
        let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tea\r\n\r\n"
        try session.feed(Array(request.utf8))
        session.respond(to: 1, ResponseHead(204), .none)
        #expect(text(session).contains("connection: close\r\n"))
        _ = session.takeEvents()
        #expect(session.isOver)
    }
}
