// In an optimized build its module may own `timespec`.
import CEpoll
import Glibc

/// A system call that failed, with the errno it left.
package struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    package let code: CInt
    package let call: String

    package init(code: CInt, call: StaticString) {
        self.code = code
        self.call = "\(call)"
    }

    package var description: String {
        guard let text = strerror(code) else { return "\(call): error \(code)" }
        return "\(call): \(String(cString: text))"
    }

    /// True if the other side left or cannot be reached, which is normal life and not a fault.
    package var meansPeerGone: Bool {
        switch code {
        case EPIPE, ECONNRESET, ECONNABORTED, ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH:
            true
        default: false
        }
    }
}

/// Retries EINTR, turns EAGAIN into nil, and everything else into a typed error.
@inline(__always)
func retrying(_ call: StaticString, _ body: () -> Int) throws(SystemError) -> Int? {
    while true {
        let result = body()
        if result >= 0 { return result }
        switch errno {
        case EINTR: continue
        case EAGAIN: return nil
        case EBADF, EFAULT, ENOTSOCK: preconditionFailure("\(call): our own bug, not the peer's")
        case let code: throw SystemError(code: code, call: call)
        }
    }
}

/// A call that never blocks; EAGAIN is an error like any other.
@inline(__always)
@discardableResult
func checking(_ call: StaticString, _ body: () -> CInt) throws(SystemError) -> CInt {
    guard let result = try retrying(call, { Int(body()) }) else {
        throw SystemError(code: EAGAIN, call: call)
    }
    return CInt(result)
}

/// Nanoseconds on the clock that never goes back.
package func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
