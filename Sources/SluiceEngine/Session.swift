import SluiceCore
import SluiceWire

/// The name of a session, which only its client knows.
package struct SessionToken: Hashable, Sendable {
    package let high: UInt64
    package let low: UInt64

    package static func random() -> Self {
        var generator = SystemRandomNumberGenerator()
        return Self(high: generator.next(), low: generator.next())
    }

    init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Nil unless there are exactly sixteen bytes.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Limits.sessionTokenBytes else { return nil }
        high = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        low = bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
    }

    package var bytes: [UInt8] {
        [high, low].flatMap { word in
            stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> $0) }
        }
    }
}

/// The ways in to a broker.
package enum SessionFace: String, CaseIterable, Sendable {
    case binary
    case http
}

/// A client's links, which survive its connection for a while.
package final class Session {
    package let number: UInt64
    package let token: SessionToken
    package let name: String
    /// The way it came in by.
    let face: SessionFace
    package internal(set) var peerAddress: String {
        didSet { address = ClientAddress(peerAddress) }
    }
    /// Whose share of the limits it uses.
    private(set) lazy var address = ClientAddress(peerAddress)
    let since: Instant
    /// Nil while the session has no connection.
    @exclusivity(unchecked) package internal(set) var peer: (any Peer)?
    /// What the protocol knows of the links of a session without a connection.
    var table = LinkTable()
    /// Sorted by id, as ids only rise.
    @exclusivity(unchecked) var links: [SessionLink] = []
    var detachedAt: Instant?
    /// Counts the connections that were lost.
    var epoch: UInt32 = 0
    /// How wide its connection last said that windows are, and after how many changes for all.
    var widths: (WindowWidths, since: UInt64)?
    /// Whether it never opened a link, so that it may still move to another engine.
    var isFresh = true
    /// Whether other engines work for it, and those on which it has opened links.
    var isAbroad = false
    var visited: [Int] = []
    /// The engine of the client if that is not this one.
    var home: Int?
    /// Where it is, and what is counted for it and its links.
    @exclusivity(unchecked) unowned var engine: Engine

    init(
        number: UInt64,
        name: String,
        face: SessionFace,
        peerAddress: String,
        peer: any Peer,
        since: Instant,
        engine: Engine
    ) {
        self.engine = engine
        self.number = number
        self.token = .random()
        self.name = name
        self.face = face
        self.peerAddress = peerAddress
        self.peer = peer
        self.since = since
    }

    func link(_ id: UInt32) -> SessionLink? {
        links.index(of: id).map { links[$0] }
    }

    func add(_ link: SessionLink) {
        let place = links.lastIndex { $0.id < link.id }.map { $0 + 1 } ?? 0
        links.insert(link, at: place)
        engine.bookMemory(Limits.memorySessionLinkBytes)
    }

    func remove(_ id: UInt32) {
        guard let index = links.index(of: id) else { return }
        links.remove(at: index)
        engine.bookMemory(-Limits.memorySessionLinkBytes)
    }

    func removeAllLinks() {
        engine.bookMemory(-links.count * Limits.memorySessionLinkBytes)
        links = []
    }

    /// The connection of its links is lost; those that were lost before wait since then.
    func noteLoss(at now: Instant) {
        for index in links.indices where links[index].lostAt == nil { links[index].lostAt = now }
    }

    /// The client opens a link again.
    func noteReturn(of id: UInt32) {
        if let index = links.index(of: id) { links[index].lostAt = nil }
    }

    /// Whether links wait for their client.
    var hasLostLinks: Bool { links.contains { $0.lostAt != nil } }

    /// Whether links that were lost then were not opened again.
    func hasLinks(lostAt time: Instant) -> Bool { links.contains { $0.lostAt == time } }
}

/// Where a session's link leads.
struct SessionLink: LinkRecord {
    enum Target {
        case topic(TopicBox, LinkID)
        case inspection(Inspection)
        case control(ControlLink)
        case remote(RemoteLink)

