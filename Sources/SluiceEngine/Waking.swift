import SluiceCore

// Topics that wait for a time: rates, batches, patience, partitions on their way.

extension Engine {
    /// Notes when a topic wants a step that nothing else will ask for.
    func watchTime(of box: TopicBox) {
        guard let time = box.core.wakesAt, !box.isRemoved else { return }
        wakesAt = min(wakesAt ?? time, time)
        guard !box.isSleeping else { return }
        box.isSleeping = true
        sleeping.append(box)
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
            guard let time = box.core.wakesAt else { continue }
            if time <= now { mark(box) }
            watchTime(of: box)
        }
    }
}
