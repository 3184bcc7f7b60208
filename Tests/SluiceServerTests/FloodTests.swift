import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

@Suite struct FloodTests {
    @Test("A client that never reads its replies is read no further, and no memory goes with it")
    func replies() async throws {
        try await withServer { address in
            let flood = try RawClient(address)
            try flood.greet()
            var link: UInt32 = 0
            var sent = 0
            while sent < 64 << 20 {
                var writer = FrameWriter()
                for _ in 0..<1_000 {
                    link += 1
                    writer.append(Open(role: .sink, topic: "t"), link: link)
                    writer.append(Close(.normal), link: link)
                }
                let count = try flood.sendSome(writer.bytes[...], milliseconds: 1_500)
                sent += count
                guard count == writer.bytes.count else { break }
            }
            #expect(sent < 48 << 20, "the broker has to stop reading")
            let witness = try RawClient(address)
            try witness.greet()
            // What it sent last may still be under way in slices.
            var queued = 0
            var look: UInt32 = 0
            while queued <= Limits.replyBytesMax, look < 20_000 {
                look += 1
                try witness.say("OPEN \(look) sink topic=$sys/connections demand=9")
                let first = try #require(try witness.hear("EVENTS", look).events.first?.payload)
                queued = try #require(Self.number("queuedBytes", in: first))
                try witness.say("CLOSE \(look) NORMAL")
            }
            #expect(queued > Limits.replyBytesMax && queued < 8 << 20)
            flood.cut()
            try witness.sync()
        }
    }

    private static func number(_ name: String, in document: String) -> Int? {
        let parts = document.split(separator: "\"\(name)\":", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        return Int(parts[1].prefix { $0.isNumber })
    }

    @Test("Any number of PING and ECHO that nobody reads the answers of leaves few of them waiting")
    func echoes() throws {
        let bench = PeerBench()
        let client = bench.connect()
        try client.say("HELLO versions=1..1 keepalive=10 name=t")
        try client.say("OPEN 1 sink topic=t demand=5")
        let echo = try #require(Sentence(parsing: "DEMAND 1 total=5 ECHO")).encoded()
        let ping = try #require(Sentence(parsing: "PING 9")).encoded()
        for _ in 0..<20_000 where client.peer.out.replyBytes <= Limits.replyBytesMax {
            client.send(echo + ping)
            while bench.engine.turn() {}
            client.block()
        }
        #expect(client.peer.out.replyBytes > Limits.replyBytesMax, "reading stops")
        client.run()
        let said = client.take()
        let echoes = said.count { $0.type == "STATUS" }
        #expect(echoes > 0 && echoes < 300, "\(echoes) STATUS were waiting")
    }

    @Test("What is said at once, and takes longer than a slice, is answered whole and in its order")
    func slices() async throws {
        try await withServer { address in
            let flood = try RawClient(address)
            try flood.greet()
            let count: UInt32 = 3_000
            var writer = FrameWriter()
            for link in 1...count {
                writer.append(Open(role: .sink, topic: "t"), link: link)
                writer.append(Close(.normal), link: link)
            }
            try flood.send(writer.bytes)
            let witness = try RawClient(address)
            try witness.greet()
            try witness.sync()
            try flood.say("CLOSE 0 NORMAL")
            let said = try flood.hearTheEnd()
            let opened = said.filter { $0.type == "OPENED" }.map(\.link)
            #expect(opened == Array(1...count))
        }
    }

    @Test("A member with a million credits that does not read stops nobody else")
    func stalled() async throws {
        // Who is silent here is not dead, however long the machine takes for what others say.
        try await withServer {
            $0.keepaliveSeconds = Limits.keepaliveSecondsMax
        } _: { address in
            let stalled = try RawClient(address)
            try stalled.greet("keepalive=0")
            try stalled.say("OPEN 1 sink topic=t demand=1000000")
            try stalled.hear("OPENED", 1)
            let reader = try RawClient(address)
            try reader.greet("keepalive=0")
            try reader.say("OPEN 1 sink topic=t demand=50000")
            try reader.hear("OPENED", 1)
            let producer = try RawClient(address)
            try producer.greet("keepalive=0")
            let total = 40_000
            try producer.say("OPEN 1 source topic=t available=\(total)")
            var sent = 0
            var received = 0
            let payload = String(repeating: "x", count: 1_000)
            while sent < total {
                let ask = try producer.hear("DEMAND", 1)
                let end = sent + Int(ask["n"] ?? 0)
                while sent < end {
                    let payloads = Array(repeating: payload, count: min(500, end - sent))
                    let events = payloads.joined(separator: " ")
                    try producer.say("EVENTS 1 seq=\(sent + 1) [\(events)]")
                    sent += payloads.count
                    received += try reader.hearWhatIsThere().reduce(0) { $0 + $1.events.count }
                }
            }
            try producer.sync()
            try reader.say("DEMAND 1 total=50000 received=0 DRAIN")
            while true {
                let said = try reader.hear("events") { $0.link == 1 }
                received += said.events.count
                if said.flags.contains("DRAINED") { break }
            }
            // What the stalled one was given lies in its window and the kernel's buffers.
            #expect(received > total / 2, "\(received) of \(sent)")
        }
    }
}
