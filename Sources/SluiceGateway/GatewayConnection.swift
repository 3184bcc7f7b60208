import DequeModule
import Logging
import SluiceCore
import SluiceEngine
import SluiceNet

/// One connection: finds out which HTTP it speaks, reads, and writes what answers have to give.
final class GatewayConnection: IOHandler {
    /// Reads and writes of one turn, so that one busy client leaves the others their turn.
    private static let roundsPerTurnMax = 4

    unowned let gateway: Gateway
    let descriptor: Descriptor
    let slot: Int
    let address: String
    private var registration: Registration?
    /// Nil until it is known which it is.
    var http: (any HTTPSession)?
    /// What it goes on as once the request under way is read, and what is said before.
    var next: (answer: [UInt8], make: () throws(HTTPFailure) -> any HTTPSession)?
    var first: [UInt8] = []
    var out: [UInt8] = []
    private var sent = 0
    private var exchanges: [Int32: HTTPExchange] = [:]
    private var known: GatewaySession?
    private(set) var isClosed = false
    private var isBlocked = false
    private var isEnding = false
    /// What came since then.
    private var lingeredBytes = 0
    private var isHeld = false
    /// What it was told and has not acted on.
    var pending = Deque<HTTPEvent>()
    /// Whether it waits for time to go on.
    private var isBehind = false
    private var needsFlush = false
    private var isQueued = false
    private var patience = Patience()
    /// Since when it owes a request: from the start, or from the first bytes of one.
    private var owesSince: UInt64?
    private var hasAsked = false
    private var idleSince: UInt64
    private var endsAt: UInt64?
    private var bytesIn: UInt64 = 0
    private var bytesOut: UInt64 = 0
    /// How long until it looks again what has arrived; nil while it does not wait to.
    private var arrivalPause: Duration?

    init(_ descriptor: Descriptor, address: String, slot: Int, gateway: Gateway) {
        self.descriptor = descriptor
        self.address = address
        self.slot = slot
        self.gateway = gateway
        idleSince = gateway.loop.now
        owesSince = idleSince
    }

    func start() throws(SystemError) {
        registration = try gateway.loop.register(descriptor, .readable, handler: self)
    }

    func ready(_ events: IOEvents) {
        gateway.readClocks()
        if events.contains(.writable) { flush() }
        guard !isClosed else { return }
        if !isBehind, events.contains(.readable) || events.contains(.hangUp) { read() }
        // Nobody is left to read the answers, whether or not anything may be read now.
        if events.contains(.hangUp) { close() }
    }

    /// Whether answers may have fields behind their bodies.
    var speaksHTTP2: Bool { http is H2Session }

    /// The client's links; made for the first request that needs one.
    func session(for request: RequestHead) -> GatewaySession {
        if let known { return known }
        let agent = request["user-agent"] ?? "http"
        let session = GatewaySession(
            gateway.engine,
            name: String(decoding: agent.utf8.prefix(Limits.clientNameBytesMax), as: UTF8.self),
            address: address
        ) { [unowned self] in
            Traffic(bytesIn: bytesIn, bytesOut: bytesOut, queuedBytes: out.count - sent)
        }
        session.isKicked = { [unowned self] in wind() }
        session.wantsArrivals = { [unowned self] in wantFlush() }
        known = session
        return session
    }
}

// MARK: - Reading

extension GatewayConnection {
    private func read() {
        var slice = gateway.commandTime.slice
        defer { gateway.commandTime.spend(slice) }
        guard !slice.isUsedUp() else { return fallBehind() }
        if !pending.isEmpty { goOn(within: &slice) }
        rounds: for _ in 0..<Self.roundsPerTurnMax {
            guard !isClosed, wantsInput else { break }
            if gateway.engine.isCongested {
                isHeld = true
                gateway.hold(self)
                break
            }
            let wanted = isEnding ? .max : http?.inputBytesMax ?? Limits.httpFirstBytesMax
            let most = min(gateway.readBuffer.count, wanted)
            let receipt: Descriptor.Receipt
            do {
                receipt = try descriptor.receive(
                    into: UnsafeMutableRawBufferPointer(rebasing: gateway.readBuffer[..<most])
                )
            } catch {
                close()
                return
            }
            switch receipt {
            case .wouldBlock: return
            case .ended:
                // Half a connection is of no use to HTTP: nobody is left to read the answers.
                close()
                return
            case .bytes(let count):
                bytesIn += UInt64(count)
                guard !isEnding else { return linger(count) }
                let bytes = UnsafeRawBufferPointer(rebasing: gateway.readBuffer[..<count])
                understand(bytes, within: &slice)
                if count < most || isEnding || wanted <= Limits.httpFirstBytesMax { break rounds }
                if !isBehind, slice.isUsedUp() { return fallBehind() }
            }
        }
        if !isClosed { updateInterest() }
    }

