import FoundationEssentials
import Glibc
import SluiceTestKit

/// Runs scenarios of the GenStage recordings against the pure core and prints what it does.
@main
struct SluiceTrace {
    private static let badUsage: Int32 = 64
    private static let noInput: Int32 = 66
    private static let brokenLaw: Int32 = 70

    static func main() {
        guard CommandLine.arguments.count == 2 else {
            return fail("usage: sluice-trace FILE, or - for standard input", badUsage)
        }
        let path = CommandLine.arguments[1]
        guard let text = text(of: path) else {
            return fail("\(path) cannot be read: name a file of scenarios", noInput)
        }
        do throws(ScenarioError) {
            for scenario in try Scenario.read(text) {
                let trace = Trace(of: scenario)
                print(trace.text)
                guard trace.broken.isEmpty else {
                    return fail(trace.broken.joined(separator: "\n"), brokenLaw)
                }
            }
        } catch {
            let name = path == "-" ? "standard input" : path
            fail("\(name), \(error)", badUsage)
        }
    }

    private static func text(of path: String) -> String? {
        guard path == "-" else { return try? String(contentsOfFile: path, encoding: .utf8) }
        var text = ""
        while let line = readLine(strippingNewline: false) { text += line }
        return text
    }

    private static func fail(_ text: String, _ code: Int32) {
        let line = "sluice-trace: \(text)\n"
        _ = line.withCString { write(STDERR_FILENO, $0, strlen($0)) }
        exit(code)
    }
}
