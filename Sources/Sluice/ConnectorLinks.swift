import Dispatch
import SluiceCore
import SluiceNet
import SluiceWire

// What programs want; each may be called from anywhere.
extension Connector {
    func open(_ core: SubscriptionCore) {
        home.perform { [self] in
            guard phase != .closed else { return core.finish(.closed, nil) }
            let most = session.demandMax
            let first = core.firstAsk
            let key = session.open(
                core.open,
                asking: UInt32(min(first.events, most)),
                bytes: UInt32(clamping: first.bytes),
                into: &outlet.output.frames
            )
            core.key = key
            core.asked(min(first.events, most))
            sinks[key] = Sink(core: core, wish: first.events - min(first.events, most))
            wake()
            home.markDirty(self)
        }
    }

    func ask(_ core: SubscriptionCore, events: UInt64, bytes: UInt64) {
        home.perform { [self] in
            guard let key = core.key, sinks[key] != nil else { return }
            wish(key, events)
            if bytes > 0 { askBytes(key, bytes) }
            grantWish(key)
            home.markDirty(self)
        }
    }

    /// Adds to what the program wished; more than can be counted is all there is.
    func wish(_ key: LinkKey, _ events: UInt64) {
        guard let sum = sinks[key]?.wish.addingReportingOverflow(events) else { return }
        sinks[key]?.wish = sum.overflow ? .max : sum.partialValue
    }

    func askBytes(_ key: LinkKey, _ bytes: UInt64) {
        session.ask(key, events: 0, bytes: UInt32(clamping: bytes), into: &outlet.output.frames)
    }

    /// Asks for what the program wished, as far as the broker lets it be outstanding.
    func grantWish(_ key: LinkKey) {
        guard let wish = sinks[key]?.wish, wish > 0, let ledger = session[key]?.ledger else {
            return
        }
        let count = min(wish, session.demandMax - min(session.demandMax, ledger.credit))
        guard count > 0 else { return }
        sinks[key]?.wish -= count
        sinks[key]?.core.asked(count)
        session.ask(key, events: UInt32(count), into: &outlet.output.frames)
    }

    /// Ends a subscription by DRAIN or STOP; on a link that is not opened STOP waits for nothing.
    func end(_ core: SubscriptionCore, _ flags: AskFlags) {
        home.perform { [self] in
            guard let key = core.key, sinks[key] != nil else { return }
            sinks[key]?.wish = 0
            if flags.contains(.stop) {
                sinks[key]?.isStopping = true
                guard phase == .connected, session.state == .open,
                    session[key]?.state != .planned
                else { return end(key) }
            }
            session.ask(key, events: 0, flags: flags, into: &outlet.output.frames)
            home.markDirty(self)
        }
    }

    func open(_ core: ProducerCore, _ open: Open) {
        home.perform { [self] in
            guard phase != .closed else { return core.finish(.closed) }
            let key = session.open(open, into: &outlet.output.frames)
            core.key = key
            sources[key] = Source(core: core)
            wake()
            home.markDirty(self)
            // It may have been closed before the loop heard of it.
            sources[key]?.isClosing = core.isClosing
            closeIfDone(key)
        }
    }

    /// Takes over what `send` has brought and tells the broker what still waits.
    func pump(_ core: ProducerCore) {
        home.perform { [self] in takeOver(core) }
    }

    /// Ends a producer's link as soon as all is confirmed.
    func close(_ core: ProducerCore) {
        home.perform { [self] in
            guard let key = core.key, sources[key] != nil else { return }
            sources[key]?.isClosing = true
            session.announce(key, waiting: 0, into: &outlet.output.frames)
            closeIfDone(key)
            home.markDirty(self)
        }
    }

    /// Ends a producer's link though not all is confirmed.
    func abandon(_ core: ProducerCore) {
        home.perform { [self] in
            guard let key = core.key, sources.removeValue(forKey: key) != nil else { return }
            session.close(key, Close(.cancelled), into: &outlet.output.frames)
            core.finish(ClientError(.cancelled, "closed before all events were confirmed"))
            home.markDirty(self)
            checkClosed()
        }
    }

    /// Keeps the connection up; answers with a failure when it is given up or the client closed.
    func keepUp(_ answer: Answer<Void>) {
        home.perform { [self] in
            guard phase != .closed else { return answer.give(.failure(.closed)) }
            isWanted = true
            keepers.append(answer)
            wake()
        }
    }

