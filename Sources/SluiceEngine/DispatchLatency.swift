import SluiceCore
import SluiceWire

/// How old events were when they were handed out: one entry a delivery, by its oldest event.
// A delivery is many events, and an entry is a few instructions.
struct DispatchLatency {
    private var counts = InlineArray<11, UInt64>(repeating: 0)
    private var microseconds: UInt64 = 0

    /// Books a delivery whose oldest event came at `time`; 0 if a clock was set back meanwhile.
    mutating func note(_ time: UInt64, at now: UInt64) {
        let age = now - min(now, time)
        microseconds &+= age
        let bits = UInt64.bitWidth - (age >> 8).leadingZeroBitCount
        counts[min((bits + 1) / 2, counts.count - 1)] += 1
    }

    var snapshot: Snapshot.Latency {
        Snapshot.Latency(
            counts: counts.indices.map { counts[$0] },
            seconds: Double(microseconds) / 1_000_000
        )
    }
}
