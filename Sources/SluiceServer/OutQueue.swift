import DequeModule
package import Glibc
package import SluiceCore
import SluiceNet
package import SluiceWire

/// What a connection has to write, in the order of the protocol.
///
/// Urgent frames overtake everything but the frame that is half written. EVENTS, gaps, STATUS and
/// graceful CLOSE keep their order. Records are sent from the slabs that they arrived in.
// eventBytes = Σ windowBytes of the pieces
package struct OutQueue {
    private struct Piece {
        /// Nil if the bytes lie in `heads`.
        var slab: Slab?
        var start: UInt32
        var end: UInt32
        var link: UInt32
        /// What the link's window gets back when the piece is written.
        var windowBytes: UInt32 = 0
        var endsFrame = true
        var isUrgent = false
        /// Whether others hold the slab too, so that the piece pins more than its bytes.
        var isShared = false
        /// A STATUS that is encoded when its turn comes, so that the latest wins.
        var isStatus = false

        var byteCount: Int { Int(end - start) }
    }

    private struct WaitingStatus {
        var status: Status
        /// Whether nothing of its link has come behind it.
        var isLast = true
    }

    /// Frames that overtake events; they join the queue at the next flush.
    package var urgent = FrameWriter()
    private var heads = FrameWriter()
    private var pieces = Deque<Piece>()
    private var statuses: [UInt32: WaitingStatus] = [:]
    private var settlements: [(link: UInt32, settlement: Settlement)] = []
    /// Where the last settlement of each link stands, once there is more than one link.
    private var lastSettlements: [UInt32: Int] = [:]
    private var pong: UInt64?
    /// Bytes of the first piece that are written already.
    private var written = 0
    private var isMidFrame = false
    package private(set) var eventBytes = 0
    /// Bytes of urgent frames in the queue.
    package private(set) var urgentBytes = 0

    package init() {}

    package var isEmpty: Bool {
        pieces.isEmpty && urgent.bytes.isEmpty && settlements.isEmpty && pong == nil
    }

    /// Bytes that replies take up, by which reading is stopped.
    package var replyBytes: Int { urgentBytes + urgent.bytes.count }
}

// MARK: - Filling

extension OutQueue {
    package mutating func answer(ping opaque: UInt64) { pong = opaque }

    /// Adds a settlement; neighbours become one.
    package mutating func settle(_ link: UInt32, _ settlement: Settlement) {
        if let index = lastSettlement(of: link) {
            var last = settlements[index].settlement
            let (count, overflow) = last.count.addingReportingOverflow(settlement.count)
            if last.outcome == settlement.outcome, last.argument == settlement.argument,
                last.from + UInt64(last.count) == settlement.from, !overflow
            {
                last.count = count
                settlements[index].settlement = last
                return
            }
        }
        settlements.append((link, settlement))
        guard settlements[0].link != link || !lastSettlements.isEmpty else { return }
        if lastSettlements.isEmpty { noteLastSettlements() }
        lastSettlements[link] = settlements.count - 1
    }

    private func lastSettlement(of link: UInt32) -> Int? {
        guard lastSettlements.isEmpty else { return lastSettlements[link] }
        return settlements.last?.link == link ? settlements.count - 1 : nil
    }

    private mutating func noteLastSettlements() {
        for (index, entry) in settlements.enumerated() { lastSettlements[entry.link] = index }
    }

    private mutating func forgetSettlements(of link: UInt32) {
        guard !settlements.isEmpty else { return }
        settlements.removeAll { $0.link == link }
        guard !lastSettlements.isEmpty else { return }
        lastSettlements.removeAll(keepingCapacity: true)
        noteLastSettlements()
    }

    /// Adds a STATUS behind all that its link has waiting; it takes over the flags of an older one.
    package mutating func say(_ status: Status, link: UInt32) {
        let piece = Piece(slab: nil, start: 0, end: 0, link: link, isStatus: true)
        guard let older = statuses[link] else {
            statuses[link] = WaitingStatus(status: status)
            pieces.append(piece)
            return
        }
        var latest = status
        latest.isDrained = latest.isDrained || older.status.isDrained
        latest.isEcho = latest.isEcho || older.status.isEcho
        latest.echo = max(latest.echo, older.status.echo)
        statuses[link] = WaitingStatus(status: latest)
        guard !older.isLast else { return }
        pieces.removeAll { $0.isStatus && $0.link == link }
        pieces.append(piece)
    }

    /// Adds a frame that keeps its place behind what its link has waiting.
    package mutating func append(
        link: UInt32,
        window: Int = 0,
        _ write: (inout FrameWriter) -> Void
    ) {
        let start = heads.bytes.count
        write(&heads)
        pieces.append(
            Piece(
                slab: nil,
                start: UInt32(start),
                end: UInt32(heads.bytes.count),
                link: link,
                windowBytes: UInt32(window)
            )
        )
        eventBytes += window
        statusIsOvertaken(of: link)
    }

