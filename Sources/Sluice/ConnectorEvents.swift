import Dispatch
import Logging
import SluiceCore
import SluiceNet
import SluiceWire

// What the session tells.
extension Connector {
    func handle(_ event: ClientEvent, in slab: Slab) {
        switch event {
        case .welcomed: welcomed()
        case .opened(let key, let resumed): opened(key, resumed: resumed)
        case .postponed(let key, let close): postponed(key, close)
        case .events(let key, let events): received(events, key, in: slab)
        case .gap(let key, let gap): add([.gap(EventGap(gap))], to: key)
        case .mark(let key, let mark, let offset):
            add([.mark(EventMark(mark, offset: offset))], to: key)
        case .status(let key, let status): received(status, key)
        case .drained(let key): drained(key)
        case .granted(let key, let events):
            refresh(key, granted: events)
            queue(key)
        case .recalled(let key): refresh(key, granted: 0)
        case .settled(let key, let count, let outcome, let argument):
            sources[key]?.core.settled(count, outcome, argument)
            closeIfDone(key)
        case .marksArrived(let key, let count):
            sources[key]?.core.marksArrived(count)
            refresh(key, granted: 0)
            closeIfDone(key)
        case .closed(let key, let close, let ending): closed(key, close, ending)
        case .goingAway(let close):
            logger.info("the broker is going away: \(close.reason)")
            lastWord = (close, .byBroker)
        case .pong(let opaque): answerPing(opaque)
        case .ended(let close, let ending): lastWord = (close, ending)
        }
    }

    private func welcomed() {
        phase = .connected
        failures = 0
        if let timer { loop.cancel(timer) }
        timer = nil
        scheduleKeepalive()
        let waiters = waiters
        self.waiters = []
        for waiter in waiters { waiter.give(.success(())) }
    }

    private func opened(_ key: LinkKey, resumed: Bool) {
        refusals[key] = nil
        sinks[key]?.core.opened.open()
        if resumed, let sink = sinks[key] {
            sink.core.resumed()
            if sink.items.isEmpty { touched.append(key) }
        }
        guard let source = sources[key] else { return }
        if resumed { source.core.resumed() }
        refresh(key, granted: 0)
        // Marks need no demand.
        queue(key)
        closeIfDone(key)
    }

    /// Opens the link later, as often as the policy of reconnecting allows.
    private func postponed(_ key: LinkKey, _ close: Close) {
        let count = (refusals[key] ?? 0) + 1
        if configuration.reconnect.givesUp(after: count) {
            session.close(key, into: &outlet.output.frames)
            return closed(key, close, .refused)
        }
        if sinks[key]?.isStopping == true { return end(key) }
        refusals[key] = count
        let told: Duration? =
            close.retryMilliseconds > 0 ? .milliseconds(Int64(close.retryMilliseconds)) : nil
        let pause = configuration.reconnect.delay(after: count, told: told)
        loop.schedule(after: pause) { [weak self] in
            guard let self else { return }
            session.retry(key, into: &outlet.output.frames)
            home.markDirty(self)
        }
    }

    private func received(_ events: Events, _ key: LinkKey, in slab: Slab) {
        guard case .runs(let runs) = events.content else { return }
        add(
            runs.map { run in
                .run(
                    Run(
                        slab: slab,
                        bytes: run.records,
                        count: run.header.count,
                        offset: run.header.offset,
                        time: run.header.time,
                        attempt: run.header.attempt
                    )
                )
            },
            to: key
        )
    }

    private func add(_ items: [SubscriptionCore.Item], to key: LinkKey) {
        guard let wasEmpty = sinks[key]?.items.isEmpty else { return }
        if wasEmpty { touched.append(key) }
        sinks[key]?.items.append(contentsOf: items)
    }

    private func received(_ status: Status, _ key: LinkKey) {
        guard let sink = sinks[key], let ledger = session[key]?.ledger else { return }
        sinks[key]?.available = status.available
        if status.blockedBy == .bytes, let credit = ledger.byteCredit, credit < status.needBytes {
            let more = sink.core.lacks(bytes: UInt64(status.needBytes), credit: credit)
            if more > 0 { askBytes(key, more) }
        }
        if sinks[key]?.items.isEmpty == true { touched.append(key) }
    }

    private func drained(_ key: LinkKey) {
        guard let sink = sinks[key] else { return }
        if sink.core.drained(sink.available) {
            end(key)
        } else if sink.items.isEmpty {
            touched.append(key)
        }
        home.markDirty(self)
    }

    private func closed(_ key: LinkKey, _ close: Close, _ ending: ClientEvent.Ending) {
        let error = Self.error(close, ending)
        refusals[key] = nil
        if let sink = sinks.removeValue(forKey: key) {
            sink.core.publish(sink.items, nil)
            sink.core.finish(error, nil)
        }
        sources.removeValue(forKey: key)?.core.finish(error)
        checkClosed()
    }

    /// What the end of a link means to the program; nil if it is a good end.
    private static func error(_ close: Close, _ ending: ClientEvent.Ending) -> ClientError? {
        let code: ClientError.Code =
            switch ending {
            case .refused: .refused
            case .byBroker: .linkClosed
            case .byClient: .protocolViolated
            }
        if ending == .byBroker, close.code == .normal || close.code == .complete { return nil }
        return ClientError(
            code,
            close: close.code,
            reason: close.reason,
            retryMilliseconds: close.retryMilliseconds
        )
    }

    private func answerPing(_ opaque: UInt64) {
        guard let answer = pings.removeValue(forKey: opaque) else { return }
        let now = DispatchTime.now().uptimeNanoseconds
        answer.give(.success(.nanoseconds(Int64(now - min(now, opaque)))))
    }
}

extension EventMark {
    init(_ mark: Mark, offset: UInt64) {
        self.offset = offset
        kind =
            switch mark {
            case .marker(let text): .marker(String(decoding: text, as: UTF8.self))
            case .end: .end
            }
    }
}

extension EventGap {
    init(_ gap: Gap) {
        offsets = gap.from..<gap.to
        count = gap.count
        reason =
            switch gap.reason {
            case .cut: .cut
            case .dropped: .dropped
            case .purged: .purged
            case .lagged: .lagged
            }
    }
}
