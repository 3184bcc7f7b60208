import SluiceEngine

/// A field of a request or of an answer; names are in lower case.
package struct Header: Hashable, Sendable {
    package let name: String
    package let value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// What a client asks for, in either version of HTTP.
package struct RequestHead: Hashable, Sendable {
    package var method = ""
    /// The path and the query as they came, neither decoded.
    package var target = ""
    /// Whom the request is for; nil if it does not say.
    package var authority: String?
    package var headers: [Header] = []

    package init() {}

    /// The first header of a name.
    package subscript(name: String) -> String? { headers.first { $0.name == name }?.value }
}

/// The head of an answer.
package struct ResponseHead: Hashable, Sendable {
    package var status: Int
    package var headers: [Header]

    package init(_ status: Int, _ headers: [Header] = []) {
        self.status = status
        self.headers = headers
    }
}

/// The body of an answer, of which as much is taken as can be sent.
package protocol BodySource: AnyObject {
    /// Fills the buffer from its start; whoever has nothing now says so when that changes.
    func read(into buffer: UnsafeMutableRawBufferPointer) -> BodyPart
}

extension [UInt8] {
    /// Copies what begins at `start` behind the first `filled` bytes of a buffer: what fits.
    func copy(
        from start: Int,
        into buffer: UnsafeMutableRawBufferPointer,
        behind filled: Int = 0
    ) -> Int {
        let count = Swift.min(self.count - start, buffer.count - filled)
        self[start..<start + count].withUnsafeBytes { part in
            UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]).copyMemory(from: part)
        }
        return count
    }
}

/// What a body had to give.
package enum BodyPart: Hashable, Sendable {
    /// More than none.
    case bytes(Int)
    case nothingNow
    case ended
    /// Ended, with fields behind it, which HTTP/2 alone has a place for.
    case endedWith([Header])
}

/// The body of an answer.
package enum ResponseBody {
    case none
    case bytes([UInt8])
    case source(any BodySource)
}

/// What came in, of one exchange of a connection.
package enum HTTPEvent: Hashable, Sendable {
    /// `isWhole` if no body follows.
    case request(Int32, RequestHead, isWhole: Bool)
    case body(Int32, [UInt8])
    /// The body is complete.
    case end(Int32)
    /// The client wants no answer any more, or the exchange is over.
    case gone(Int32)
}

/// Why what came cannot be understood; the connection ends.
package enum HTTPFailure: Error, Hashable, Sendable {
    /// The client is told so with this status, if it can be told at all.
    case malformed(status: Int, String)
    /// Too many frames that ask for work and bring none.
    case flood
    /// The library gave up.
    case broken(String)

    /// What a GOAWAY of ours says of the client, by its code (RFC 9113, 7); nil if nothing.
    init?(goAway code: UInt32) {
        switch code {
        case 0: return nil
        // The library has the first for streams that are reset too often.
        case 2, 11: self = .flood
        default: self = .broken("GOAWAY \(code)")
        }
    }

    var breach: Breach { self == .flood ? .flood : .malformed }
}

/// One version of HTTP, without a socket: bytes in and events out, answers in and bytes out.
///
/// Nothing is told while bytes are taken in; whoever feeds it looks at `takeEvents` after each
/// `receive` and each `drain`.
package protocol HTTPSession: AnyObject {
    func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTPFailure)
    func takeEvents() -> [HTTPEvent]
    /// Answers an exchange, once.
    func respond(to stream: Int32, _ head: ResponseHead, _ body: ResponseBody)
    /// The body of the answer has something again.
    func resume(_ stream: Int32)
    /// So many bytes of the request's body are dealt with: as many more may come.
    func took(_ bytes: Int, of stream: Int32)
    /// Ends an exchange in its midst.
    func abort(_ stream: Int32)
    /// Appends what is to be sent, until there are `limit` bytes.
    func drain(into output: inout [UInt8], upTo limit: Int)
    /// Whether a request is here whose turn has come: those before it are answered and taken.
    var isWaiting: Bool { get }
    /// Begins the request that waits.
    func goOn()
    /// Exchanges whose client has taken too little of the answer that is here, at this time; looked
    /// at several times a second.
    func stalled(at now: UInt64) -> [Int32]
    /// Lets exchanges that are under way come to their end, and begins no more.
    func wind()
    /// Whether it may be read now.
    var wantsInput: Bool { get }
    /// Whether it is read also while its socket takes nothing, of what is said there.
    var readsWhileBlocked: Bool { get }
    /// Bytes that it may be given at once: what it makes of them is work, and memory.
    var inputBytesMax: Int { get }
    /// Whether all is said and nothing more is expected.
    var isOver: Bool { get }
    /// Gives back what it holds; nothing is called after it.
    func close()
}

extension HTTPSession {
    package var isWaiting: Bool { false }
    package func goOn() {}
    package func stalled(at now: UInt64) -> [Int32] { [] }
    package var inputBytesMax: Int { .max }
    package var readsWhileBlocked: Bool { false }
}
