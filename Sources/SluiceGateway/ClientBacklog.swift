import SluiceCore

/// What a client of gRPC says that waits beyond its credit, as far as it is known.
package struct ClientBacklog {
    /// Nil if the client does not say.
    package private(set) var available: UInt64?

    package init() {}

    /// The client says what it has, when it had not heard of `unseen` of its credit yet.
    ///
    /// The greatest number means that it does not know, as on the wire.
    package mutating func hear(_ available: UInt64, unseen: UInt64) {
        let isKnown = available != Backlog.unknownOnWire && (unseen == 0 || available > unseen)
        self.available = isKnown ? available - min(available, unseen) : nil
    }

    /// The client is promised more credit.
    ///
    /// Once all that it announced has some, nothing is known of it again: what it does not use then
    /// may be recalled for the others.
    package mutating func promise(_ events: UInt64) {
        available = available.flatMap { $0 > events ? $0 - events : nil }
    }

    /// What the topic is told, when so many events wait here without credit.
    package func onWire(lacking: UInt64) -> UInt64 {
        guard let available else { return lacking > 0 ? lacking : Backlog.unknownOnWire }
        return min(lacking.addingSaturated(available), Backlog.unknownOnWire - 1)
    }
}
