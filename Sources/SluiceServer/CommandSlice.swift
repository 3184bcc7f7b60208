import SluiceNet

/// A slice of a turn's time that looks at the clock once in several commands, or in some bytes of
/// events.
struct CommandSlice {
    static let endless = CommandSlice(.endless)

    private(set) var time: TurnTime.Slice
    private var unlooked = 0

    init(_ time: TurnTime.Slice) { self.time = time }

    /// The same for one that has so many bytes to understand.
    init(_ time: TurnTime.Slice, bytes: Int) {
        self.time = time
        // Few bytes cost no more than the clock does.
        if bytes >= Self.bytesBetweenLooks { self.time.begin() }
    }

    /// Counts a frame, or several of events; true if no other may follow now.
    @inline(__always)
    mutating func isUsedUp(after bytes: Int, isCommand: Bool) -> Bool {
        unlooked += isCommand ? max(bytes, Self.bytesPerCommand) : bytes
        guard unlooked >= Self.bytesBetweenLooks else { return false }
        unlooked = 0
        return time.isUsedUp()
    }

    /// So few that they take no longer than a slice, however small their headers are, and that the
    /// clock costs little.
    private static let bytesBetweenLooks = 8_192
    /// What a command counts for at least: the dearest takes as long as the dearest such events.
    private static let bytesPerCommand = bytesBetweenLooks / 8
}
