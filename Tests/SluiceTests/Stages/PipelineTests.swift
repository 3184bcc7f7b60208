import Logging
import ServiceLifecycle
import Sluice
import SluiceNet
import Testing

@Suite("A pipeline", .timeLimit(.minutes(5)))
struct PipelineTests {
    /// What happened, in order, from any task.
    private final class Diary: Sendable {
        private let lines = Lock<[String]>([])

        var all: [String] { lines.withLock { $0 } }

        func write(_ line: String) { lines.withLock { $0.append(line) } }

        func count(_ line: String) -> Int { all.count { $0 == line } }
    }

    private struct Mishap: Error, CustomStringConvertible {
        let description: String
    }

    private static func forever() async throws { try await Task.sleep(for: .seconds(3_600)) }

    /// A stage that lasts until it is drained or stopped.
    private static func lasting(_ name: String, _ diary: Diary) -> Stage {
        Stage(name) { _ in
            diary.write("\(name) begins")
            defer { diary.write("\(name) ends") }
            try? await forever()
        }
    }

    @Test("a stage that fails takes those behind it along, and not those before it")
    func restForOne() async throws {
        let diary = Diary()
        let stages = [
            Self.lasting("a", diary),
            Stage("b") { _ in
                diary.write("b begins")
                guard diary.count("b begins") == 1 else { return try await Self.forever() }
                while diary.count("c begins") == 0 { try await Task.sleep(for: .milliseconds(1)) }
                throw Mishap(description: "b has failed")
            },
            Self.lasting("c", diary),
        ]
        let pipeline = Pipeline(quiet(), stages)
        let running = Task { try await pipeline.run() }
        while diary.count("c begins") < 2 { try await Task.sleep(for: .milliseconds(1)) }
        running.cancel()
        try await running.value
        #expect(diary.count("a begins") == 1)
        #expect(diary.count("b begins") == 2)
        let behind = diary.all.filter { $0.hasPrefix("c") }
        #expect(behind == ["c begins", "c ends", "c begins", "c ends"])
    }

    @Test("it ends with an error when stages fail too often")
    func givesUp() async throws {
        let diary = Diary()
        let failing = Stage("bad") { _ in
            diary.write("bad begins")
            throw Mishap(description: "no luck")
        }
        let limit = RestartLimit(intensity: 4, period: .seconds(3_600))
        let pipeline = Pipeline(quiet(), limit: limit, [failing, Self.lasting("after", diary)])
        let error = await #expect(throws: ClientError.self) { try await pipeline.run() }
        #expect(error?.code == .restartsExceeded)
        #expect(error?.message.contains("bad") == true)
        #expect(error?.message.contains("no luck") == true)
        #expect(error?.hint.isEmpty == false)
        #expect(diary.count("bad begins") == 5)
        #expect(diary.count("after begins") == diary.count("after ends"))
    }

    @Test("as a service it drains from its source on")
    func drains() async throws {
        let diary = Diary()
        let stages = ["a", "b", "c"].map { Self.lasting($0, diary) }
        let pipeline = Pipeline(quiet(), stages)
        let group = ServiceGroup(services: [pipeline], logger: Logger(label: "test"))
        let running = Task { try await group.run() }
        while diary.all.count < 3 { try await Task.sleep(for: .milliseconds(1)) }
        await group.triggerGracefulShutdown()
        try await running.value
        #expect(diary.all.suffix(3) == ["a ends", "b ends", "c ends"])
    }

    @Test("what is not drained in time is cancelled and named")
    func late() async throws {
        let diary = Diary()
        let stubborn = Stage(name: "stubborn", restart: .permanent) { _, _ in
            diary.write("begins")
            try? await Self.forever()
        }
        let pipeline = Pipeline(quiet(), drainTimeout: .zero, [stubborn])
        pipeline.drain()
        let error = await #expect(throws: ClientError.self) { try await pipeline.run() }
        #expect(error?.code == .timedOut)
        #expect(error?.message.contains("stubborn") == true)
    }

    @Test("what fails while it drains is the error of the pipeline")
    func failsDraining() async throws {
        let stage = Stage("a") { _ in
            try? await Self.forever()
            throw Mishap(description: "not done")
        }
        let pipeline = Pipeline(quiet(), [stage])
        pipeline.drain()
        await #expect(throws: Mishap.self) { try await pipeline.run() }
    }

    @Test("peers are restarted alone, and drained together behind what is done")
    func peers() async throws {
        let diary = Diary()
        let failing = Stage("b") { _ in
            diary.write("b begins")
            guard diary.count("b begins") == 1 else { return try await Self.forever() }
            throw Mishap(description: "once")
        }
        let first = Stage("first") { _ in
            while diary.count("b begins") < 2 || diary.count("a begins") < 1 {
                try await Task.sleep(for: .milliseconds(1))
            }
        }
        let peers = Stage.peers("both", [Self.lasting("a", diary), failing])
        try await Pipeline(quiet(), [first, peers]).run()
        #expect(diary.count("a begins") == 1)
        #expect(diary.count("a ends") == 1)
    }

    private func quiet() -> SluiceClient {
        SluiceClient(logger: Logger(label: "client", factory: { _ in SwiftLogNoOpLogHandler() }))
    }
}
