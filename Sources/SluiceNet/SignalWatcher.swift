import Dispatch
import Glibc

/// Turns signals into calls, on a queue of its own.
// Dispatch sources are safe to use from any thread, but are not marked so.
package final class SignalWatcher: @unchecked Sendable {
    private let sources: [any DispatchSourceSignal]

    /// Watches from now on; the signals lose their default effect for the life of the process.
    package init(_ signals: [CInt], handler: @escaping @Sendable (CInt) -> Void) {
        let queue = DispatchQueue(label: "sluice.signals")
        sources = signals.map { number in
            // Else the default effect ends the process before the source hears of it.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { @Sendable in handler(number) }
            source.resume()
            return source
        }
    }

    deinit { cancel() }

    /// Ends the watch; the signals stay ignored.
    package func cancel() {
        for source in sources { source.cancel() }
    }
}
