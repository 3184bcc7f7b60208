import SluiceNet

/// What the loop says once to a task that waits; the first word counts.
final class Answer<Value: Sendable>: Sendable {
    private struct State: Sendable {
        var result: Result<Value, ClientError>?
        var waiter: CheckedContinuation<Result<Value, ClientError>, Never>?
    }

    private let state = Lock(State())

    func give(_ result: Result<Value, ClientError>) {
        let waiter: CheckedContinuation<Result<Value, ClientError>, Never>? = state.withLock {
            state in
            guard state.result == nil else { return nil }
            state.result = result
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: result)
    }

    /// Waits for the answer; a task that is cancelled waits no longer.
    func wait() async throws(ClientError) -> Value {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let result = state.withLock { state in
                    if state.result == nil { state.waiter = continuation }
                    return state.result
                }
                if let result { continuation.resume(returning: result) }
            }
        } onCancel: {
            give(.failure(.cancelled))
        }
        return try result.get()
    }
}
