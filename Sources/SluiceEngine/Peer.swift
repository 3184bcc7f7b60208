package import SluiceCore
package import SluiceWire

/// A client as the engine sees it: what a face must be able to say.
///
/// Called on the engine's loop only. Links go by the ids of the client's session.
package protocol Peer: AnyObject {
    func opened(_ link: UInt32, _ opened: Opened)
    func refused(_ link: UInt32, _ close: Close)
    func deliver(_ link: UInt32, firstSequence: UInt64, runs: ArraySlice<Run>, bytes: Int)
    func gap(_ link: UInt32, _ gap: Gap, nextSequence: UInt64)
    func mark(_ link: UInt32, _ mark: Mark, offset: UInt64, nextSequence: UInt64)
    func ask(_ link: UInt32, _ ask: Ask)
    func settle(_ link: UInt32, _ settlement: Settlement)
    func status(_ link: UInt32, _ status: Status)
    func closed(_ link: UInt32, _ close: Close)
    /// Says by `Engine.received` when the client has what it was given up to this sequence.
    func prove(_ link: UInt32, upTo sequence: UInt64)
    /// How long the client may take to answer.
    var answerMilliseconds: UInt64 { get }
    /// What its client said before a PING has been dealt with.
    func pong(_ opaque: UInt64)
    /// The session goes on over another connection.
    func replaced()
    /// An operator has ended the session: the connection goes, and says why.
    func kicked(_ close: Close)
    var traffic: Traffic { get }
    /// The largest record that fits into a frame for this client.
    var eventBytesMax: Int { get }
}

extension Peer {
    /// What its client has received is known from its next ask alone.
    package func prove(_ link: UInt32, upTo sequence: UInt64) {}

    package var answerMilliseconds: UInt64 {
        UInt64(Limits.keepaliveSecondsDefault * Limits.keepalivesMissedMax) * 1_000
    }
}

/// What a connection has moved, for inspection.
package struct Traffic: Sendable {
    package var bytesIn: UInt64
    package var bytesOut: UInt64
    package var queuedBytes: Int

    package init(bytesIn: UInt64, bytesOut: UInt64, queuedBytes: Int) {
        self.bytesIn = bytesIn
        self.bytesOut = bytesOut
        self.queuedBytes = queuedBytes
    }
}
