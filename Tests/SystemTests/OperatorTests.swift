import Foundation
import Testing

extension SystemTests {
    @Suite("What an operator does")
    struct OperatorTests {
        private struct Link: Decodable {
            let connection: UInt64
            let link: UInt32
        }

        private struct Client: Decodable {
            let connection: UInt64
            let name: String
        }

        @Test(
            "a topic is changed on the command line and over HTTP, and loses nothing by less room",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func change(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            try broker.run("topic", "create", "t", "--buffer", "20")
            try broker.run("pub", "t", "--each", "line", input: "1\n2\n3\n4\n5\n")
            let set = try broker.run("topic", "set", "t", "--buffer", "2", "--rate", "100")
            #expect(set.code == 0, "\(set.errors)")
            let less = try broker.topic("t")
            #expect(less.capacity == 2 && less.ahead == 2 && less.bufferedEvents == 5)
            func patch(_ json: String) throws -> Answer {
                try broker.curl("/v1/topics/t", "-X", "PATCH", "-d", json)
            }
            #expect(try patch(#"{"ahead": 1, "rate": 0}"#).status == 204)
            #expect(try broker.topic("t").ahead == 1)
            #expect(try !broker.run("topic", "info", "t", "-o", "table").text.contains("a second"))
            #expect(try patch(#"{"groupExpireAfter": 60}"#).status == 204)
            let kept = try broker.curl("/v1/topics/t").text
            #expect(kept.contains("\"groupExpireAfter\":60"), "\(kept)")
            #expect(try patch(#"{"groupExpireAfter": 31536001}"#).status == 400)
            #expect(try patch(#"{"ahead": 3}"#).status == 400)
            #expect(try patch(#"{"capacity": null}"#).status == 400)
            #expect(try broker.curl("/v1/topics/u", "-X", "PATCH", "-d", "{}").status == 404)
            #expect(try broker.run("topic", "set", "u", "--buffer", "1").code == 5)
            let all = try broker.run("demand", "t", "5")
            #expect(all.lines == ["1", "2", "3", "4", "5"])
        }

        @Test(
            "a consumer that is ended hears why, and stays away",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func kick(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            func link(_ name: String) throws -> Link {
                var found: Link?
                try eventually("\(name) consumes") {
                    let lines = try broker.run("consumer", "ls", name, "-o", "jsonl").lines
                    found = try lines.first.map {
                        try JSONDecoder().decode(Link.self, from: Data($0.utf8))
                    }
                    return found != nil
                }
                return try #require(found)
            }
            let first = try broker.start(["sub", "t"])
            let one = try link("t")
            let table = try broker.run("consumer", "ls", "t", "-o", "table").text
            #expect(table.contains("\(one.connection)/\(one.link)"))
            let kicked = try broker.run("consumer", "kick", "\(one.connection)/\(one.link)")
            #expect(kicked.code == 0, "\(kicked.errors)")
            let end = first.wait()
            #expect(end.code == 4, "\(end.errors)")
            #expect(end.errors.contains("KICKED"))
            let again = try broker.run("consumer", "kick", "\(one.connection)/\(one.link)")
            #expect(again.code == 5)

            let second = try broker.start(["sub", "u"])
            let two = try link("u")
            #expect(try broker.run("conn", "kick", "\(two.connection)").code == 0)
            #expect(second.wait().errors.contains("KICKED"))

            let stream = try Running("/usr/bin/curl", ["-sSN", broker.url + "/v1/topics/v/stream"])
            let three = try link("v")
            let path = "/v1/connections/\(three.connection)"
            #expect(try broker.curl("\(path)/links/9", "-X", "DELETE").status == 404)
            #expect(try broker.curl("\(path)/links/\(three.link)", "-X", "DELETE").status == 204)
            #expect(stream.wait().text.contains("KICKED"))
            #expect(try broker.curl(path, "-X", "DELETE").status == 404)
            #expect(try broker.curl("/v1/connections/x", "-X", "DELETE").status == 400)
        }

        @Test(
            "what brings the events of POST goes on at its face when it is ended",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func kickedFace(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            func intake() throws -> UInt64? {
                let lines = try broker.run("conn", "ls", "-o", "jsonl").lines
                let all = try lines.map { line in
                    try JSONDecoder().decode(Client.self, from: Data(line.utf8))
                }
                return all.first { $0.name == "http" }?.connection
            }
            func post() throws {
                let answer = try broker.curl("/v1/topics/t/events", "-d", "one")
                #expect(answer.status == 200, "\(answer.text)")
            }
            /// Clients by face; who only scrapes is none of them.
            func attached() throws -> [String] {
                try broker.curl("/metrics").text.split(separator: "\n").map { String($0) }
                    .filter { $0.hasPrefix("sluice_connections{") && $0.contains("attached") }
            }
            let wanted = [
                #"sluice_connections{face="binary",state="attached"} 0"#,
                #"sluice_connections{face="http",state="attached"} 1"#,
            ]
            try post()
            let first = try #require(try intake())
            try eventually("nobody else is left") { try attached() == wanted }
            #expect(try broker.run("conn", "kick", "\(first)").code == 0)
            try post()
            let second = try intake()
            #expect(second != nil && second != first)
            try eventually("it counts where it did") { try attached() == wanted }
        }

        @Test(
            "a verb that does not exist is answered with those that do",
            arguments: [
                (["topic", "show", "t"], "sluice topic has: ls, info, create, set"),
                (["-s", "host:1", "conn", "list"], "sluice conn has: ls, kick"),
                (["publish"], "sluice has: serve, pub, sub"),
            ]
        )
        func verbs(words: [String], hint: String) throws {
            let outcome = try Running(Place.sluice(), words).wait()
            #expect(outcome.code == 64)
            #expect(outcome.errors.hasPrefix("error: there is no 'sluice "))
            #expect(outcome.errors.contains(hint), "\(outcome.errors)")
        }
    }
}