    /// What joins the queue now comes behind the STATUS that its link has waiting.
    private mutating func statusIsOvertaken(of link: UInt32) {
        if !statuses.isEmpty { statuses[link]?.isLast = false }
    }

    /// Adds EVENTS; its records stay in their slabs.
    package mutating func append(
        link: UInt32,
        firstSequence: UInt64,
        runs: ArraySlice<Run>,
        bytes: Int
    ) {
        var start = heads.bytes.count
        heads.appendEventsHead(
            link: link,
            firstSequence: firstSequence,
            runs: runs.count,
            recordBytes: bytes
        )
        for (index, run) in runs.enumerated() {
            heads.appendRunHead(
                RunHeader(
                    count: run.count,
                    length: UInt32(run.byteCount),
                    offset: run.offset,
                    time: run.time,
                    attempt: run.attempt
                )
            )
            let end = heads.bytes.count
            pieces.append(
                Piece(
                    slab: nil,
                    start: UInt32(start),
                    end: UInt32(end),
                    link: link,
                    endsFrame: false
                )
            )
            start = end
            let isLast = index == runs.count - 1
            pieces.append(
                Piece(
                    slab: run.slab,
                    start: run.start,
                    end: run.end,
                    link: link,
                    windowBytes: UInt32(run.byteCount),
                    endsFrame: isLast,
                    isShared: true
                )
            )
        }
        eventBytes += bytes
        statusIsOvertaken(of: link)
    }

    /// Drops what waits for a link that has ended, but for a frame that is half written.
    package mutating func drop(link: UInt32) {
        forgetSettlements(of: link)
        dropPieces { $0.link == link }
    }

    /// Keeps of what waits only replies and a frame that is half written: the connection ends.
    package mutating func dropEvents() {
        encodeReplies()
        dropPieces { _ in true }
    }

    /// Says what became of a link's events while the link is still there.
    package mutating func settleNow(link: UInt32) {
        for (owner, settlement) in settlements where owner == link {
            urgent.append(settlement, link: link)
        }
        forgetSettlements(of: link)
    }

    private mutating func dropPieces(where isDoomed: (Piece) -> Bool) {
        guard pieces.contains(where: isDoomed) else { return }
        var kept = Deque<Piece>()
        var isProtected = isMidFrame
        for piece in pieces {
            if isProtected || piece.isUrgent || !isDoomed(piece) {
                kept.append(piece)
            } else {
                eventBytes -= Int(piece.windowBytes)
                if piece.isStatus { statuses[piece.link] = nil }
            }
            if piece.endsFrame { isProtected = false }
        }
        pieces = kept
    }

    /// Copies what waits into memory of its own, so that it pins no slab that is shared.
    package mutating func unpin() {
        let bytes = pieces.reduce(0) { $0 + ($1.isShared ? $1.byteCount : 0) }
        guard bytes > 0 else { return }
        let own = Slab(capacity: bytes)
        for index in pieces.indices where pieces[index].isShared {
            guard let slab = pieces[index].slab else { continue }
            let range = Int(pieces[index].start)..<Int(pieces[index].end)
            let place = slab.withBytes { own.append($0.extracting(range)) }
            pieces[index].slab = own
            pieces[index].isShared = false
            pieces[index].start = UInt32(place.lowerBound)
            pieces[index].end = UInt32(place.upperBound)
        }
    }
}

// MARK: - Emptying

extension OutQueue {
    /// Vectors and bytes of one system call.
    private static let vectorsMax = 256
    private static let callBytesMax = 1_048_576
    /// Bytes of heads up to which their memory is kept for the next flush.
    private static let keptBytesMax = 16_384

    /// What a write came to.
    package enum Sent {
        case bytes(Int)
        /// Nothing more is taken now.
        case wouldBlock
        /// Nothing will be taken any more.
        case failed
    }

    /// What a flush came to.
    package struct Outcome {
        package var isBlocked = false
        package var hasFailed = false
        package var byteCount = 0

        package init(isBlocked: Bool = false, byteCount: Int = 0) {
            self.isBlocked = isBlocked
            self.byteCount = byteCount
        }
    }

    /// What a flush works with; all queues of a loop share it.
    package struct Scratch {
        var vectors: [iovec] = []
        /// Window bytes that links get back.
        package fileprivate(set) var credits: [(link: UInt32, bytes: Int)] = []

        package init() {}
    }

