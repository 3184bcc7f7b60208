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

// What the samples of the article on stages call.
private func nextOrders(atMost count: Int) async throws -> [String] { [] }
private func send(_ text: String) async throws {}
private func store(_ rows: [String]) async throws {}
private func insert(_ rows: [String], because reason: BatchReason) async throws {}

func stagesPipeline(client: SluiceClient) async throws {
    // sample: Stages pipeline
    let source = Stage.producer("orders", to: "orders") { demand in
        try await nextOrders(atMost: demand).map { OutgoingEvent($0) }
    }
    let invoices = Stage.processor("invoices", from: ["orders"], to: "invoices") { batch in
        batch.map { OutgoingEvent("invoice for \($0.payloadString)") }
    }
    let ten = SubscriptionOptions(demand: .automatic(max: 10, min: 5))
    let mail = Stage.tasks("mail", of: [Input("invoices", options: ten)]) { event in
        try await send(event.payloadString)
    }
    let pipeline = Pipeline(client, [source, invoices, mail])
    try await pipeline.run()
    // end
}

func stagesConsumer() -> Stage {
    // sample: Stages consumer
    struct Ledger: ConsumerStage {
        var balance = 0
        var stream: EventStream?

        mutating func handleStart(_ stream: EventStream) async throws {
            self.stream = stream
        }

        mutating func handleEvents(
            _ events: EventBatch,
            from subscription: Subscription
        ) async throws {
            for event in events { balance += Int(event.payloadString) ?? 0 }
        }

        mutating func handleCancel(
            _ reason: CancelReason,
            of subscription: Subscription
        ) async throws {
            print("\(subscription.topic) has ended: \(reason)")
        }
    }
    let bookings = [Input("sales"), Input("refunds", cancel: .temporary)]
    let ledger = Stage.consumer("ledger", of: bookings, making: { Ledger() })
    // end
    return ledger
}

func stagesResubscribe() -> Stage {
    // sample: Stages resubscribe
    let archive = Input("archive", cancel: .temporary, resubscribe: ReconnectPolicy())
    let both = Stage.consumer("both", of: ["orders", archive]) { batch in
        try await store(batch.map(\.payloadString))
    }
    // end
    return both
}

func stagesStream(client: SluiceClient) async throws {
    // sample: Stages stream
    for try await delivery in client.stream(of: ["sales", "refunds"]) {
        print(delivery.topic, delivery.batch.count)
    }
    // end
}

func stagesBatches() -> Stage {
    // sample: Stages batches
    let rows = Stage.batches(
        "rows",
        of: ["readings"],
        size: 500,
        within: .seconds(1),
        by: { $0.key.map { Array($0) } ?? [] },
        { batch in try await insert(batch.events.map(\.payloadString), because: batch.reason) }
    )
    // end
    return rows
}
