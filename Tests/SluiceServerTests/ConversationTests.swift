import SluiceCore
import SluiceEngine
import SluiceServer
import SluiceTestKit
import SluiceWire
import Testing

@Suite struct ConversationTests {
    @Test("There are conversations, and at least forty of them")
    func areThere() {
        #expect(Conversation.all.count >= 40)
    }

    @Test(
        "The broker says what the conversation says",
        arguments: Conversation.all,
        Arrangement.allCases
    )
    func whole(_ conversation: Conversation, _ arrangement: Arrangement) throws {
        try BrokerReplay(conversation, arrangement, piece: .max).run()
    }

    @Test(
        "It says the same when every byte comes alone",
        arguments: Conversation.all,
        Arrangement.allCases
    )
    func byteByByte(_ conversation: Conversation, _ arrangement: Arrangement) throws {
        try BrokerReplay(conversation, arrangement, piece: 1).run()
    }
}

/// Where the topic of a conversation lives, seen from the shard that accepts its client.
enum Arrangement: CaseIterable {
    /// There is only one shard.
    case alone
    /// On the other, and the client moves there.
    case moved
    /// On the other, and the client stays.
    case remote

    func bench(for conversation: Conversation) -> PeerBench {
        guard self != .alone else { return PeerBench() }
        let topics = conversation.lines.lazy.compactMap { line in
            if case .client(let sentence, _) = line.step { sentence.fields["topic"] } else { nil }
        }
        let topic = topics.first { !$0.hasPrefix("$") } ?? ""
        let home = Place(index: 0, of: 2, census: Census()).home(of: Name(topic))
        return PeerBench(shards: 2, accepting: 1 - home) { $0.movesClients = self == .moved }
    }
}

/// Plays the client of a conversation to a broker, and holds its answers against the lines.
private final class BrokerReplay {
    private let conversation: Conversation
    private let piece: Int
    private let bench: PeerBench
    private var client: BenchClient
    private var expected: [Sentence] = []
    private var line = 0
    /// Values that `*` stands for.
    private var bound: [String: String] = [:]

    init(_ conversation: Conversation, _ arrangement: Arrangement, piece: Int) {
        self.conversation = conversation
        self.piece = piece
        bench = arrangement.bench(for: conversation)
        client = bench.connect()
    }

    private var place: String { "\(conversation.name):\(line)" }

    func run() throws {
        for line in conversation.lines {
            switch line.step {
            case .broker(let sentence): expected.append(sentence)
            case .client(let sentence, _):
                compare()
                self.line = line.number
                if !line.isLost { send(try bind(sentence).encoded()) }
            case .bytes(let bytes):
                compare()
                self.line = line.number
                send(bytes)
            case .brokerCloses:
                compare()
                #expect(client.isEnded, "\(place): the broker closes")
            case .clientCloses, .cut:
                compare()
                self.line = line.number
                client.peer.lost()
                client = bench.connect()
            }
        }
        compare()
    }

    private func send(_ bytes: [UInt8]) {
        for start in stride(from: 0, to: bytes.count, by: min(piece, bytes.count)) {
            client.send(Array(bytes[start..<min(bytes.count, start + min(piece, bytes.count))]))
            client.run()
        }
    }

    private func bind(_ sentence: Sentence) -> Sentence {
        var sentence = sentence
        if sentence.fields["session"] == "last" { sentence.fields["session"] = bound["session"] }
        for (name, value) in sentence.fields where value == "*" {
            sentence.fields[name] = bound["\(sentence.link) \(name)"]
        }
        return sentence
    }

    /// Compares what came since the last line of the client, link by link.
    private func compare() {
        let said = client.take()
        for sentence in said {
            if sentence.type == "WELCOME" { bound["session"] = sentence.fields["session"] }
            for (name, value) in sentence.fields { bound["\(sentence.link) \(name)"] = value }
            if sentence.type == "DEMAND" {
                bound["\(sentence.link) asked_bytes"] = sentence.fields["bytes_total"]
            }
        }
        let lanes = Set((said + expected).map(\.lane)).sorted()
        for lane in lanes {
            let wanted = expected.filter { $0.lane == lane }.flatMap(\.atoms)
            let found = said.filter { $0.lane == lane }.flatMap(\.atoms)
            #expect(
                wanted.count == found.count
                    && zip(wanted, found).allSatisfy { $0.matches($1) },
                """
                \(place), link and lane \(lane)
                expected \(wanted)
                said     \(found)
                """
            )
        }
        expected = []
    }
}
