/// A topic that a stage or a stream consumes, and how it subscribes to it.
public struct Input: Sendable, ExpressibleByStringLiteral {
    /// The topic.
    public var topic: String
    /// How the subscription joins the topic and when it asks.
    public var options: SubscriptionOptions
    /// What the end of the subscription means to the whole.
    public var cancel: CancelMode
    /// How it subscribes anew after the broker has refused or ended the subscription, as when the
    /// topic is missing; nil for not at all.
    ///
    /// The cancel mode comes first: a `temporary` input comes back after every end, a `transient`
    /// one after an end in peace, and a `permanent` one never, so that it takes no policy here
    /// (`invalidArgument`). It does not come back from an end that this side wanted, nor from
    /// `SubscriptionOptions.stopsAtEnd`; and when as many subscriptions in a row as the policy
    /// bears were not opened, it has ended for good.
    public var resubscribe: ReconnectPolicy?

    /// Makes an input.
    public init(
        _ topic: String,
        options: SubscriptionOptions = SubscriptionOptions(),
        cancel: CancelMode = .permanent,
        resubscribe: ReconnectPolicy? = nil
    ) {
        self.topic = topic
        self.options = options
        self.cancel = cancel
        self.resubscribe = resubscribe
    }

    /// Makes an input with the default options, which ends the whole when it ends.
    public init(stringLiteral topic: String) { self.init(topic) }
}

extension SluiceClient {
    /// Subscribes to several topics, whose batches one task consumes as they come.
    public func stream(of inputs: [Input]) -> EventStream {
        let stream = EventStream()
        for input in inputs {
            let revival = input.resubscribe.map { policy in
                // Its links end with the client, and with them all that is to be made anew.
                Revival(policy) { [weak self] in
                    let closed = SubscriptionCore(topic: input.topic, failed: .closed)
                    return self?.subscribe(input) ?? Subscription(closed)
                }
            }
            stream.core.add(subscribe(input), input.cancel, revival)
        }
        return stream
    }

    private func subscribe(_ input: Input) -> Subscription {
        guard input.resubscribe == nil || input.cancel != .permanent else {
            let text = "the input \(input.topic) is permanent: it cannot subscribe anew"
            let error = ClientError(
                .invalidArgument,
                text,
                hint: "make it transient or temporary, or leave resubscribe out"
            )
            return Subscription(SubscriptionCore(topic: input.topic, failed: error))
        }
        return subscribe(to: input.topic, options: input.options)
    }
}

/// When a subscription that has ended is made anew, as a value.
package struct Revival: Sendable {
    package let subscribe: @Sendable () -> Subscription
    private let policy: ReconnectPolicy
    /// Subscriptions in a row that were not opened.
    private var failures = 0

    package init(_ policy: ReconnectPolicy, _ subscribe: @escaping @Sendable () -> Subscription) {
        self.policy = policy
        self.subscribe = subscribe
    }

    /// One has ended; returns how long to wait before the next, or nil to give up.
    package mutating func pause(wasOpened: Bool) -> Duration? {
        failures = wasOpened ? 0 : failures + 1
        guard !policy.givesUp(after: failures) || wasOpened else { return nil }
        return policy.delay(after: failures)
    }
}
