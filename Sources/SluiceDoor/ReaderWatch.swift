import Dispatch
import Glibc
import Synchronization

/// Notices that the reader of standard output is gone, as after `| head -1`, before the next write.
///
/// A topic may stay quiet for ever, so that no write would tell.
final class ReaderWatch: Sendable {
    private struct State: Sendable {
        var isGone = false
        var action: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())

    init() {
        // poll returns for an error of the pipe alone; the thread is the process's to end.
        DispatchQueue(label: "sluice.reader").async { @Sendable [weak self] in
            var poll = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
            while Glibc.poll(&poll, 1, -1) < 0, errno == EINTR { continue }
            if poll.revents & Int16(POLLERR) != 0 { self?.note() }
        }
    }

    var isGone: Bool { state.withLock { $0.isGone } }

    /// What to do when the reader goes; at once if it has gone already.
    func setAction(_ action: @escaping @Sendable () -> Void) {
        let isLate = state.withLock {
            $0.action = action
            return $0.isGone
        }
        if isLate { action() }
    }

    private func note() {
        let action = state.withLock {
            $0.isGone = true
            return $0.action
        }
        action?()
    }
}