    /// Passes over what still comes, so that closing does not take the last answer from the client;
    /// but not for as long as it likes to send.
    private func linger(_ count: Int) {
        lingeredBytes += count
        let most = speaksHTTP2 ? Limits.http2LingerBytesMax : Limits.httpBodyBytesMax
        if lingeredBytes > most { close() }
    }

    /// Leaves the loop to others, and goes on when they have had their slices of its time.
    private func fallBehind() {
        guard !isBehind, !isClosed else { return }
        isBehind = true
        gateway.fallBehind(self)
        updateInterest()
    }

    func catchUp() {
        isBehind = false
        if !isClosed { read() }
    }

    private var wantsInput: Bool {
        guard pending.isEmpty, !isBehind else { return false }
        guard !isEnding, let http else { return !isHeld }
        // Who does not read is not read either: there would be an answer to it.
        return http.wantsInput && !isHeld && (!isBlocked || http.readsWhileBlocked)
    }

    /// The other engines have caught up.
    func letGo() {
        isHeld = false
        if !isClosed { updateInterest() }
    }

    private func understand(
        _ bytes: UnsafeRawBufferPointer,
        within slice: inout TurnTime.Slice
    ) {
        if exchanges.isEmpty, owesSince == nil, !(http is H2Session) {
            owesSince = gateway.loop.now
        }
        do throws(HTTPFailure) {
            if let http {
                (http as? H2Session)?.now = gateway.loop.now
                try http.receive(bytes)
            } else {
                try sniff(bytes)
            }
        } catch {
            act()
            while let http, http.isWaiting, !isClosed {
                http.goOn()
                act()
            }
            fail(error)
            return
        }
        goOn(within: &slice)
        if let session = http as? H2Session, hasAsked {
            owesSince = session.owesHead ? owesSince ?? gateway.loop.now : nil
        }
    }

    private func fail(_ failure: HTTPFailure) {
        guard !isClosed else { return }
        gateway.logger.debug(
            "HTTP connection ended",
            metadata: ["peer": "\(address)", "reason": "\(failure)"]
        )
        gateway.engine.countBreach(failure.breach, at: .http)
        if case .malformed(let status, let text) = failure, http is H1Session {
            let body = Array("\(text)\n".utf8)
            let head =
                "HTTP/1.1 \(status) Malformed\r\ncontent-length: \(body.count)\r\n"
                + "connection: close\r\n\r\n"
            out += Array(head.utf8) + body
        } else {
            http?.drain(into: &out, upTo: Limits.httpWriteBytes)
        }
        isEnding = true
        flush()
        if failure == .flood { close() }
    }

    /// Begins the next of requests in a row; whether there is one more.
    func goOn() -> Bool {
        isQueued = false
        guard !isClosed, !isBlocked, !isEnding, let http else { return false }
        http.goOn()
        act()
        do throws(HTTPFailure) { try changeIfAsked() } catch { fail(error) }
        isQueued = !isClosed && !isEnding && http.isWaiting
        return isQueued
    }

    /// Does what came in as far as the time lasts, and goes on in another protocol if that is said.
    private func goOn(within slice: inout TurnTime.Slice) {
        act(within: &slice)
        do throws(HTTPFailure) { try changeIfAsked() } catch { fail(error) }
    }

    /// Does what came in, until nothing of it is left.
    func act() {
        var slice = TurnTime.Slice.endless
        act(within: &slice)
    }

