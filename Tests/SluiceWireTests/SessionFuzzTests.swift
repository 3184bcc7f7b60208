import SluiceCore
import SluiceTestKit
import SluiceWire
import Testing

/// What the session should hold, kept in the plainest way.
private struct Model {
    enum Link {
        case open
        case closing
        case closed
    }

    var links: [UInt32: Link] = [:]
    var isEnded = false

    var count: Int { links.values.count { $0 != .closed } }
}

@Suite("Fuzz: whole sessions")
struct SessionFuzzTests {
    static let streams = max(400, DecoderFuzzTests.cases / 100)

    @Test("random streams end in actions and violations with known codes, and links add up")
    func streams() throws {
        var random = SeededGenerator.replayable("random streams")
        var frames = 0
        var actions = 0
        for _ in 0..<Self.streams {
            var session = ServerSession()
            var model = Model()
            try Self.feed(Self.hello(), to: &session, &model)
            for _ in 0..<Int.random(in: 1...60, using: &random) {
                let bytes = Self.frame(model, using: &random)
                if try Self.feed(bytes, to: &session, &model) { actions += 1 }
                frames += 1
                Self.act(on: &session, &model, using: &random)
            }
            #expect(session.isOpen == !model.isEnded)
            let left = session.detach()
            #expect(left.ids == left.ids.sorted() && Set(left.ids).count == left.count)
        }
        // Most frames have to get past the door, or the test tests nothing behind it.
        #expect(actions > frames / 4, "\(actions) actions of \(frames) frames")
    }

    @Test("random bytes from the first on are refused without a trap")
    func noise() {
        var random = SeededGenerator.replayable("noise")
        for _ in 0..<Self.streams {
            var session = ServerSession()
            let bytes = (0..<64).map { _ in UInt8.random(in: 0...255, using: &random) }
            let span = bytes.span.bytes
            guard let header = FrameHeader.decode(from: span, at: 0) else { continue }
            #expect(throws: Violation.self) {
                try session.check(header)
            }
            #expect(!session.isOpen)
        }
    }

    private static func hello() -> [UInt8] {
        var writer = FrameWriter()
        writer.append(Hello())
        return writer.take()
    }

    /// Mostly what a good client could send next, sometimes anything.
    private static func frame(_ model: Model, using random: inout SeededGenerator) -> [UInt8] {
        let highest = min(model.links.keys.max() ?? 0, 1 << 20)
        let anyLink = UInt32.random(in: 1...(highest + 1), using: &random)
        let link =
            Int.random(in: 0..<40, using: &random) == 0
            ? anyLink : model.links.keys.sorted().randomElement(using: &random) ?? anyLink
        // The id tells the role, so that a frame mostly suits its link.
        let isSink = link.isMultiple(of: 2) != (Int.random(in: 0..<60, using: &random) == 0)
        var writer = FrameWriter()
        switch Int.random(in: 0..<(highest == 0 ? 3 : 30), using: &random) {
        case 0..<8:
            let isBad = Int.random(in: 0..<60, using: &random) == 0
            let id = isBad ? anyLink : highest + UInt32.random(in: 1...2, using: &random)
            let open = Open(role: id.isMultiple(of: 2) ? .sink : .source, topic: "t\(id)")
            writer.append(open, link: id)
        case 8..<16 where isSink: writer.append(Ask(events: 1, total: 1), link: link)
        case 8..<16: writer.append(Status(), link: link)
        case 16..<20: writer.append(Close(.normal), link: link)
        case 20 where isSink: writer.append(Settlement(from: 1, count: 1), link: link)
        case 20..<29: writer.append(Ping(opaque: 1))
        default:
            let vector = Vector.all.randomElement(using: &random)?.bytes ?? []
            guard vector.count > FrameHeader.byteCount else { return hello() }
            return DecoderFuzzTests.changed(vector, using: &random)
        }
        return writer.take()
    }

    /// Returns whether the frame became an action other than `skipped`.
    @discardableResult
    private static func feed(
        _ bytes: [UInt8],
        to session: inout ServerSession,
        _ model: inout Model
    ) throws -> Bool {
        let span = bytes.span.bytes
        guard let header = FrameHeader.decode(from: span, at: 0) else { return false }
        let wasEnded = model.isEnded
        let skipped = session.skippedFrames
        do throws(Violation) {
            var progress = ReadProgress(from: 0)
            guard let action = try session.next(in: span, &progress) else {
                Issue.record("a whole frame was not taken")
                return false
            }
            if wasEnded, action != .skipped { Issue.record("\(action) after the end") }
            if action == .skipped, session.skippedFrames != skipped + 1 {
                Issue.record("a skipped frame was not counted")
            }
            take(action, &session, &model)
            return action != .skipped
        } catch {
            if wasEnded { Issue.record("\(error) after the end") }
            if error.code.known == nil || error.text.utf8.count > Limits.reasonBytesMax {
                Issue.record("\(error) cannot be sent")
            }
            guard let link = error.link else {
                model.isEnded = true
                return false
            }
            let isOpening = header.type == FrameType.open.rawValue
            model.links[link] = isOpening ? .closed : .closing
        }
        return false
    }

    private static func take(
        _ action: ServerAction,
        _ session: inout ServerSession,
        _ model: inout Model
    ) {
        switch action {
        case .open(let id, _):
            if model.links.keys.contains(where: { $0 >= id }) { Issue.record("\(id) did not rise") }
            model.links[id] = .open
            if id.isMultiple(of: 5) {
                session.refused(id)
                model.links[id] = .closed
            } else {
                session.accepted(id)
            }
        case .demand(let id, _), .events(let id, _), .mark(let id, _, _), .status(let id, _):
            if model.links[id] != .open { Issue.record("\(action) on a link that is not open") }
        case .closed(let id, _, let needsAnswer):
            if needsAnswer != (model.links[id] == .open) { Issue.record("\(action): whose turn?") }
            model.links[id] = .closed
        case .closedConnection(let close): model.isEnded = !close.isGraceful || model.isEnded
        case .hello, .ping, .pong, .skipped: break
        }
        if session.linkCount != model.count { Issue.record("the links do not add up") }
    }

    private static func act(
        on session: inout ServerSession,
        _ model: inout Model,
        using random: inout SeededGenerator
    ) {
        guard Int.random(in: 0..<10, using: &random) == 0 else { return }
        let id = UInt32.random(in: 1...(model.links.keys.max() ?? 1), using: &random)
        let mustSend = session.closing(id)
        if mustSend != (!model.isEnded && model.links[id] == .open) {
            Issue.record("closing(\(id)) said \(mustSend)")
        }
        if mustSend { model.links[id] = .closing }
    }
}
