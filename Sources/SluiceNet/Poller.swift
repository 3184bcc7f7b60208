import CEpoll
import Glibc

/// What a descriptor is watched for; hang-ups are always told.
package struct IOInterest: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let readable = Self(rawValue: 1)
    package static let writable = Self(rawValue: 2)

    var mask: UInt32 {
        (contains(.readable) ? EPOLLIN.rawValue : 0)
            | (contains(.writable) ? EPOLLOUT.rawValue : 0)
    }
}

/// What a descriptor is ready for.
package struct IOEvents: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let readable = Self(rawValue: 1)
    package static let writable = Self(rawValue: 2)
    /// Both directions are over or an error is pending; bytes that came before may still be read.
    package static let hangUp = Self(rawValue: 4)

    init(mask: UInt32) {
        var events: Self = []
        if mask & EPOLLIN.rawValue != 0 { events.insert(.readable) }
        if mask & EPOLLOUT.rawValue != 0 { events.insert(.writable) }
        if mask & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 { events.insert(.hangUp) }
        self = events
    }
}

/// A level-triggered epoll set, the eventfd that interrupts its wait, and the timerfd that ends it.
struct Poller: ~Copyable, Sendable {
    /// The tokens of the eventfd and of the timerfd; no registration has them.
    static let interruptToken = UInt64.max
    static let alarmToken = UInt64.max - 1

    private let epoll: CInt
    private let interrupt: CInt
    private let alarm: CInt

    static func open() throws(SystemError) -> Poller {
        let epoll = try checking("epoll_create1") { epoll_create1(CInt(EPOLL_CLOEXEC)) }
        let interrupt = eventfd(0, CInt(EFD_CLOEXEC) | CInt(EFD_NONBLOCK))
        // Its flags are those of files, by its manual.
        let alarm = timerfd_create(CLOCK_MONOTONIC, O_CLOEXEC | O_NONBLOCK)
        let code = errno
        let poller = Poller(epoll: epoll, interrupt: interrupt, alarm: alarm)
        guard interrupt >= 0, alarm >= 0 else {
            throw SystemError(code: code, call: "eventfd or timerfd_create")
        }
        try poller.control(EPOLL_CTL_ADD, interrupt, EPOLLIN.rawValue, token: interruptToken)
        try poller.control(EPOLL_CTL_ADD, alarm, EPOLLIN.rawValue, token: alarmToken)
        return poller
    }

    deinit {
        for descriptor in [alarm, interrupt, epoll] where descriptor >= 0 { close(descriptor) }
    }

    func add(_ descriptor: CInt, _ interest: IOInterest, token: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_ADD, descriptor, interest.mask, token: token)
    }

    func modify(_ descriptor: CInt, _ interest: IOInterest, token: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_MOD, descriptor, interest.mask, token: token)
    }

    func remove(_ descriptor: CInt) throws(SystemError) {
        try control(EPOLL_CTL_DEL, descriptor, 0, token: 0)
    }

    private func control(
        _ operation: CInt,
        _ descriptor: CInt,
        _ mask: UInt32,
        token: UInt64
    ) throws(SystemError) {
        var event = epoll_event(events: mask, data: epoll_data(u64: token))
        try checking("epoll_ctl") { epoll_ctl(epoll, operation, descriptor, &event) }
    }

    /// Takes what is ready, and sleeps until something is if it may; a signal ends the sleep with
    /// nothing.
    func wait(into events: UnsafeMutableBufferPointer<epoll_event>, sleeps: Bool) -> Int {
        let count = epoll_wait(epoll, events.baseAddress, CInt(events.count), sleeps ? -1 : 0)
        if count >= 0 { return Int(count) }
        precondition(errno == EINTR, "epoll_wait: our own bug")
        return 0
    }

    /// Ends the wait under way at a time of the monotonic clock, or the next one after it.
    ///
    /// A time limit of the wait itself would set and clear a timer of the kernel in each turn.
    func setAlarm(at nanoseconds: UInt64) {
        var time = itimerspec()
        time.it_value.tv_sec = Int(nanoseconds / 1_000_000_000)
        time.it_value.tv_nsec = Int(nanoseconds % 1_000_000_000)
        let result = timerfd_settime(alarm, CInt(TIMER_ABSTIME), &time, nil)
        precondition(result == 0, "timerfd_settime: our own bug")
    }

    func clearAlarm() { clear(alarm) }

    /// Ends the current wait, or the next one; from any thread.
    func interruptWait() {
        var one: UInt64 = 1
        while write(interrupt, &one, 8) < 0, errno == EINTR {}
    }

    func clearInterrupt() { clear(interrupt) }

    private func clear(_ descriptor: CInt) {
        var count: UInt64 = 0
        while read(descriptor, &count, 8) < 0, errno == EINTR {}
    }
}
