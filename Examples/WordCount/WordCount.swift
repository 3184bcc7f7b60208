import Glibc
import Sluice
import SluiceEmbedded
import Synchronization

/// Counts the words of its standard input in a pipeline of three stages, all in this process.
///
/// No server and no port: the topics between the stages are those of an embedded broker. It grants
/// nothing ahead, so no line is read before the stages behind have asked for it, however long the
/// input is.
@main
enum Program {
    /// How often each word came, told by one stage and read at the end.
    private static let counts = Mutex<[String: Int]>([:])

    static func main() async throws {
        let broker = try EmbeddedBroker(topics: .init(ahead: 0))
        let client = broker.client(name: "word-count")

        // GenStage's handle_demand: as many lines as are asked for. Nil is the end of the input,
        // which goes through the pipeline behind the last line.
        let lines = Stage.producer("lines", to: "lines") { demand in
            var lines: [OutgoingEvent] = []
            while lines.count < demand, let line = readLine() { lines.append(OutgoingEvent(line)) }
            return lines.isEmpty ? nil : lines
        }

        // A line becomes many words. They are sent as they are asked for, and the next line is
        // handled when they are gone.
        let words = Stage.processor("words", from: [asking(10)], to: "words") { batch in
            batch.flatMap { line in
                line.payloadString.lowercased().split { !$0.isLetter }.map { word in
                    OutgoingEvent(String(word))
                }
            }
        }

        // Words of a kind, 50 together, or what there is of them after a second.
        let tally = Stage.batches(
            "tally",
            of: [Input("words", options: demand(1_000))],
            size: 50,
            within: .seconds(1),
            by: { $0.payloadString },
            { batch in
                counts.withLock { $0[batch.key, default: 0] += batch.events.count }
            }
        )

        // It drains from its source on: when the input is read, what waits is handled.
        try await Pipeline(client, [lines, words, tally]).run()
        await client.close()
        await broker.close()

        let ranking = counts.withLock { $0.sorted { ($1.value, $0.key) < ($0.value, $1.key) } }
        for (word, count) in ranking.prefix(10) { print(count, word) }
    }

    private static func asking(_ max: Int) -> Input { Input("lines", options: demand(max)) }

    private static func demand(_ max: Int) -> SubscriptionOptions {
        SubscriptionOptions(demand: .automatic(max: max, min: max / 2))
    }
}
