import Logging
import SluiceCore
import SluiceEngine
import SluiceWire
import Testing

/// Engines of one broker whose messages a test delivers by hand.
final class EngineHouse {
    let engines: [Engine]
    /// What is on its way, by sender and receiver.
    private var post: [[[[Message]]]]

    init(_ count: Int = 2, _ configure: (inout EngineConfiguration) -> Void = { _ in }) {
        var configuration = EngineConfiguration()
        configure(&configuration)
        let census = Census()
        engines = (0..<count).map { index in
            Engine(
                configuration: configuration,
                logger: Logger(label: "house", factory: { _ in SwiftLogNoOpLogHandler() }),
                now: Instant(nanoseconds: 0),
                place: Place(index: index, of: count, census: census)
            )
        }
        post = Array(repeating: Array(repeating: [], count: count), count: count)
    }

    /// A topic that lives on the engine.
    func topic(on engine: Int) -> String {
        let names = (0...).lazy.map { "t\($0)" }
        return names.first { self.engines[0].place.home(of: Name($0)) == engine } ?? ""
    }

    func connect(at engine: Int, _ name: String = "c") -> (peer: Listener, session: Session) {
        let peer = Listener()
        let session = engines[engine].connect(name: name, peerAddress: "test", peer: peer)
        return (peer, session)
    }

    /// Lets one engine work; what it says to the others is then on its way.
    func turn(_ engine: Int) {
        while engines[engine].turn() {}
        engines[engine].sendPost { other, messages in post[engine][other].append(messages) }
    }

    /// Whether a message is on its way from one engine to another.
    func isUnderWay(from sender: Int, to receiver: Int) -> Bool {
        !post[sender][receiver].isEmpty
    }

    /// Delivers the oldest batch from one engine to another; false if there is none.
    @discardableResult
    func deliver(from sender: Int, to receiver: Int) -> Bool {
        guard !post[sender][receiver].isEmpty else { return false }
        let messages = post[sender][receiver].removeFirst()
        engines[receiver].receive(messages, from: sender)
        return true
    }

    /// Lets all work and delivers until nothing moves.
    func settle() {
        var moved = true
        while moved {
            moved = false
            for engine in engines.indices { turn(engine) }
            for sender in engines.indices {
                for receiver in engines.indices {
                    while deliver(from: sender, to: receiver) { moved = true }
                }
            }
        }
    }

    /// The engine's own account of a topic's link, as inspection tells it.
    func links(of topic: String) throws -> [Snapshot.Link] {
        try documents("$sys/links/\(topic)", as: Snapshot.Link.self)
    }

    func documents<Document: Decodable>(
        _ topic: String,
        as type: Document.Type,
        at engine: Int = 0
    ) throws -> [Document] {
        let (peer, session) = connect(at: engine, "inspector")
        peer.onDeliver = { self.engines[engine].wrote(session, $0, bytes: $1) }
        var open = Open(role: .sink, topic: topic)
        open.demandEvents = 1_000
        engines[engine].open(session, 1, open)
        settle()
        defer {
            engines[engine].end(session)
            settle()
        }
        return try peer.documents(as: type)
    }
}
