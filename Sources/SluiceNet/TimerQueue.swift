import HeapModule

/// Names a timer, so that it can be cancelled.
package struct TimerID: Hashable, Sendable {
    let sequence: UInt64
}

/// Jobs in the order of their deadlines, equal ones in the order they were scheduled.
// jobs.count ≤ heap.count: a cancelled timer leaves its heap entry behind until it surfaces
struct TimerQueue {
    /// Heap entries of cancelled timers that may pile up before the heap is rebuilt.
    private static let staleMax = 64

    private struct Entry: Comparable {
        let deadline: UInt64
        let sequence: UInt64

        static func < (left: Self, right: Self) -> Bool {
            (left.deadline, left.sequence) < (right.deadline, right.sequence)
        }
    }

    private var heap = Heap<Entry>()
    private var jobs: [UInt64: () -> Void] = [:]
    private var lastSequence: UInt64 = 0

    mutating func schedule(at deadline: UInt64, _ job: @escaping () -> Void) -> TimerID {
        lastSequence += 1
        heap.insert(Entry(deadline: deadline, sequence: lastSequence))
        jobs[lastSequence] = job
        return TimerID(sequence: lastSequence)
    }

    mutating func cancel(_ id: TimerID) -> (() -> Void)? {
        let job = jobs.removeValue(forKey: id.sequence)
        if heap.count > 2 * jobs.count + Self.staleMax {
            heap = Heap(heap.unordered.filter { jobs[$0.sequence] != nil })
        }
        return job
    }

    /// The sequence of the newest timer: what is scheduled from now on is later.
    var newest: TimerID { TimerID(sequence: lastSequence) }

    /// Takes the first job due at `now`, but none scheduled after `newest`.
    ///
    /// The limit lets a job schedule itself for at once without keeping the loop from its sockets.
    mutating func takeDue(at now: UInt64, upTo newest: TimerID) -> (() -> Void)? {
        while let first = heap.min, first.deadline <= now, first.sequence <= newest.sequence {
            heap.removeMin()
            if let job = jobs.removeValue(forKey: first.sequence) { return job }
        }
        return nil
    }

    /// When the next job is due.
    mutating func nextDeadline() -> UInt64? {
        while let first = heap.min {
            if jobs[first.sequence] != nil { return first.deadline }
            heap.removeMin()
        }
        return nil
    }
}