        /// Whether the link waits for its client when the connection is lost.
        var isResumable: Bool {
            switch self {
            case .topic: true
            case .remote(let remote): remote.isResumable
            case .inspection, .control: false
            }
        }
    }

    let id: UInt32
    let target: Target
    /// When its connection was lost, until its client opens it again.
    var lostAt: Instant?
}

/// A topic with the owners of its links.
final class TopicBox {
    final class Owner {
        let id: LinkID
        let session: Session
        let link: UInt32
        let name: String?
        /// Whether it is a producer whose client another engine has.
        let isFeedFromAfar: Bool

        init(_ id: LinkID, session: Session, link: UInt32, _ open: Open) {
            self.id = id
            self.session = session
            self.link = link
            name = open.name
            isFeedFromAfar = open.role == .source && session.home != nil
        }
    }

    @exclusivity(unchecked) var core: Topic
    @exclusivity(unchecked) private(set) var owners: [Owner?] = []
    /// How many of them there are.
    private(set) var linkCount = 0
    private let census: Census
    /// Producers whose clients other engines have: what they send comes several batches at a time.
    private var feedsFromAfar = 0
    var isDirty = false
    /// Whether its last step was dear.
    var isDear = false
    /// Whether the engine's tick looks for recalls that are not answered in time.
    var isRecalling = false
    /// Whether the engine looks at it when its time has come.
    var isSleeping = false
    /// When the engine looks at it again, as it waits for longer than others.
    var restsUntil: Instant?
    var isRemoved = false
    /// How often the windows of all links had changed when its links were told.
    @exclusivity(unchecked) var windowChanges: UInt64
    /// Whether it ever had a link: an ephemeral topic waits for its first.
    var hadLink = false
    /// The account of the address whose OPEN made it; nil if a request did.
    let account: AddressAccount?
    /// Whether it was given settings of its own.
    var isKept = false
    /// Since when nobody uses it and it holds nothing, as far as that may end it.
    var unusedSince: Instant?
    /// Whether it stands among those that may end.
    var isLingering = false
    /// What of the broker's memory is counted for it, and how much of that is for its grants.
    @exclusivity(unchecked) var bookedBytes = 0
    @exclusivity(unchecked) var reservedBytes = 0
    /// What of the former the account of its address does not know of.
    @exclusivity(unchecked) var untoldBytes = 0
    /// Whether it waits for memory, and whether its producers hold grants without a known use.
    @exclusivity(unchecked) var isShortOfMemory = false
    /// Whether its next step may take what there is.
    @exclusivity(unchecked) var hasTurnForMemory = false
    @exclusivity(unchecked) var isHoldingUnused = false
    @exclusivity(unchecked) var latency = DispatchLatency()
    /// How fast its events go out, as far as somebody who may be read late asked.
    @exclusivity(unchecked) var pace = Pace()

    init(
        _ core: Topic,
        account: AddressAccount?,
        windowChanges: UInt64,
        census: Census
    ) {
        self.core = core
        self.account = account
        self.windowChanges = windowChanges
        self.census = census
    }

    func owner(_ id: LinkID) -> Owner? {
        Int(id.index) < owners.count ? owners[Int(id.index)] : nil
    }

    /// The window of a link on the topic.
    func window(of widths: WindowWidths) -> Int {
        feedsFromAfar > 0 ? widths.crossing : widths.bytes
    }

    func setOwner(_ owner: Owner?, of id: LinkID) {
        while owners.count <= Int(id.index) { owners.append(nil) }
        if owners[Int(id.index)]?.isFeedFromAfar == true { feedsFromAfar -= 1 }
        if owner?.isFeedFromAfar == true { feedsFromAfar += 1 }
        let change = (owner == nil ? 0 : 1) - (owners[Int(id.index)] == nil ? 0 : 1)
        if change != 0 {
            linkCount += change
            census.countLinks(change)
        }
        owners[Int(id.index)] = owner
        guard owner != nil else { return }
        hadLink = true
        unusedSince = nil
    }
}
