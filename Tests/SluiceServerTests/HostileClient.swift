import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire

/// A client that keeps its accounts as a good one does, but for numbers changed on the way.
final class HostileClient {
    private let bench: PeerBench
    private(set) var session = ClientSession(name: "hostile")
    private var connection: BenchClient?
    private var output = ClientOutput()
    private var keys: [LinkKey] = []
    private var number: UInt64 = 0
    /// Whether it never says what it has received: what is under way to it piles up.
    private let isSilent: Bool
    /// One frame in so many has a number changed; 0 for none.
    var changesIn: Int
    /// Frames that were changed.
    private(set) var changes = 0
    /// What it holds against the broker, when nothing was changed on the way.
    private(set) var complaints: [String] = []

    init(_ bench: PeerBench, changesIn: Int, isSilent: Bool) {
        self.bench = bench
        self.changesIn = changesIn
        self.isSilent = isSilent
    }

    var now: Instant { bench.engine.now }
    var isConnected: Bool { connection != nil }

    func connect(isNew: Bool, using random: inout SeededGenerator) {
        guard connection == nil else { return }
        if isNew {
            session.forget()
            keys = []
        }
        connection = bench.connect()
        session.connected(at: now, into: &output.frames)
        exchange(using: &random)
    }

    func lose() {
        guard let connection else { return }
        connection.peer.lost()
        self.connection = nil
        output.removeAll()
        session.disconnected()
    }

    // MARK: - What it wants

    func open(_ open: Open, asking events: UInt32, bytes: UInt32) {
        let key = session.open(open, asking: events, bytes: bytes, into: &output.frames)
        keys.append(key)
    }

    private func link(_ role: Role, using random: inout SeededGenerator) -> LinkKey? {
        keys.removeAll { session[$0] == nil }
        return keys.filter { session[$0]?.open.role == role }.randomElement(using: &random)
    }

    func ask(
        _ events: UInt32,
        bytes: UInt32,
        flags: AskFlags,
        using random: inout SeededGenerator
    ) {
        guard let key = link(.sink, using: &random), let ledger = session[key]?.ledger
        else { return }
        let most = session.demandMax - min(session.demandMax, ledger.credit)
        let events = UInt32(clamping: min(UInt64(events), most))
        let tracksBytes = ledger.tracksBytes || ledger.asked == 0
        let room = Limits.demandBytesMax - min(Limits.demandBytesMax, ledger.byteCredit ?? 0)
        let bytes = tracksBytes ? UInt32(clamping: min(UInt64(bytes), room)) : 0
        guard events > 0 || bytes > 0 || !flags.isEmpty else { return }
        session.ask(key, events: events, bytes: bytes, flags: flags, into: &output.frames)
    }

    func produce(_ count: Int, using random: inout SeededGenerator) {
        guard let key = link(.source, using: &random),
            session[key]?.outbox.pendingCount ?? 0 < 3_000
        else { return }
        var bytes: [UInt8] = []
        for _ in 0..<count {
            number += 1
            let size = Int.random(in: 0..<20, using: &random)
            let isKeyed = Bool.random(using: &random)
            bytes += recordBytes(
                key: isKeyed ? "k\(number % 97)" : nil,
                payload: String(repeating: "x", count: size)
            )
        }
        enqueue(bytes, count, on: key)
    }

    /// Sends a request for the operator, if it has a link for those.
    func request(_ json: String, using random: inout SeededGenerator) {
        let controls = keys.filter { session[$0]?.open.topic == "$sys/ctl" }
        guard let key = controls.randomElement(using: &random) else { return }
        enqueue(recordBytes(payload: json), 1, on: key)
    }

    private func enqueue(_ bytes: [UInt8], _ count: Int, on key: LinkKey) {
        let slab = Slab(capacity: bytes.count)
        let range = slab.append(bytes.span.bytes)
        session.enqueue(Run(slab: slab, bytes: range, count: UInt32(count)), on: key)
    }

    func mark(using random: inout SeededGenerator) {
        guard let key = link(.source, using: &random) else { return }
        session.enqueue(Bool.random(using: &random) ? .end : .marker([0x78]), on: key)
    }

    func announce(_ waiting: UInt64, using random: inout SeededGenerator) {
        guard let key = link(.source, using: &random) else { return }
        session.announce(key, waiting: waiting, into: &output.frames)
    }

    func close(using random: inout SeededGenerator) {
        guard let key = keys.randomElement(using: &random) else { return }
        session.close(key, into: &output.frames)
    }

    func ping() {
        number += 1
        session.ping(number, into: &output.frames)
    }

    // MARK: - The wire

    /// Sends what is due, and takes in what the broker says; without room it reads nothing.
    func exchange(reads: Bool = true, using random: inout SeededGenerator) {
        guard let connection else { return }
        for key in keys where session[key]?.open.role == .source {
            _ = session.writeEvents(key, room: 65_536, into: &output)
        }
        var bytes = output.frames.take()
        output.removeAll()
        change(&bytes, of: changesIn, using: &random)
        connection.send(bytes)
        guard reads else {
            connection.block()
            return
        }
        connection.write()
        var said = connection.takeBytes()
        // A broker that is no better.
        if changesIn > 0 { change(&said, of: 50 * changesIn, using: &random) }
        receive(said)
        if connection.isEnded || session.state == .ended {
            lose()
            if session.state == .ended || Bool.random(using: &random) {
                session.forget()
                keys = []
            }
        }
    }

    private func receive(_ bytes: [UInt8]) {
        var events: [ClientEvent] = []
        _ = session.receive(bytes.span.bytes, from: 0, into: &output.frames, events: &events)
        guard changesIn == 0 else { return }
        for event in events {
            switch event {
            case .ended(let close, .byClient), .closed(_, let close, .byClient):
                complaints.append("\(close)")
            default: continue
            }
        }
    }

    /// Changes a number in some of the frames.
    private func change(_ bytes: inout [UInt8], of one: Int, using random: inout SeededGenerator) {
        var next = 0
        while let header = FrameHeader.decode(from: bytes.span.bytes, at: next) {
            let end = next + FrameHeader.byteCount + header.length
            guard end <= bytes.count else { return }
            if isSilent, header.type == FrameType.demand.rawValue {
                // What it says to have received.
                let received = next + FrameHeader.byteCount + 24
                for place in received..<min(received + 8, end) { bytes[place] = 0 }
            }
            if one > 0, Int.random(in: 0..<one, using: &random) == 0 {
                FrameNumber.change(&bytes, at: next, using: &random)
                changes += 1
            }
            next = end
        }
    }
}
