import CEpoll
import Glibc

/// A command that runs beside this program, with its standard input and output at our end of pipes.
///
/// What blocks here blocks its thread: `wait` and the calls of `PipeEnd` belong on queues of their
/// own.
package final class ChildProcess: Sendable {
    /// How it ended.
    package enum Ending: Hashable, Sendable {
        case status(CInt)
        case signal(CInt)

        package var isSuccess: Bool { self == .status(0) }

        /// As in "status 1" and "signal 15".
        package var text: String {
            switch self {
            case .status(let number): "status \(number)"
            case .signal(let number): "signal \(number)"
            }
        }
    }

    package let pid: CInt
    /// Where its standard input is written.
    package let input: PipeEnd
    /// Where its standard output is read; nil if it has ours.
    package let output: PipeEnd?
    private let leadsGroup: Bool
    private let ending = Lock<Ending?>(nil)

    /// Starts `words`, the first of which is looked for in PATH.
    ///
    /// `variables` (`NAME=value`) come beside those of this program. With `leadsGroup` the command
    /// hears nothing of a Ctrl-C at the terminal, and `signal` reaches all that it starts.
    package init(
        _ words: [String],
        variables: [String] = [],
        readsOutput: Bool,
        leadsGroup: Bool
    ) throws(SystemError) {
        let (childInput, input) = try PipeEnd.pair()
        defer { childInput.close() }
        var childOutput: PipeEnd?
        var output: PipeEnd?
        defer { childOutput?.close() }
        do {
            if readsOutput { (output, childOutput) = try PipeEnd.pair() }
            pid = try Self.spawn(
                words,
                Self.environment + variables,
                input: childInput,
                output: childOutput,
                leadsGroup: leadsGroup
            )
        } catch {
            input.close()
            output?.close()
            throw error
        }
        self.input = input
        self.output = output
        self.leadsGroup = leadsGroup
    }

    private static func spawn(
        _ words: [String],
        _ variables: [String],
        input: PipeEnd,
        output: PipeEnd?,
        leadsGroup: Bool
    ) throws(SystemError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, input.number, STDIN_FILENO)
        if let output {
            posix_spawn_file_actions_adddup2(&actions, output.number, STDOUT_FILENO)
        }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        // It gets the signals that this program keeps from itself, and those that the threads of
        // Dispatch do not take.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        for number in [SIGPIPE, SIGINT, SIGTERM] { sigaddset(&signals, number) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        var flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
        if leadsGroup { flags |= POSIX_SPAWN_SETPGROUP }
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(flags))
        let words: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        let variables: [UnsafeMutablePointer<CChar>?] = variables.map { strdup($0) } + [nil]
        defer {
            for text in words + variables { free(text) }
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        var child: pid_t = 0
        guard let name = words[0] else { throw SystemError(code: EINVAL, call: "posix_spawnp") }
        let code = posix_spawnp(&child, name, &actions, &attributes, words, variables)
        guard code == 0 else { throw SystemError(code: code, call: "posix_spawnp") }
        return child
    }

    private static var environment: [String] {
        var all: [String] = []
        var next = environ
        while let text = next.pointee {
            all.append(String(cString: text))
            next += 1
        }
        return all
    }

    /// Waits for its end; one thread may.
    package func wait() -> Ending {
        // Waited for in two steps: after the second its number may be another's.
        var info = siginfo_t()
        while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) < 0, errno == EINTR {}
        return ending.withLock { ending in
            if let ending { return ending }
            var status: CInt = 0
            while waitpid(pid, &status, 0) < 0, errno == EINTR {}
            let number = status & 0x7F
            let how: Ending = number == 0 ? .status(status >> 8 & 0xFF) : .signal(number)
            ending = how
            return how
        }
    }

    /// Sends it a signal, if it has not ended.
    package func signal(_ number: CInt) {
        ending.withLock { ending in
            guard ending == nil else { return }
            _ = kill(leadsGroup ? -pid : pid, number)
        }
    }
}

/// One end of a pipe, owned by someone else; unlike a socket's, its calls block.
package struct PipeEnd: Hashable, Sendable {
    package let number: CInt

    /// A pipe that no other child inherits.
    static func pair() throws(SystemError) -> (reading: PipeEnd, writing: PipeEnd) {
        var ends: [CInt] = [-1, -1]
        try checking("pipe2") { pipe2(&ends, O_CLOEXEC) }
        return (PipeEnd(number: ends[0]), PipeEnd(number: ends[1]))
    }

    /// Closes it: behind a writing end the reader sees the end of the stream.
    package func close() { _ = Glibc.close(number) }
}
