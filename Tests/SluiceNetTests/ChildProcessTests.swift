import Dispatch
import Glibc
import SluiceNet
import Testing

@Suite("Child processes", .timeLimit(.minutes(1)))
struct ChildProcessTests {
    private func shell(_ line: String, variables: [String] = []) throws -> ChildProcess {
        try ChildProcess(
            ["sh", "-c", line],
            variables: variables,
            readsOutput: true,
            leadsGroup: true
        )
    }

    /// All that the child writes until it, and what it started, has closed its output.
    private func output(_ child: ChildProcess) throws -> String {
        let end = try #require(child.output)
        defer { end.close() }
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = read(end.number, &buffer, buffer.count)
            guard count > 0 else { return String(decoding: all, as: UTF8.self) }
            all += buffer[..<count]
        }
    }

    @Test("it reads its input to the end and has our variables beside its own")
    func pipes() throws {
        let child = try shell("cat; echo $PLACE $HOME", variables: ["PLACE=here"])
        #expect(write(child.input.number, "in\n", 3) == 3)
        child.input.close()
        let home = String(cString: getenv("HOME"))
        #expect(try output(child) == "in\nhere \(home)\n")
        #expect(child.wait() == .status(0))
        #expect(child.wait() == .status(0))
    }

    @Test(
        "how it ended is told",
        arguments: [("exit 3", .status(3)), ("kill -9 $$", .signal(9))]
            as [(String, ChildProcess.Ending)]
    )
    func ending(line: String, expected: ChildProcess.Ending) throws {
        let child = try shell(line)
        child.input.close()
        #expect(child.wait() == expected)
        #expect(!child.wait().isSuccess)
    }

    @Test("what is not there is an error, not a child")
    func absent() {
        let error = #expect(throws: SystemError.self) {
            _ = try ChildProcess(["no-such-command"], readsOutput: true, leadsGroup: false)
        }
        #expect(error?.code == ENOENT)
    }

    @Test("a signal ends it and what it started, wherever it was started from")
    func signals() async throws {
        // The threads of Dispatch take no signals; their children must.
        let child = try await withCheckedThrowingContinuation { continuation in
            DispatchQueue(label: "test").async {
                continuation.resume(with: Result { try shell("sleep 1000 & sleep 1000") })
            }
        }
        child.signal(SIGTERM)
        #expect(child.wait() == .signal(SIGTERM))
        // The second sleep holds the output open as long as it lives.
        #expect(try output(child) == "")
        child.input.close()
        child.signal(SIGKILL)
    }

    @Test("writing to one that is gone is an error once the process ignores broken pipes")
    func gone() async {
        await #expect(processExitsWith: .success) {
            HostProcess.ignoreBrokenPipes()
            let child = try ChildProcess(["true"], readsOutput: false, leadsGroup: false)
            try #require(child.wait() == .status(0))
            try #require(write(child.input.number, "x", 1) == -1)
            try #require(errno == EPIPE)
        }
    }

    @Test("a pipe that breaks ends the child as it ends any command")
    func brokenPipe() throws {
        let child = try shell("exec yes")
        child.input.close()
        child.output?.close()
        #expect(child.wait() == .signal(SIGPIPE))
    }
}
