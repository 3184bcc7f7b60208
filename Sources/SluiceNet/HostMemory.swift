import Glibc

/// How much memory the process may take, as far as the system says.
package struct HostMemory: Equatable, Sendable {
    /// Bytes of the machine.
    package var physical: UInt64
    /// Bytes that its control group, or one above that, may take; nil without a limit.
    package var container: UInt64?
    /// Bytes of addresses that `ulimit -v` still leaves, and of data that `ulimit -d` does; nil
    /// without one.
    package var addressesLeft: UInt64?
    package var dataLeft: UInt64?

    package init(
        physical: UInt64,
        container: UInt64? = nil,
        addressesLeft: UInt64? = nil,
        dataLeft: UInt64? = nil
    ) {
        self.physical = physical
        self.container = container
        self.addressesLeft = addressesLeft
        self.dataLeft = dataLeft
    }

    /// What the system says now.
    package static var current: HostMemory {
        let pages = max(0, sysconf(CInt(_SC_PHYS_PAGES)))
        let page = max(0, sysconf(CInt(_SC_PAGESIZE)))
        return HostMemory(
            physical: UInt64(pages).multipliedReportingOverflow(by: UInt64(page)).partialValue,
            container: container(
                groups: HostProcess.lines("/proc/self/cgroup"),
                read: { HostProcess.lines("/sys/fs/cgroup" + $0).first }
            ),
            addressesLeft: left(of: RLIMIT_AS, taken: HostProcess.memory.virtual),
            dataLeft: left(of: RLIMIT_DATA, taken: HostProcess.memory.resident)
        )
    }

    /// Addresses that a thread takes at once: its stack, and a heap of its own.
    private static let threadBytes: UInt64 = 75_497_472

    /// Bytes that a program of so many threads, which shares the machine with others, may take of
    /// this: half of the machine, or three quarters of what is set aside for it.
    package func share(threads: Int) -> UInt64 {
        var share = physical / 2
        if let container { share = min(share, container / 4 * 3) }
        if let dataLeft { share = min(share, dataLeft / 4 * 3) }
        if let addressesLeft {
            let taken = UInt64(max(0, threads)) * Self.threadBytes
            share = min(share, (addressesLeft - min(addressesLeft, taken)) / 4 * 3)
        }
        return share
    }

    private static func left(of resource: __rlimit_resource, taken: UInt64) -> UInt64? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0,
            limit.rlim_cur != rlim_t.max
        else { return nil }
        let most = UInt64(limit.rlim_cur)
        return most - min(most, taken)
    }

    /// The least limit of the groups that a process is in and of those above them.
    ///
    /// `groups` are the lines of /proc/self/cgroup; `read` reads the first line of a file below
    /// /sys/fs/cgroup.
    static func container(groups: [String], read: (String) -> String?) -> UInt64? {
        var least: UInt64?
        for line in groups {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isUnified = fields[0] == "0" && fields[1].isEmpty
            guard isUnified || fields[1].split(separator: ",").contains("memory") else { continue }
            let root = isUnified ? "" : "/memory"
            let file = isUnified ? "/memory.max" : "/memory.limit_in_bytes"
            var path = fields[2].filter { !$0.isNewline }[...]
            while true {
                while path.last == "/" { path = path.dropLast() }
                let text = read(root + path + file)?.filter { !$0.isWhitespace }
                // Without a limit the old form says a number near the largest.
                if let bytes = text.flatMap({ UInt64($0) }), bytes < 1 << 60 {
                    least = min(least ?? .max, bytes)
                }
                guard let slash = path.lastIndex(of: "/") else { break }
                path = path[..<slash]
            }
        }
        return least
    }
}
