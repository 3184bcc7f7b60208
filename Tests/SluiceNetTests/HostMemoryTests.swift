import Testing

@testable import SluiceNet

@Suite("Memory of the host")
struct HostMemoryTests {
    @Test("The least limit of the groups above counts, in both forms of control groups")
    func containers() {
        let unified = ["/a/b/memory.max": "max\n", "/a/memory.max": "536870912\n"]
        #expect(HostMemory.container(groups: ["0::/a/b\n"]) { unified[$0] } == 536_870_912)
        let old = [
            "/memory/docker/x/memory.limit_in_bytes": "1073741824",
            "/memory/memory.limit_in_bytes": "9223372036854771712",
        ]
        let groups = ["12:cpu,cpuacct:/docker/x", "4:memory:/docker/x", "0::/"]
        #expect(HostMemory.container(groups: groups) { old[$0] } == 1_073_741_824)
        #expect(HostMemory.container(groups: groups) { _ in nil } == nil)
        #expect(HostMemory.container(groups: ["", "0", "0::"]) { _ in "x" } == nil)
    }

    @Test("The share is half of the machine, or three quarters of what is set aside")
    func share() {
        #expect(HostMemory(physical: 1_000).share(threads: 9) == 500)
        #expect(HostMemory(physical: 1_000, container: 400).share(threads: 9) == 300)
        #expect(HostMemory(physical: 1_000, container: 900).share(threads: 9) == 500)
        #expect(HostMemory(physical: 1_000, container: 400, dataLeft: 40).share(threads: 9) == 30)
    }

    @Test("Of limited addresses, those of threads are left out")
    func addresses() {
        let memory = HostMemory(physical: 1 << 40, addressesLeft: 1_000_000_000)
        #expect(memory.share(threads: 0) == 750_000_000)
        #expect(memory.share(threads: 4) == 523_507_584)
        #expect(memory.share(threads: 100) == 0)
    }

    @Test("The machine has memory")
    func current() { #expect(HostMemory.current.physical > 1 << 20) }
}
