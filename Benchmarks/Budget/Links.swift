import SluiceCore
import SluiceWire

extension Scenario {
    static let links = [
        Scenario("demand-only", per: "demand", 65_536, demandOnly),
        Scenario("links", per: "link", 8_192, openAndClose),
        Scenario("connections", per: "connection", 1_024, connect),
        Scenario("ledger", per: "delivery", 65_536, ledger),
    ]

    /// Demand for single events on many links, and nobody who answers it.
    private static func demandOnly(_ count: Int) {
        let topics: UInt32 = 64
        let client = Client(Broker())
        for link in 1...topics {
            client.say { $0.append(Open(role: .sink, topic: "topic-\(link)"), link: link) }
        }
        var total: UInt64 = 0
        var left = count
        while left > 0 {
            let slab = client.broker.pool.make()
            total += 1
            _ = slab.fill { buffer in
                guard let start = buffer.baseAddress else { return 0 }
                var pen = Pen(at: start)
                for link in 1...topics {
                    pen.put(demand: 1, total: total, received: 0, link: link)
                }
                return Int(topics) * Pen.demandBytes
            }
            client.receive(slab)
            client.broker.turn()
            left -= Int(topics)
        }
    }

    /// Links of a consumer that come and go on a topic that has another.
    private static func openAndClose(_ count: Int) {
        let client = Client(Broker())
        client.say { $0.append(Open(role: .sink, topic: "topic"), link: 1) }
        var frames = FrameWriter()
        frames.append(Open(role: .sink, topic: "topic"), link: 0)
        let open = frames.take()
        frames.append(Close(.normal))
        let close = frames.take()
        for link in 2...UInt32(count + 1) {
            for frame in [open, close] {
                let slab = client.broker.pool.make()
                _ = slab.fill { buffer in
                    buffer.copyBytes(from: frame)
                    buffer.storeBytes(of: link.bigEndian, toByteOffset: 5, as: UInt32.self)
                    return frame.count
                }
                client.receive(slab)
                client.broker.turn()
            }
        }
    }

    /// Connections that say HELLO, are welcomed and go.
    private static func connect(_ count: Int) {
        let broker = Broker()
        for _ in 0..<count {
            Client(broker).leave()
        }
    }

    /// The two accounts of a link, with a hundred events asked for and delivered each time.
    private static func ledger(_ count: Int) {
        var sink = Ledger()
        var source = Ledger()
        do {
            for _ in 0..<count {
                let ask = sink.ask(events: 100, bytes: 13_200)
                try source.apply(ask)
                let first = source.delivered + 1
                source.deliver(events: 100, bytes: 13_200)
                try sink.receive(firstSequence: first, events: 100, bytes: 13_200)
            }
        } catch { preconditionFailure("\(error)") }
        precondition(sink.delivered == UInt64(count * 100), "the accounts agree")
    }
}
