import Sluice
import SluiceTestKit
import Testing

@Suite("The rate of a stage", .timeLimit(.minutes(5)))
struct StageRateTests {
    private static let total = 500
    /// What waits would take minutes.
    private static let slow = SubscriptionOptions.Rate(eventsPerSecond: 1, burst: 3)
    private static let input = Input("t", options: options(total, 0))

    /// A stage that notes what it handles.
    private static func stage(_ kind: String, _ seen: Log<Int>) -> Stage {
        switch kind {
        case "consumer":
            .consumer("c", of: [input], rate: slow) { seen.add(contentsOf: $0.map(number)) }
        case "processor":
            .processor("p", from: [input], to: "out", rate: slow) { batch in
                seen.add(contentsOf: batch.map(number))
                return []
            }
        case "tasks":
            .tasks("t", of: [input], rate: slow) { seen.add(number($0)) }
        default:
            .batches(
                "b",
                of: [input],
                size: 1,
                within: .seconds(3_600),
                by: { _ in 0 },
                rate: slow,
                { batch in seen.add(contentsOf: batch.events.map(number)) }
            )
        }
    }

    @Test(
        "holds back what is here already, and a stage that is cancelled does not wait for it",
        arguments: ["consumer", "processor", "tasks", "batches"]
    )
    func holdsBack(kind: String) async throws {
        try await Broker.withClient { _, client in
            try await client.publish(0..<Self.total, to: "t")
            let seen = Log<Int>()
            let pipeline = Pipeline(client, [Self.stage(kind, seen)])
            let running = Task { try await pipeline.run() }
            try await seen.wait(for: 3)
            running.cancel()
            try await running.value
            #expect(seen.all.sorted() == Array(0..<seen.all.count))
            #expect(seen.all.count < 100)
        }
    }

    @Test("that breaks a limit is refused", arguments: [(0, 1), (1, 0), (-1, 1)])
    func refused(eventsPerSecond: Int, burst: Int) async throws {
        let rate = SubscriptionOptions.Rate(eventsPerSecond: eventsPerSecond, burst: burst)
        let stage = Stage.tasks("work", of: ["t"], rate: rate) { _ in }
        let error = await #expect(throws: ClientError.self) {
            try await stage.run(on: SluiceClient())
        }
        #expect(error?.code == .invalidArgument)
    }
}
