import CCrash
import CEpoll
import Dispatch
import Synchronization

/// Is told on its loop what a descriptor is ready for.
package protocol IOHandler: AnyObject {
    /// After `hangUp` the handler must deregister, or it is told again at once.
    func ready(_ events: IOEvents)
}

/// Names a descriptor on a loop from `register` to `deregister`.
package struct Registration: Hashable, Sendable {
    fileprivate let slot: UInt32
    fileprivate let generation: UInt32

    fileprivate init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    fileprivate init(token: UInt64) {
        self.init(slot: UInt32(truncatingIfNeeded: token), generation: UInt32(token >> 32))
    }

    fileprivate var token: UInt64 { UInt64(generation) << 32 | UInt64(slot) }
}

/// One serial queue that owns one epoll set; its only block runs until `stop`.
///
/// Nothing else ever runs on the queue: other threads come in by `submit`, everything but
/// `start`, `stop`, `waitUntilStopped` and `submit` is for code that already runs on the loop.
package final class EventLoop: Sendable {
    package typealias Job = @Sendable () -> Void

    /// Events taken from the kernel in one turn; what is left over comes in the next.
    private static let eventsPerTurnMax = 256

    private struct Mailbox: Sendable {
        var jobs: [Job] = []
        var isClosed = false
    }

    private struct Slot {
        var handler: (any IOHandler)?
        var generation: UInt32 = 0
        var descriptor: CInt = -1
        var interest: IOInterest = []
    }

    private let queue: DispatchQueue
    private let poller: Poller
    private let mailbox = Lock(Mailbox())
    /// Whether the mailbox holds jobs, to be looked at without its lock.
    private let hasMail = Atomic<Bool>(false)
    /// Whether the loop may be sleeping, so that mail has to wake it.
    private let isAsleep = Atomic<Bool>(false)
    private let isStarted = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)
    private let running = DispatchGroup()

    // Confined to the loop from `start` on. No access to them lasts while foreign code runs, for
    // handlers and jobs come back into the loop.
    private nonisolated(unsafe) var slots: [Slot] = []
    private nonisolated(unsafe) var freeSlots: [UInt32] = []
    private nonisolated(unsafe) var timers = TimerQueue()
    private nonisolated(unsafe) var turnStart: UInt64
    /// When the poller's alarm goes off, if it is set.
    private nonisolated(unsafe) var alarm: UInt64?
    private nonisolated(unsafe) var endOfTurn: (() -> Bool)?

    package init(label: String) throws(SystemError) {
        poller = try Poller.open()
        queue = DispatchQueue(label: label)
        turnStart = monotonicNanoseconds()
    }

    /// Starts the loop; once.
    package func start() {
        let wasStarted = isStarted.exchange(true, ordering: .relaxed)
        precondition(!wasStarted, "a loop starts once")
        running.enter()
        queue.async { @Sendable in self.run() }
    }

    /// Ends the loop after the current turn; jobs submitted before still run.
    ///
    /// The loop then lets go of its handlers and timers without telling them.
    package func stop() {
        isStopping.store(true, ordering: .releasing)
        poller.interruptWait()
    }

    /// Returns when the loop has ended, at once if it never started; never await this on the loop.
    package func waitUntilStopped() async {
        await withCheckedContinuation { continuation in
            running.notify(queue: .global()) { @Sendable in continuation.resume() }
        }
    }

    /// Runs `job` on the loop, after those submitted before; false if the loop has ended.
    @discardableResult
    package func submit(_ job: @escaping Job) -> Bool {
        let isTaken = mailbox.withLock { mailbox in
            guard !mailbox.isClosed else { return false }
            mailbox.jobs.append(job)
            return true
        }
        guard isTaken else { return false }
        // In one total order with `sleep`: either the loop sees the mail or we see it asleep.
        hasMail.store(true, ordering: .sequentiallyConsistent)
        if isAsleep.load(ordering: .sequentiallyConsistent),
            isAsleep.exchange(false, ordering: .relaxed)
        {
            poller.interruptWait()
        }
        return true
    }

    /// Traps in debug builds unless it is called on the loop.
    @inline(__always)
    package func assertOnLoop() {
        #if DEBUG
        dispatchPrecondition(condition: .onQueue(queue))
        #endif
    }
}

