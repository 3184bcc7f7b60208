import HeapModule
import SluiceCore

// Topics that wait for a time: rates, batches, patience, partitions on their way, and far off the
// end of groups without members.

/// A topic that is looked at when its time comes, and not at each time of another before.
// By its name: one that is removed is not kept for the time that it would have waited.
struct Rest: Comparable {
    let until: Instant
    let topic: Name

    static func < (left: Self, right: Self) -> Bool { left.until < right.until }
}

extension Engine {
    /// Who waits for longer is not looked at each time that another's time comes.
    private static let nearMilliseconds: UInt64 = 1_000

    /// Notes when a topic wants a step that nothing else will ask for.
    func watchTime(of box: TopicBox) {
        guard let time = box.core.wakesAt, !box.isRemoved else { return }
        guard time <= now.advanced(milliseconds: Self.nearMilliseconds) else {
            rest(box, until: time)
            return
        }
        wakesAt = min(wakesAt ?? time, time)
        guard !box.isSleeping else { return }
        box.isSleeping = true
        sleeping.append(box)
    }

    /// A topic stands there once; again only to be looked at earlier.
    private func rest(_ box: TopicBox, until time: Instant) {
        guard box.restsUntil.map({ time < $0 }) ?? true else { return }
        box.restsUntil = time
        // What stands for topics that are gone, or look earlier now, is at most half of it.
        if resting.count >= 2 * topics.count + 64 {
            let rests = topics.values.compactMap { box in
                box.restsUntil.map { Rest(until: $0, topic: box.core.name) }
            }
            resting = Heap(rests)
        } else {
            resting.insert(Rest(until: time, topic: box.core.name))
        }
        wakesAt = min(wakesAt ?? time, time)
    }

    /// Marks the topics whose time has come; a face calls it at `wakesAt`, before a turn.
    package func wake() {
        guard let due = wakesAt, due <= now else { return }
        wakesAt = nil
        if let time = statsWakesAt {
            statsWakesAt = nil
            if time <= now { wakeStats() } else { wakeStats(at: time) }
        }
        let watched = sleeping
        sleeping.removeAll(keepingCapacity: true)
        for box in watched {
            box.isSleeping = false
            look(at: box)
        }
        while let rest = resting.min, rest.until <= now {
            resting.removeMin()
            guard let box = topics[rest.topic], box.restsUntil == rest.until else { continue }
            box.restsUntil = nil
            look(at: box)
        }
        if let time = resting.min?.until { wakesAt = min(wakesAt ?? time, time) }
    }

    private func look(at box: TopicBox) {
        guard let time = box.core.wakesAt else { return }
        // Its step finds out what it waits for next.
        guard time > now else { return mark(box) }
        watchTime(of: box)
    }
}
