import SluiceCore
import SluiceWire

/// An engine's post with the others of its broker: what goes out, and who is away or a guest.
final class Exchange {
    /// Messages for each engine since the last post.
    fileprivate(set) var out: [[Message]]
    /// The slab that a message shows last, and the view of it that its receiver gets.
    private var views: [(of: Slab, view: Slab)?]
    /// Messages of our clients that each engine has not dealt with, as far as we know.
    private(set) var underWay: [Int]
    /// Messages of their clients that we have not told each engine of.
    private var untold: [Int]
    /// How much of each link's events may wait at each engine's clients.
    var windowBytes: [Int]
    /// Sessions of clients elsewhere that use topics here, and of clients here that use theirs.
    var guests: [UInt64: Session] = [:]
    var travellers: [UInt64: Session] = [:]
    /// What is asked of other engines and not answered.
    var requests: [UInt64: (CloseCode?) -> Void] = [:]
    private var lastTicket: UInt64 = 0
    private(set) var sent: UInt64 = 0
    private(set) var received: UInt64 = 0
    private(set) var isCongested = false

    init(engines: Int) {
        out = Array(repeating: [], count: engines)
        views = Array(repeating: nil, count: engines)
        underWay = Array(repeating: 0, count: engines)
        untold = Array(repeating: 0, count: engines)
        windowBytes = Array(repeating: Limits.writeWindowBytes, count: engines)
    }

    func ticket() -> UInt64 {
        lastTicket += 1
        return lastTicket
    }

    func post(_ message: Message, to engine: Int) {
        sent += 1
        if message.isOfClient {
            underWay[engine] += 1
            if underWay[engine] >= Limits.exchangeMessagesMax { isCongested = true }
        }
        out[engine].append(message)
    }

    /// The run as the other engine may hold it: of a slab whose counters only that will change.
    func crossing(_ run: Run, to engine: Int) -> Run {
        var run = run
        run.slab = view(of: run.slab, upTo: Int(run.end), for: engine)
        return run
    }

    private func view(of slab: Slab, upTo end: Int, for engine: Int) -> Slab {
        if let known = views[engine], known.of === slab, known.view.filled >= end {
            return known.view
        }
        let view = Slab(viewing: slab)
        views[engine] = (slab, view)
        return view
    }

    func take(for engine: Int) -> [Message] {
        views[engine] = nil
        defer { out[engine] = [] }
        return out[engine]
    }

    /// Counts what came, and confirms it now and then, before the sender would have to wait.
    func took(_ messages: [Message], from engine: Int) {
        received += UInt64(messages.count)
        for message in messages where message.isOfClient { untold[engine] += 1 }
        guard untold[engine] >= Limits.exchangeMessagesMax / 4 else { return }
        post(.dealtWith(untold[engine]), to: engine)
        untold[engine] = 0
    }

    // A client on its way is a message too: a stop that did not wait for it would leave without
    // its farewell.
    func countDeparture() { sent += 1 }
    func countArrival() { received += 1 }

    func confirm(_ count: Int, by engine: Int) {
        underWay[engine] -= count
        isCongested = underWay.contains { $0 >= Limits.exchangeMessagesMax / 2 }
    }
}

// MARK: - The post

extension Engine {
    func post(_ message: Message, to engine: Int) { exchange.post(message, to: engine) }

    /// Hands over what waits for each of the other engines.
    package func sendPost(_ send: (Int, [Message]) -> Void) {
        for engine in exchange.out.indices where !exchange.out[engine].isEmpty {
            send(engine, exchange.take(for: engine))
        }
    }

    /// Takes what another engine sent.
    package func receive(_ messages: [Message], from engine: Int) {
        for message in messages { take(message, from: engine) }
        exchange.took(messages, from: engine)
    }

    private func take(_ message: Message, from engine: Int) {
        switch message {
        case .open(let caller, let link, let open):
            self.open(guest(caller, from: engine), link, open)
        case .demand(let number, let link, let ask):
            guest(number) { demand($0, link, ask) }
        case .publish(let number, let link, var publication):
            publication.time = time
            guest(number) { publish($0, link, publication) }
        case .mark(let number, let link, let mark, let next):
            guest(number) { self.mark($0, link, mark, nextSequence: next) }
        case .report(let number, let link, let status):
            guest(number) { report($0, link, status) }
        case .fail(let number, let link, let error):
            guest(number) { fail($0, link, error) }
        case .received(let number, let link, let sequence):
            guest(number) { received($0, link, sequence) }
        case .close(let number, let link): guest(number) { close($0, link) }
        case .ping(let ring): post(.pinged(ring), to: engine)
        case .pinged(let ring): pass(ring)
        case .wrote(let number, let link, let bytes):
            guest(number) { wrote($0, link, bytes: bytes) }
        case .window(let number, let link, let bytes):
            guest(number) { setWindow(of: $0, link, bytes: bytes) }
        case .windows(let bytes): setWindows(ofGuestsFrom: engine, bytes: bytes)
        case .detach(let number, let epoch): guest(number) { detach($0, epoch: epoch) }
        case .end(let number):
            guest(number) { end($0) }
            exchange.guests[number] = nil
        case .told(let address, let word): hear(word, address, from: engine)
        case .look(let ticket, let query): look(query, for: ticket, of: engine)
        case .sighted(let ticket, let reply): take(reply, of: ticket)
        case .request(let ticket, let request):
            post(.answered(ticket: ticket, perform(request)), to: engine)
        case .kick(let ticket, let wish): post(.answered(ticket: ticket, kick(wish)), to: engine)
        case .answered(let ticket, let code):
            exchange.requests.removeValue(forKey: ticket)?(code)
        case .dealtWith(let count): exchange.confirm(count, by: engine)
        }
    }

    private func guest(_ number: UInt64, _ body: (Session) -> Void) {
        if let session = exchange.guests[number] { body(session) }
    }

    /// Messages and clients sent to other engines and taken from them, to find out that none is on
    /// its way.
    package var postCounts: (sent: UInt64, received: UInt64) {
        (exchange.sent, exchange.received)
    }

    /// Whether a client has to wait with what it says to topics of other engines.
    package func isHeldUp(_ session: Session) -> Bool {
        exchange.isCongested && session.isAbroad
    }

    /// Whether some client may have to wait.
    package var isCongested: Bool { exchange.isCongested }
}