    private func act(within slice: inout TurnTime.Slice) {
        guard let http else { return }
        pending.append(contentsOf: http.takeEvents())
        while !isClosed, let event = pending.popFirst() {
            act(on: event)
            if pending.isEmpty { pending.append(contentsOf: http.takeEvents()) }
            if !pending.isEmpty, slice.isUsedUp() {
                fallBehind()
                break
            }
        }
        wantFlush()
    }

    private func act(on event: HTTPEvent) {
        switch event {
        case .request(let stream, let request, let isWhole):
            owesSince = nil
            hasAsked = true
            let exchange = HTTPExchange(
                stream,
                request,
                on: self,
                since: gateway.loop.now
            )
            exchanges[stream] = exchange
            gateway.begin(exchange)
            if isWhole { exchange.complete() }
        case .body(let stream, let bytes):
            guard let exchange = exchanges[stream] else { return took(bytes.count, of: stream) }
            exchange.receive(bytes)
        case .end(let stream): exchanges[stream]?.complete()
        case .gone(let stream):
            idleSince = gateway.loop.now
            exchanges.removeValue(forKey: stream)?.end()
        }
    }
}

// MARK: - Writing

extension GatewayConnection {
    func respond(to stream: Int32, _ head: ResponseHead, _ body: ResponseBody) {
        http?.respond(to: stream, head, body)
        wantFlush()
    }

    func resume(_ stream: Int32) {
        http?.resume(stream)
        wantFlush()
    }

    func abort(_ stream: Int32) {
        http?.abort(stream)
        wantFlush()
    }

    func took(_ bytes: Int, of stream: Int32) { http?.took(bytes, of: stream) }

    func wantFlush() {
        guard !needsFlush, !isClosed else { return }
        needsFlush = true
        gateway.flushing.append(self)
    }

    func flush() {
        needsFlush = false
        var rounds = 0
        isBlocked = false
        while !isClosed, !isBlocked, fill() {
            rounds += 1
            guard rounds <= Self.roundsPerTurnMax else {
                wantFlush()
                break
            }
            send()
        }
        guard !isClosed else { return }
        let isOver = isEnding || pending.isEmpty && http?.isOver ?? false
        if sent == out.count, !isBlocked, isOver { finish() }
        guard !isClosed else { return }
        showArrivals()
        updateInterest()
        // Requests that came in a row are answered no further than their answers are taken.
        guard !isQueued, !isBlocked, !isEnding, http?.isWaiting ?? false else { return }
        isQueued = true
        gateway.queue(self)
    }

    /// Makes sure that there is something to send; false if there is not.
    private func fill() -> Bool {
        guard sent == out.count else { return true }
        out.removeAll(keepingCapacity: true)
        sent = 0
        guard let http, !isEnding else { return false }
        while out.count < Limits.httpWriteBytes {
            http.drain(into: &out, upTo: Limits.httpWriteBytes)
            // In their order: what waits for time is done before what is told now.
            let isWaiting = !pending.isEmpty
            pending.append(contentsOf: http.takeEvents())
            guard !isWaiting, !pending.isEmpty, !isClosed else { break }
            while !isClosed, let event = pending.popFirst() { act(on: event) }
            do throws(HTTPFailure) { try changeIfAsked() } catch {
                fail(error)
                break
            }
        }
        return !out.isEmpty
    }

    /// Tells what its client's machine has acknowledged, if somebody waits for that, and looks
    /// again after a while.
    private func showArrivals() {
        guard let known, known.awaitsArrivals else { return }
        known.showArrivals(
            written: bytesOut + UInt64(out.count - sent),
            acknowledged: bytesOut - min(bytesOut, UInt64(descriptor.unacknowledgedBytes))
        )
        guard known.awaitsArrivals, arrivalPause == nil else { return }
        lookForArrivals(after: .milliseconds(Limits.arrivalPauseMillisecondsMin))
    }

