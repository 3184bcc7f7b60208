import ArgumentParser
import FoundationEssentials
import Glibc
import Sluice

@main
enum Main {
    static func main() async {
        // A reader that went away shows as EPIPE, which ends the verb in order.
        signal(SIGPIPE, SIG_IGN)
        do {
            let arguments = try Arguments.arrange(
                Array(CommandLine.arguments.dropFirst()),
                environment: ProcessInfo.processInfo.environment
            )
            var command = try SluiceCommand.parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            exit(report(error))
        }
    }

    /// Tells what went wrong and returns the exit code.
    private static func report(_ error: any Error) -> Int32 {
        switch error {
        case let failure as Failure: return report(failure)
        case let error as ClientError: return report(Failure(error, server: "the broker"))
        case is CancellationError: return Failure.Exit.interrupted.rawValue
        default: break
        }
        let code = SluiceCommand.exitCode(for: error)
        let text = SluiceCommand.fullMessage(for: error)
        guard !code.isSuccess else {
            let output = StandardOutput()
            do {
                try output.line(text)
                try output.flush()
            } catch {
                return report(error)
            }
            return 0
        }
        guard code == .validationFailure else { return report(Failure(.error, "\(error)")) }
        Notice.line(usage(text))
        return code.rawValue
    }

    private static func report(_ failure: Failure) -> Int32 {
        guard !failure.message.isEmpty else { return failure.exit.rawValue }
        let paint = Paint(isOn: Colours.areWanted(false) && Notice.isTerminal)
        Notice.line("\(paint.red("error:")) \(failure.message)")
        if !failure.hint.isEmpty { Notice.line("\(paint.dim("hint:")) \(failure.hint)") }
        return failure.exit.rawValue
    }

    /// The parser's words for a wrong command line, in the manner of all other errors.
    private static func usage(_ text: String) -> String {
        let paint = Paint(isOn: Colours.areWanted(false) && Notice.isTerminal)
        return text.split(separator: "\n").filter { !$0.hasPrefix("Help:") }.map { line in
            if line.hasPrefix("Error: ") { return "\(paint.red("error:")) \(line.dropFirst(7))" }
            if line.hasPrefix("Usage: ") { return "\(paint.dim("usage:")) \(line.dropFirst(7))" }
            if let start = line.firstRange(of: "See '"), line.hasSuffix("for more information.") {
                let command = line[start.upperBound...].prefix { $0 != "'" }
                return "\(paint.dim("hint:")) \(command)"
            }
            return String(line)
        }
        .joined(separator: "\n")
    }
}
