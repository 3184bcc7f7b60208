import Foundation
import Glibc
import Synchronization
import Testing

/// What a command left behind.
struct Outcome {
    var code: Int32
    var output: [UInt8]
    var errors: String

    var text: String { String(decoding: output, as: UTF8.self) }
    var lines: [String] { text.split(separator: "\n").map { String($0) } }
}

/// A fact that another thread may make true.
final class Flag: Sendable {
    private let value = Atomic(false)
    var isRaised: Bool { value.load(ordering: .relaxed) }
    func raise() { value.store(true, ordering: .relaxed) }
}

/// A command that runs, with its output in files: no pipe can fill up and hold it.
final class Running {
    let process = Process()
    private let directory: URL
    private let didRing = Flag()

    init(
        _ executable: String,
        _ arguments: [String],
        input: [UInt8] = [],
        environment: [String: String] = [:]
    ) throws {
        directory = try Place.directory()
        process.executableURL = URL(filePath: executable)
        process.arguments = arguments
        // Nothing of the tester's own environment may set a flag.
        process.environment = ProcessInfo.processInfo.environment
            .filter { !$0.key.hasPrefix("SLUICE_") }
            .merging(Place.noDefaultPorts) { $1 }
            .merging(environment) { $1 }
        for (name, bytes) in [("in", input), ("out", []), ("err", [])] {
            try Data(bytes).write(to: directory.appending(path: name))
        }
        process.standardInput = try FileHandle(
            forReadingFrom: directory.appending(path: "in")
        )
        process.standardOutput = try FileHandle(
            forWritingTo: directory.appending(path: "out")
        )
        process.standardError = try FileHandle(
            forWritingTo: directory.appending(path: "err")
        )
        try process.run()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        try? FileManager.default.removeItem(at: directory)
    }

    var output: [UInt8] { read("out") }
    var errors: String { String(decoding: read("err"), as: UTF8.self) }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    /// Waits for its end; after so many seconds it is killed, and the test fails.
    func wait(atMost seconds: Int = 30) -> Outcome {
        let number = process.processIdentifier
        let alarm = DispatchWorkItem { @Sendable [didRing] in
            didRing.raise()
            kill(number, SIGKILL)
        }
        DispatchQueue.global().asyncAfter(deadline: .now() + .seconds(seconds), execute: alarm)
        process.waitUntilExit()
        alarm.cancel()
        let code = process.terminationStatus
        let words = process.arguments?.joined(separator: " ") ?? ""
        #expect(!didRing.isRaised, "it did not end by itself: \(words)")
        return Outcome(
            code: process.terminationReason == .uncaughtSignal ? 128 + code : code,
            output: output,
            errors: errors
        )
    }

    private func read(_ name: String) -> [UInt8] {
        (try? Data(contentsOf: directory.appending(path: name))).map { Array($0) } ?? []
    }
}

/// Where things are.
enum Place {
    /// Where somebody's own broker may run no test listens, or asks, for want of a flag.
    static let noDefaultPorts = [
        "SLUICE_LISTEN": "127.0.0.1:0", "SLUICE_HTTP": "none", "SLUICE_SERVER": "127.0.0.1:1",
    ]

    /// The `sluice` that was built together with these tests.
    static func sluice() throws -> String { try program("sluice") }

    /// A program that was built together with these tests.
    static func program(_ name: String) throws -> String {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let path = URL(filePath: own).deletingLastPathComponent().appending(path: name).path
        try #require(access(path, X_OK) == 0, "build the product \(name) first")
        return path
    }

    /// The root of the repository.
    static var root: URL {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
    }

    /// A program that `make peers` put beside the build; nil if it did not.
    static func peer(_ name: String) -> String? {
        let path = root.appending(path: ".build-peers/bin/\(name)").path
        return access(path, X_OK) == 0 ? path : nil
    }

