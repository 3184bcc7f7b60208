import Dispatch
import Glibc
import Sluice

/// A shell command that is run once for an event.
struct ExecutedCommand {
    private static let queue = DispatchQueue(label: "sluice.exec")

    let line: String

    /// Runs the command with the payload on its standard input and waits for its end.
    func run(_ event: Event, topic: String) async throws(Failure) {
        let status = try await Self.off { () throws(Failure) in
            try spawn(event, topic: topic)
        }
        guard status != 0 else { return }
        let end = status & 0x7F == 0 ? "status \(status >> 8 & 0xFF)" : "signal \(status & 0x7F)"
        throw Failure(
            .error,
            "the command ended with \(end) at offset \(event.offset)",
            hint: "that event is taken: publish it again, or take it by hand"
        )
    }

    /// Waiting for a child blocks: that is done on a queue of its own.
    private static func off(
        _ body: @escaping @Sendable () throws(Failure) -> Int32
    ) async throws(Failure) -> Int32 {
        let result: Result<Int32, Failure> = await withCheckedContinuation { continuation in
            queue.async { @Sendable in
                do throws(Failure) {
                    continuation.resume(returning: .success(try body()))
                } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    private func spawn(_ event: Event, topic: String) throws(Failure) -> Int32 {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw Failure(.error, "cannot make a pipe: \(systemText(errno))")
        }
        // The child must not hold the writing end, or it would never see the end of its input.
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        // The child gets the signals that this program keeps from itself.
        var defaults = sigset_t()
        sigemptyset(&defaults)
        for number in [SIGPIPE, SIGINT, SIGTERM] { sigaddset(&defaults, number) }
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }

        let words: [UnsafeMutablePointer<CChar>?] =
            ["/bin/sh", "-c", line].map { (word: String) in strdup(word) } + [nil]
        let variables: [UnsafeMutablePointer<CChar>?] =
            environment(event, topic: topic).map { (text: String) in strdup(text) } + [nil]
        defer { for text in words + variables { free(text) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, "/bin/sh", &actions, &attributes, words, variables)
        close(ends[0])
        guard code == 0 else {
            close(ends[1])
            throw Failure(.error, "cannot run '\(line)': \(systemText(code))")
        }
        feed(event.payload, to: ends[1])
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        return status
    }

    private func environment(_ event: Event, topic: String) -> [String] {
        var all: [String] = []
        var next = environ
        while let text = next.pointee {
            all.append(String(cString: text))
            next += 1
        }
        all.append("EVENT_TOPIC=\(topic)")
        all.append("EVENT_OFFSET=\(event.offset)")
        if let key = event.key { all.append("EVENT_KEY=\(key.string)") }
        return all
    }

    /// Writes the payload; a command need not read it.
    private func feed(_ payload: EventBytes, to descriptor: Int32) {
        defer { close(descriptor) }
        payload.withBytes { bytes in
            bytes.withUnsafeBytes { bytes in
                var done = 0
                while done < bytes.count {
                    let count = write(
                        descriptor,
                        bytes.baseAddress.map { $0 + done },
                        bytes.count - done
                    )
                    guard count >= 0 || errno == EINTR else { return }
                    done += max(0, count)
                }
            }
        }
    }
}
