import DequeModule
import SluiceCore
import SluiceNet
import SluiceWire

// Reading and writing.
extension Connector {
    /// Reads of one turn, so that one connection does not starve the others of the loop.
    private static let readsPerTurnMax = 4
    /// Bytes of one link's events before the next link has its turn.
    private static let bytesPerTurnOfLink = 65_536
    /// Bytes written in one turn.
    private static let bytesPerTurnMax = 1_048_576

    func ready(_ ready: IOEvents) {
        if ready.contains(.writable) {
            isBlocked = false
            home.markDirty(self)
        }
        if ready.contains(.readable) || ready.contains(.hangUp) { read() }
    }

    private func read() {
        for _ in 0..<Self.readsPerTurnMax {
            guard let carrier else { break }
            do throws(SystemError) {
                switch try inlet.read(from: carrier) {
                case .bytes: break
                case .wouldBlock: return publish()
                case .ended:
                    publish()
                    return lost(lossError("the broker closed the connection"))
                }
            } catch {
                publish()
                return lost(lossError("\(error)"))
            }
            session.heard(at: now)
            takeFrames()
            guard outlet.backlog <= Outlet.bytesMax else {
                publish()
                return lost(lossError("the broker asks for answers and does not read them"))
            }
            // A read that left room has taken all; what came since wakes the loop again.
            if !inlet.isFull { break }
        }
        publish()
    }

    /// Takes all whole frames out of the inlet.
    private func takeFrames() {
        guard session.state != .ended else { return inlet.discard() }
        let slab = inlet.slab
        let next = slab.withBytes { span in
            session.receive(
                span,
                from: inlet.start,
                into: &outlet.output.frames,
                events: &events
            )
        }
        inlet.advance(to: next)
        for event in events { handle(event, in: slab) }
        events.removeAll(keepingCapacity: true)
        home.markDirty(self)
    }

    /// Writes what waits; true if there is more for the next turn.
    func flush() -> Bool {
        guard let carrier, phase == .greeting || phase == .connected || phase == .closed else {
            return false
        }
        var budget = Self.bytesPerTurnMax
        while !isBlocked, budget > 0 {
            fillWithEvents()
            askForSettlement()
            let waiting = outlet.backlog
            guard waiting > 0 else { break }
            do throws(SystemError) {
                isBlocked = try !outlet.send(to: carrier)
            } catch {
                lost(lossError("\(error)"))
                return false
            }
            session.said(at: now)
            budget -= waiting - outlet.backlog
        }
        if let registration {
            loop.update(registration, isBlocked ? [.readable, .writable] : .readable)
        }
        if session.state == .ended, outlet.backlog == 0 {
            lost(lossError("the connection has ended"))
            return false
        }
        return !isBlocked && (outlet.backlog > 0 || !sendQueue.isEmpty)
    }

    private func fillWithEvents() {
        while outlet.backlog < Outlet.eventBytesMax, let key = sendQueue.popFirst() {
            let hasMore = session.writeEvents(
                key,
                room: Self.bytesPerTurnOfLink,
                into: &outlet.output
            )
            sources[key]?.isQueued = hasMore
            if hasMore { sendQueue.append(key) }
            refresh(key, granted: 0)
        }
    }

    private func lossError(_ text: String) -> ClientError {
        guard let word = lastWord else { return ClientError(.connectionLost, text) }
        let code: ClientError.Code =
            switch word.ending {
            case .refused: .refused
            case .byBroker: .connectionLost
            case .byClient: word.close.code == .idle ? .connectionLost : .protocolViolated
            }
        return ClientError(
            code,
            close: word.close.code,
            reason: word.close.reason,
            retryMilliseconds: word.close.retryMilliseconds
        )
    }

    /// Hands the items of this turn to their subscriptions.
    private func publish() {
        for key in touched {
            guard let items = sinks[key]?.items, let core = sinks[key]?.core else { continue }
            sinks[key]?.items.removeAll(keepingCapacity: true)
            let ask = core.publish(items, session[key])
            wish(key, ask.events)
            if ask.bytes > 0 { askBytes(key, ask.bytes) }
            grantWish(key)
        }
        touched.removeAll(keepingCapacity: true)
    }

    func scheduleKeepalive() {
        let seconds = Int64(max(1, session.keepaliveSeconds / 2))
        keepalive = loop.schedule(after: .seconds(seconds)) { [weak self] in
            guard let self, phase == .connected else { return }
            guard session.state != .ended else {
                // The last word cannot be written: the broker does not read.
                return lost(lossError("the connection has ended"))
            }
            session.tick(at: now, into: &outlet.output.frames, events: &events)
            for event in events { handle(event, in: inlet.slab) }
            events.removeAll(keepingCapacity: true)
            home.markDirty(self)
            scheduleKeepalive()
        }
    }
}
