import SluiceCore
import Testing

/// A consumer of the recordings: what it was made with, what came, what it asked.
struct DemandScenario: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let max: UInt64
    let min: UInt64
    /// Events of each message that came from upstream.
    let messages: [UInt64]
    /// The batches handled and the demand sent after each, 0 for none; as GenStage recorded it.
    let steps: [Step]

    struct Step: Equatable, Sendable {
        let handled: UInt64
        let ask: UInt64
    }

    private static func steps(_ pairs: (UInt64, UInt64)...) -> [Step] {
        pairs.map { Step(handled: $0.0, ask: $0.1) }
    }

    static let recorded: [Self] = [
        Self(
            testDescription: "C01 a full batch is split, and asked for after each part",
            max: 10,
            min: 5,
            messages: [10],
            steps: steps((5, 5), (5, 5))
        ),
        Self(
            testDescription: "C02 nothing is asked until min is reached",
            max: 100,
            min: 75,
            messages: [10, 10, 10],
            steps: steps((10, 0), (10, 0), (10, 30))
        ),
        Self(
            testDescription: "C03 with min 0 all is processed before more is asked",
            max: 4,
            min: 0,
            messages: [2, 1, 1],
            steps: steps((2, 0), (1, 0), (1, 4))
        ),
        Self(
            testDescription: "C04 with max 1 each event is asked for",
            max: 1,
            min: 0,
            messages: [1, 1],
            steps: steps((1, 1), (1, 1))
        ),
        // A link refuses what was not asked for; the rule handles it and does not ask for it again.
        Self(
            testDescription: "C05 what came beyond the demand is not asked for again",
            max: 4,
            min: 2,
            messages: [7],
            steps: steps((2, 2), (2, 2), (2, 0), (1, 0))
        ),
        Self(
            testDescription: "C06 with min half of max",
            max: 5,
            min: 2,
            messages: [3, 2],
            steps: steps((3, 3), (2, 0))
        ),
    ]
}

@Suite("The demand window")
struct DemandWindowTests {
    @Test("asks as GenStage did", arguments: DemandScenario.recorded)
    func recorded(_ scenario: DemandScenario) {
        var window = DemandWindow(max: scenario.max, min: scenario.min)
        #expect(window.open() == scenario.max)
        let batches = scenario.messages.flatMap { window.split($0) }
        let steps = batches.map { DemandScenario.Step(handled: $0.events, ask: $0.ask) }
        #expect(steps == scenario.steps)
    }

    @Test("never has more outstanding than max, whatever is processed")
    func bound() {
        for max in UInt64(1)...12 {
            for min in 0..<max {
                var window = DemandWindow(max: max, min: min)
                var asked = window.open()
                var processed: UInt64 = 0
                for step in UInt64(1)...40 {
                    let count = Swift.min(step % 5, asked - processed)
                    processed += count
                    asked += window.processed(count)
                    #expect(asked - processed <= max)
                    #expect(asked - processed > min || count == 0)
                    #expect(window.outstanding == asked - processed)
                }
            }
        }
    }

    @Test("what the next event lacks is asked for once the window has room, not beside it")
    func lacking() {
        var window = DemandWindow(max: 100, min: 50)
        _ = window.open()
        // 90 came and wait to be processed, 10 are open, and the next event has 30.
        #expect(window.lacks(30, credit: 10) == 0)
        #expect(window.processed(10) == 0)
        #expect(window.processed(10) == 20)
        #expect(window.outstanding == 100)
        #expect(window.processed(10) == 0, "it is asked for once")
    }

    @Test("an event larger than the window is asked for when all before it is processed")
    func larger() {
        var window = DemandWindow(max: 100, min: 0)
        _ = window.open()
        #expect(window.lacks(500, credit: 40) == 0)
        #expect(window.processed(59) == 0)
        #expect(window.processed(1) == 460)
        #expect(window.outstanding == 500)
        #expect(window.processed(500) == 100)
        #expect(window.lacks(300, credit: 100) == 200, "nothing waits to be processed")
    }

    @Test("A source that tells of every event is given no more than the window")
    func slow() {
        var window = DemandWindow(max: 100, min: 50)
        var credit = window.open()
        var unprocessed: UInt64 = 0
        for _ in 0..<1_000 {
            if credit >= 20 {
                credit -= 20
                unprocessed += 20
            } else {
                credit += window.lacks(20, credit: credit)
            }
        }
        #expect(unprocessed == 100)
    }
}
