// What operators ask a broker, over links like any other.
extension SluiceClient {
    /// Reads documents of inspection: the events of a `$sys/…` topic until its round ends.
    ///
    /// - Parameters:
    ///   - topic: such as `$sys/topics`; see "Inspection" in the protocol.
    ///   - max: how many documents at most; 0 asks for none.
    /// - Returns: one JSON document an element, as bytes; the payloads themselves for `$sys/peek`.
    public func inspect(_ topic: String, max: Int = 10_000) async throws(ClientError) -> [[UInt8]] {
        guard max > 0 else { return [] }
        let subscription = subscribe(to: topic, options: SubscriptionOptions(demand: .manual))
        subscription.ask(max)
        var documents: [[UInt8]] = []
        for try await batch in subscription {
            for event in batch { documents.append(Array(event.payload)) }
            if documents.count >= max { return documents }
        }
        if Task.isCancelled { throw .cancelled }
        return documents
    }

    /// Sends one request to `$sys/ctl` and waits until the broker has carried it out.
    ///
    /// - Parameter json: such as `{"op":"create-topic","topic":"t"}`.
    /// - Throws: `eventRejected` with the broker's close code if it refused.
    public func control(_ json: String) async throws(ClientError) {
        let producer = producer(for: "$sys/ctl")
        try await producer.send(json)
        try await producer.close()
    }
}
