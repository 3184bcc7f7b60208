package import SluiceCore
package import SluiceWire

/// What one engine tells another of the same broker; each hears the other's in order.
///
/// A link whose topic lives elsewhere is two links in a row: what its client says goes on to the
/// topic's engine, and what that answers comes back as words for the client.
package enum Message: Sendable {
    indirect case open(Caller, UInt32, Open)
    case demand(UInt64, UInt32, Ask)
    case publish(UInt64, UInt32, Publication)
    indirect case mark(UInt64, UInt32, Mark, nextSequence: UInt64)
    indirect case report(UInt64, UInt32, Status)
    /// The producer has broken the account that its own engine keeps of it.
    case fail(UInt64, UInt32, LedgerError)
    case received(UInt64, UInt32, sequence: UInt64)
    case close(UInt64, UInt32)
    /// A client wants to know that what it said before has been dealt with, and it has.
    case ping(Ring)
    case pinged(Ring)
    case wrote(UInt64, UInt32, bytes: Int)
    /// How much of a link's events may be on their way, or of each link's of the sender's clients.
    case window(UInt64, UInt32, bytes: Int)
    case windows(bytes: Int)
    /// The client's connection is gone; what is told it before `epoch` falls into the void.
    case detach(UInt64, epoch: UInt32)
    case end(UInt64)
    case told(Address, Word)

    /// What the other engine has of something, and the answer.
    case look(ticket: UInt64, StatsQuery)
    case sighted(ticket: UInt64, StatsReply)
    indirect case request(ticket: UInt64, Snapshot.Request)
    case kick(ticket: UInt64, Snapshot.Kick)
    case answered(ticket: UInt64, CloseCode?)
    /// So many messages that clients caused have been dealt with.
    case dealtWith(Int)

    /// Whether a client can cause as many of them as it likes.
    var isOfClient: Bool {
        switch self {
        case .open, .demand, .publish, .mark, .report, .fail, .received, .close, .ping, .wrote,
            .request, .kick:
            true
        // Of looks an engine has only so many under way, whatever its clients ask.
        case .pinged, .window, .windows, .detach, .end, .told, .look, .sighted, .answered,
            .dealtWith:
            false
        }
    }
}

/// Who opens a link on another engine's topic.
package struct Caller: Sendable {
    package var session: UInt64
    package var epoch: UInt32
    package var name: String
    package var peerAddress: String
    package var eventBytesMax: Int
    package var answerMilliseconds: UInt64
}

/// A PING on its way through the engines that a client has links on.
package struct Ring: Sendable {
    package var session: UInt64
    package var epoch: UInt32
    package var opaque: UInt64
    /// The engines that it has still to pass.
    package var rest: [Int]
}

/// The link of a client elsewhere that something is told.
package struct Address: Sendable {
    package var session: UInt64
    /// Counts the client's connections, so that none is told what the one before it was due.
    package var epoch: UInt32
    package var link: UInt32
}

/// What a `Peer` is told, on its way to another engine's client.
package enum Word: Sendable {
    indirect case opened(Opened)
    case refused(Close)
    case events(firstSequence: UInt64, runs: [Run], bytes: Int)
    case gap(Gap, nextSequence: UInt64)
    indirect case mark(Mark, offset: UInt64, nextSequence: UInt64)
    case ask(Ask)
    case settle(Settlement)
    indirect case status(Status)
    case prove(upTo: UInt64)
    case closed(Close)
}
