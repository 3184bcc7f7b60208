import FoundationEssentials
import Histogram

/// What a measurement found.
struct BenchResult {
    let events: Int
    let seconds: Double
    let size: Int
    var brokerCPUSeconds = 0.0
    var latencies: Histogram<UInt64>?

    private struct Document: Encodable {
        struct Latency: Encodable {
            var p50Microseconds: Double
            var p90Microseconds: Double
            var p99Microseconds: Double
            var p999Microseconds: Double
            var maximumMicroseconds: Double
        }

        var bench: String
        var events: Int
        var seconds: Double
        var eventsPerSecond: Double
        var payloadBytes: Int
        var megabytesPerSecond: Double
        var brokerCPUSeconds: Double
        var brokerCPUSecondsPerMillionEvents: Double
        var producers: Int
        var consumers: Int
        var batch: Int
        var maxDemand: Int
        var latency: Latency?
    }

    func print(_ plan: BenchPlan) throws {
        let document = document(plan)
        let output = StandardOutput()
        if plan.isJSON {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            try output.line(String(decoding: try encoder.encode(document), as: UTF8.self))
        } else {
            for line in lines(document, plan) { try output.line(line) }
        }
        try output.flush()
    }

    private func document(_ plan: BenchPlan) -> Document {
        let rate = Double(events) / max(seconds, 1e-9)
        let latency = latencies.map { times in
            let at = { (percent: Double) in Double(times.valueAtPercentile(percent)) / 1_000 }
            return Document.Latency(
                p50Microseconds: at(50),
                p90Microseconds: at(90),
                p99Microseconds: at(99),
                p999Microseconds: at(99.9),
                maximumMicroseconds: at(100)
            )
        }
        return Document(
            bench: plan.kind,
            events: events,
            seconds: seconds,
            eventsPerSecond: rate,
            payloadBytes: size,
            megabytesPerSecond: rate * Double(size) / 1e6,
            brokerCPUSeconds: brokerCPUSeconds,
            brokerCPUSecondsPerMillionEvents: brokerCPUSeconds * 1e6 / Double(max(events, 1)),
            producers: plan.kind == "sub" ? 0 : plan.producers,
            consumers: plan.consumes ? plan.consumers : 0,
            batch: plan.batch,
            maxDemand: plan.maxDemand,
            latency: latency
        )
    }

    private func lines(_ document: Document, _ plan: BenchPlan) -> [String] {
        let paint = plan.global.paint
        var facts = Table([("FACT", .left), ("VALUE", .left)])
        facts.add([
            "moved",
            "\(events.grouped) events of \(ByteCount(size).text) in \(seconds.text(decimals: 2)) s",
        ])
        facts.add([
            "rate",
            "\(Int(bounded: document.eventsPerSecond).grouped) events/s, "
                + "\(document.megabytesPerSecond.text(decimals: 1)) MB/s",
        ])
        facts.add([
            "broker",
            "\(document.brokerCPUSecondsPerMillionEvents.text(decimals: 3)) s of CPU per million "
                + "events (\((brokerCPUSeconds / max(seconds, 1e-9) * 100).text(decimals: 0))% of "
                + "one core)",
        ])
        if let latency = document.latency {
            let text = { (microseconds: Double) in
                microseconds < 1_000
                    ? "\(microseconds.text(decimals: 0)) us"
                    : "\((microseconds / 1_000).text(decimals: 2)) ms"
            }
            facts.add([
                "latency",
                "p50 \(text(latency.p50Microseconds)), p90 \(text(latency.p90Microseconds)), "
                    + "p99 \(text(latency.p99Microseconds)), "
                    + "p99.9 \(text(latency.p999Microseconds)), "
                    + "most \(text(latency.maximumMicroseconds))",
            ])
        }
        let sides =
            "\(document.producers) producer\(document.producers == 1 ? "" : "s"), "
            + "\(document.consumers) consumer\(document.consumers == 1 ? "" : "s"), "
            + "batches of \(plan.batch.grouped), max demand \(plan.maxDemand.grouped)"
        return [paint.bold("bench \(plan.kind)") + paint.dim(": \(sides)")]
            + facts.lines.dropFirst().map { "  " + $0 }
    }
}
