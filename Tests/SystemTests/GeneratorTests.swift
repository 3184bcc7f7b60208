import Foundation
import Testing

extension SystemTests {
    @Suite("The generator of the benchmarks", .timeLimit(.minutes(2)))
    struct GeneratorTests {
        /// Compiles the generator as the benchmarks do, with any warning an error.
        private static func compile(into directory: URL) throws -> String {
            let folder = Place.root.appending(path: "Benchmarks/generator")
            let sources = try FileManager.default
                .contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
                .filter { $0.pathExtension == "c" }.map(\.path).sorted()
            let program = directory.appending(path: "generator").path
            let flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-lpthread", "-o", program]
            let made = try Running("/usr/bin/cc", flags + sources).wait()
            try #require(made.code == 0, "\(made.errors)")
            return program
        }

        @Test("speaks the broker's protocol, and counts what it gets")
        func runs() throws {
            let directory = try Place.directory()
            defer { try? FileManager.default.removeItem(at: directory) }
            let program = try Self.compile(into: directory)
            let broker = try Broker()
            let port = broker.address.split(separator: ":").last.map(String.init) ?? ""
            let pid = broker.running.process.processIdentifier
            let common = ["-p", port, "-P", "\(pid)", "-d", "0.1", "-w", "0.05"]
            for load in [["-D"], ["-B", "-f", "2"], ["-R", "500"], ["-X", "20"]] {
                let topic = ["-t", "load\(load.joined())"]
                let outcome = try Running(program, common + topic + load).wait()
                #expect(outcome.code == 0, "\(load): \(outcome.errors)")
                let line = try #require(outcome.lines.last)
                let report = try JSONSerialization.jsonObject(with: Data(line.utf8))
                #expect((report as? [String: Any])?.isEmpty == false, "\(line)")
            }
        }
    }
}
