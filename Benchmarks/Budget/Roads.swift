import SluiceCore

/// Events on their way from producers through the broker to consumers.
struct Road {
    var size = 128
    /// As many as fit if nil.
    var eventsPerFrame: Int?
    var producers = 1
    var consumers = 1
    /// Topics to which each end has a link.
    var topics = 1
    var window = 65_536
    /// Reads of one turn, and frames in each.
    var slabsPerTurn = 4
    var framesPerSlab = Int.max

    /// Takes so many events from end to end.
    func run(_ count: Int) {
        let broker = Broker()
        let recordBytes = Record.headBytes + size
        let consumers = (0..<consumers).map { _ in
            Consumer(broker, topics: topics, window: window, recordBytes: recordBytes)
        }
        let producers = (0..<producers).map { _ in
            Producer(broker, topics: topics, size: size, eventsPerFrame: eventsPerFrame)
        }
        var left = count
        var turns = 0
        while consumers.reduce(0, { $0 + $1.events }) < count {
            for producer in producers {
                for _ in 0..<slabsPerTurn {
                    guard producer.send(&left, framesMax: framesPerSlab) else { break }
                }
            }
            broker.turn()
            for consumer in consumers { consumer.ask() }
            turns += 1
            precondition(turns < 16 * count + 10_000, "the road is blocked")
        }
        precondition(consumers.reduce(0) { $0 + $1.events } == count, "every event comes once")
    }
}

extension Scenario {
    static let roads = [
        road("road-16", 524_288) { $0.size = 16 },
        road("road-128", 262_144) { _ in },
        road("road-1k", 65_536) { $0.size = 1_024 },
        road("road-16k", 8_192) { $0.size = 16_384 },
        road("road-4-shared", 262_144) { $0.consumers = 4 },
        road("road-batches-100", 131_072) { $0.eventsPerFrame = 100 },
        road("road-batches-10", 65_536) { $0.eventsPerFrame = 10 },
        road("road-single", 65_536) { $0.eventsPerFrame = 1 },
        // An event a turn: what a quiet broker spends on each.
        road("road-trickle", 8_192) { road in
            road.eventsPerFrame = 1
            road.slabsPerTurn = 1
            road.framesPerSlab = 1
        },
        road("window-10000", 131_072) { $0.window = 10_000 },
        road("window-1000", 131_072) { $0.window = 1_000 },
        road("window-100", 65_536) { $0.window = 100 },
        road("topics-1", 65_536) { road in
            road.eventsPerFrame = 10
            road.window = 1_000
        },
        road("topics-1000", 131_072) { road in
            road.eventsPerFrame = 10
            road.topics = 1_000
            road.window = 1_000
        },
        road("consumers-10", 131_072) { road in
            road.consumers = 10
            road.window = 1_000
        },
        road("consumers-1000", 1_048_576) { road in
            road.consumers = 1_000
            road.window = 1_000
        },
        // Each producer sends what little it is granted.
        road("producers-100", 65_536) { road in
            road.producers = 100
            road.eventsPerFrame = 1
            road.slabsPerTurn = 1
            road.framesPerSlab = 1
            road.window = 1_000
        },
    ]

    private static func road(
        _ name: String,
        _ count: Int,
        _ shape: (inout Road) -> Void
    ) -> Scenario {
        var road = Road()
        shape(&road)
        return Scenario(name, per: "event", count) { [road] in road.run($0) }
    }
}
