package import ArgumentParser
package struct ServeCommand: AsyncParsableCommand, ConfiguredCommand {
    package static let configuration = CommandConfiguration(commandName: "serve")
    package init() {}
}
