package import ArgumentParser
import FoundationEssentials
import Sluice
import SluiceWire

/// `sluice why`: names what holds the flow of a topic.
package struct WhyCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Say what holds the flow of a topic, and what to do about it.",
        discussion: """
            Causes: paused, no-consumers, empty-group (a group without members that holds), \
            no-demand (and since when), not-reading, byte-blocked, buffer-full, no-producers, \
            no-events. The first one named is the one that holds. Exits 0 either way.
            """
    )

    @Argument(help: "The topic.") package var topic: String
    @OptionGroup package var global: GlobalOptions

    package init() {}

    package func run() async throws {
        try await global.withClient { client in
            let found = try await Listing<Snapshot.Topic>.one(topic, client, global)
            let links = try await Listing<Snapshot.Link>("$sys/links/\(topic)", client, global)
            guard let document = try found.decoded().first else { return }
            try tell(Diagnosis(document, links: try links.decoded()))
        }
    }

    private func tell(_ diagnosis: Diagnosis) throws {
        let output = StandardOutput()
        let paint = global.paint
        switch global.output ?? .table {
        case .table, .raw:
            let headline = diagnosis.headline
            try output.line(diagnosis.isFlowing ? paint.green(headline) : paint.yellow(headline))
            for finding in diagnosis.findings {
                try output.line("")
                try output.line("  \(paint.bold(finding.code.rawValue)): \(finding.text)")
                for line in finding.who { try output.line("    \(line)") }
                try output.line("  \(paint.dim("hint:")) \(finding.hint)")
            }
        case .json, .jsonl:
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            if global.output == .json { encoder.outputFormatting.insert(.prettyPrinted) }
            try output.line(String(decoding: try encoder.encode(diagnosis), as: UTF8.self))
        }
        try output.flush()
    }
}
