import Dispatch

/// Turns signals into calls, on a queue of its own.
// Dispatch sources are safe to use from any thread, but are not marked so.
package final class SignalWatcher: @unchecked Sendable {
    private let sources: [any DispatchSourceSignal]

    /// Watches from the moment it returns; before that the signals have their default effect.
    ///
    /// They are not ignored first, as one must elsewhere: on Linux the source takes a signal over
    /// with a handler of its own, and what came while it was ignored would be lost.
    package init(_ signals: [CInt], handler: @escaping @Sendable (CInt) -> Void) {
        let queue = DispatchQueue(label: "sluice.signals")
        let armed = DispatchGroup()
        sources = signals.map { number in
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { @Sendable in handler(number) }
            armed.enter()
            source.setRegistrationHandler { @Sendable in armed.leave() }
            source.resume()
            return source
        }
        armed.wait()
    }

    deinit { cancel() }

    /// Ends the watch.
    package func cancel() {
        for source in sources { source.cancel() }
    }
}
