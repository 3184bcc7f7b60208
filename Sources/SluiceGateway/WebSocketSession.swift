import SluiceCore
import SluiceNet

/// A WebSocket between a client and the binary face: what comes in binary messages goes to the
/// broker as on a socket of its own, and what that says goes back in binary messages.
///
/// Neither end is read further than the other takes it.
final class WebSocketSession: HTTPSession, IOHandler {
    private let codec: WebSocketCodec
    private let broker: Carrier
    private let loop: EventLoop
    private var watch: Carrier.Watch?
    /// Has the connection look again at what there is to read and to write.
    private let isReady: () -> Void
    /// What the broker has not taken yet.
    private var incoming: ArraySlice<UInt8> = []
    /// What it said last, of which the client has not taken all.
    private var leftOver: ArraySlice<UInt8> = []
    /// The last ping that is not answered, with a place for no other.
    private var ping: [UInt8]?
    /// What we close with, once nothing but that is left to be said.
    private var farewell: [UInt8]?
    private var isSaid = false
    private var isGone = false
    private var isBrokerReadable = true
    private let scratch = UnsafeMutableRawBufferPointer.allocate(
        byteCount: Limits.webSocketChunkBytes,
        alignment: 16
    )

    init(
        to broker: Carrier,
        on loop: EventLoop,
        isReady: @escaping () -> Void
    ) throws(HTTPFailure) {
        codec = try WebSocketCodec()
        self.broker = broker
        self.loop = loop
        self.isReady = isReady
        do {
            watch = try loop.register(broker, .readable, handler: self)
        } catch { throw .broken("\(error)") }
    }

    deinit { scratch.deallocate() }

    func ready(_ events: IOEvents) {
        push()
        if events.contains(.hangUp) { takeLeftOver() }
        isReady()
    }

    private func updateInterest() {
        guard let watch else { return }
        var interest: IOInterest = []
        if isBrokerReadable { interest.insert(.readable) }
        if !incoming.isEmpty { interest.insert(.writable) }
        loop.update(watch, interest)
    }

    /// Takes what the broker has said before it went, which would be told in every turn.
    private func takeLeftOver() {
        while watch != nil, case .bytes(let count)? = try? broker.receive(into: scratch) {
            leftOver += scratch[..<count]
        }
        leaveBroker()
    }

    /// Lets go of the broker's end; it takes that as the end of a connection.
    private func leaveBroker() {
        guard let watch else { return }
        loop.deregister(watch)
        self.watch = nil
        broker.close()
        incoming = []
    }
}

// MARK: - From the client

extension WebSocketSession {
    // A silent client would be taken for dead.
    var readsWhileBlocked: Bool { true }
    var wantsInput: Bool { incoming.isEmpty && farewell == nil }

    func receive(_ bytes: UnsafeRawBufferPointer) throws(HTTPFailure) {
        guard farewell == nil else { return }
        let events: [WebSocketEvent]
        do {
            events = try codec.receive(bytes)
        } catch {
            var close: [UInt8] = []
            WebSocketCodec.append(closing: error, to: &close)
            end(saying: close)
            throw .broken(error.text)
        }
        for event in events {
            switch event {
            case .bytes(let bytes): incoming += bytes
            case .ping(let bytes): ping = bytes
            case .close(let code):
                push()
                var close: [UInt8] = []
                WebSocketCodec.append(.close, code[...], to: &close)
                end(saying: close)
            }
        }
        push()
    }

    private func end(saying close: [UInt8]) {
        farewell = close
        leaveBroker()
    }

    /// Hands on what came, as much as there is room for.
    private func push() {
        while watch != nil, !incoming.isEmpty {
            do {
                let sending = try incoming.withUnsafeBytes { (bytes) throws(SystemError) in
                    try broker.send(bytes)
                }
                guard case .bytes(let count) = sending else { break }
                incoming = incoming.dropFirst(count)
            } catch {
                // The broker's end is gone; what it has said before is still to be read.
                incoming = []
            }
        }
        updateInterest()
    }
}

// MARK: - To the client

extension WebSocketSession {
    func drain(into output: inout [UInt8], upTo limit: Int) {
        guard !isSaid else { return }
        if let ping { WebSocketCodec.append(.pong, ping[...], to: &output) }
        ping = nil
        while farewell == nil {
            guard output.count < limit else {
                // Looked at again once this much is written: there is no need to be told.
                isBrokerReadable = false
                updateInterest()
                return
            }
            guard give(to: &output) else { return }
        }
        output += farewell ?? []
        isSaid = true
    }

    /// Appends a message with what the broker says next; false if that is nothing now.
    private func give(to output: inout [UInt8]) -> Bool {
        guard leftOver.isEmpty else {
            let part = leftOver.prefix(Limits.webSocketChunkBytes)
            WebSocketCodec.append(.binary, part, to: &output)
            leftOver = leftOver.dropFirst(part.count)
            return true
        }
        switch watch == nil ? .ended : (try? broker.receive(into: scratch)) ?? .ended {
        case .bytes(let count):
            WebSocketCodec.append(.binary, Array(scratch[..<count])[...], to: &output)
        case .wouldBlock:
            isBrokerReadable = true
            updateInterest()
            return false
        case .ended: endOfBroker()
        }
        return true
    }

    /// The broker has said why in its own last frame.
    private func endOfBroker() {
        var close: [UInt8] = []
        WebSocketCodec.append(closing: WebSocketFailure(1_000, ""), to: &close)
        end(saying: close)
    }

    var isOver: Bool { isSaid }

    /// The broker winds up itself, and says so.
    func wind() {}

    func close() {
        guard !isGone else { return }
        isGone = true
        leaveBroker()
        codec.close()
    }
}

// MARK: - What it has no use for

extension WebSocketSession {
    func takeEvents() -> [HTTPEvent] { [] }
    func respond(to stream: Int32, _ head: ResponseHead, _ body: ResponseBody) {}
    func resume(_ stream: Int32) {}
    func took(_ bytes: Int, of stream: Int32) {}
    func abort(_ stream: Int32) {}
}
