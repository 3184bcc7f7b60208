import DequeModule

/// PINGs that stand behind the events of links: who answers one has received what lay before it.
// at most one for each link is under way
struct Proofs {
    struct Proof {
        let opaque: UInt64
        let link: UInt32
        let sequence: UInt64
        /// What was given since, and has to be shown too.
        var more: UInt64?
    }

    private var asked = Deque<Proof>()
    /// Those under way, by their links: how many were asked before them.
    private var open: [UInt32: UInt64] = [:]
    private var taken: UInt64 = 0
    private var next = Self.firstOpaque

    /// PINGs for the sake of life carry the time, which is less.
    private static let firstOpaque: UInt64 = 1 << 63
    /// The link of a PING that stands behind no link's events.
    private static let noLink: UInt32 = 0

    var isEmpty: Bool { asked.isEmpty }

    /// The number of a PING to send; nil if one for the link is under way still.
    mutating func begin(_ link: UInt32, upTo sequence: UInt64) -> UInt64? {
        if let number = open[link] {
            let place = Int(number - taken)
            if asked[place].sequence < sequence { asked[place].more = sequence }
            return nil
        }
        open[link] = taken + UInt64(asked.count)
        defer { next += 1 }
        asked.append(Proof(opaque: next, link: link, sequence: sequence))
        return next
    }

    /// Another PING is sent behind all of them: only the last of several may be answered.
    mutating func note(_ opaque: UInt64) {
        guard !asked.isEmpty else { return }
        if asked[asked.count - 1].link == Self.noLink { _ = asked.popLast() }
        asked.append(Proof(opaque: opaque, link: Self.noLink, sequence: 0))
    }

    /// What a PONG shows: all that was asked for up to its PING.
    mutating func take(upTo opaque: UInt64) -> [Proof] {
        guard let last = asked.firstIndex(where: { $0.opaque == opaque }) else { return [] }
        let shown = Array(asked.prefix(last + 1))
        asked.removeFirst(last + 1)
        taken += UInt64(last + 1)
        for proof in shown { open[proof.link] = nil }
        return shown.filter { $0.link != Self.noLink }
    }
}
