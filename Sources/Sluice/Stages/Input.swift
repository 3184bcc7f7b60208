/// A topic that a stage or a stream consumes, and how it subscribes to it.
public struct Input: Sendable, ExpressibleByStringLiteral {
    /// The topic.
    public var topic: String
    /// How the subscription joins the topic and when it asks.
    public var options: SubscriptionOptions
    /// What the end of the subscription means to the whole.
    public var cancel: CancelMode

    /// Makes an input.
    public init(
        _ topic: String,
        options: SubscriptionOptions = SubscriptionOptions(),
        cancel: CancelMode = .permanent
    ) {
        self.topic = topic
        self.options = options
        self.cancel = cancel
    }

    /// Makes an input with the default options, which ends the whole when it ends.
    public init(stringLiteral topic: String) { self.init(topic) }
}

extension SluiceClient {
    /// Subscribes to several topics, whose batches one task consumes as they come.
    public func stream(of inputs: [Input]) -> EventStream {
        let stream = EventStream()
        for input in inputs {
            let subscription = subscribe(to: input.topic, options: input.options)
            stream.add(subscription, cancel: input.cancel)
        }
        return stream
    }
}
