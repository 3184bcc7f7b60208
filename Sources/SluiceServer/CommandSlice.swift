import SluiceNet

/// A slice of a turn's time that looks at the clock once in several commands.
struct CommandSlice {
    static let endless = CommandSlice(.endless)

    private(set) var time: TurnTime.Slice
    private var commands = 0

    init(_ time: TurnTime.Slice) { self.time = time }

    /// Counts a command; true if no other may follow now.
    @inline(__always)
    mutating func isUsedUp() -> Bool {
        commands += 1
        guard commands % Self.commandsBetweenLooks == 0 else { return false }
        return time.isUsedUp()
    }

    /// So few that the dearest take no longer than a slice, and the clock costs little.
    private static let commandsBetweenLooks = 8
}
