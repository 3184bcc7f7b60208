import Sluice
import SluiceEmbedded

// The samples of the README and of the library's articles, so that they compile: a test compares
// what stands between the markers with what is printed there.

func readmeProducer() async throws {
    // sample: README producer
    let client = SluiceClient()
    let producer = client.producer(for: "orders")
    // GenStage's handle_demand: called when somebody asked, and never sends more than that.
    var next = 0
    try await producer.run { demand in
        guard next < 1_000 else { return nil }
        let orders = (next..<min(next + demand, 1_000)).map { OutgoingEvent("order \($0)") }
        next += orders.count
        return orders
    }
    await client.close()
    // end
}

func readmeConsumer() async throws {
    // sample: README consumer
    let client = SluiceClient()
    let options = SubscriptionOptions(demand: .automatic(max: 100, min: 50))
    for try await batch in client.subscribe(to: "orders", options: options) {
        // Asking for the next batch is what asks the broker for more.
        for event in batch { print(event.offset, event.payloadString) }
    }
    // end
}

func gettingStartedProducer() async throws {
    // sample: GettingStarted producer
    let client = SluiceClient()
    let producer = client.producer(for: "greetings")
    for number in 1...10 {
        try await producer.send("hello \(number)")
    }
    try await producer.flush()
    await client.close()
    // end
}

func gettingStartedConsumer() async throws {
    // sample: GettingStarted consumer
    let client = SluiceClient()
    for try await batch in client.subscribe(to: "greetings") {
        for event in batch {
            print(event.offset, event.payloadString)
        }
    }
    // end
}

func embedded() async throws {
    // sample: embedded
    let broker = try EmbeddedBroker()
    let client = broker.client()
    let producer = client.producer(for: "orders")
    try await producer.send("order 1")
    for try await batch in client.subscribe(to: "orders") {
        for event in batch { print(event.payloadString) }
    }
    await client.close()
    await broker.close()
    // end
}
