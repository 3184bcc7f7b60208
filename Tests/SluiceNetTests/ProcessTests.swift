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

    @Test("a wall clock that stands before 1970 reads 0")
    func clock() {
        #expect(HostProcess.microseconds(ofSeconds: -5, nanoseconds: 999_999_999) == 999_999)
        #expect(HostProcess.microseconds(ofSeconds: 7, nanoseconds: 2_000) == 7_000_002)
        #expect(HostProcess.wallMicroseconds > 1_000_000_000_000_000)
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

    @Test("pages of files are let go of, but for what was written into them")
    func filePages() async {
        await #expect(processExitsWith: .success) {
            let bytes = 16 << 20
            let file = fileno(tmpfile())
            try #require(ftruncate(file, bytes) == 0)
            let size = Int(sysconf(CInt(_SC_PAGESIZE)))
            func map() throws -> UnsafeMutableRawPointer {
                let flags = PROT_READ | PROT_WRITE
                let place = try #require(mmap(nil, bytes, flags, MAP_PRIVATE, file, 0))
                try #require(place != MAP_FAILED)
                return place
            }
            func touch(_ place: UnsafeMutableRawPointer) -> Int {
                stride(from: 0, to: bytes, by: size).reduce(0) {
                    $0 + Int(place.load(fromByteOffset: $1, as: UInt8.self))
                }
            }
            let clean = try map()
            mprotect(clean, bytes, PROT_READ)
            let relocated = try map()
            relocated.storeBytes(of: 7, toByteOffset: bytes / 2, as: UInt8.self)
            mprotect(relocated, bytes, PROT_READ)
            let writable = try map()
            writable.storeBytes(of: 5, toByteOffset: bytes / 2, as: UInt8.self)
            _ = touch(clean)
            let before = HostProcess.memory.resident
            HostProcess.releaseFilePages()
            let after = HostProcess.memory.resident
            try #require(after + UInt64(bytes) <= before, "\(before) -> \(after)")
            try #require(touch(clean) == 0 && touch(relocated) == 7 && touch(writable) == 5)
        }
    }
}