    private func lookForArrivals(after pause: Duration) {
        arrivalPause = pause
        gateway.loop.schedule(after: pause) { [weak self] in
            guard let self, !isClosed, let pause = arrivalPause else { return }
            gateway.readClocks()
            showArrivals()
            guard let known, known.awaitsArrivals else {
                arrivalPause = nil
                return
            }
            lookForArrivals(
                after: min(pause * 2, .milliseconds(Limits.arrivalPauseMillisecondsMax))
            )
        }
    }

    private func send() {
        do {
            let sending = try out[sent...].withUnsafeBytes { (bytes) throws(SystemError) in
                try descriptor.send(bytes)
            }
            switch sending {
            case .bytes(let count):
                sent += count
                bytesOut += UInt64(count)
            case .wouldBlock: isBlocked = true
            }
        } catch { close() }
    }

    func updateInterest() {
        guard let registration, !isClosed else { return }
        var interest: IOInterest = []
        if wantsInput || isEnding { interest.insert(.readable) }
        if isBlocked { interest.insert(.writable) }
        gateway.loop.update(registration, interest)
    }

    /// All is said: the socket goes once the client has read it and closed its end.
    private func finish() {
        guard endsAt == nil else { return }
        if !isEnding, let session = http as? H2Session,
            let failure = HTTPFailure(goAway: session.lastError)
        {
            gateway.engine.countBreach(failure.breach, at: .http)
        }
        isEnding = true
        endExchanges()
        endsAt = gateway.loop.now + UInt64(Limits.httpHeadSecondsMax) * 1_000_000_000
        do {
            try descriptor.shutdownSending()
        } catch { close() }
    }
}

// MARK: - Time and the end

extension GatewayConnection {
    func tick(_ now: UInt64) {
        let second: UInt64 = 1_000_000_000
        if let endsAt {
            if now >= endsAt { close() }
            return
        }
        if !isBehind, let owesSince,
            now - min(now, owesSince) > UInt64(Limits.httpHeadSecondsMax) * second
        {
            if !hasAsked { gateway.engine.countReject(.timeout, at: .http) }
            close()
            return
        }
        // A stream may wait for its client, and with it what else its connection has to say.
        if patience.isOver(isWaiting: isBlocked, moved: Int(bytesOut), at: now),
            !exchanges.values.contains(where: \.isOpenEnded)
        {
            close()
            return
        }
        for stream in http?.stalled(at: now) ?? [] {
            if let exchange = exchanges[stream], !exchange.isOpenEnded { exchange.abort() }
        }
        guard !exchanges.isEmpty else {
            if now - min(now, idleSince) > UInt64(Limits.httpIdleSecondsMax) * second { wind() }
            return
        }
        guard !isBehind else { return }
        for exchange in exchanges.values where !exchange.isBodyComplete && !exchange.isAnswered {
            let came = UInt64(exchange.bodyBytes / Limits.httpBodyBytesPerSecondMin)
            let due = exchange.since + (UInt64(Limits.httpHeadSecondsMax) + came) * second
            guard now > due else { continue }
            let text = "a body has to bring \(Limits.httpBodyBytesPerSecondMin) bytes a second"
            exchange.refuse(Problem(408, .idle, text))
        }
    }

    /// Ends if nothing answers any more: its links are not to wait for the kernel's quarter hour.
    func closeUnanswered(forMilliseconds limit: Int) {
        if descriptor.isUnanswered(forMilliseconds: limit) { close() }
    }

    /// Begins no more exchanges; the connection ends with those it has.
    func wind() {
        http?.wind()
        if http == nil { isEnding = true }
        wantFlush()
    }

    /// The broker has stopped: what is open is answered now.
    func leave() {
        if !hasAsked { gateway.engine.countReject(.stopping, at: .http) }
        act()
        for exchange in exchanges.values { exchange.handler?.leave() }
        wind()
    }

    private func endExchanges() {
        let open = exchanges
        exchanges = [:]
        for exchange in open.values { exchange.end() }
        known?.end()
        known = nil
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        pending = []
        if let registration { gateway.loop.deregister(registration) }
        registration = nil
        endExchanges()
        http?.close()
        http = nil
        descriptor.close()
        gateway.forget(self)
    }
}
