import Dispatch
import Glibc
import Sluice
import SluiceNet

/// A shell command that is run once for an event.
struct ExecutedCommand {
    let line: String

    /// Runs the command with the payload on its standard input and waits for its end.
    func run(_ event: Event, topic: String) async throws(Failure) {
        let child = try ChildProcess.starting(
            ["/bin/sh", "-c", line],
            variables: event.variables(topic),
            readsOutput: false,
            leadsGroup: false
        )
        // A command need not read its event.
        _ = try await CommandInput(child).end(with: event.payload)
        let ending = await child.ended()
        guard !ending.isSuccess else { return }
        throw Failure(
            .error,
            "the command ended with \(ending.text) at offset \(event.offset)",
            hint: "that event is taken: publish it again, or take it by hand"
        )
    }
}

extension Event {
    /// What a command that is run for the event finds in its environment.
    func variables(_ topic: String) -> [String] {
        var all = ["EVENT_TOPIC=\(topic)", "EVENT_OFFSET=\(offset)"]
        if let key { all.append("EVENT_KEY=\(key.string)") }
        return all
    }
}

extension ChildProcess {
    private static let queue = DispatchQueue(label: "sluice.children", attributes: .concurrent)

    /// Starts a command; says which one if that cannot be.
    static func starting(
        _ words: [String],
        variables: [String] = [],
        readsOutput: Bool,
        leadsGroup: Bool
    ) throws(Failure) -> ChildProcess {
        do {
            return try ChildProcess(
                words,
                variables: variables,
                readsOutput: readsOutput,
                leadsGroup: leadsGroup
            )
        } catch {
            throw Failure(
                .command,
                "cannot run '\(words.joined(separator: " "))': \(systemText(error.code))",
                hint: "a line of shell is run with: sh -c 'LINE'"
            )
        }
    }

    /// Waits for its end off the threads that tasks share.
    func ended() async -> Ending {
        await withCheckedContinuation { continuation in
            Self.queue.async { @Sendable [self] in continuation.resume(returning: wait()) }
        }
    }
}

/// The standard input of a command, written on a queue of its own: a command may stall.
// What it holds is touched on its queue alone.
final class CommandInput: @unchecked Sendable {
    private let queue = DispatchQueue(label: "sluice.command")
    private let pipe: PipeEnd
    private let output: StandardOutput
    private var isClosed = false

    init(_ child: ChildProcess) {
        pipe = child.input
        output = StandardOutput(descriptor: child.input.number)
    }

    /// Has `write` written and handed over; false if the command no longer reads.
    func take(
        _ write: @escaping @Sendable (StandardOutput) throws(Failure) -> Void
    ) async throws(Failure) -> Bool {
        let result: Result<Bool, Failure> = await withCheckedContinuation { continuation in
            queue.async { @Sendable [self] in
                continuation.resume(returning: Result { () throws(Failure) in try put(write) })
            }
        }
        return try result.get()
    }

    private func put(_ write: (StandardOutput) throws(Failure) -> Void) throws(Failure) -> Bool {
        guard !isClosed else { return false }
        do {
            try write(output)
            try output.flush()
            return true
        } catch {
            guard error.exit == .brokenPipe else { throw error }
            return false
        }
    }

    /// Writes the last there is, and ends the input; false if the command did not read it.
    func end(with payload: EventBytes) async throws(Failure) -> Bool {
        let isRead = try await take { output throws(Failure) in try output.write(payload) }
        await close()
        return isRead
    }

    /// Ends the input.
    func close() async {
        await withCheckedContinuation { continuation in
            queue.async { @Sendable [self] in
                if !isClosed { pipe.close() }
                isClosed = true
                continuation.resume()
            }
        }
    }
}
