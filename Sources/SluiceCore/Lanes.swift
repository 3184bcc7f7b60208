/// The lanes of a group, found by number.
///
/// A lane that holds nothing and waits for nobody takes no memory, and is not looked at.
// busy = lanes with events, a loss or a hand-over; fresh ⊆ busy; each lane in `places` has a slot
package struct Lanes: Sendable {
    /// How many there are; 0 while the group's events wait in the log alone.
    package let count: Int
    private var slots: [Lane] = []
    /// Where each lane lies in `slots`, plus 1; 0 for one that holds nothing.
    private var places: [UInt16] = []
    /// Slots that no lane has; what they hold of memory serves the next.
    private var spare: [UInt16] = []
    /// Those in which something waits.
    package private(set) var busy = LaneSet()
    /// Those that got something which still lies where it arrived.
    private(set) var fresh = LaneSet()
    /// Those that are on their way from one member to the next.
    private(set) var passing = LaneSet()
    /// Who shares which; empty while nobody does.
    private var sharers: [UInt32] = []
    /// Who claims which, in the order they came.
    private var claimants: [Int: [UInt32]] = [:]

    static let nobody = UInt32.max

    init(count: Int) { self.count = count }

    package var isEmpty: Bool { count == 0 }
    package var indices: Range<Int> { 0..<count }

    package subscript(lane: Int) -> Lane { place(of: lane).map { slots[$0] } ?? Lane() }

    @inline(__always)
    private func place(of lane: Int) -> Int? {
        guard lane < places.count, places[lane] > 0 else { return nil }
        return Int(places[lane]) - 1
    }

    // MARK: What waits

    @inline(__always)
    package func waiting(in lane: Int) -> UInt64 { place(of: lane).map { slots[$0].waiting } ?? 0 }

    /// Events that wait and lie before an offset.
    @inline(__always)
    func waiting(in lane: Int, before offset: UInt64) -> UInt64 {
        place(of: lane).map { slots[$0].waiting(before: offset) } ?? 0
    }

    @inline(__always)
    func bytes(of lane: Int) -> UInt64 { place(of: lane).map { slots[$0].bytes } ?? 0 }
    @inline(__always)
    func firstOffset(of lane: Int) -> UInt64? { place(of: lane).flatMap { slots[$0].firstOffset } }
    func firstRun(of lane: Int) -> Run? { place(of: lane).flatMap { slots[$0].items.first?.run } }
    @inline(__always)
    func lost(of lane: Int) -> Gap? { place(of: lane).flatMap { slots[$0].lost } }

    func firstRecordBytes(of lane: Int) -> Int? {
        place(of: lane).flatMap { slots[$0].firstRecordBytes }
    }

    @inline(__always)
    func handOver(of lane: Int) -> Lane.HandOver? {
        passing.contains(lane) ? place(of: lane).flatMap { slots[$0].handOver } : nil
    }

    func last(of lane: Int) -> Lane.Last? { place(of: lane).flatMap { slots[$0].last } }

    /// How many events wait in each.
    package var waiting: [UInt64] { indices.map { waiting(in: $0) } }

    /// The first offset that waits.
    package var firstOffset: UInt64? {
        var first: UInt64?
        var next = 0
        while let lane = busy.next(from: next) {
            next = lane + 1
            if let offset = firstOffset(of: lane) { first = min(first ?? .max, offset) }
        }
        return first
    }

    /// Changes a lane where it is, and gives it memory if it needs some then.
    mutating func change<Result>(_ lane: Int, _ body: (inout Lane) -> Result) -> Result {
        let place = place(of: lane) ?? makePlace(for: lane)
        let result = body(&slots[place])
        let isPassing = slots[place].handOver != nil
        let isBusy = slots[place].waiting > 0 || slots[place].lost != nil || isPassing
        if isBusy != busy.contains(lane) { busy.set(lane, to: isBusy) }
        if isPassing != passing.contains(lane) { passing.set(lane, to: isPassing) }
        if !isBusy, slots[place].last == nil { free(lane, at: place) }
        return result
    }

    mutating func markFresh(_ lane: Int) { fresh.insert(lane) }

    /// The first that got something; it counts as kept then.
    mutating func popFresh() -> Int? {
        guard let lane = fresh.next(from: 0) else { return nil }
        fresh.remove(lane)
        return lane
    }

    /// Whether the next lane to hold something needs memory that nothing has yet.
    var isFull: Bool { spare.isEmpty && slots.count == slots.capacity && slots.count < count }

    /// Forgets who was given events last where that is of no consequence any more.
    mutating func forgetLast(where isSettled: (Lane.Last) -> Bool) {
        for lane in places.indices {
            guard let place = place(of: lane), let last = slots[place].last, isSettled(last) else {
                continue
            }
            slots[place].last = nil
            if !busy.contains(lane) { free(lane, at: place) }
        }
    }

    private mutating func makePlace(for lane: Int) -> Int {
        if places.isEmpty { places = Array(repeating: 0, count: count) }
        let place: Int
        if let known = spare.popLast() {
            place = Int(known)
        } else {
            place = slots.count
            slots.append(Lane())
        }
        places[lane] = UInt16(place + 1)
        return place
    }

    private mutating func free(_ lane: Int, at place: Int) {
        places[lane] = 0
        spare.append(UInt16(place))
        guard spare.count == slots.count, slots.count > Self.sparesMax else { return }
        (slots, places, spare) = ([], [], [])
    }

    /// Lanes that have memory, or had it and left it to the next.
    @inline(__always)
    var slotCount: Int { slots.count }

    /// Slots that a group keeps when nothing waits for it.
    private static let sparesMax = 16

    /// About how much memory they take beside what waits in them.
    package var memoryBytes: Int {
        slots.capacity * MemoryLayout<Lane>.stride + places.capacity * 2 + spare.capacity * 2
            + sharers.capacity * 4 + claimants.capacity * 64
    }

    // MARK: Whose they are

    /// The member that shares a lane; nil if nobody does.
    @inline(__always)
    func sharer(of lane: Int) -> UInt32? {
        guard lane < sharers.count, sharers[lane] != Self.nobody else { return nil }
        return sharers[lane]
    }

    var hasClaims: Bool { !claimants.isEmpty }
    var claimed: Int { claimants.count }
    @inline(__always)
    func isClaimed(_ lane: Int) -> Bool { !claimants.isEmpty && claimants[lane] != nil }
    @inline(__always)
    func claimants(of lane: Int) -> [UInt32] { claimants[lane] ?? [] }

    /// The members that a lane belongs to.
    @inline(__always)
    package func owners(of lane: Int) -> [UInt32] {
        if let owner = sharer(of: lane) { return [owner] }
        return claimants.isEmpty ? [] : claimants(of: lane)
    }

    /// Gives a lane that nobody claims to a member that claims none.
    mutating func share(_ lane: Int, with owner: UInt32) {
        if sharers.isEmpty { sharers = Array(repeating: Self.nobody, count: count) }
        sharers[lane] = owner
    }

    mutating func claim(_ lane: Int, by owner: UInt32) {
        if !sharers.isEmpty { sharers[lane] = Self.nobody }
        claimants[lane, default: []].append(owner)
    }

    /// Takes a lane away from one of its owners.
    mutating func take(_ lane: Int, from owner: UInt32) {
        if sharer(of: lane) == owner { sharers[lane] = Self.nobody }
        guard let others = claimants[lane]?.filter({ $0 != owner }) else { return }
        claimants[lane] = others.isEmpty ? nil : others
    }

    /// Nobody is there any more that could have a lane, or could have had events of one.
    mutating func forgetOwners() {
        (sharers, claimants) = ([], [:])
        forgetLast { _ in true }
    }
}
