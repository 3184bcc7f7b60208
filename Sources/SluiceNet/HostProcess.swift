import CEpoll
import Glibc

/// What a network program sets once for its whole process.
package enum HostProcess {
    /// Makes a write to a closed pipe or socket an error instead of the end of the process.
    package static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }

    /// Raises the soft limit of open descriptors to the hard one and returns it.
    @discardableResult
    package static func raiseDescriptorLimit() throws(SystemError) -> Int {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        try checking("getrlimit") { getrlimit(resource, &limit) }
        if limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max
            try checking("setrlimit") { setrlimit(resource, &limit) }
        }
        return Int(clamping: limit.rlim_cur)
    }
}

extension HostProcess {
    /// The wall clock in microseconds since 1970 (UTC); 0 where it stands before that.
    package static var wallMicroseconds: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return microseconds(ofSeconds: time.tv_sec, nanoseconds: time.tv_nsec)
    }

    /// A reading of the wall clock in microseconds.
    // The kernel's time fits into 63 bits of nanoseconds: so do the product and the sum.
    package static func microseconds(ofSeconds seconds: Int, nanoseconds: Int) -> UInt64 {
        UInt64(clamping: seconds) * 1_000_000 + UInt64(clamping: nanoseconds) / 1_000
    }
}

// What the process has used, from the kernel.
extension HostProcess {
    package static var pid: Int32 { getpid() }

    /// Processors that it may run on, which in a container may be few of the machine's.
    package static var processors: Int {
        var set = cpu_set_t()
        guard sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0 else {
            // More than the set has room for.
            return max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN)))
        }
        return withUnsafeBytes(of: set) { $0.reduce(0) { $0 + $1.nonzeroBitCount } }
    }

    /// User and system time together.
    package static var cpuSeconds: Double {
        var usage = rusage()
        getrusage(RUSAGE_SELF.rawValue, &usage)
        let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        let microseconds = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
        return Double(seconds) + Double(microseconds) / 1_000_000
    }

    /// Memory in bytes, from the first two numbers of /proc/self/statm; 0 if it cannot be read.
    package static var memory: (virtual: UInt64, resident: UInt64) {
        guard let file = fopen("/proc/self/statm", "r") else { return (0, 0) }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, CInt(line.count), file) != nil else { return (0, 0) }
        let bytes = line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        guard fields.count > 1, let virtual = UInt64(fields[0]), let resident = UInt64(fields[1])
        else { return (0, 0) }
        let page = UInt64(sysconf(CInt(_SC_PAGESIZE)))
        return (virtual * page, resident * page)
    }

    /// When the process began, in seconds since 1970 (UTC): field 22 of /proc/self/stat, in ticks
    /// since the machine did, which /proc/stat knows; 0 if they cannot be read.
    package static let startSeconds: Double = {
        // The name of the program, field 2, may have blanks; it ends with the last bracket.
        let fields = lines("/proc/self/stat").first?.split(separator: ")").last?
            .split(separator: " ")
        let boot = lines("/proc/stat").first { $0.hasPrefix("btime ") }?
            .split(whereSeparator: \.isWhitespace)
        guard let fields, fields.count > 19, let ticks = Double(fields[19]),
            let boot, boot.count > 1, let start = Double(boot[1])
        else { return 0 }
        return start + ticks / Double(sysconf(CInt(_SC_CLK_TCK)))
    }()

    static func lines(_ path: String) -> [String] {
        guard let file = fopen(path, "r") else { return [] }
        defer { fclose(file) }
        var lines: [String] = []
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, file) > 0, let line {
            lines.append(String(cString: line))
        }
        return lines
    }

    /// Descriptors that are open; 0 if /proc/self/fd cannot be read.
    package static var openDescriptors: Int {
        guard let folder = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        // Without ".", ".." and the one that reads.
        return max(0, count - 3)
    }

    /// Descriptors that may be open; 0 if the kernel does not say.
    package static var maxDescriptors: Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        return getrlimit(resource, &limit) == 0 ? Int(clamping: limit.rlim_cur) : 0
    }
}

// What the start leaves behind.
extension HostProcess {
    /// Lets go of the pages of mapped files, which come back from the kernel's cache when used.
    ///
    /// The look-ups of a start touch code and constants all over the program, and the kernel maps
    /// 64 KiB around each touch; what runs from then on needs half of that.
    package static func releaseFilePages() {
        guard let file = fopen("/proc/self/smaps", "r") else { return }
        defer { fclose(file) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        var range: Range<UInt>?
        while getline(&line, &capacity, file) > 0, let line {
            let words = String(cString: line).split(whereSeparator: \.isWhitespace)
            switch words.first {
            case "Anonymous:", "Swap:":
                // A page of its own: relocated data, or code with a breakpoint in it.
                if words[1] != "0" { range = nil }
            case "VmFlags:":
                guard let range else { continue }
                let start = UnsafeMutableRawPointer(bitPattern: range.lowerBound)
                madvise(start, range.count, MADV_DONTNEED)
            case let name? where !name.hasSuffix(":"): range = constantRange(words)
            default: break
            }
        }
    }

    /// Where a file is mapped that may not be written to; nil if the line tells of another mapping.
    private static func constantRange(_ words: [Substring]) -> Range<UInt>? {
        guard words.count > 5, words[1].hasPrefix("r-"), words[5].hasPrefix("/") else { return nil }
        let ends = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
        guard ends.count == 2, ends[0] < ends[1] else { return nil }
        return ends[0]..<ends[1]
    }
}
