import Sluice
import Testing

@Suite("What a supervisor decides")
struct SupervisionTests {
    private let now = ContinuousClock.now

    private func started(
        _ shape: Supervision.Shape,
        _ policies: [Restart],
        _ limit: RestartLimit = RestartLimit()
    ) -> Supervision {
        var rule = Supervision(shape, policies, limit)
        #expect(rule.start() == policies.indices.map { .start($0) })
        return rule
    }

    @Test(
        "a stage begins anew as its policy says",
        arguments: [
            (Restart.permanent, true, true), (.permanent, false, true),
            (.transient, true, true), (.transient, false, false),
            (.temporary, true, false), (.temporary, false, false),
        ]
    )
    func policies(policy: Restart, isFailure: Bool, isRestarted: Bool) {
        var rule = started(.peers, [policy])
        let effects = rule.ended(0, failed: isFailure, at: now)
        #expect(effects == (isRestarted ? [.start(0)] : []))
        #expect(rule.isOver == !isRestarted)
    }

    @Test("in a chain those behind it are stopped first, and begin anew in order")
    func restForOne() {
        var rule = started(.chain, [.permanent, .permanent, .temporary, .transient])
        #expect(rule.ended(1, failed: true, at: now) == [.stop(2), .stop(3)])
        #expect(rule.ended(3, failed: true, at: now) == [])
        #expect(rule.ended(2, failed: false, at: now) == [.start(1), .start(3)])
        #expect(rule.living == [0, 1, 3])
    }

    @Test("a stage before it that fails meanwhile takes all along")
    func earlierFailure() {
        var rule = started(.chain, [.permanent, .permanent, .permanent])
        #expect(rule.ended(1, failed: true, at: now) == [.stop(2)])
        #expect(rule.ended(0, failed: true, at: now) == [])
        #expect(rule.ended(2, failed: false, at: now) == [.start(0), .start(1), .start(2)])
    }

    @Test("those behind it that were done begin anew too, but for those that never do")
    func restOfDone() {
        var rule = started(.chain, [.permanent, .transient, .temporary, .permanent])
        #expect(rule.ended(1, failed: false, at: now) == [])
        #expect(rule.ended(2, failed: false, at: now) == [])
        #expect(rule.ended(0, failed: true, at: now) == [.stop(3)])
        #expect(rule.ended(3, failed: true, at: now) == [.start(0), .start(1), .start(3)])
    }

    @Test("a restart counts as long as it lies no more than a period back, as OTP has it")
    func periodBoundary() {
        let limit = RestartLimit(intensity: 1, period: .seconds(5))
        var within = started(.peers, [.permanent], limit)
        #expect(within.ended(0, failed: true, at: now) == [.start(0)])
        #expect(within.ended(0, failed: true, at: now + .seconds(5)) == [])
        #expect(within.hasGivenUp)
        var beyond = started(.peers, [.permanent], limit)
        #expect(beyond.ended(0, failed: true, at: now) == [.start(0)])
        let later = now + .seconds(5) + .nanoseconds(1)
        #expect(beyond.ended(0, failed: true, at: later) == [.start(0)])
        #expect(!beyond.hasGivenUp)
    }

    @Test("without an intensity the first restart is one too many")
    func noRestarts() {
        var rule = started(.peers, [.permanent], RestartLimit(intensity: 0))
        #expect(rule.ended(0, failed: true, at: now) == [])
        #expect(rule.hasGivenUp)
    }

    @Test("peers go on when one fails")
    func oneForOne() {
        var rule = started(.peers, [.permanent, .permanent, .permanent])
        #expect(rule.ended(1, failed: true, at: now) == [.start(1)])
    }

    @Test("restarts count for one period, and one too many stops all")
    func intensity() {
        let limit = RestartLimit(intensity: 2, period: .seconds(5))
        var rule = started(.peers, [.permanent, .permanent], limit)
        for second in [0, 4, 8, 12, 14] {
            let time = now + .seconds(second)
            if second == 14 { #expect(!rule.hasGivenUp) }
            #expect(rule.ended(0, failed: true, at: time) == [.start(0)])
        }
        #expect(rule.ended(0, failed: true, at: now + .seconds(15)) == [.stop(1)])
        #expect(rule.hasGivenUp)
        #expect(!rule.isOver)
        #expect(rule.ended(1, failed: true, at: now) == [])
        #expect(rule.isOver)
    }

    @Test("a chain drains from its source on, and nobody begins anew")
    func drainingChain() {
        var rule = started(.chain, [.permanent, .permanent, .permanent])
        #expect(rule.drain() == [.drain(0)])
        #expect(rule.drain() == [])
        #expect(rule.ended(2, failed: true, at: now) == [])
        #expect(rule.ended(0, failed: false, at: now) == [.drain(1)])
        #expect(rule.ended(1, failed: false, at: now) == [])
        #expect(rule.isOver)
    }

    @Test("peers drain at once")
    func drainingPeers() {
        var rule = started(.peers, [.permanent, .permanent])
        #expect(rule.drain() == [.drain(0), .drain(1)])
    }

    @Test("when those before a stage are done it drains, and then it is done too")
    func sourcesDone() {
        var rule = started(.chain, [.transient, .temporary, .permanent])
        #expect(rule.ended(0, failed: false, at: now) == [.drain(1)])
        #expect(rule.ended(1, failed: true, at: now) == [.drain(2)])
        #expect(rule.ended(2, failed: true, at: now) == [.start(2), .drain(2)])
        #expect(rule.ended(2, failed: false, at: now) == [])
        #expect(rule.isOver)
    }

    @Test("a restart that draining overtakes does not happen")
    func drainingDuringRestart() {
        var rule = started(.chain, [.permanent, .permanent])
        #expect(rule.ended(0, failed: true, at: now) == [.stop(1)])
        #expect(rule.drain() == [])
        #expect(rule.ended(1, failed: false, at: now) == [])
        #expect(rule.isOver)
    }
}
