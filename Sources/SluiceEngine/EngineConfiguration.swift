package import SluiceCore

/// What an engine is told when it starts.
package struct EngineConfiguration: Sendable {
    package var name = "sluice"
    package var version = "0"
    /// Settings of topics that are created on first use.
    package var topicDefaults = TopicOptions()
    /// Whether opening an unknown topic creates it.
    package var createsTopics = true
    package var resumeWindowMilliseconds = UInt64(Limits.resumeWindowMilliseconds)

    package init() {}
}
