package import ArgumentParser
package struct BenchCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(commandName: "bench")
    package init() {}
}