// What follows is for the loop only.
extension EventLoop {
    /// Monotonic nanoseconds, read once a turn.
    package var now: UInt64 {
        assertOnLoop()
        return turnStart
    }

    /// Sets what runs at the end of each turn; it returns true if more work waits, and then the
    /// loop looks for events without sleeping.
    package func onEndOfTurn(_ body: (() -> Bool)?) {
        assertOnLoop()
        endOfTurn = body
    }

    /// Watches `descriptor`, which stays the caller's and must be deregistered before it is closed.
    package func register(
        _ descriptor: Descriptor,
        _ interest: IOInterest,
        handler: any IOHandler
    ) throws(SystemError) -> Registration {
        assertOnLoop()
        let slot = freeSlots.popLast() ?? newSlot()
        let id = Registration(slot: slot, generation: slots[Int(slot)].generation)
        do {
            try poller.add(descriptor.number, interest, token: id.token)
        } catch {
            freeSlots.append(slot)
            throw error
        }
        slots[Int(slot)].handler = handler
        slots[Int(slot)].descriptor = descriptor.number
        slots[Int(slot)].interest = interest
        return id
    }

    /// Changes what the descriptor is watched for; costs nothing if that is what it was.
    package func update(_ id: Registration, _ interest: IOInterest) {
        assertOnLoop()
        precondition(isCurrent(id), "update after deregister")
        let slot = Int(id.slot)
        guard slots[slot].interest != interest else { return }
        slots[slot].interest = interest
        do {
            try poller.modify(slots[slot].descriptor, interest, token: id.token)
        } catch {
            preconditionFailure("\(error): closed before it was deregistered")
        }
    }

    /// Forgets the descriptor: its handler hears nothing more, not even of this turn.
    package func deregister(_ id: Registration) {
        assertOnLoop()
        guard isCurrent(id) else { return }
        let slot = Int(id.slot)
        do {
            try poller.remove(slots[slot].descriptor)
        } catch {
            preconditionFailure("\(error): closed before it was deregistered")
        }
        let old = slots[slot]
        // Kept until the slot is written: its end may come back into the loop.
        withExtendedLifetime(old) {
            slots[slot] = Slot(generation: old.generation &+ 1)
            freeSlots.append(id.slot)
        }
    }

    /// Runs `job` in the first turn at or after `deadline`, to the millisecond.
    @discardableResult
    package func schedule(at deadline: UInt64, _ job: @escaping () -> Void) -> TimerID {
        assertOnLoop()
        // Never in the past, so that timers of the turn under way stay ahead of it.
        return timers.schedule(at: max(deadline, turnStart), job)
    }

    /// Runs `job` once `delay` has passed since the turn began.
    @discardableResult
    package func schedule(after delay: Duration, _ job: @escaping () -> Void) -> TimerID {
        schedule(at: deadline(after: delay), job)
    }

    /// The longest time that a timer waits, some 31 years: longer ones are as good as endless.
    private static let delayMax = Duration.seconds(1_000_000_000)

    /// The loop's time once `delay` has passed since the turn began.
    package func deadline(after delay: Duration) -> UInt64 {
        // The clock counts from the machine's start, so that the sum is far from overflowing.
        let (seconds, attoseconds) = max(.zero, min(delay, Self.delayMax)).components
        return now + UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }

    /// Forgets a timer; one that ran already is ignored.
    package func cancel(_ id: TimerID) {
        assertOnLoop()
        // The job ends here and not in there: what it owns may come back into the loop.
        _ = timers.cancel(id)
    }

