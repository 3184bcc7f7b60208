import Glibc

/// One end of a connection that is memory between two loops of this process.
///
/// It behaves as a socket does on its loop: what is ready is told in each turn for as long as it
/// is so. Bytes are copied twice, as by the kernel, and cost no system call; a loop that sleeps is
/// woken through its mailbox.
// `interest` is confined to the loop that watches, the rest is made for two threads.
package final class MemoryEnd: @unchecked Sendable {
    /// Who is told what this end is ready for.
    private struct Watcher: @unchecked Sendable {
        let loop: EventLoop
        let handler: any IOHandler
        let end: MemoryEnd
        let number: Int
    }

    private final class Place: Sendable {
        let watcher = Lock<Watcher?>(nil)
        let last = Lock(0)
    }

    private let incoming: ByteRing
    private let outgoing: ByteRing
    private let own: Place
    private let other: Place
    private var interest: IOInterest = []

    private init(incoming: ByteRing, outgoing: ByteRing, own: Place, other: Place) {
        self.incoming = incoming
        self.outgoing = outgoing
        self.own = own
        self.other = other
    }

    /// Both ends of a new connection.
    package static func pair() -> (MemoryEnd, MemoryEnd) {
        let (there, back) = (ByteRing(), ByteRing())
        let (first, second) = (Place(), Place())
        return (
            MemoryEnd(incoming: back, outgoing: there, own: first, other: second),
            MemoryEnd(incoming: there, outgoing: back, own: second, other: first)
        )
    }
}

// MARK: - Bytes

extension MemoryEnd {
    func receive(into buffer: UnsafeMutableRawBufferPointer) -> Descriptor.Receipt {
        // Looked at first: what was written before the end is there once the end is seen.
        let isEnded = incoming.isEnded
        let count = incoming.read(into: buffer)
        guard count > 0 else { return isEnded ? .ended : .wouldBlock }
        if incoming.takesWriter() { Self.wake(other) }
        return .bytes(count)
    }

    func send(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Descriptor.Sending {
        try checkReader()
        let count = outgoing.write(bytes)
        return sent(count, of: bytes.count)
    }

    func sendVectors(
        _ vectors: UnsafeBufferPointer<iovec>
    ) throws(SystemError) -> Descriptor.Sending {
        try checkReader()
        var count = 0
        var asked = 0
        for vector in vectors {
            let bytes = UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len)
            asked += bytes.count
            let part = outgoing.write(bytes)
            count += part
            guard part == bytes.count else { break }
        }
        return sent(count, of: asked)
    }

    private func checkReader() throws(SystemError) {
        if outgoing.isAbandoned { throw SystemError(code: EPIPE, call: "send") }
    }

    private func sent(_ count: Int, of asked: Int) -> Descriptor.Sending {
        if count > 0, outgoing.takesReader() { Self.wake(other) }
        return count > 0 || asked == 0 ? .bytes(count) : .wouldBlock
    }

    var sendRoom: Int { outgoing.room }

    func shutdownSending() {
        outgoing.end()
        Self.wake(other)
    }

    func close() {
        outgoing.end()
        incoming.abandon()
        Self.wake(other)
    }
}

// MARK: - Readiness

extension MemoryEnd {
    func watch(on loop: EventLoop, _ interest: IOInterest, handler: any IOHandler) {
        loop.assertOnLoop()
        self.interest = interest
        let number = own.last.withLock { last in
            last += 1
            return last
        }
        own.watcher.withLock {
            $0 = Watcher(loop: loop, handler: handler, end: self, number: number)
        }
        Self.wake(own)
    }

    func update(_ interest: IOInterest) {
        guard self.interest != interest else { return }
        self.interest = interest
        Self.wake(own)
    }

    func unwatch() {
        // Its end may come back into the loop, and must not find the lock taken.
        let old = own.watcher.withLock { watcher in
            defer { watcher = nil }
            return watcher
        }
        withExtendedLifetime(old) {}
    }

    /// Has the loop of an end look at what it is ready for.
    private static func wake(_ place: Place) {
        guard let watcher = place.watcher.withLock({ $0 }) else { return }
        watcher.loop.submit { watcher.end.tell(watcher.number) }
    }

    /// Tells the handler, unless it went away meanwhile.
    private func tell(_ number: Int) {
        guard let handler = handler(number) else { return }
        let ready = readiness
        if !ready.isEmpty {
            handler.ready(ready)
            // What it left over is told again in the next turn.
            guard self.handler(number) != nil else { return }
        }
        // First said what we wait for, then looked: what comes in between is told by one of both.
        if interest.contains(.readable) { incoming.awaitBytes() }
        if interest.contains(.writable) { outgoing.awaitRoom() }
        if !readiness.isEmpty { Self.wake(own) }
    }

    private func handler(_ number: Int) -> (any IOHandler)? {
        own.watcher.withLock { $0?.number == number ? $0?.handler : nil }
    }

    private var readiness: IOEvents {
        var events: IOEvents = []
        let isEnded = incoming.isEnded
        if interest.contains(.readable), isEnded || incoming.count > 0 {
            events.insert(.readable)
        }
        let isAbandoned = outgoing.isAbandoned
        if interest.contains(.writable), isAbandoned || outgoing.room > 0 {
            events.insert(.writable)
        }
        if isEnded, isAbandoned { events.insert(.hangUp) }
        return events
    }
}
