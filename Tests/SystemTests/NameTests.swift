import Foundation
import Testing

extension SystemTests {
    @Suite("Names that look alike, over HTTP")
    struct NameTests {
        @Test(
            "are two topics and two groups, with any number of shards",
            .timeLimit(.minutes(1)),
            arguments: Broker.shardCounts
        )
        func apart(shards: Int) throws {
            let broker = try Broker.withHTTP(shards: shards)
            // The same word, with one character for its last letter and with two.
            let names = ["caf%C3%A9", "cafe%CC%81"]
            for (index, name) in names.enumerated() {
                let path = "/v1/topics/\(name)/events"
                let answer = try broker.curl(path, "--data-binary", "only \(index)")
                #expect(try answer.decoded(Taken.self).offset == 0)
            }
            for (index, topic) in names.enumerated() {
                let path = "/v1/topics/\(topic)/events?demand=9&group="
                let shown = try names.map { group in
                    try broker.curl(path + group).decoded([Shown].self).map(\.payload)
                }
                // A group begins behind what others had.
                #expect(shown == [["only \(index)"], []])
                let groups = try broker.curl("/v1/topics/\(topic)/groups").text
                #expect(groups.components(separatedBy: "\"group\":").count == 3)
            }
            let topics = try broker.curl("/v1/topics").text
            #expect(topics.components(separatedBy: "\"topic\":").count == 3)
        }
    }
}
