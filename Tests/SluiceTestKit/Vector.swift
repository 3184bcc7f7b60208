import FoundationEssentials

/// One entry of `Protocol/vectors/`.
package struct Vector: CustomStringConvertible, Sendable {
    package enum Outcome: Sendable {
        /// What the bytes say.
        case frame(String)
        case error(String)
    }

    package let name: String
    package let bytes: [UInt8]
    package let outcome: Outcome
    /// Whether encoding gives the same bytes.
    package fileprivate(set) var isCanonical: Bool

    package var description: String { name }

    /// All vectors, in the order of their files' names; none, and tests fail, if one is broken.
    package static let all: [Vector] = (try? load()) ?? []

    package static let good = all.filter { vector in
        if case .frame = vector.outcome { true } else { false }
    }

    /// The filters of `values/filter.txt`: texts where frames are in the others.
    package static let filters: [Vector] =
        (try? parse(valuesText("filter.txt"), "filter.txt")) ?? []

    /// The text of a file of `Protocol/vectors/values/`.
    package static func valuesText(_ file: String) throws -> String {
        try String(contentsOfFile: "\(folder)/values/\(file)", encoding: .utf8)
    }

    private struct Malformed: Error {
        let place: String
    }

    private static let folder =
        #filePath.split(separator: "/", omittingEmptySubsequences: false)
        .dropLast(3).joined(separator: "/") + "/Protocol/vectors"

    private static func load() throws -> [Vector] {
        let files = try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasSuffix(".txt") }
            .sorted()
        return try files.flatMap { file in
            try parse(try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8), file)
        }
    }

    private static func parse(_ text: String, _ file: String) throws -> [Vector] {
        var vectors: [Vector] = []
        var name = ""
        var bytes: [UInt8] = []
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            if line.hasPrefix(" ") {
                guard let more = Hex.bytes(line) else { throw Malformed(place: "\(file): \(line)") }
                bytes += more
                continue
            }
            let halves = line.split(separator: ": ", maxSplits: 1).map(String.init)
            guard halves.count == 2 else { throw Malformed(place: "\(file): \(line)") }
            switch halves[0] {
            case "vector":
                name = halves[1]
                bytes = []
            case "expect":
                vectors.append(
                    Vector(
                        name: name,
                        bytes: bytes,
                        outcome: .frame(halves[1]),
                        isCanonical: true
                    )
                )
            case "error":
                vectors.append(
                    Vector(
                        name: name,
                        bytes: bytes,
                        outcome: .error(halves[1]),
                        isCanonical: false
                    )
                )
            case "again" where !vectors.isEmpty: vectors[vectors.count - 1].isCanonical = false
            default: throw Malformed(place: "\(file): \(line)")
            }
        }
        return vectors
    }
}
