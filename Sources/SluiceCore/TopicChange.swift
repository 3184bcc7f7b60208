// The settings of a topic that is in use, changed.

/// What of a topic's settings may be other than it was made with.
package struct TopicChange: Hashable, Sendable {
    package var capacity: UInt64
    package var bufferBytes: UInt64
    package var ahead: UInt64
    package var onFull: FullPolicy
    package var rate: RateLimit?
    package var limits: TopicLimits
    package var groupExpiry: GroupExpiry

    /// No change: the settings as they are.
    package init(_ options: TopicOptions) {
        capacity = options.capacity
        bufferBytes = options.bufferBytes
        ahead = options.ahead
        onFull = options.onFull
        rate = options.rate
        limits = options.limits
        groupExpiry = options.groupExpiry
    }
}

extension TopicOptions {
    package mutating func take(_ change: TopicChange) {
        capacity = change.capacity
        bufferBytes = change.bufferBytes
        ahead = change.ahead
        onFull = change.onFull
        rate = change.rate
        limits = change.limits
        groupExpiry = change.groupExpiry
    }
}

extension Topic {
    /// Goes on with other settings.
    ///
    /// What is held stays held and what was granted stays granted, however little the topic may
    /// have now: it grants nothing more until law L3 holds again. Only `dropOldest` makes room at
    /// once, counted and announced as always. Links and groups beyond a limit stay too.
    mutating func change(_ change: TopicChange, at now: Instant) {
        if options.rate != change.rate {
            bucket = change.rate.map { TokenBucket($0, following: bucket, at: now) }
        }
        options.take(change)
        awaitAllExpiries()
        for group in groupTable.indices { markDirty(group) }
        isUnsettled = true
        grantsAreDue = true
    }
}
