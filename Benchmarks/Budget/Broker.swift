import Glibc
import Logging
import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceWire

/// The broker without sockets and clocks, turned as a shard turns it.
final class Broker {
    let engine: Engine
    let pool = SlabPool(slabBytes: Limits.receiveSlabBytes, keptMax: Limits.slabsKeptMax)
    fileprivate var flushing: [Client] = []
    fileprivate var scratch = OutQueue.Scratch()

    init() {
        engine = Engine(
            configuration: EngineConfiguration(),
            logger: Logger(label: "budget", factory: { _ in SwiftLogNoOpLogHandler() }),
            now: Instant(nanoseconds: 1_000_000_000)
        )
        engine.time = 1_700_000_000_000_000
    }

    private static let roundsPerTurnMax = 16

    /// The end of a turn of the loop.
    func turn() {
        engine.now = engine.now.advanced(milliseconds: 1)
        engine.time += 1_000
        for _ in 0..<Self.roundsPerTurnMax {
            _ = engine.turn()
            guard !flushing.isEmpty else { break }
            let due = flushing
            flushing.removeAll(keepingCapacity: true)
            for client in due { client.flush() }
        }
    }

    /// Turns until there is nothing more to do.
    func settle() {
        repeat { turn() } while engine.turn() || !flushing.isEmpty
    }
}

/// One connection: what a socket would carry, in memory.
class Client {
    let broker: Broker
    let peer: ClientPeer
    private var needsFlush = false
    private var windows = WriteWindows()

    init(_ broker: Broker) {
        self.broker = broker
        peer = ClientPeer(engine: broker.engine, settings: ClientPeer.Settings())
        peer.wantsFlush = { [unowned self] in wantFlush() }
        say { $0.append(Hello()) }
    }

    private func wantFlush() {
        guard !needsFlush else { return }
        needsFlush = true
        broker.flushing.append(self)
    }

    /// Sends frames that `write` writes: not for what is measured.
    func say(_ write: (inout FrameWriter) -> Void) {
        var writer = FrameWriter()
        write(&writer)
        let slab = broker.pool.make()
        _ = slab.append(writer.bytes.span.bytes)
        receive(slab)
        broker.settle()
    }

    /// Ends the connection as a client does.
    func leave() {
        var writer = FrameWriter()
        writer.append(Close(.normal))
        let slab = broker.pool.make()
        _ = slab.append(writer.bytes.span.bytes)
        _ = peer.receive(slab, from: 0)
        broker.settle()
        precondition(peer.isEnding && peer.out.isEmpty, "the connection has ended")
    }

    /// Hands over whole frames, as one read would bring them.
    func receive(_ slab: Slab) {
        let progress = peer.receive(slab, from: 0)
        peer.bytesIn += UInt64(slab.filled)
        precondition(progress.parsed == slab.filled && !peer.isEnding, "the broker refused")
    }

    fileprivate func flush() {
        needsFlush = false
        let outcome = peer.flush(&broker.scratch) { .bytes(take($0)) }
        for credit in broker.scratch.credits { delivered(credit.bytes, on: credit.link) }
        let changed = windows.update(after: outcome, isTight: false, links: peer.linkCount) {
            Self.kernelRoom
        }
        if let changed { peer.setWindows(changed) }
    }

    /// Bytes that a kernel has room for which keeps up.
    private static let kernelRoom = 2_621_440

    /// Takes all that the broker writes, as a kernel with much room.
    @inline(never)
    private func take(_ vectors: UnsafeBufferPointer<iovec>) -> Int {
        hear(vectors)
        return vectors.reduce(0) { $0 + $1.iov_len }
    }

    /// What the broker writes.
    func hear(_ vectors: UnsafeBufferPointer<iovec>) {}

    /// Bytes of records that were written for a link.
    func delivered(_ bytes: Int, on link: UInt32) {}
}