    func connect(_ answer: Answer<Void>) {
        home.perform { [self] in
            switch phase {
            case .connected: answer.give(.success(()))
            case .closed: answer.give(.failure(.closed))
            case .idle, .connecting, .greeting, .waiting:
                waiters.append(answer)
                wake()
            }
        }
    }

    func ping(_ answer: Answer<Duration>) {
        home.perform { [self] in
            guard phase == .connected else {
                return answer.give(.failure(ClientError(.connectionLost, "not connected")))
            }
            sendPing()
            pings[lastPing] = answer
            home.markDirty(self)
        }
    }

    /// Has the broker settle at once what was sent: it would wait a moment for more.
    func hurrySettlement() {
        home.perform { [self] in
            isSettlementDue = true
            home.markDirty(self)
        }
    }
}

// What follows is for the loop only.
extension Connector {
    private func sendPing() {
        lastPing = max(lastPing + 1, DispatchTime.now().uptimeNanoseconds)
        session.ping(lastPing, into: &outlet.output.frames)
    }

    /// Asks for what is settled, behind the events and marks that were written.
    func askForSettlement() {
        guard isSettlementDue || session.isPingDue, phase == .connected else { return }
        isSettlementDue = false
        sendPing()
    }

    /// Ends a subscription at once.
    func end(_ key: LinkKey) {
        guard let sink = sinks.removeValue(forKey: key) else { return }
        let link = session[key]
        session.close(key, sink.core.farewell?.close ?? Close(.normal), into: &outlet.output.frames)
        sink.core.publish(sink.items, link)
        sink.core.finish(nil, link)
        refusals[key] = nil
        checkClosed()
    }

    /// Tells a producer where its link's account stands, and takes over what may go now.
    func refresh(_ key: LinkKey, granted: UInt64) {
        guard let core = sources[key]?.core else { return }
        // The copy of the link ends here: its queues would be copied with the next change.
        let hasMore = session[key].map { core.update($0, granted: granted) }
        if hasMore == true { takeOver(core) }
    }

    private func takeOver(_ core: ProducerCore) {
        let (outgoing, waiting) = core.takeQueue()
        guard let key = core.key, sources[key] != nil else { return }
        for item in outgoing {
            switch item {
            case .run(let run): session.enqueue(run, on: key)
            case .mark(let mark): session.enqueue(mark, on: key)
            }
        }
        session.announce(key, waiting: waiting, into: &outlet.output.frames)
        queue(key)
    }

    /// Puts a producer's link among those that may have something to send.
    func queue(_ key: LinkKey) {
        guard let isQueued = sources[key]?.isQueued else { return }
        if !isQueued {
            sources[key]?.isQueued = true
            sendQueue.append(key)
        }
        home.markDirty(self)
    }

    func closeIfDone(_ key: LinkKey) {
        guard let source = sources[key], source.isClosing, source.core.isDone else { return }
        sources[key] = nil
        session.close(key, into: &outlet.output.frames)
        source.core.finish(nil)
        home.markDirty(self)
        checkClosed()
    }

    /// Tells those who wait for the end of all links.
    func checkClosed() {
        guard !closeWaiters.isEmpty, sinks.isEmpty, sources.isEmpty else { return }
        let waiters = closeWaiters
        closeWaiters = []
        for waiter in waiters { waiter.give(.success(())) }
    }
}

// MARK: - The end

extension Connector {
    /// Drains all links; `answer` is given when none is left or the time is over.
    func drain(_ answer: Answer<Void>) {
        home.perform { [self] in
            isWanted = false
            closeWaiters.append(answer)
            for sink in sinks.values { sink.core.end(.stop) }
            for source in sources.values { source.core.beginClose() }
            checkClosed()
            loop.schedule(after: configuration.drainTimeout) {
                answer.give(.failure(ClientError(.timedOut, "links were left undrained")))
            }
        }
    }

    /// Says good-bye and closes the connection; what is left of links ends.
    func shutDown(_ answer: Answer<Void>) {
        home.perform { [self] in
            guard phase != .closed else { return answer.give(.success(())) }
            let isConnected = phase == .connected
            phase = .closed
            if isConnected {
                session.finish(into: &outlet.output.frames)
                _ = flush()
            }
            drop()
            giveUp(.closed)
            phase = .closed
            answer.give(.success(()))
        }
    }
}
