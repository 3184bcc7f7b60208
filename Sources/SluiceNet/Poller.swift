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

/// A level-triggered epoll set and the eventfd that interrupts its wait.
struct Poller: ~Copyable, Sendable {
    /// The token of the eventfd; no registration has it.
    static let interruptToken = UInt64.max

    private let epoll: CInt
    private let interrupt: CInt

    static func open() throws(SystemError) -> Poller {
        let epoll = try checking("epoll_create1") { epoll_create1(CInt(EPOLL_CLOEXEC)) }
        let interrupt: CInt
        do {
            interrupt = try checking("eventfd") {
                eventfd(0, CInt(EFD_CLOEXEC) | CInt(EFD_NONBLOCK))
            }
        } catch {
            close(epoll)
            throw error
        }
        let poller = Poller(epoll: epoll, interrupt: interrupt)
        try poller.control(EPOLL_CTL_ADD, interrupt, EPOLLIN.rawValue, token: interruptToken)
        return poller
    }

    deinit {
        close(interrupt)
        close(epoll)
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

    /// Sleeps until something is ready; a signal ends the sleep with nothing.
    func wait(
        into events: UnsafeMutableBufferPointer<epoll_event>,
        timeoutMilliseconds: CInt
    ) -> Int {
        let count = epoll_wait(
            epoll,
            events.baseAddress,
            CInt(events.count),
            timeoutMilliseconds
        )
        if count >= 0 { return Int(count) }
        precondition(errno == EINTR, "epoll_wait: our own bug")
        return 0
    }

    /// Ends the current wait, or the next one; from any thread.
    func interruptWait() {
        var one: UInt64 = 1
        while write(interrupt, &one, 8) < 0, errno == EINTR {}
    }

    func clearInterrupt() {
        var count: UInt64 = 0
        while read(interrupt, &count, 8) < 0, errno == EINTR {}
    }
}
