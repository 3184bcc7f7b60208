import DequeModule
import SluiceCore

/// Sessions without a connection, by when that was lost and by the addresses that they came from.
// Σ of the addresses' sessions = count; `addressesOfCount` names each address once
struct DetachedSessions {
    /// The longest detached first; stale where the session came back meanwhile.
    private var byTime = Deque<(session: Session, since: Instant)>()
    /// Each address's sessions by their numbers: the newest last.
    private var byAddress: [ClientAddress: [Session]] = [:]
    /// The addresses that have so many sessions here.
    private var addressesOfCount: [Int: Set<ClientAddress>] = [:]
    /// The most that one of them has.
    private var most = 0
    private(set) var count = 0

    mutating func add(_ session: Session, at now: Instant) {
        session.detachedAt = now
        byTime.append((session, now))
        let address = session.address
        var sessions = byAddress.removeValue(forKey: address) ?? []
        sessions.insert(session, at: Self.index(of: session.number, in: sessions))
        note(address, from: sessions.count - 1, to: sessions.count)
        byAddress[address] = sessions
        count += 1
        if byTime.count > 2 * count + 64 {
            byTime.removeAll { $0.session.detachedAt != $0.since }
        }
    }

    mutating func remove(_ session: Session) {
        guard session.detachedAt != nil else { return }
        session.detachedAt = nil
        count -= 1
        let address = session.address
        guard var sessions = byAddress.removeValue(forKey: address) else { return }
        sessions.remove(at: Self.index(of: session.number, in: sessions))
        note(address, from: sessions.count + 1, to: sessions.count)
        if !sessions.isEmpty { byAddress[address] = sessions }
    }

    /// The session that was detached first, and when.
    mutating func oldest() -> (session: Session, since: Instant)? {
        while let first = byTime.first {
            if first.session.detachedAt == first.since { return first }
            byTime.removeFirst()
        }
        return nil
    }

    /// The session that goes when there are too many: the newest of the address that has most, and
    /// if none has more than one, the one that was detached first.
    ///
    /// A session is new by when it began: who connects only to be cut off cannot push out the
    /// session of a client that has long been there, even at the same address.
    mutating func surplus() -> Session? {
        guard most > 1, let address = addressesOfCount[most]?.first else {
            return oldest()?.session
        }
        return byAddress[address]?.last
    }

    private mutating func note(_ address: ClientAddress, from former: Int, to now: Int) {
        if former > 0 {
            addressesOfCount[former]?.remove(address)
            if addressesOfCount[former]?.isEmpty ?? false { addressesOfCount[former] = nil }
        }
        if now > 0 { addressesOfCount[now, default: []].insert(address) }
        // A count changes by one: the next lower one is that of the address that had most.
        most = now > most ? now : addressesOfCount[most] == nil ? now : most
    }

    /// Where a session with this number stands, or would stand.
    private static func index(of number: UInt64, in sessions: [Session]) -> Int {
        sessions.indices.firstIndex(fromWhich: { sessions[$0].number >= number })
    }
}
