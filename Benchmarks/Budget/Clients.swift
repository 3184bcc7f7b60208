import SluiceCore
import SluiceWire

extension Scenario {
    static let clients = [
        Scenario("client-receive-16", per: "event", 1_048_576) { count in
            receive(eventsFrame(of: 3_276, size: 16), of: 3_276, count / 3_276)
        },
        Scenario("client-receive-128", per: "event", 524_288) { count in
            receive(eventsFrame(of: 496, size: 128), of: 496, count / 496)
        },
        Scenario("client-receive-single", per: "event", 65_536) { count in
            receive(eventsFrame(of: 1, size: 128), of: 1, count)
        },
    ]

    /// A client that has opened a link, and was told so.
    private static func opened(
        _ open: Open,
        _ writer: inout FrameWriter
    ) -> (ClientSession, LinkKey) {
        var session = ClientSession(name: "budget")
        session.connected(at: Instant(nanoseconds: 1), into: &writer)
        let key = session.open(open, into: &writer)
        var answer = FrameWriter()
        answer.append(Welcome())
        answer.append(Opened(), link: 1)
        var events: [ClientEvent] = []
        let bytes = answer.bytes
        _ = session.receive(bytes.span.bytes, from: 0, into: &writer, events: &events)
        precondition(session[key]?.state == .open && events.count == 2, "the link stands")
        return (session, key)
    }

    /// What a consumer's session does with frames of so many events each.
    @inline(never)
    private static func receive(_ frame: [UInt8], of eventCount: Int, _ count: Int) {
        var writer = FrameWriter()
        var (session, key) = opened(Open(role: .sink, topic: "topic"), &writer)
        var frame = frame
        var events: [ClientEvent] = []
        var first: UInt64 = 1
        var window: UInt64 = 0
        for _ in 0..<count {
            if window < UInt64(eventCount) {
                session.ask(key, events: 65_536, into: &writer)
                writer.removeAll()
                window += 65_536
            }
            frame.withUnsafeMutableBytes { bytes in
                bytes.storeBytes(of: first.bigEndian, toByteOffset: 9, as: UInt64.self)
            }
            let end = session.receive(frame.span.bytes, from: 0, into: &writer, events: &events)
            precondition(end == frame.count && events.count == 1, "the events are taken")
            events.removeAll(keepingCapacity: true)
            first += UInt64(eventCount)
            window -= UInt64(eventCount)
        }
    }
}
