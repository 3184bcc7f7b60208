package import SluiceCore

/// What a world knows of a group by watching it: the topic's own books are held against it.
package struct GroupBook {
    package let rules: GroupRules
    package let start: UInt64
    /// Offsets from `start` on that a member was given, or was told are lost.
    private var given: [Bool] = []
    private var lost: [Bool] = []
    /// How many different events were given.
    package private(set) var delivered: UInt64 = 0
    /// The first offset of each lane that may still come, while nobody chooses among events.
    package var next: [UInt64]
    /// Whether a member chooses, or chose: events may pass each other.
    package var hasChoosers = false
    package var wasPurged = false
    /// Who is served alone, as it was before the step.
    package var active: UInt32?
    /// Who was given events of a lane last, up to which sequence, and when it lost the lane.
    package var last: [LastOwner?]

    package struct LastOwner {
        package var id: LinkID
        package var sequence: UInt64
        package var lostAt: Instant?
    }

    package init(_ group: Group) {
        rules = group.rules
        start = group.start
        let lanes = max(1, Int(group.rules.partitions))
        next = Array(repeating: group.start, count: lanes)
        last = Array(repeating: nil, count: lanes)
    }

    package func isGiven(_ offset: UInt64) -> Bool {
        let place = Int(offset - start)
        return place < given.count && given[place]
    }

    package func isLost(_ offset: UInt64) -> Bool {
        let place = Int(offset - start)
        return place < lost.count && lost[place]
    }

    /// What messages call it.
    package func name(_ group: Name) -> String { "\(rules.dispatcher) \(group)" }

    /// Books that a member was given an event; false if one was given it before.
    package mutating func give(_ offset: UInt64) -> Bool {
        let place = Int(offset - start)
        if place >= given.count {
            given += repeatElement(false, count: place + 1 - given.count)
        }
        guard !given[place] else { return false }
        given[place] = true
        delivered += 1
        return true
    }

    package mutating func lose(_ offset: UInt64) {
        let place = Int(offset - start)
        if place >= lost.count {
            lost += repeatElement(false, count: place + 1 - lost.count)
        }
        lost[place] = true
    }

    /// The lane of an event.
    package func lane(of shape: Shape, at offset: UInt64) -> Int {
        guard rules.dispatcher == .partition else { return 0 }
        return shape.partition(at: offset, among: rules.partitions)
    }
}

/// Groups that a step was about, by their number in the topic.
struct TouchedGroups {
    private var places: [Bool] = []
    private var hasAll = false
    private(set) var isEmpty = true

    func contains(_ number: Int) -> Bool {
        hasAll || number < places.count && places[number]
    }

    mutating func add(_ number: Int) {
        isEmpty = false
        if number >= places.count {
            places += repeatElement(false, count: number + 1 - places.count)
        }
        places[number] = true
    }

    mutating func addAll() {
        isEmpty = false
        hasAll = true
    }

    mutating func removeAll() {
        guard !isEmpty else { return }
        isEmpty = true
        hasAll = false
        for place in places.indices { places[place] = false }
    }
}
