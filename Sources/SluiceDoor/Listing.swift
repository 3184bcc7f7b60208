import FoundationEssentials
import Sluice
import SluiceWire

/// Prints documents of inspection in the form that was asked for.
struct Listing<Document: Codable> {
    let documents: [[UInt8]]

    /// Reads every document of a `$sys/…` topic.
    init(_ topic: String, _ client: SluiceClient, _ options: GlobalOptions) async throws {
        // Above all the topics, links or connections that a broker may have.
        let documentsMax = 1_000_000
        documents = try await Deadline.run(options.timeout) {
            try await client.inspect(topic, max: documentsMax)
        }
    }

    private init(documents: [[UInt8]]) { self.documents = documents }

    /// Those documents of which `isWanted` says so, byte for byte.
    func filter(_ isWanted: (Document) -> Bool) throws -> Self {
        let wanted = zip(documents, try decoded()).filter { isWanted($0.1) }
        return Self(documents: wanted.map(\.0))
    }

    func decoded() throws -> [Document] {
        try documents.map { bytes in
            do {
                return try JSONDecoder().decode(Document.self, from: Data(bytes))
            } catch {
                throw Failure(
                    .error,
                    "the broker's document is not understood: \(error)",
                    hint: "compare the versions: sluice ping, sluice --version"
                )
            }
        }
    }

    /// Prints a list: rows for people, an array or lines for programs.
    func print(
        as form: OutputForm,
        to output: StandardOutput,
        paint: Paint,
        empty: String,
        table: ([Document]) -> Table
    ) throws {
        switch form {
        case .json:
            try output.write("[")
            for (index, document) in documents.enumerated() {
                try output.write(index == 0 ? "\n  " : ",\n  ")
                try output.write(document)
            }
            try output.line(documents.isEmpty ? "]" : "\n]")
        case .jsonl, .raw:
            for document in documents {
                try output.write(document)
                output.write(UInt8(ascii: "\n"))
            }
        case .table:
            guard !documents.isEmpty else { return Notice.line(empty) }
            try output.table(table(try decoded()), paint: paint)
        }
        try output.flush()
    }

    /// Prints one document: the given lines for people, JSON for programs.
    func printOne(
        as form: OutputForm,
        to output: StandardOutput,
        lines: (Document) -> [String]
    ) throws {
        guard let document = try decoded().first, let bytes = documents.first else { return }
        switch form {
        case .json:
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            try output.write(try encoder.encode(document))
            output.write(UInt8(ascii: "\n"))
        case .jsonl, .raw:
            try output.write(bytes)
            output.write(UInt8(ascii: "\n"))
        case .table:
            for line in lines(document) { try output.line(line) }
        }
        try output.flush()
    }
}

extension StandardOutput {
    func table(_ table: Table, paint: Paint) throws(Failure) {
        for (index, line) in table.lines.enumerated() {
            try self.line(index == 0 ? paint.bold(line) : line)
        }
    }
}

extension UInt64? {
    /// A span of milliseconds as text, `-` for none.
    var span: String {
        map { TimeSpan(.milliseconds(Int64(clamping: $0))).text } ?? "-"
    }
}
