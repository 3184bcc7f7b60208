package import ArgumentParser
import FoundationEssentials

/// The words of a command line put in order before they are parsed.
///
/// Flags of every verb may stand before the verb (`sluice -s host ping`), and each flag has a
/// twin in the environment: `SLUICE_` and its name in capitals. The environment's flags go in
/// front of those on the command line, so that the last one, which wins, is what was typed.
package struct Arguments {
    /// Flags that mean the same for every verb, and whether a value follows.
    private static let global: [String: Bool] = [
        "-s": true, "--server": true, "-o": true, "--output": true, "--timeout": true,
        "-q": false, "--quiet": false, "-v": false, "--verbose": false, "--no-color": false,
    ]

    package static func arrange(
        _ words: [String],
        environment: [String: String],
        root: any ParsableCommand.Type = SluiceCommand.self
    ) throws -> [String] {
        var rest = words[...]
        let leading = takeGlobals(&rest)
        var path: [String] = []
        var verb = root
        while let word = rest.first,
            let next = verb.configuration.subcommands.first(where: {
                $0.configuration.commandName == word
            })
        {
            path.append(word)
            verb = next
            rest = rest.dropFirst()
        }
        try checkVerb(rest.first, of: verb, path)
        guard !path.isEmpty, verb.configuration.subcommands.isEmpty else { return words }
        let twins = try Twins.arguments(of: verb, given: leading + rest, environment: environment)
        return path + twins + leading + rest
    }

    /// The parser calls a verb that does not exist an unexpected argument, and names none.
    private static func checkVerb(
        _ word: String?,
        of verb: any ParsableCommand.Type,
        _ path: [String]
    ) throws(Failure) {
        let known = verb.configuration.subcommands.compactMap { $0.configuration.commandName }
        guard let word, !known.isEmpty, word != "help", !word.hasPrefix("-") else { return }
        let command = (["sluice"] + path).joined(separator: " ")
        throw Failure(
            .usage,
            "there is no '\(command) \(word)'",
            hint: "\(command) has: \(known.joined(separator: ", "))"
        )
    }

    private static func takeGlobals(_ rest: inout ArraySlice<String>) -> [String] {
        var taken: [String] = []
        while let word = rest.first {
            let name = word.prefix { $0 != "=" }
            guard let takesValue = global[String(name)] else { break }
            taken.append(word)
            rest = rest.dropFirst()
            if takesValue, name.count == word.count, let value = rest.popFirst() {
                taken.append(value)
            }
        }
        return taken
    }
}

/// A verb that reads its environment by itself, as a layer of its configuration.
package protocol ConfiguredCommand: ParsableCommand {}

/// The flags that the environment gives to a verb.
enum Twins {
    static func arguments(
        of verb: any ParsableCommand.Type,
        given: [String],
        environment: [String: String]
    ) throws -> [String] {
        let candidates = environment.filter { $0.key.hasPrefix("SLUICE_") && !$0.value.isEmpty }
        guard !candidates.isEmpty, !(verb is any ConfiguredCommand.Type) else { return [] }
        return try flags(of: verb).flatMap { flag -> [String] in
            guard let value = candidates[flag.variable], !flag.isGiven(in: given) else { return [] }
            guard flag.takesValue else {
                switch value.lowercased() {
                case "1", "true", "yes", "on": return ["--\(flag.name)"]
                case "0", "false", "no", "off": return []
                default:
                    throw Failure(
                        .usage,
                        "\(flag.variable)='\(value)' is no yes or no",
                        hint: "use 1 or 0"
                    )
                }
            }
            return ["--\(flag.name)=\(value)"]
        }
    }

    struct Flag {
        let name: String
        let short: String?
        let takesValue: Bool

        var variable: String {
            "SLUICE_" + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
        }

        func isGiven(in words: [String]) -> Bool {
            words.prefix { $0 != "--" }.contains { word in
                word == "--\(name)" || word.hasPrefix("--\(name)=")
                    || short.map { word == "-\($0)" || word.hasPrefix("-\($0)=") } ?? false
            }
        }
    }
    /// Asks the parser for the verb's own description of itself, so that no flag is forgotten.
    static func flags(of verb: any ParsableCommand.Type) throws -> [Flag] {
        struct Tool: Decodable {
            struct Command: Decodable {
                let arguments: [Argument]?
            }
            struct Argument: Decodable {
                struct Name: Decodable {
                    let kind: String
                    let name: String
                }
                let kind: String
                let names: [Name]?
            }
            let command: Command
        }
        let tool = try JSONDecoder().decode(Tool.self, from: Data(verb._dumpHelp().utf8))
        return (tool.command.arguments ?? []).compactMap { argument in
            let names = argument.names ?? []
            guard let long = names.first(where: { $0.kind == "long" }),
                long.name != "help", long.name != "version"
            else { return nil }
            return Flag(
                name: long.name,
                short: names.first { $0.kind == "short" }?.name,
                takesValue: argument.kind == "option"
            )
        }
    }
}
