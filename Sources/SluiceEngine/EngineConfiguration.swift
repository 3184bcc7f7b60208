package import SluiceCore

/// What an engine is told when it starts.
package struct EngineConfiguration: Sendable {
    package var name = "sluice"
    package var version = "0"
    /// Settings of topics that are created on first use.
    package var topicDefaults = TopicOptions()
    /// Whether opening an unknown topic creates it.
    package var createsTopics = true
    /// Whether a client without links goes to the engine of the first topic that it opens.
    package var movesClients = true
    package var resumeWindowMilliseconds = UInt64(Limits.resumeWindowMilliseconds)
    /// How long a topic that an OPEN made is kept if nobody uses it; 0 for ever.
    package var topicLingerMilliseconds = UInt64(Limits.topicLingerMilliseconds)

    /// What the process has used, asked when an inspection wants to know.
    package var usage: @Sendable () -> Usage = { Usage() }

    package init() {}

    /// The resources of the broker's process.
    package struct Usage: Sendable {
        package var pid: Int32 = 0
        /// User and system time together.
        package var cpuSeconds = 0.0
        package var residentBytes: UInt64 = 0
        package var virtualBytes: UInt64 = 0
        package var openDescriptors = 0
        package var maxDescriptors = 0
        /// When the process began, since 1970 (UTC).
        package var startSeconds = 0.0

        package init() {}
    }
}
