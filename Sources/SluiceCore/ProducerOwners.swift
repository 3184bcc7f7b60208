// Owners: whose producers they are. One that takes grants and sends nothing, over however many
// links, leaves half of what may be out to those that send.

/// The owners of a topic's producers, and who of them sent last.
// Σ of `granted` = the topic's; Σ of `links` = its producers
struct ProducerOwners: Sendable {
    struct Owner: Sendable {
        let number: UInt64
        var links = 0
        /// Events that its producers hold, and bytes.
        var granted: UInt64 = 0
        var bytes: UInt64 = 0
    }

    private struct Sender {
        var place: Int
        var at: Instant
    }

    private(set) var table: [Owner] = []
    private var places: [UInt64: Int] = [:]
    private var free: [Int] = []
    /// Who sent last, and who did before that one.
    private var last: Sender?
    private var other: Sender?

    /// Counts a producer more; returns the owner's place.
    mutating func join(_ number: UInt64) -> Int {
        let place = places[number] ?? makePlace(for: number)
        table[place].links += 1
        return place
    }

    private mutating func makePlace(for number: UInt64) -> Int {
        let place = free.popLast() ?? table.count
        if place == table.count {
            table.append(Owner(number: number))
        } else {
            table[place] = Owner(number: number)
        }
        places[number] = place
        return place
    }

    /// Counts a producer less, which held so much.
    mutating func leave(_ place: Int, held events: UInt64, bytes: UInt64) {
        table[place].links -= 1
        table[place].granted -= events
        table[place].bytes -= bytes
        guard table[place].links == 0 else { return }
        places[table[place].number] = nil
        free.append(place)
        if last?.place == place { (last, other) = (other, nil) }
        if other?.place == place { other = nil }
    }

    /// Counts what a producer came to hold, beside what it held before.
    @inline(__always)
    mutating func count(
        _ place: Int,
        from before: (events: UInt64, bytes: UInt64),
        to now: (events: UInt64, bytes: UInt64)
    ) {
        table[place].granted = table[place].granted - before.events + now.events
        table[place].bytes = table[place].bytes - before.bytes + now.bytes
    }

    @inline(__always)
    mutating func noteSending(_ place: Int, at now: Instant) {
        if last?.place != place { other = last }
        last = Sender(place: place, at: now)
    }

    /// When another than this one sent last.
    @inline(__always)
    func othersSentAt(_ place: Int) -> Instant? {
        last?.place == place ? other?.at : last?.at
    }
}

extension Topic {
    /// Events that may be granted now to a producer for its owner's sake: its owner holds at most
    /// half of what may be out, while another sends.
    mutating func roomOfOwner(_ index: UInt32, at now: Instant) -> UInt64 {
        let place = producerLinks[Int(index)].owner
        guard let until = sharesUntil(place, at: now) else { return .max }
        let most = max(1, grantable / 2)
        let held = owners.table[place].granted
        guard held < most else {
            wake(at: until)
            return 0
        }
        return most - held
    }

    /// The same in bytes, for a producer that lacks some for its next event: of those that wait so
    /// one at least is served, whatever it needs.
    mutating func ownerHasRoom(for bytes: UInt64, of index: UInt32, at now: Instant) -> Bool {
        let place = producerLinks[Int(index)].owner
        guard let until = sharesUntil(place, at: now) else { return true }
        let others = owners.table[place].bytes - producerLinks[Int(index)].grantedBytes
        guard others > 0, owners.table[place].bytes + bytes > Limits.grantWindowBytes / 2 else {
            return true
        }
        wake(at: until)
        return false
    }

    /// Until when an owner leaves half to others, if nobody of them sends again.
    @inline(__always)
    private func sharesUntil(_ place: Int, at now: Instant) -> Instant? {
        guard let sentAt = owners.othersSentAt(place) else { return nil }
        let until = sentAt.advanced(milliseconds: Limits.ownerRivalMilliseconds)
        return until > now ? until : nil
    }

    /// Lets a producer wait apart whose owner holds all that it may: no round passes by it.
    mutating func park(_ index: UInt32) {
        guard producerLinks[Int(index)].recalledAt == nil else { return }
        dequeueProducer(index)
        _ = withProducer(index) { $0.queue = .parked }
        parked.append(index)
    }

    /// Takes those back into their queues whose owners may hold more.
    mutating func unpark(at now: Instant) {
        var hasFound = false
        for _ in 0..<min(parked.count, Limits.effectsPerStepMax) {
            guard let index = parked.popFirst() else { break }
            guard roomOfOwner(index, at: now) > 0 else {
                parked.append(index)
                continue
            }
            hasFound = true
            _ = withProducer(index) { $0.queue = nil }
            enqueueProducer(index)
        }
        if hasFound, !parked.isEmpty { grantsAreDue = true }
    }

    /// What owners hold, counted anew.
    func checkOwners(_ found: inout [String]) {
        var counts = owners.table.map { _ in (links: 0, granted: UInt64(0), bytes: UInt64(0)) }
        for place in kinds.indices where kinds[place] == .producer {
            counts[producerLinks[place].owner].links += 1
            counts[producerLinks[place].owner].granted += producerLinks[place].ledger.credit
            counts[producerLinks[place].owner].bytes += producerLinks[place].grantedBytes
        }
        for (owner, count) in zip(owners.table, counts)
        where count != (owner.links, owner.granted, owner.bytes) {
            found.append("owner \(owner), counted \(count)")
        }
    }
}
