/// What the end of a subscription means to those who consume it with others.
package enum CancelRule: String, Hashable, Sendable, CaseIterable {
    /// They end too, whatever the reason.
    case permanent
    /// They end too if it failed.
    case transient
    /// They go on.
    case temporary

    package func ends(hasFailed: Bool) -> Bool {
        switch self {
        case .permanent: true
        case .transient: hasFailed
        case .temporary: false
        }
    }
}