    static func directory() throws -> URL {
        let place = FileManager.default.temporaryDirectory
            .appending(path: "sluice-test-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        return place
    }
}

/// Asks again and again until something is so; a test fails if it never is.
func eventually(
    _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ holds: () throws -> Bool
) throws {
    for _ in 0..<400 {
        if try holds() { return }
        usleep(25_000)
    }
    Issue.record("never came true: \(what)", sourceLocation: sourceLocation)
}

/// The real broker on loopback, on a port of its own.
final class Broker {
    let running: Running
    let address: String
    /// Where it serves HTTP; nil unless the flags say so.
    let http: String?
    private let directory: URL

    /// Of three shards the topic `t` is not at home on the first, where connections come in.
    static let shardCounts = [1, 3]

    /// Without a number of shards it has what `SLUICE_SHARDS` says to the tests, or the default.
    init(
        _ flags: [String] = [],
        shards: Int? = nil,
        environment: [String: String] = [:]
    ) throws {
        let asked = ProcessInfo.processInfo.environment["SLUICE_SHARDS"]
        let environment = ["SLUICE_SHARDS": shards.map { "\($0)" } ?? asked ?? ""]
            .merging(environment) { $1 }
        directory = try Place.directory()
        let ready = directory.appending(path: "ready").path
        running = try Running(
            Place.sluice(),
            ["serve", "--listen", "127.0.0.1:0", "--http", "none", "--ready-file", ready] + flags,
            environment: environment
        )
        var found: [String] = []
        var foundHTTP: String?
        try eventually("the ready file is there") { [running] in
            guard let data = FileManager.default.contents(atPath: ready) else {
                return !running.process.isRunning
            }
            struct Ready: Decodable {
                let listen: [String]
                let http: String?
            }
            let told = try JSONDecoder().decode(Ready.self, from: data)
            found = told.listen
            foundHTTP = told.http
            return true
        }
        http = foundHTTP
        address = try #require(found.first, "no broker: \(running.errors)")
    }

    deinit {
        running.signal(SIGTERM)
        _ = running.wait()
        try? FileManager.default.removeItem(at: directory)
    }

    /// Runs a verb to its end.
    @discardableResult
    func run(
        _ arguments: String...,
        input: String = "",
        environment: [String: String] = [:]
    ) throws -> Outcome {
        try start(arguments, input: Array(input.utf8), environment: environment).wait()
    }

    func start(
        _ arguments: [String],
        input: [UInt8] = [],
        environment: [String: String] = [:]
    ) throws -> Running {
        try Running(
            Place.sluice(),
            arguments,
            input: input,
            environment: ["SLUICE_SERVER": address].merging(environment) { $1 }
        )
    }

    /// Runs a line of shell in which `sluice` is the one under test.
    func shell(_ line: String) throws -> Outcome { try startShell(line).wait() }

    func startShell(_ line: String) throws -> Running {
        let path = URL(filePath: try Place.sluice()).deletingLastPathComponent().path
        return try Running(
            "/bin/bash",
            ["-c", line],
            environment: ["SLUICE_SERVER": address, "PATH": "\(path):/usr/bin:/bin"]
        )
    }

    /// What of it was resident at most, in bytes.
    var peakBytes: Int {
        get throws {
            let number = running.process.processIdentifier
            let text = try String(contentsOfFile: "/proc/\(number)/status", encoding: .utf8)
            let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
            return try #require(line.split(separator: " ").dropFirst().first.flatMap { Int($0) })
                << 10
        }
    }

    /// One document of `topic info`.
    func topic(_ name: String) throws -> Facts {
        let outcome = try run("topic", "info", name, "-o", "jsonl")
        return try JSONDecoder().decode(Facts.self, from: Data(outcome.output))
    }

    struct Facts: Decodable {
        let head: UInt64
        let bufferedEvents: UInt64
        let capacity: UInt64
        let ahead: UInt64
        let consumers: Int
        let producers: Int
        let isPaused: Bool
        let rate: UInt32?
        let burst: UInt32?
        let maxProducers: UInt32?
        let maxConsumers: UInt32?
        let maxGroups: UInt32?
        let maxEventBytes: UInt32?
        let groupExpireAfter: UInt64?
        let expiredGroups: UInt64
    }
}
