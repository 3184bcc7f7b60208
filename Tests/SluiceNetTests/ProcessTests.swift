import Glibc
import SluiceNet
import Testing

@Suite("Process", .timeLimit(.minutes(1)))
struct ProcessTests {
    @Test("a watched signal is told and no longer ends the process")
    func signals() async {
        await #expect(processExitsWith: .success) {
            let seen = Sink<CInt>()
            let watcher = SignalWatcher([SIGTERM, SIGINT]) { seen.put($0) }
            kill(getpid(), SIGTERM)
            try #require(await seen.take() == [SIGTERM])
            kill(getpid(), SIGINT)
            try #require(await seen.take() == [SIGINT])
            watcher.cancel()
        }
    }

    @Test("a broken pipe is an error once the process ignores it")
    func brokenPipe() async {
        await #expect(processExitsWith: .success) {
            HostProcess.ignoreBrokenPipes()
            var ends: [CInt] = [-1, -1]
            try #require(pipe(&ends) == 0)
            close(ends[0])
            try #require(write(ends[1], "x", 1) == -1)
            try #require(errno == EPIPE)
        }
    }

    @Test("the soft limit of descriptors is raised to the hard one")
    func descriptorLimit() async {
        await #expect(processExitsWith: .success) {
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
            var limit = rlimit()
            getrlimit(resource, &limit)
            limit.rlim_cur = limit.rlim_max / 2
            setrlimit(resource, &limit)
            try #require(try HostProcess.raiseDescriptorLimit() == Int(limit.rlim_max))
            getrlimit(resource, &limit)
            try #require(limit.rlim_cur == limit.rlim_max)
        }
    }
}
