import SluiceNet

/// Something that happens once: tasks wait for it, and who comes later does not wait.
package final class Latch: Sendable {
    private struct State: Sendable {
        var isOpen = false
        var isThrough = false
        var lastID = 0
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        var bodies: [@Sendable () -> Void] = []
    }

    private let state = Lock(State())

    package init() {}

    package var isOpen: Bool { state.withLock { $0.isOpen } }

    /// Of a latch that begins a drain: all that waits is to be handled, not what was asked for.
    package var isThrough: Bool { state.withLock { $0.isThrough } }

    package func open(through isThrough: Bool = false) {
        let (waiters, bodies) = state.withLock { state in
            if !state.isOpen { state.isThrough = isThrough }
            state.isOpen = true
            defer { (state.waiters, state.bodies) = ([:], []) }
            return (state.waiters, state.bodies)
        }
        for waiter in waiters.values { waiter.resume() }
        for body in bodies { body() }
    }

    /// Runs `body` when it opens, or now if it has.
    package func whenOpen(_ body: @escaping @Sendable () -> Void) {
        let isOpen = state.withLock { state in
            if !state.isOpen { state.bodies.append(body) }
            return state.isOpen
        }
        if isOpen { body() }
    }

    /// Waits until it opens, or until the task is cancelled.
    package func wait() async {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    guard !state.isOpen, !Task.isCancelled else { return true }
                    state.waiters[id] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }

    /// Runs `body` in a task that is cancelled when the latch opens.
    package func cancelling(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await body()
                return true
            }
            group.addTask { [self] in
                await wait()
                return false
            }
            defer { group.cancelAll() }
            if try await group.next() == false {
                group.cancelAll()
                _ = try await group.next()
            }
        }
    }
}
