/// A further way in to an engine, beside the one whose loop the engine lives on.
///
/// Its host calls it on that loop only. What it says to the engine outside of these calls it says
/// with the clocks set (`readClocks` of its maker).
package protocol Face: AnyObject {
    /// Bytes of events that wait to be written.
    var queuedBytes: Int { get }
    /// Goes on with what clients said and there was no time for, once in a turn.
    func catchUp()
    /// Whether some of that is left, or something to write: the next turn is not to be waited for.
    var hasMore: Bool { get }
    /// Writes what a turn of the engine brought; true if there was anything to do.
    func flush() -> Bool
    /// Looks after what only time brings, several times a second.
    func tick()
    /// The broker stops: takes nothing new, and gives back what it was granted.
    func wind()
    /// Whether it owes the engine nothing: no grants, nothing that waits to be written.
    var isDrained: Bool { get }
    /// Says the last words on every connection.
    func leave()
    /// Whether the last connection is gone.
    var isGone: Bool { get }
    /// Closes what is left, at once.
    func close()
}
