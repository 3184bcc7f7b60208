import Glibc
import Sluice
import SluiceNet

/// A command between two topics.
struct Pipe: Sendable {
    var source: String
    var target: String
    var command: [String]
    /// What the command reads of an event.
    var format: EventFormat
    /// What of its output is one event.
    var each: Each
    var group: String?
    var start: SubscriptionOptions.Start?
    var mostDemand: Int
    /// Never more than so many in all.
    var count: Int?
    var exitAtEnd: Bool
    /// Ends when producers have said that nothing more comes.
    var untilEnd: Bool

    private func producer(_ client: SluiceClient) -> Producer {
        // What the command will make of its input nobody can announce.
        let options = ProducerOptions(backlog: .unknown, name: "sluice-pipe")
        return client.producer(for: target, options: options)
    }

    private func intake(_ client: SluiceClient, _ producer: Producer) -> Intake {
        var options = SubscriptionOptions(
            group: group,
            start: start,
            demand: .manual,
            name: "sluice-pipe"
        )
        options.stopsAtEnd = untilEnd
        return Intake(
            client: client,
            topic: source,
            options: options,
            producer: producer,
            most: mostDemand,
            count: count,
            exitAtEnd: exitAtEnd
        )
    }

    private func checkInterrupted(_ interrupts: Interrupts) throws(Failure) {
        guard let signal = interrupts.caught else { return }
        throw Failure(signal == SIGTERM ? .terminated : .interrupted)
    }
}

// MARK: - One command for all events

extension Pipe {
    /// Runs the command once, until it has ended and all that it wrote is published.
    func run(_ client: SluiceClient, note: (String) -> Void) async throws {
        let interrupts = Interrupts()
        defer { interrupts.stop() }
        let producer = producer(client)
        let intake = intake(client, producer)
        let child = try ChildProcess.starting(command, readsOutput: true, leadsGroup: true)
        let feeding = Task { try await feed(child, intake) }
        interrupts.setAction(intake.end, again: { child.signal(SIGTERM) })
        let ending = Task {
            let ending = await child.ended()
            // Nobody is left to give anything to.
            intake.end()
            return ending
        }
        do {
            try await publish(child, through: producer)
            let fed = await feeding.result
            let ending = await ending.value
            // All that the command made of its input is sent.
            if intake.hasEnded, ending.isSuccess { try await producer.end() }
            // What was written is published, whatever became of the input.
            try await producer.close()
            let untaken = try fed.get()
            if untaken > 0 { note(Self.text(untaken: untaken)) }
            try check(ending)
            try checkInterrupted(interrupts)
        } catch {
            intake.end()
            child.signal(SIGTERM)
            throw error
        }
    }

    /// Gives the command what comes; returns how many events it did not take.
    private func feed(_ child: ChildProcess, _ intake: Intake) async throws -> Int {
        let input = CommandInput(child)
        var untaken = 0
        do {
            try await intake.run { batch, _ in
                let isTaken = try await input.take { [format, source] output throws(Failure) in
                    for event in batch { try format.write(event, topic: source, to: output) }
                }
                guard !isTaken else { return }
                untaken += batch.count
                intake.end()
            }
        } catch {
            await input.close()
            throw error
        }
        await input.close()
        // Nobody will take what it writes.
        if let loss = intake.loss {
            child.signal(SIGTERM)
            throw loss
        }
        return untaken
    }

    private func publish(_ child: ChildProcess, through producer: Producer) async throws {
        guard let output = child.output else { return }
        defer { output.close() }
        let publisher = Publisher(
            producer: producer,
            keys: .none,
            headers: [],
            limit: .max,
            rate: nil,
            notice: false
        )
        let input = InputFile(name: "the command's output", descriptor: output.number)
        try await publisher.publish(input, each: each)
    }

    private static func text(untaken: Int) -> String {
        let events = "\(untaken.grouped) event\(untaken == 1 ? "" : "s")"
        return "the command took no more: up to \(events) that had come for it are lost"
    }

    private func check(_ ending: ChildProcess.Ending) throws(Failure) {
        guard !ending.isSuccess else { return }
        throw Failure(
            .command,
            "the command ended with \(ending.text)",
            hint: "what it wrote is published; what it was given besides is taken from \(source)"
        )
    }
}

// MARK: - A command for each event

extension Pipe {
    /// Runs the command anew for each event.
    func runFresh(_ client: SluiceClient) async throws {
        let interrupts = Interrupts()
        defer { interrupts.stop() }
        let producer = producer(client)
        let intake = intake(client, producer)
        interrupts.setAction(intake.end)
        try await intake.run { batch, isAtEnd in
            try await pass(batch.marks, isAtEnd, to: producer)
            for event in batch {
                let child = try fresh(for: event)
                interrupts.setAction(intake.end, again: { child.signal(SIGTERM) })
                try await answer(event, of: child, through: producer)
            }
        }
        if let loss = intake.loss { throw loss }
        try await producer.close()
        try checkInterrupted(interrupts)
    }

    /// Says on what was said before the events of a batch; an end that is not the topic's is none.
    private func pass(
        _ marks: [EventMark],
        _ isAtEnd: Bool,
        to producer: Producer
    ) async throws(ClientError) {
        for mark in marks {
            switch mark.kind {
            case .marker(let text): try await producer.mark(text)
            case .end: if isAtEnd { try await producer.end() }
            }
        }
    }

    private func fresh(for event: Event) throws(Failure) -> ChildProcess {
        try ChildProcess.starting(
            command,
            variables: event.variables(source),
            readsOutput: true,
            leadsGroup: true
        )
    }

    private func answer(
        _ event: Event,
        of child: ChildProcess,
        through producer: Producer
    ) async throws {
        guard let output = child.output else { return }
        defer { output.close() }
        let input = CommandInput(child)
        let feeding = Task { [format, source] in
            // A command need not read its event.
            _ = try await input.take { output throws(Failure) in
                try format.write(event, topic: source, to: output)
            }
            await input.close()
        }
        do {
            let written = InputFile(name: "the command's output", descriptor: output.number)
            let events = Self.pieces(of: try await written.readAll(), each)
            try await feeding.value
            let ending = await child.ended()
            guard ending.isSuccess else {
                throw Failure(
                    .command,
                    "the command ended with \(ending.text) at offset \(event.offset)",
                    hint: "that event is taken: publish it again, or take it by hand"
                )
            }
            let headers = event.headers
            let key = event.key.map { Array($0) }
            try await producer.send(
                contentsOf: events.map { OutgoingEvent($0, key: key, headers: headers) }
            )
        } catch {
            child.signal(SIGTERM)
            throw error
        }
    }

    private static func pieces(of bytes: [UInt8], _ each: Each) -> [[UInt8]] {
        guard each == .line || each == .nul else { return [bytes] }
        var splitter = Splitter(separator: each == .nul ? 0 : UInt8(ascii: "\n"))
        splitter.feed(bytes)
        var pieces: [[UInt8]] = []
        while let range = splitter.next() ?? splitter.rest() {
            pieces.append(Array(splitter.buffer[range]))
        }
        return pieces
    }
}
