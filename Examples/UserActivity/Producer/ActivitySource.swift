import FoundationEssentials
import Glibc

/// What happened to the packages of this machine, read no further than was asked for.
///
/// The changelogs that come with Debian's packages say who uploaded what, when, and how urgent
/// it was. Where a machine was made without them (as small containers are), the package manager
/// knows what is installed, who maintains it, and since when it is here.
struct ActivitySource {
    private var changelogs: ArraySlice<String>
    private var reader: ChangelogReader?
    private var installed: ArraySlice<Activity>
    /// Binary packages of one source bring the same changelog: each upload counts once.
    private var seen: Set<String> = []
    let name: String

    init() {
        changelogs = Self.changelogPaths()[...]
        installed = changelogs.isEmpty ? Self.installedPackages()[...] : []
        name =
            changelogs.isEmpty
            ? "dpkg's list of packages" : "\(changelogs.count) Debian changelogs"
    }

    /// The next `count` activities; fewer only when the source ends.
    mutating func next(_ count: Int) throws -> [Activity] {
        var found: [Activity] = []
        while found.count < count, let activity = try nextOne() { found.append(activity) }
        return found
    }

    private mutating func nextOne() throws -> Activity? {
        while true {
            if let activity = reader?.next() {
                if seen.insert("\(activity.package) \(activity.version)").inserted {
                    return activity
                }
                continue
            }
            reader = nil
            guard let path = changelogs.popFirst() else { return installed.popFirst() }
            reader = try ChangelogReader(path: path)
        }
    }

    private static func changelogPaths() -> [String] {
        let root = "/usr/share/doc"
        let packages = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        return packages.sorted().flatMap { package in
            ["changelog.Debian.gz", "changelog.gz"].map { "\(root)/\(package)/\($0)" }
                .prefix { access($0, R_OK) == 0 }
        }
    }

    private static func installedPackages() -> [Activity] {
        guard let data = FileManager.default.contents(atPath: "/var/lib/dpkg/status") else {
            return []
        }
        var fields: [Substring: Substring] = [:]
        var found: [Activity] = []
        for line in String(decoding: data, as: UTF8.self).split(
            separator: "\n",
            omittingEmptySubsequences: false
        ) {
            if line.isEmpty {
                if let activity = installed(fields) { found.append(activity) }
                fields = [:]
            } else if line.first != " ", let colon = line.firstIndex(of: ":") {
                fields[line[..<colon]] = line[line.index(after: colon)...].drop { $0 == " " }
            }
        }
        return found
    }

    private static func installed(_ fields: [Substring: Substring]) -> Activity? {
        guard let package = fields["Package"], let version = fields["Version"],
            let maintainer = fields["Maintainer"]
        else { return nil }
        // dpkg writes a package's list of files when it installs the package.
        var facts = stat()
        let names = [package, "\(package):\(fields["Architecture"] ?? "")"]
        guard names.contains(where: { stat("/var/lib/dpkg/info/\($0).list", &facts) == 0 }) else {
            return nil
        }
        return Activity(
            user: String(maintainer.prefix { $0 != "<" }.trimmingSuffix(while: { $0 == " " })),
            type: "installed",
            time: facts.st_mtim.tv_sec,
            package: String(package),
            version: String(version)
        )
    }
}

extension Substring {
    fileprivate func trimmingSuffix(while isUnwanted: (Character) -> Bool) -> Substring {
        var rest = self
        while let last = rest.last, isUnwanted(last) { rest.removeLast() }
        return rest
    }
}

/// The uploads in one changelog, one after the other.
///
/// `zcat` unpacks: the standard library knows no gzip, and a pipe lets it run no further ahead
/// than the pipe holds, so that a changelog is only unpacked as far as it is asked for.
final class ChangelogReader {
    private let pipe: UnsafeMutablePointer<FILE>
    private var line: UnsafeMutablePointer<CChar>?
    private var capacity = 0

    init(path: String) throws {
        guard let pipe = popen("exec zcat -- '\(path)'", "re") else {
            throw ReadError(path: path, code: errno)
        }
        self.pipe = pipe
    }

    deinit {
        free(line)
        pclose(pipe)
    }

    struct ReadError: Error {
        let path: String
        let code: Int32
    }

    /// The next upload: from `name (version) target; urgency=…` to ` -- who <mail>  when`.
    func next() -> Activity? {
        var head: (package: String, version: String, urgency: String)?
        while getline(&line, &capacity, pipe) >= 0, let line {
            let text = String(cString: line)
            if text.hasPrefix(" -- "), let (package, version, urgency) = head {
                guard let (user, time) = Self.trailer(text) else { continue }
                return Activity(
                    user: user,
                    type: "uploaded",
                    time: time,
                    package: package,
                    version: version,
                    urgency: urgency
                )
            }
            if let first = text.first, first.isLetter || first.isNumber {
                head = Self.headline(text) ?? head
            }
        }
        return nil
    }

    private static func headline(
        _ text: String
    ) -> (package: String, version: String, urgency: String)? {
        guard let open = text.firstIndex(of: "("), let close = text.firstIndex(of: ")"),
            open < close, let urgency = text.firstRange(of: "urgency=")
        else { return nil }
        return (
            String(text[..<open].filter { $0 != " " }),
            String(text[text.index(after: open)..<close]),
            text[urgency.upperBound...].prefix { $0.isLetter }.lowercased()
        )
    }

    private static func trailer(_ text: String) -> (user: String, time: Int)? {
        guard let open = text.firstIndex(of: "<"), let close = text.firstIndex(of: ">"),
            open < close
        else { return nil }
        let user = text[..<open].dropFirst(4).trimmingSuffix { $0 == " " }
        guard let time = Self.time(text[text.index(after: close)...]) else { return nil }
        return (String(user), time)
    }

    /// Reads `Mon, 02 Jan 2023 13:06:21 +0100` as seconds since 1970.
    private static func time(_ text: Substring) -> Int? {
        let words = text.split { " :,\n".contains($0) }.dropFirst().map { String($0) }
        let months = "JanFebMarAprMayJunJulAugSepOctNovDec"
        guard words.count >= 7, let month = months.firstRange(of: words[1]) else { return nil }
        let numbers = [words[0], words[2], words[3], words[4], words[5]].compactMap { Int32($0) }
        guard numbers.count == 5, let zone = Int(words[6]) else { return nil }
        var parts = tm()
        parts.tm_mday = numbers[0]
        parts.tm_mon = Int32(months.distance(from: months.startIndex, to: month.lowerBound) / 3)
        parts.tm_year = numbers[1] - 1_900
        (parts.tm_hour, parts.tm_min, parts.tm_sec) = (numbers[2], numbers[3], numbers[4])
        return timegm(&parts) - (zone / 100 * 3_600 + zone % 100 * 60)
    }
}
