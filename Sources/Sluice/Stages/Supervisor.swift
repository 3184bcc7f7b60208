import Logging

/// Carries out what `Supervision` decides, one task a stage.
struct Supervisor: Sendable {
    /// What is held of a stage that runs.
    private struct Life: Sendable {
        let draining = Latch()
        let stopping = Latch()
    }

    private enum Message: Sendable {
        case ended(Int, (any Error)?)
        case drain
        /// The time for draining is over.
        case late
    }

    let name: String
    let shape: Supervision.Shape
    let limit: RestartLimit
    let stages: [Stage]

    func stage(_ restart: Restart) -> Stage {
        Stage(name: name, restart: restart) { client, draining in
            try await run(on: client, draining, within: nil)
        }
    }

    /// Runs the stages until none is left; once `draining` opens they have `time` for it.
    func run(on client: SluiceClient, _ draining: Latch, within time: Duration?) async throws {
        var rule = Supervision(shape, stages.map(\.restart), limit)
        var failure: (any Error)?
        await withTaskGroup(of: Message.self) { group in
            var lives = stages.map { _ in Life() }
            group.addTask {
                await draining.wait()
                return .drain
            }
            carryOut(rule.start(), client, draining, &lives, &group)
            while !rule.isOver, let message = await group.next() {
                if Task.isCancelled { carryOut(rule.stop(), client, draining, &lives, &group) }
                switch message {
                case .ended(let index, let error):
                    if let error, !Task.isCancelled {
                        log(index, error, client)
                        if rule.isDraining { failure = failure ?? error }
                    }
                    let effects = rule.ended(index, failed: error != nil, at: .now)
                    if rule.hasGivenUp { failure = failure ?? gaveUp(index, error) }
                    carryOut(effects, client, draining, &lives, &group)
                // A task that is cancelled is stopped, and waits for nothing.
                case .drain where Task.isCancelled, .late where Task.isCancelled: break
                case .drain:
                    carryOut(rule.drain(), client, draining, &lives, &group)
                    if let time { group.addTask { await Self.wait(time) } }
                case .late:
                    failure = failure ?? late(rule.living, time)
                    carryOut(rule.stop(), client, draining, &lives, &group)
                }
            }
            group.cancelAll()
        }
        if let failure { throw failure }
    }

    private func carryOut(
        _ effects: [Supervision.Effect],
        _ client: SluiceClient,
        _ draining: Latch,
        _ lives: inout [Life],
        _ group: inout TaskGroup<Message>
    ) {
        for effect in effects {
            switch effect {
            case .start(let index):
                let life = Life()
                lives[index] = life
                group.addTask { [stage = stages[index]] in
                    await Self.live(stage, client, life, index)
                }
            case .drain(let index):
                // What it reads is what those before it wrote, and they are done.
                let isBehind = shape == .chain && index > 0
                lives[index].draining.open(through: isBehind || draining.isThrough)
            case .stop(let index): lives[index].stopping.open()
            }
        }
    }

    private static func live(
        _ stage: Stage,
        _ client: SluiceClient,
        _ life: Life,
        _ index: Int
    ) async -> Message {
        do {
            try await life.stopping.cancelling { try await stage.body(client, life.draining) }
            return .ended(index, nil)
        } catch {
            return .ended(index, error)
        }
    }

    private static func wait(_ time: Duration) async -> Message {
        try? await Task.sleep(for: time)
        return .late
    }
}

// MARK: - Words

extension Supervisor {
    private func log(_ index: Int, _ error: any Error, _ client: SluiceClient) {
        client.logger.warning(
            "stage failed",
            metadata: ["stage": "\(stages[index].name)", "in": "\(name)", "error": "\(error)"]
        )
    }

    private func gaveUp(_ index: Int, _ error: (any Error)?) -> ClientError {
        let most = "more than \(limit.intensity) restarts within \(limit.period)"
        let last = error.map { "failed with: \($0)" } ?? "ended"
        return ClientError(
            .restartsExceeded,
            "\(name): \(most); the last was due when stage \(stages[index].name) \(last)",
            hint: "mend what makes it fail, or raise the limit of restarts"
        )
    }

    private func late(_ living: [Int], _ time: Duration?) -> ClientError {
        let names = living.map { stages[$0].name }.joined(separator: ", ")
        return ClientError(
            .timedOut,
            "\(name): not drained within \(time ?? .zero): \(names)",
            hint: "raise the drain timeout, or find what the stage waits for"
        )
    }
}