    /// Writes as much as `send` takes.
    package mutating func flush(
        _ scratch: inout Scratch,
        _ send: (UnsafeBufferPointer<iovec>) -> Sent
    ) -> Outcome {
        var outcome = Outcome()
        scratch.credits.removeAll(keepingCapacity: true)
        queueUrgent()
        while !pieces.isEmpty, !outcome.isBlocked, !outcome.hasFailed {
            encodeStatuses()
            collect(&scratch.vectors)
            switch scratch.vectors.withUnsafeBufferPointer(send) {
            case .bytes(let count):
                outcome.byteCount += count
                consume(count, &scratch.credits)
            case .wouldBlock: outcome.isBlocked = true
            case .failed: outcome.hasFailed = true
            }
        }
        if pieces.isEmpty {
            if heads.bytes.count > Self.keptBytesMax { release() }
            heads.removeAll()
            pieces.removeAll(keepingCapacity: true)
        } else if heads.bytes.count > Self.callBytesMax {
            compactHeads()
        }
        return outcome
    }

    /// Gives back memory that an empty queue keeps for what comes next.
    package mutating func release() {
        guard isEmpty else { return }
        _ = heads.take()
        _ = urgent.take()
        pieces = []
        settlements = []
        lastSettlements = [:]
    }

    private mutating func encodeReplies() {
        if !settlements.isEmpty {
            for (link, settlement) in settlements { urgent.append(settlement, link: link) }
            settlements.removeAll(keepingCapacity: true)
            if !lastSettlements.isEmpty { lastSettlements.removeAll(keepingCapacity: true) }
        }
        if let pong { urgent.append(Ping(opaque: pong, isAnswer: true)) }
        pong = nil
    }

    /// Turns what overtakes into a piece before all that may be overtaken.
    private mutating func queueUrgent() {
        encodeReplies()
        guard !urgent.bytes.isEmpty else { return }
        let start = heads.bytes.count
        heads.append(urgent)
        urgent.removeAll()
        let piece = Piece(
            slab: nil,
            start: UInt32(start),
            end: UInt32(heads.bytes.count),
            link: 0,
            isUrgent: true
        )
        urgentBytes += piece.byteCount
        var place = 0
        if isMidFrame { place = (pieces.firstIndex { $0.endsFrame } ?? -1) + 1 }
        while place < pieces.count, pieces[place].isUrgent { place += 1 }
        if place > 0, pieces[place - 1].isUrgent, pieces[place - 1].end == piece.start {
            pieces[place - 1].end = piece.end
        } else {
            pieces.insert(piece, at: place)
        }
    }

    private mutating func encodeStatuses() {
        guard !statuses.isEmpty else { return }
        for index in pieces.indices.prefix(Self.vectorsMax) where pieces[index].isStatus {
            let link = pieces[index].link
            guard let waiting = statuses.removeValue(forKey: link) else { continue }
            pieces[index].isStatus = false
            pieces[index].start = UInt32(heads.bytes.count)
            heads.append(waiting.status, link: link)
            pieces[index].end = UInt32(heads.bytes.count)
        }
    }

    private func collect(_ vectors: inout [iovec]) {
        vectors.removeAll(keepingCapacity: true)
        var total = 0
        heads.bytes.withUnsafeBytes { heads in
            // By index: to walk over the pieces copies them.
            for index in 0..<min(pieces.count, Self.vectorsMax) where total < Self.callBytesMax {
                let range = Int(pieces[index].start)..<Int(pieces[index].end)
                let base =
                    pieces[index].slab?.withUnsafeBytes(range) { $0.baseAddress }
                    ?? UnsafeRawBufferPointer(rebasing: heads[range]).baseAddress
                vectors.append(
                    iovec(
                        iov_base: UnsafeMutableRawPointer(mutating: base),
                        iov_len: range.count
                    )
                )
                total += range.count
            }
        }
        // Addresses into slabs and into `heads` hold until either is changed, after the call.
        vectors[0].iov_base = vectors[0].iov_base.map { $0 + written }
        vectors[0].iov_len -= written
    }

    private mutating func consume(
        _ sent: Int,
        _ credits: inout [(link: UInt32, bytes: Int)]
    ) {
        var left = sent
        var gone = 0
        defer { pieces.removeFirst(gone) }
        while left > 0 {
            let size = pieces[gone].byteCount
            guard left >= size - written else {
                written += left
                isMidFrame = true
                return
            }
            left -= size - written
            written = 0
            isMidFrame = !pieces[gone].endsFrame
            if pieces[gone].isUrgent { urgentBytes -= size }
            let window = Int(pieces[gone].windowBytes)
            let link = pieces[gone].link
            gone += 1
            guard window > 0 else { continue }
            eventBytes -= window
            if let last = credits.last, last.link == link {
                credits[credits.count - 1].bytes += window
            } else {
                credits.append((link, window))
            }
        }
    }

    private mutating func compactHeads() {
        var fresh = FrameWriter()
        let old = heads.take()
        for index in pieces.indices where pieces[index].slab == nil && !pieces[index].isStatus {
            let range = Int(pieces[index].start)..<Int(pieces[index].end)
            pieces[index].start = UInt32(fresh.bytes.count)
            fresh.append(records: old.span.bytes.extracting(range))
            pieces[index].end = UInt32(fresh.bytes.count)
        }
        heads = fresh
    }
}
