import Glibc
import SluiceNet
import Testing

/// Reads and writes what it can, and remembers it.
// Confined to its loop.
private final class Reader: IOHandler, @unchecked Sendable {
    let carrier: Carrier
    let loop: EventLoop
    var watch: Carrier.Watch?
    var received: [UInt8] = []
    var outgoing: [UInt8] = []
    private var sent = 0
    private var ended = false
    /// Bytes of one read, one read a turn: what is left must be told again.
    let chunk: Int
    let done: @Sendable ([UInt8]) -> Void

    init(
        _ end: MemoryEnd,
        _ loop: EventLoop,
        chunk: Int,
        done: @escaping @Sendable ([UInt8]) -> Void
    ) {
        carrier = .memory(end)
        self.loop = loop
        self.chunk = chunk
        self.done = done
    }

    func ready(_ events: IOEvents) {
        if events.contains(.writable) { write() }
        if events.contains(.readable), !ended { read() }
        guard ended, sent == outgoing.count, let watch else { return }
        loop.deregister(watch)
        self.watch = nil
        carrier.close()
        done(received)
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: chunk)
        guard let receipt = try? buffer.withUnsafeMutableBytes({ try carrier.receive(into: $0) })
        else { return }
        switch receipt {
        case .bytes(let count): received += buffer[..<count]
        case .wouldBlock: break
        case .ended: ended = true
        }
        updateInterest()
    }

    private func write() {
        while sent < outgoing.count {
            let sending = try? outgoing[sent...].withUnsafeBytes { try carrier.send($0) }
            guard case .bytes(let count) = sending else { break }
            sent += count
        }
        if sent == outgoing.count { try? carrier.shutdownSending() }
        updateInterest()
    }

    private func updateInterest() {
        var interest: IOInterest = ended ? [] : .readable
        if sent < outgoing.count { interest.insert(.writable) }
        if let watch { loop.update(watch, interest) }
    }
}

@Suite("Connections through memory", .timeLimit(.minutes(1)))
struct MemoryEndTests {
    private func bytes(_ count: Int, _ factor: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* factor ^ $0 >> 8) }
    }

    @Test(
        "what one end sends the other receives, both ways at once, in order, to the end",
        arguments: [(1_000_000, 700), (3_000_000, 65_536), (2_000_000, 1_000_000)]
    )
    func bothWays(count: Int, chunk: Int) async throws {
        let loops = [try EventLoop(label: "one"), try EventLoop(label: "two")]
        let (one, two) = MemoryEnd.pair()
        let sent = [bytes(count, 31), bytes(count, 17)]
        let results = [Sink<[UInt8]>(), Sink<[UInt8]>()]
        for (index, end) in [one, two].enumerated() {
            let (loop, sink, unsent) = (loops[index], results[index], sent[index])
            let reader = Reader(end, loop, chunk: chunk) { sink.put($0) }
            loop.start()
            loop.submit {
                reader.outgoing = unsent
                reader.watch = try? loop.register(
                    reader.carrier,
                    [.readable, .writable],
                    handler: reader
                )
            }
        }
        let first = await results[0].take()
        let second = await results[1].take()
        #expect(first == [sent[1]] && second == [sent[0]])
        for loop in loops {
            loop.stop()
            await loop.waitUntilStopped()
        }
    }

    @Test("no more is taken than there is room for, and an end that is gone is an error")
    func bounds() throws {
        let (one, two) = MemoryEnd.pair()
        let (near, far) = (Carrier.memory(one), Carrier.memory(two))
        let room = near.sendRoom
        let all = bytes(room + 1, 7)
        #expect(try send(all, to: near) == .bytes(room))
        #expect(try send(all, to: near) == .wouldBlock)
        #expect(near.sendRoom == 0)
        var buffer = [UInt8](repeating: 0, count: room)
        #expect(try receive(from: far, &buffer) == .bytes(room))
        #expect(buffer == all.dropLast())
        #expect(try receive(from: far, &buffer) == .wouldBlock)
        try near.shutdownSending()
        #expect(try receive(from: far, &buffer) == .ended)
        near.close()
        let error = #expect(throws: SystemError.self) { try send(all, to: far) }
        #expect(error?.meansPeerGone == true)
        far.close()
    }

    @discardableResult
    private func send(_ bytes: [UInt8], to carrier: Carrier) throws -> Descriptor.Sending {
        try bytes.withUnsafeBytes { try carrier.send($0) }
    }

    private func receive(
        from carrier: Carrier,
        _ buffer: inout [UInt8]
    ) throws -> Descriptor.Receipt {
        try buffer.withUnsafeMutableBytes { try carrier.receive(into: $0) }
    }
}
