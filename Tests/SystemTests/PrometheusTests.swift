import Foundation
import Glibc
import Testing

extension SystemTests {
    @Suite("Prometheus")
    struct PrometheusTests {
        static let prometheus = "/usr/bin/prometheus"

        /// What its query API answers.
        private struct Answer: Decodable {
            struct Data: Decodable { var result: [Series] }
            struct Series: Decodable {
                var metric: [String: String]
                /// The time, and the value as text.
                var value: [Value]
            }
            enum Value: Decodable {
                case number(Double)
                case text(String)

                init(from decoder: any Decoder) throws {
                    let container = try decoder.singleValueContainer()
                    if let number = try? container.decode(Double.self) {
                        self = .number(number)
                    } else {
                        self = .text(try container.decode(String.self))
                    }
                }
            }
            var data: Data
        }

        /// Our own configuration, for a broker on this machine that is asked every second.
        private func configuration(_ target: String, in folder: URL) throws -> String {
            let docker = Place.root.appending(path: "docker")
            var text = try String(
                contentsOf: docker.appending(path: "prometheus.yml"),
                encoding: .utf8
            )
            #expect(text.contains("broker:7480") && text.contains("scrape_interval: 5s"))
            text = text.replacingOccurrences(of: "broker:7480", with: target)
            text = text.replacingOccurrences(of: "scrape_interval: 5s", with: "scrape_interval: 1s")
            let file = folder.appending(path: "prometheus.yml")
            try Data(text.utf8).write(to: file)
            try FileManager.default.copyItem(
                at: docker.appending(path: "rules.yml"),
                to: folder.appending(path: "rules.yml")
            )
            return file.path
        }

        private func values(
            _ query: String,
            at address: String
        ) throws -> [[String: String]: String] {
            let outcome = try Running(
                "/usr/bin/curl",
                [
                    "-sS", "-G", "--max-time", "10", "http://\(address)/api/v1/query",
                    "--data-urlencode", "query=\(query)",
                ]
            ).wait()
            guard outcome.code == 0,
                let answer = try? JSONDecoder().decode(Answer.self, from: Data(outcome.output))
            else { return [:] }
            var values: [[String: String]: String] = [:]
            for series in answer.data.result {
                var labels = series.metric
                for label in ["__name__", "instance", "job"] { labels[label] = nil }
                if case .text(let text)? = series.value.last { values[labels] = text }
            }
            return values
        }

        @Test(
            "scrapes the broker by our configuration, and tells demand",
            .enabled(if: access(prometheus, X_OK) == 0),
            .timeLimit(.minutes(2))
        )
        func scrapes() throws {
            let broker = try Broker.withHTTP(shards: 1)
            try broker.run("pub", "t", "--each", "line", input: "a\nb\nc\n")
            let consumer = try broker.start(["demand", "t", "10", "--group", "g"])
            try eventually("three came") { consumer.output == Array("a\nb\nc\n".utf8) }
            let folder = try Place.directory()
            defer { try? FileManager.default.removeItem(at: folder) }
            let file = try configuration(#require(broker.http), in: folder)
            let server = try Running(
                Self.prometheus,
                [
                    "--config.file=\(file)", "--web.listen-address=127.0.0.1:0",
                    "--storage.tsdb.path=\(folder.path)/data",
                ]
            )
            var found: String?
            try eventually("it says where it listens") {
                let words = server.errors.split(whereSeparator: \.isWhitespace)
                found = words.last { $0.hasPrefix("address=127.0.0.1:") && !$0.hasSuffix(":0") }
                    .map { String($0.dropFirst("address=".count)) }
                return found != nil
            }
            let address = try #require(found)
            let group = ["topic": "t", "group": "g"]
            try eventually("it has scraped") {
                try values("sluice_demand_asked_total", at: address) == [group: "10"]
            }
            #expect(try values("up{job=\"sluice\"}", at: address) == [[:]: "1"])
            let sum =
                "sluice_events_dispatched_total + sluice_demand_forfeited_total"
                + " + sluice_demand_outstanding == sluice_demand_asked_total"
            #expect(try values(sum, at: address) == [group: "10"])
            let published = try values("sluice_events_published_total", at: address)
            #expect(published == [["topic": "t"]: "3"])
            let rules = try Running(
                "/usr/bin/curl",
                ["-sS", "--max-time", "10", "http://\(address)/api/v1/rules"]
            ).wait()
            #expect(rules.text.contains("SluiceNobodyAsks"))
            server.signal(SIGTERM)
            #expect(server.wait().code == 0)
            consumer.signal(SIGTERM)
            _ = consumer.wait()
        }

        /// Each expression of the dashboard, as a rule.
        private func dashboardRules() throws -> String {
            let file = Place.root.appending(path: "docker/grafana/sluice.json")
            let text = try String(contentsOf: file, encoding: .utf8)
            let expressions = text.split(separator: "\n").compactMap { line -> String? in
                guard let start = line.firstRange(of: "\"expr\": ")?.upperBound else { return nil }
                let literal = line[start...].trimmingCharacters(in: [",", " "])
                return try? JSONDecoder().decode(String.self, from: Data(literal.utf8))
            }
            #expect(expressions.count > 20)
            let rules = expressions.enumerated().map { number, expression in
                let query = expression.replacingOccurrences(of: "$__rate_interval", with: "1m")
                let quoted = query.replacingOccurrences(of: "'", with: "''")
                return "      - record: panel_\(number)\n        expr: '\(quoted)'\n"
            }
            return "groups:\n  - name: dashboard\n    rules:\n" + rules.joined()
        }

        @Test(
            "promtool takes our configuration, our rules and what the dashboard asks",
            .enabled(if: access(HTTPResourceTests.promtool, X_OK) == 0),
            .timeLimit(.minutes(1))
        )
        func judged() throws {
            let folder = try Place.directory()
            defer { try? FileManager.default.removeItem(at: folder) }
            let file = folder.appending(path: "dashboard.yml")
            try Data(dashboardRules().utf8).write(to: file)
            let docker = Place.root.appending(path: "docker").path
            for words in [
                ["check", "config", "\(docker)/prometheus.yml"],
                ["check", "rules", "\(docker)/rules.yml"], ["check", "rules", file.path],
            ] {
                let outcome = try Running(HTTPResourceTests.promtool, words).wait()
                #expect(outcome.code == 0, "\(outcome.errors)")
            }
        }
    }
}
