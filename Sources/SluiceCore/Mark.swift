/// What lies between two events and is none: it takes no offset, no sequence and no credit.
package enum Mark: Hashable, Sendable {
    /// A text of its producer, behind all that came before it.
    case marker([UInt8])
    /// The producer has nothing more to say.
    case end

    /// Bytes of a link's write window that it takes: those of its frame, about.
    package var windowBytes: Int {
        guard case .marker(let text) = self else { return Limits.gapWindowBytes }
        return Limits.gapWindowBytes + text.count
    }
}
