package import SluiceCore

/// Names a link of a client for all its life, over reconnects and new wire ids.
package struct LinkKey: Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// What a client's session tells the program around it.
package enum ClientEvent: Hashable, Sendable {
    /// The broker took the connection; links are being opened.
    case welcomed(resumed: Bool)
    /// The link stands; `resumed` if it goes on from where it was cut.
    case opened(LinkKey, resumed: Bool)
    /// The broker is too busy to open the link, which waits for `retry` or the next connection.
    case postponed(LinkKey, Close)
    /// Events within credit; their records lie in the span that the frame was decoded from.
    case events(LinkKey, Events)
    case gap(LinkKey, Gap)
    /// A word between the events; all before `offset` came before it.
    case mark(LinkKey, Mark, offset: UInt64)
    /// The broker's account of a link on which we are the sink, booked.
    case status(LinkKey, Status)
    /// Nothing more comes for what was asked up to the last DRAIN or STOP.
    case drained(LinkKey)
    /// The broker asked a producer for `events` more.
    case granted(LinkKey, events: UInt64)
    /// The broker took back what was granted and not sent.
    case recalled(LinkKey)
    /// The fate of the oldest `count` unconfirmed events.
    case settled(LinkKey, count: UInt64, outcome: Outcome, argument: UInt32)
    /// The oldest `count` marks that were sent are known to have arrived.
    case marksArrived(LinkKey, count: Int)
    /// The link is gone for good.
    case closed(LinkKey, Close, Ending)
    /// The broker will leave; it still delivers what has credit.
    case goingAway(Close)
    case pong(UInt64)
    /// The connection is over once what was written has been sent.
    case ended(Close, Ending)

    /// How something came to its end.
    package enum Ending: Hashable, Sendable {
        /// The broker refused to begin.
        case refused
        /// The broker ended it.
        case byBroker
        /// This side found the broker at fault.
        case byClient
    }
}
