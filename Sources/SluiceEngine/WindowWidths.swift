import SluiceCore

/// Bytes of the write windows of a connection's links.
package struct WindowWidths: Equatable, Sendable {
    package var bytes: Int
    /// That of a link whose events cross from one shard to another, where batches join on the way.
    package var crossing: Int

    package init(_ bytes: Int, crossing: Int? = nil) {
        self.bytes = bytes
        self.crossing = crossing ?? bytes
    }
}

extension Engine {
    /// How much of the events of each of the session's links may wait to be written.
    package func setWindows(of session: Session, _ widths: WindowWidths) {
        session.widths = (widths, since: windowChanges)
        for link in session.links { setWindow(of: session, link, widths) }
    }

    /// How much of each link's events may wait to be written.
    ///
    /// A topic's links are told when it is worked on next: one that waits for room has bytes under
    /// way, and is worked on when they are written.
    package func setWindows(bytes: Int) {
        windowBytes = bytes
        windowChanges += 1
        setRemoteWindows(bytes: bytes)
    }

    /// Tells a topic's links how wide windows are, if that has changed meanwhile.
    @inline(__always)
    func catchUp(_ box: TopicBox) {
        if box.windowChanges != windowChanges { tellWindows(box) }
    }

    /// Tells the links that clients here have on a topic how wide their windows are now.
    func tellWindows(_ box: TopicBox) {
        box.windowChanges = windowChanges
        for case let owner? in box.owners where owner.session.home == nil {
            var bytes = windowBytes
            // What its connection has said holds until something was said to all.
            if let (widths, since) = owner.session.widths, since == windowChanges {
                bytes = box.window(of: widths)
            }
            apply(.window(owner.id, bytes: bytes), to: box)
        }
    }

    /// The write window of a link that opens: what the loop that writes for its client allows.
    func firstWindow(of session: Session) -> Int {
        session.home.map { exchange.windowBytes[$0] } ?? windowBytes
    }
}

// MARK: - Links that cross

extension Engine {
    func setWindow(of session: Session, _ link: SessionLink, _ widths: WindowWidths) {
        switch link.target {
        case .topic(let box, let id): apply(.window(id, bytes: box.window(of: widths)), to: box)
        case .remote(let remote):
            remote.window = widths.crossing
            post(.window(session.number, link.id, bytes: widths.crossing), to: remote.engine)
        case .inspection, .control: break
        }
    }

    func setWindow(of guest: Session, _ link: UInt32, bytes: Int) {
        guard let link = guest.link(link) else { return }
        setWindow(of: guest, link, WindowWidths(bytes))
    }

    private func setRemoteWindows(bytes: Int) {
        for session in exchange.travellers.values {
            for case .remote(let remote) in session.links.lazy.map(\.target) {
                remote.window = bytes
            }
        }
        for engine in 0..<place.count where engine != place.index {
            post(.windows(bytes: bytes), to: engine)
        }
    }

    func setWindows(ofGuestsFrom home: Int, bytes: Int) {
        exchange.windowBytes[home] = bytes
        for session in exchange.guests.values where session.home == home {
            for link in session.links { setWindow(of: session, link, WindowWidths(bytes)) }
        }
    }
}