    private func newSlot() -> UInt32 {
        slots.append(Slot())
        return UInt32(slots.count - 1)
    }

    private func isCurrent(_ id: Registration) -> Bool {
        let slot = Int(id.slot)
        guard slot < slots.count else { return false }
        return slots[slot].generation == id.generation && slots[slot].handler != nil
    }

    private func run() {
        crash_report_thread()
        let events = UnsafeMutableBufferPointer<epoll_event>.allocate(
            capacity: Self.eventsPerTurnMax
        )
        defer { events.deallocate() }
        var hasMoreWork = false
        while !isStopping.load(ordering: .acquiring) {
            let count = wait(into: events, hasMoreWork: hasMoreWork)
            turnStart = monotonicNanoseconds()
            for event in events[..<count] {
                switch event.data.u64 {
                case Poller.interruptToken: poller.clearInterrupt()
                case Poller.alarmToken:
                    alarm = nil
                    poller.clearAlarm()
                case let token: tell(Registration(token: token), IOEvents(mask: event.events))
                }
            }
            runSubmitted()
            runTimers()
            hasMoreWork = endOfTurn?() ?? false
        }
        finish()
    }

    /// Sleeps until there is something to do, unless there is already.
    private func wait(
        into events: UnsafeMutableBufferPointer<epoll_event>,
        hasMoreWork: Bool
    ) -> Int {
        var sleeps = !hasMoreWork && !isTimerDue()
        if sleeps {
            isAsleep.store(true, ordering: .sequentiallyConsistent)
            if hasMail.load(ordering: .sequentiallyConsistent) { sleeps = false }
        }
        defer { isAsleep.store(false, ordering: .relaxed) }
        return poller.wait(into: events, sleeps: sleeps)
    }

    /// Whether a timer is due; if not, the alarm goes off when the next one is.
    private func isTimerDue() -> Bool {
        guard let deadline = timers.nextDeadline() else { return false }
        guard deadline > turnStart else { return true }
        // Rounded up, so that timers of one millisecond wake the loop once.
        let millisecond: UInt64 = 1_000_000
        let time = (min(deadline, .max - millisecond) + millisecond - 1) / millisecond * millisecond
        // One that goes off too early, for a timer that was cancelled, costs an empty turn.
        if let alarm, alarm <= time { return false }
        alarm = time
        poller.setAlarm(at: time)
        return false
    }

    private func tell(_ id: Registration, _ events: IOEvents) {
        let slot = slots[Int(id.slot)]
        // An earlier handler of this turn may have deregistered it, and the slot may be another's.
        guard slot.generation == id.generation else { return }
        slot.handler?.ready(events)
    }

    /// Runs the jobs that were submitted meanwhile; true if there were any.
    @discardableResult
    package func runSubmitted() -> Bool {
        guard hasMail.load(ordering: .relaxed) else { return false }
        // Cleared before the jobs are taken: a job that comes in between costs an empty turn, the
        // other way round it would be left lying.
        hasMail.store(false, ordering: .sequentiallyConsistent)
        let jobs = mailbox.withLock { mailbox in
            let jobs = mailbox.jobs
            mailbox.jobs = []
            return jobs
        }
        for job in jobs { job() }
        return !jobs.isEmpty
    }

    private func runTimers() {
        let newest = timers.newest
        while let job = timers.takeDue(at: turnStart, upTo: newest) { job() }
    }

    private func finish() {
        let jobs = mailbox.withLock { mailbox in
            mailbox.isClosed = true
            let jobs = mailbox.jobs
            mailbox.jobs = []
            return jobs
        }
        for job in jobs { job() }
        _ = endOfTurn?()
        // Kept until the state is empty: what they own may come back into the loop when it goes.
        withExtendedLifetime((slots, timers, endOfTurn)) {
            (slots, freeSlots, timers, endOfTurn) = ([], [], TimerQueue(), nil)
        }
        running.leave()
    }
}
