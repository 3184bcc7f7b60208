import Glibc
import SluiceCore
import SluiceWire

/// A consumer with a link to each of some topics, which asks again when half its window is used.
final class Consumer: Client {
    private struct Sink {
        var asked: UInt64
        var received: UInt64 = 0
        var isDue = false
    }

    private let recordBytes: Int
    private let window: UInt64
    private var sinks: [Sink]
    private var due: [UInt32] = []
    private(set) var events = 0

    init(_ broker: Broker, topics: Int, window: Int, recordBytes: Int) {
        self.recordBytes = recordBytes
        self.window = UInt64(window)
        sinks = Array(repeating: Sink(asked: UInt64(window)), count: topics + 1)
        super.init(broker)
        for topic in 1...topics {
            say { writer in
                var open = Open(role: .sink, topic: "topic-\(topic)")
                open.demandEvents = UInt32(window)
                writer.append(open, link: UInt32(topic))
            }
        }
    }

    override func delivered(_ bytes: Int, on link: UInt32) {
        let count = bytes / recordBytes
        precondition(count * recordBytes == bytes, "whole records are written")
        events += count
        sinks[Int(link)].received += UInt64(count)
        let sink = sinks[Int(link)]
        guard !sink.isDue, sink.asked - sink.received <= window / 2 else { return }
        sinks[Int(link)].isDue = true
        due.append(link)
    }

    /// Sends the demands that are due, as many as one read brings.
    @inline(never)
    func ask() {
        guard !due.isEmpty else { return }
        let slab = broker.pool.make()
        _ = slab.fill { buffer in
            guard let start = buffer.baseAddress else { return 0 }
            var pen = Pen(at: start)
            for link in due {
                let count = window - (sinks[Int(link)].asked - sinks[Int(link)].received)
                sinks[Int(link)].asked += count
                sinks[Int(link)].isDue = false
                pen.put(
                    demand: UInt32(count),
                    total: sinks[Int(link)].asked,
                    received: sinks[Int(link)].received,
                    link: link
                )
            }
            return due.count * Pen.demandBytes
        }
        due.removeAll(keepingCapacity: true)
        receive(slab)
    }
}

/// A producer with a link to each of some topics, whose events never end.
final class Producer: Client {
    private struct Source {
        var events: UInt64 = 0
        var bytes: UInt64 = 0
        var account = Status()
        var isShort = false
    }

    private let records: [UInt8]
    private let recordBytes: Int
    private let eventsPerFrame: Int
    private var sources: [Source]
    private var next = 1
    /// What the broker wrote, whole frames.
    private let heard = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)

    /// Bytes of the records of the largest frame.
    private static let frameBytesMax = 65_536

    init(_ broker: Broker, topics: Int, size: Int, eventsPerFrame: Int? = nil) {
        recordBytes = Record.headBytes + size
        let most = max(1, Self.frameBytesMax / recordBytes)
        self.eventsPerFrame = min(most, eventsPerFrame ?? most)
        var writer = FrameWriter()
        let payload = [UInt8](repeating: 0x78, count: size)
        for _ in 0..<self.eventsPerFrame { writer.appendLegal(payload: payload) }
        records = writer.take()
        sources = Array(repeating: Source(), count: topics + 1)
        super.init(broker)
        for topic in 1...topics {
            say { writer in
                var open = Open(role: .source, topic: "topic-\(topic)")
                open.available = Backlog.unknownOnWire - 1
                writer.append(open, link: UInt32(topic))
            }
        }
    }

    deinit { heard.deallocate() }

    /// Sends a slab full of frames, for each link in turn, at most `left` events; false if none.
    @inline(never)
    func send(_ left: inout Int, framesMax: Int = .max) -> Bool {
        let slab = broker.pool.make()
        let count = slab.fill { buffer in
            guard let start = buffer.baseAddress else { return 0 }
            var used = 0
            var frames = 0
            var idle = 0
            while idle < sources.count, frames < framesMax, left > 0 {
                guard buffer.count - used >= Pen.eventsHeadBytes + records.count else { break }
                next = next == sources.count - 1 ? 1 : next + 1
                let written = writeFrame(on: next, at: start + used, upTo: left)
                left -= written.events
                used += written.bytes
                idle = written.events > 0 ? 0 : idle + 1
                frames += written.events > 0 ? 1 : 0
            }
            return used
        }
        guard count > 0 else { return false }
        receive(slab)
        return true
    }

    private func writeFrame(
        on link: Int,
        at place: UnsafeMutableRawPointer,
        upTo left: Int
    ) -> (events: Int, bytes: Int) {
        let source = sources[link]
        let fitting = source.bytes / UInt64(recordBytes)
        let count = min(eventsPerFrame, left, Int(min(source.events, fitting)))
        var pen = Pen(at: place)
        guard count > 0 else {
            guard source.events > 0, !source.isShort else { return (0, 0) }
            sources[link].isShort = true
            pen.put(shortage(of: source), link: UInt32(link))
            return (0, Pen.statusBytes)
        }
        let bytes = count * recordBytes
        let first = source.account.delivered + 1
        pen.put(events: count, bytes: bytes, first: first, link: UInt32(link))
        records.withUnsafeBytes { records in
            guard let base = records.baseAddress else { return }
            memcpy(place + Pen.eventsHeadBytes, base, bytes)
        }
        sources[link].events -= UInt64(count)
        sources[link].bytes -= UInt64(bytes)
        sources[link].account.delivered += UInt64(count)
        sources[link].account.deliveredBytes += UInt64(bytes)
        return (count, Pen.eventsHeadBytes + bytes)
    }

    private func shortage(of source: Source) -> Status {
        var status = source.account
        status.available = Backlog.unknownOnWire - 1
        status.blockedBy = .bytes
        status.needBytes = UInt32(recordBytes)
        return status
    }

    override func hear(_ vectors: UnsafeBufferPointer<iovec>) {
        var count = 0
        for vector in vectors {
            precondition(count + vector.iov_len <= heard.count, "a producer is told little")
            guard let source = vector.iov_base, let place = heard.baseAddress else { continue }
            memcpy(place + count, source, vector.iov_len)
            count += vector.iov_len
        }
        guard let start = heard.baseAddress else { return }
        var place = UnsafeRawPointer(start)
        while place < start + count {
            let head = place.number(at: 0, as: UInt32.self)
            if UInt8(truncatingIfNeeded: head) == FrameType.demand.rawValue { grant(place) }
            place += FrameHeader.byteCount + Int(head >> 8)
        }
    }

    private func grant(_ frame: UnsafeRawPointer) {
        precondition(frame.number(at: 4, as: UInt8.self) == 0, "nobody is recalled here")
        let link = Int(frame.number(at: 5, as: UInt32.self))
        sources[link].events += UInt64(frame.number(at: 9, as: UInt32.self))
        sources[link].account.asked = frame.number(at: 13, as: UInt64.self)
        sources[link].bytes += UInt64(frame.number(at: 21, as: UInt32.self))
        sources[link].account.askedBytes = frame.number(at: 25, as: UInt64.self)
        sources[link].isShort = false
    }
}
