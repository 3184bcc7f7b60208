/// What is to be shown of a connection's links: that events up to a sequence have arrived.
///
/// No client of HTTP says what it has received. What can be known is that its machine has
/// acknowledged the bytes: so each wait gets a place in what is written, once its events are in it.
// at most one for each link
struct Arrivals {
    private struct Wait {
        let link: UInt32
        var sequence: UInt64
        /// Bytes that were written when the events were among them; nil until they are.
        var place: UInt64?
        /// What was given since, and has to be shown too.
        var more: UInt64?
    }

    private var waits: [Wait] = []

    var isEmpty: Bool { waits.isEmpty }

    /// Waits for the events of a link up to this sequence.
    mutating func await(_ link: UInt32, upTo sequence: UInt64) {
        guard let index = waits.firstIndex(where: { $0.link == link }) else {
            waits.append(Wait(link: link, sequence: sequence))
            return
        }
        guard sequence > waits[index].sequence else { return }
        if waits[index].place == nil {
            waits[index].sequence = sequence
        } else {
            waits[index].more = max(sequence, waits[index].more ?? 0)
        }
    }

    /// Notes how much is written, for the links whose events are in it.
    ///
    /// - Parameter taken: how many events of a link are; nil of one that has ended.
    mutating func place(at written: UInt64, taken: (UInt32) -> UInt64?) {
        waits.removeAll { taken($0.link) == nil }
        for index in waits.indices where waits[index].place == nil {
            guard let events = taken(waits[index].link) else { continue }
            if events >= waits[index].sequence { waits[index].place = written }
        }
    }

    /// What has arrived when so many of the bytes that were written are acknowledged.
    mutating func take(acknowledged: UInt64) -> [(link: UInt32, sequence: UInt64)] {
        var arrived: [(link: UInt32, sequence: UInt64)] = []
        for index in waits.indices {
            guard let place = waits[index].place, place <= acknowledged else { continue }
            arrived.append((waits[index].link, waits[index].sequence))
            waits[index].place = nil
            if let more = waits[index].more {
                waits[index].sequence = more
                waits[index].more = nil
            }
        }
        waits.removeAll { wait in
            arrived.contains { $0.link == wait.link && $0.sequence == wait.sequence }
        }
        return arrived
    }
}
