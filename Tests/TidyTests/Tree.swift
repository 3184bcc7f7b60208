import FoundationEssentials

/// The files of the repository that the rules are held against.
struct Tree {
    struct File {
        let path: String
        let text: String
    }

    let root: String

    /// The repository that this source was compiled in.
    init(source: String = #filePath) {
        root = source.split(separator: "/", omittingEmptySubsequences: false)
            .dropLast(3)
            .joined(separator: "/")
    }

    func text(of path: String) throws -> String {
        try String(contentsOfFile: "\(root)/\(path)", encoding: .utf8)
    }

    /// Every file that people write: no hidden or built ones, and nothing that is not text.
    func files() throws -> [File] {
        try paths(below: "").sorted().compactMap { path in
            let data = try Data(contentsOf: URL(filePath: "\(root)/\(path)"))
            return String(validating: data, as: UTF8.self).map { File(path: path, text: $0) }
        }
    }

    private func paths(below directory: String) throws -> [String] {
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(root)/\(directory)")
        return try names.flatMap { name -> [String] in
            let path = directory.isEmpty ? name : "\(directory)/\(name)"
            let isHidden = name.hasPrefix(".") && ![".ci", ".swift-format"].contains(name)
            guard !isHidden, !["Package.resolved", "__pycache__"].contains(name) else { return [] }
            var isDirectory = false
            guard
                FileManager.default.fileExists(atPath: "\(root)/\(path)", isDirectory: &isDirectory)
            else { return [] }
            return isDirectory ? try paths(below: path) : [path]
        }
    }
}
