import SluiceTestKit
import SluiceWire
import Testing

/// A producer that is no more than a socket, and sends events of one size as they are granted.
final class RawProducer {
    let client: RawClient
    private let payload: String
    /// Events that it has in all, and those that it has sent.
    private let events: UInt64
    private(set) var sent: UInt64 = 0
    private var asked: UInt64 = 0
    private var askedBytes: UInt64 = 0
    /// The last frame and its events: to encode one takes long.
    private var frame: [UInt8] = []
    private var few: UInt64 = 0

    init(_ address: String, topic: String, events: UInt64, payloadBytes: Int) throws {
        client = try RawClient(address)
        self.events = events
        payload = String(repeating: "p", count: payloadBytes)
        try client.greet()
        try client.say("OPEN 1 source topic=\(topic) available=\(events)")
    }

    private var recordBytes: UInt64 { UInt64(payload.utf8.count) + 4 }

    /// Sends all that is granted now, `most` events a frame, and says what more it needs.
    func sendGranted(most: UInt64) throws {
        for said in try client.hearWhatIsThere() { take(said) }
        while true {
            let count = min(asked - sent, askedBytes / recordBytes - sent, most)
            guard count > 0 else { break }
            try send(count)
        }
        guard asked > sent else { return }
        try client.say(
            "STATUS 1 asked=\(asked) delivered=\(sent) asked_bytes=\(askedBytes) "
                + "delivered_bytes=\(sent * recordBytes) available=\(events - sent) "
                + "blocked_by=bytes need_bytes=\(recordBytes)"
        )
    }

    /// Sends as it is granted, until it has sent so many.
    func sendUntil(_ count: UInt64, most: UInt64) throws {
        try sendGranted(most: most)
        while sent < count {
            take(try client.hear("DEMAND", 1))
            try sendGranted(most: most)
        }
    }

    /// Returns when the broker has taken what was sent.
    func sync() throws {
        try client.say("PING 1")
        try client.hear("PONG") { said in
            take(said)
            return said.flags == ["PONG"]
        }
    }

    private func take(_ said: Sentence) {
        guard said.type == "DEMAND", let total = said["total"] else { return }
        asked = total
        askedBytes = said["bytes_total"] ?? askedBytes
    }

    private func send(_ count: UInt64) throws {
        if count != few {
            let payloads = Array(repeating: payload, count: Int(count))
            let text = "EVENTS 1 seq=1 [\(payloads.joined(separator: " "))]"
            frame = try #require(Sentence(parsing: text)).encoded()
            few = count
        }
        let start = FrameHeader.byteCount
        withUnsafeBytes(of: (sent + 1).bigEndian) { sequence in
            frame.replaceSubrange(start..<start + sequence.count, with: sequence)
        }
        try client.send(frame)
        sent += count
    }
}
